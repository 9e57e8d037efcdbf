import CRdKafka
import Glibc
import Synchronization

/// The freeing of a client on a thread of its own, so that one that never ends can be left behind.
///
/// `@unchecked Sendable`: the pointer is the thread's alone from its start on.
final class Destruction: @unchecked Sendable {
    private let rk: OpaquePointer
    private let flags: Int32
    private let isOver = Atomic(false)

    private init(_ rk: OpaquePointer, _ flags: Int32) {
        self.rk = rk
        self.flags = flags
    }

    /// Frees the client; nobody may use it any more.
    ///
    /// - Returns: false when it has not ended within the time: its threads still run, and may call back.
    static func isDone(_ rk: OpaquePointer, _ flags: Int32, milliseconds: Int) -> Bool {
        let destruction = Destruction(rk, flags)
        var thread = pthread_t()
        let code = pthread_create(
            &thread,
            nil,
            { context in
                guard let context else { return nil }
                let destruction = Unmanaged<Destruction>.fromOpaque(context).takeRetainedValue()
                rd_kafka_destroy_flags(destruction.rk, destruction.flags)
                destruction.isOver.store(true, ordering: .releasing)
                return nil
            },
            // The thread takes it over.
            Unmanaged.passRetained(destruction).toOpaque()
        )
        guard code == 0 else {
            // No thread took it over: what was retained for it is ours again.
            Unmanaged.passUnretained(destruction).release()
            rd_kafka_destroy_flags(rk, flags)
            return true
        }
        pthread_detach(thread)
        let deadline = Clock.milliseconds() + Double(milliseconds)
        while !destruction.isOver.load(ordering: .acquiring) {
            if Clock.milliseconds() > deadline { return false }
            Clock.sleep(milliseconds: 1)
        }
        return true
    }
}
