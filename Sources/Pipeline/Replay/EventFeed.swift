import Detection

/// One file's events in file order, read and decoded block by block.
///
/// What an epoch has taken stays until ``endEpoch()``. Where most of a block became no event its events are gathered with those of
/// the next ones, so that dead letters hold no memory, however many there are.
final class EventFeed {
    private let file: InputFile
    private let deployment: Deployment
    private let team: ThreadTeam
    private let reject: (DecodedBlock, InputFile) throws(LogError) -> Void
    /// Blocks with events that wait; those of the first from `next` on.
    private var waiting: [DecodedBlock] = []
    private var next = 0
    private var used: [DecodedBlock] = []
    private var spare: [DecodedBlock] = []
    /// Records that became events, out of blocks where most did not.
    private var gathered: DecodedBlock?
    /// Events that wait.
    private(set) var known = 0
    /// What waits is all there is.
    private(set) var isRead = false
    /// What ended the reading, to be told when the events before it were judged.
    private(set) var failure: LogError?
    private var read = RecordCounts()

    /// - Parameter reject: gets each block with the file's records that became no events.
    init(
        _ file: InputFile,
        _ deployment: Deployment,
        _ team: ThreadTeam,
        reject: @escaping (DecodedBlock, InputFile) throws(LogError) -> Void
    ) {
        self.file = file
        self.deployment = deployment
        self.team = team
        self.reject = reject
    }

    // MARK: Reading

    /// Reads on until so many events wait, or there are no more.
    func read(atLeast count: Int) throws(LogError) { while known < count, !isRead { try readBlock() } }

    /// Reads one block.
    func readBlock() throws(LogError) {
        let block = try makeBlock()
        do throws(LogError) {
            guard try file.fill(block) else {
                end()
                return
            }
        } catch {
            if error.kind == .stopped { throw error }
            failure = error
            end()
            return
        }
        // Read to its end with this block: what waits then is all there is.
        let isLast = block.stagedCount < FileReplay.epochEvents && !block.isFull && !file.isBroken
        block.decode(team)
        read.records += block.stagedCount
        read.rejected += block.rejected.count
        read.ignored += block.ignored.count
        try reject(block, file)
        if block.events.count * 2 >= block.stagedCount {
            takeGathered()
            add(block)
        } else {
            let sparse: DecodedBlock
            if let begun = gathered { sparse = begun } else { sparse = try makeBlock() }
            gathered = sparse
            block.stageEvents(into: sparse)
            spare.append(block)
            if sparse.stagedCount * 2 >= FileReplay.epochEvents || sparse.isFull { takeGathered() }
        }
        if isLast { end() }
    }

    private func end() {
        takeGathered()
        isRead = true
    }

    private func makeBlock() throws(LogError) -> DecodedBlock {
        guard let block = spare.popLast() else { return try file.makeBlock(deployment, lanes: team.lanes) }
        block.removeAll()
        return block
    }

    private func takeGathered() {
        guard let block = gathered else { return }
        gathered = nil
        // Once more, and what it cannot be again is a dead letter.
        block.decode(team)
        add(block)
    }

    private func add(_ block: DecodedBlock) {
        known += block.events.count
        if block.events.isEmpty { spare.append(block) } else { waiting.append(block) }
    }

    /// What was read since this was asked last.
    func takeCounts() -> RecordCounts {
        defer { read = RecordCounts() }
        return read
    }

    // MARK: Taking

    /// The next event; nil where none waits.
    var head: UnsafePointer<Event>? {
        guard let block = waiting.first, let start = block.events.baseAddress else { return nil }
        return UnsafePointer(start + next)
    }

    /// Takes the next event.
    func advance() { advance(1) }

    private func advance(_ count: Int) {
        next += count
        known -= count
        guard let block = waiting.first, next == block.events.count else { return }
        used.append(waiting.removeFirst())
        next = 0
    }

    /// Takes the events of an epoch that are all this file's: where they lie if a block is just that, else copied to `buffer`.
    ///
    /// The epoch may put them into another order.
    func takeEpoch(
        _ buffer: UnsafeMutableBufferPointer<Event>
    ) throws(LogError) -> UnsafeMutableBufferPointer<Event> {
        if known == 0 { try read(atLeast: 1) }
        if next == 0, let events = waiting.first?.events {
            var size = EpochSize()
            while size.count < events.count, !size.isFull { size.add(events[size.count]) }
            if size.isFull, size.count == events.count {
                advance(size.count)
                return events
            }
        }
        var size = EpochSize()
        while !size.isFull {
            if known == 0 { try read(atLeast: 1) }
            guard let event = head else { break }
            buffer.initializeElement(at: size.count, to: event.pointee)
            size.add(event.pointee)
            advance()
        }
        return UnsafeMutableBufferPointer(rebasing: buffer[..<size.count])
    }

    /// How far the file has come though its events wait for those of others; nil where none waits.
    ///
    /// The least time of the next few, as the very next may have a bad clock. ``SourceClock/confirmations`` events must wait, or
    /// all there are.
    var heldTime: Int64? {
        var least: Int64?
        var (left, start) = (SourceClock.confirmations, next)
        for block in waiting {
            for event in block.events[start...].prefix(left) { least = min(least ?? event.time, event.time) }
            left -= block.events.count - start
            start = 0
            if left <= 0 { break }
        }
        return least
    }

    /// Gives the memory of what was taken back for new events.
    func endEpoch() {
        spare += used
        used.removeAll(keepingCapacity: true)
    }
}

/// What became of records: one may give several events and dead letters, or none.
struct RecordCounts {
    var records = 0
    /// Dead letters.
    var rejected = 0
    var ignored = 0

    static func += (sum: inout RecordCounts, other: RecordCounts) {
        sum.records += other.records
        sum.rejected += other.rejected
        sum.ignored += other.ignored
    }
}

/// How much an epoch of a replay holds.
///
/// It follows from the events alone: no dead letter moves an epoch's end, and with it what is late. An epoch may end between the
/// events of one record, as no replay begins at an epoch of another.
struct EpochSize {
    private(set) var count = 0
    private var bytes = 0
    /// The record of the last event.
    private var last: (offset: Int64, partition: Int32) = (-1, -1)

    var isFull: Bool { count == FileReplay.epochEvents || bytes >= FileReplay.epochBytes }

    mutating func add(_ event: Event) {
        count += 1
        // Events of one record share its bytes.
        if last == (event.offset, event.partition) { return }
        last = (event.offset, event.partition)
        bytes += Int(event.recordLength)
    }
}
