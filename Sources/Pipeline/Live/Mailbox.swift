import Detection
import Synchronization

/// A worker between two epochs, lent to who has asked for the time of one call.
struct WorkerView {
    /// All that is kept of the events so far.
    let engine: Engine
    /// Epochs in that state, since the journal's first.
    let epochs: Int64
}

/// Questions to a worker from other threads; it serves them between two epochs, while it recovers and while it judges.
///
/// So nobody ever sees half an epoch, and the worker shares nothing: who asks waits for it. A question is served within a round, a
/// few milliseconds where commits are short; the worker waits for each question's end, so a question is small. At most
/// ``lettersMax`` wait at a time; more are refused, as are all where no worker runs.
final class Mailbox: Sendable {
    /// Questions that may wait.
    static let lettersMax = 16

    private struct Letters {
        var isOpen = false
        var waiting: [(number: Int, serve: @Sendable (WorkerView?) -> Void)] = []
        var number = 0
    }
    private enum Reply<Answer: Sendable> {
        case awaited
        case given(Answer)
        case refused
    }

    private let letters = Mutex(Letters())
    private let count = Atomic<Int>(0)

    /// Asks on the worker's thread, and waits for its answer; any thread but the worker's own.
    ///
    /// - Parameter milliseconds: the longest wait. A question that was not begun by then is withdrawn.
    /// - Returns: nil when the question was refused, or when the worker did not come to it in time.
    @discardableResult
    func ask<Answer: Sendable>(
        waiting milliseconds: Int,
        _ question: @escaping @Sendable (WorkerView) -> Answer
    ) -> Answer? {
        let reply = Monitor(Reply<Answer>.awaited)
        let number = letters.withLock { letters -> Int? in
            guard letters.isOpen, letters.waiting.count < Mailbox.lettersMax else { return nil }
            letters.number += 1
            letters.waiting.append(
                (
                    letters.number,
                    { view in
                        let given = view.map { Reply.given(question($0)) } ?? .refused
                        reply.change { $0 = given }
                    }
                )
            )
            count.store(letters.waiting.count, ordering: .releasing)
            return letters.number
        }
        guard let number else { return nil }
        let answer = reply.wait(milliseconds: milliseconds) { reply -> Answer?? in
            switch reply {
            case .awaited: nil
            case .given(let answer): .some(answer)
            case .refused: .some(nil)
            }
        }
        if let answer { return answer }
        letters.withLock { letters in
            letters.waiting.removeAll { $0.number == number }
            count.store(letters.waiting.count, ordering: .releasing)
        }
        return nil
    }

    // MARK: The worker's side

    /// Questions that wait.
    var waitingCount: Int { count.load(ordering: .acquiring) }
    /// Somebody has asked.
    var hasMail: Bool { waitingCount > 0 }

    /// Serves all that wait now, in their order.
    func serve(_ view: WorkerView) {
        for letter in take() { letter.serve(view) }
    }

    /// Takes questions from now on.
    func open() { letters.withLock { $0.isOpen = true } }

    /// Refuses what waits and what comes.
    func close() {
        letters.withLock { $0.isOpen = false }
        for letter in take() { letter.serve(nil) }
    }

    private func take() -> [(number: Int, serve: @Sendable (WorkerView?) -> Void)] {
        letters.withLock { letters in
            count.store(0, ordering: .releasing)
            defer { letters.waiting.removeAll() }
            return letters.waiting
        }
    }
}
