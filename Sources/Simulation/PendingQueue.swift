/// What an entry of the queue does when its time comes.
enum PendingKind: UInt8, Sendable {
    // Processes: they emit nothing themselves, start something and return to the queue.
    case sessionArrival, historicReview, historicRefund, staffArrival, saleArrival, saleStart
    // Events.
    case order, click, coupon, signup, login, review, refund, staffView, accountChange
}

/// One thing that will happen: a process's next arrival or one event, with all that its line of JSON needs.
struct Pending: Sendable {
    struct Flags: OptionSet, Sendable {
        let rawValue: UInt16
        /// Part of an honest session, which goes on after it.
        static let session = Flags(rawValue: 1)
        /// A failed login, a declined payment.
        static let failed = Flags(rawValue: 2)
        /// The platform has seen the account on this device before.
        static let knownDevice = Flags(rawValue: 4)
        /// A review of something bought here; a staff look-up that belongs to a case.
        static let verified = Flags(rawValue: 8)
        /// `extra` names the address, else the account's own.
        static let addressGiven = Flags(rawValue: 16)
        /// `extra` names the card, else the account's own.
        static let cardGiven = Flags(rawValue: 32)
        /// A script's haste: short dwell time, a form filled in seconds.
        static let hasty = Flags(rawValue: 64)
        /// A staff look-up that opens personal data.
        static let personalData = Flags(rawValue: 128)
    }

    /// Microseconds since 1970.
    var time: Int64
    /// Order of insertion: settles equal times, so that the order is total.
    var sequence: UInt64 = 0
    var account: UInt32 = 0
    var device: UInt32 = 0
    var ip: UInt32 = 0
    var item: UInt32 = 0
    /// By kind: amount in cents, coupon, stars, reason, member of staff or clicks left in the session.
    var value: Int32 = 0
    /// By kind: address or card (see the flags), tenths of hours since the order.
    var extra: Int32 = 0
    /// 0 for honest traffic, else 1 + index of the campaign.
    var campaign: UInt32 = 0
    var flags: Flags = []
    var kind: PendingKind
    var country: UInt8 = 0
}

/// A heap of four children per node, earliest (time, sequence) first.
///
/// Four instead of two halve the levels, and a node's children share two or three cache lines.
struct PendingQueue: Sendable {
    private var heap: ContiguousArray<Pending> = []
    private var inserted: UInt64 = 0

    var count: Int { heap.count }

    private static func isBefore(_ a: Pending, _ b: Pending) -> Bool {
        a.time < b.time || (a.time == b.time && a.sequence < b.sequence)
    }

    mutating func push(_ pending: Pending) {
        var entry = pending
        entry.sequence = inserted
        inserted += 1
        var hole = heap.count
        heap.append(entry)
        heap.withUnsafeMutableBufferPointer { heap in
            while hole > 0 {
                let parent = (hole - 1) / 4
                if !PendingQueue.isBefore(entry, heap[parent]) { break }
                heap[hole] = heap[parent]
                hole = parent
            }
            heap[hole] = entry
        }
    }

    mutating func pop() -> Pending? {
        guard let last = heap.popLast() else { return nil }
        guard let first = heap.first else { return last }
        heap.withUnsafeMutableBufferPointer { heap in
            var hole = 0
            while true {
                let child = 4 * hole + 1
                if child >= heap.count { break }
                var least = child
                for other in (child + 1)..<max(child + 1, min(child + 4, heap.count))
                where PendingQueue.isBefore(heap[other], heap[least]) {
                    least = other
                }
                if !PendingQueue.isBefore(heap[least], last) { break }
                heap[hole] = heap[least]
                hole = least
            }
            heap[hole] = last
        }
        return first
    }
}
