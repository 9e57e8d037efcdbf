import Detection

/// Takes records off a worker's sources into its block, so that in a backlog all sources advance together in event time.
///
/// Windows that span topics see each event's own past only when the topics are judged in step. So every source with a backlog is
/// asked for about as many records as lie before a common target, and what came beyond the time that all of them have reached is
/// held back for the next epoch. Sources without a backlog hold nobody back; nor does one whose time stands still for long (no
/// events, a stuck clock, an end that is never reached).
struct Intake {
    /// Longest wait for a source that has a backlog and gives nothing new.
    private static let patience = Duration.seconds(10)

    private let epochRecords: Int
    private let patience: Duration
    /// Offsets up to which each source counts as having a backlog: its end when the worker became live, or when it was added.
    private var endAtStart: [Int64]
    /// The next offset to read of each source.
    private(set) var next: [Int64]
    /// The greatest event time read of each source, held back or not; nil before the first event.
    private var reached: [Int64?]
    private var pace: SourcePace
    /// The last poll gave as many records as were asked for.
    private var gaveAll: [Bool]
    /// When the event time of each source last rose.
    private var lastRise: [Duration]
    /// Who is waited for.
    private var isAwaited: [Bool]
    /// The time that all who are waited for had reached, at the last look and when the block was aligned with it.
    private var floor: Int64?
    private var alignedFloor: Int64?
    /// Nothing came since the block was aligned.
    private var isAligned = false
    /// How far time rises from one event of a source to the next without a doubt.
    private let step: Int64
    /// Scratch of ``align(_:_:until:)``: by event, the time of its source's next event in the block (nil: none) and whether its own
    /// clock is bad; by source, its last event so far.
    private var following: [Int64?] = []
    private var isOutlier: [Bool] = []
    private var last: [Int?] = []
    private var turn = 0

    /// - Parameters:
    ///   - next: per source, the first offset to read; `ends`: where it ends now; `reached`: the greatest event time judged of it.
    init(
        epochRecords: Int,
        idle: Duration,
        lateness: Int64,
        now: Duration,
        next: [Int64],
        ends: [Int64],
        reached: [Int64?]
    ) {
        self.epochRecords = epochRecords
        patience = min(idle, Intake.patience)
        step = SourceClock(latenessMilliseconds: lateness).step
        self.next = next
        self.reached = reached
        endAtStart = ends
        pace = SourcePace(sources: next.count)
        gaveAll = [Bool](repeating: false, count: next.count)
        lastRise = [Duration](repeating: now, count: next.count)
        isAwaited = [Bool](repeating: false, count: next.count)
    }

    /// Takes in a source that was added: the others wait until its backlog has come as far as they have.
    ///
    /// - Parameters:
    ///   - start: the first offset to read; `end`: where it ends now.
    mutating func addSource(from start: Int64, end: Int64, _ now: Duration) {
        next.append(start)
        endAtStart.append(end)
        reached.append(nil)
        pace.addSource()
        gaveAll.append(false)
        lastRise.append(now)
        isAwaited.append(false)
    }

    /// Some source has more to give than was taken of it.
    var hasBacklog: Bool { isAwaited.contains(true) }

    /// The source has more to give than was taken of it.
    func hasBacklog(_ source: Int) -> Bool { isAwaited[source] }

    /// All that the block holds still waits for a source that has not come so far.
    var isHeldUp: Bool { isAligned && floor != nil && floor == alignedFloor }

    /// Nobody was asked for a while, so nobody stood still.
    mutating func resume(_ now: Duration) {
        for s in lastRise.indices { lastRise[s] = now }
    }

    /// Finds which sources are waited for, and the event time that all of them have reached: the floor; nil when there are none.
    private mutating func look(_ now: Duration, until ends: [Int64]?) {
        var least: Int64?
        for s in next.indices {
            isAwaited[s] =
                (gaveAll[s] || next[s] < endAtStart[s]) && next[s] < ends?[s] ?? .max
                && now - lastRise[s] <= patience
            if isAwaited[s] { least = min(least ?? .max, reached[s] ?? .min) }
        }
        floor = least
    }

    /// Polls the sources in turn, without waiting; returns how many records came.
    ///
    /// - Parameter ends: per source, the offset from which nothing is read any more; nil: everything is.
    mutating func gather(
        _ block: DecodedBlock,
        from log: any LogReader,
        _ now: Duration,
        until ends: [Int64]?
    ) throws(LogError) -> Int {
        look(now, until: ends)
        let target = floor.map { $0 == .min ? $0 : $0 &+ pace.milliseconds(of: epochRecords) }
        let eligible = next.indices.count { !isAwaited[$0] || reached[$0] ?? .min <= target ?? .max }
        let share = max(64, epochRecords / max(1, eligible))
        var got = 0
        // A poll ends when the epoch is full. So the sources that have come least far are polled first, since all others wait for
        // them; and each poll begins with another source, or the first ones would fill every epoch.
        for isFirst in [true, false] {
            for k in next.indices where got < epochRecords && !block.isFull {
                let s = (k + turn) % next.count
                if isFirst != (isAwaited[s] && reached[s] ?? .min == floor) { continue }
                if let ends, next[s] >= ends[s] { continue }
                var wanted = share
                if let target, let time = reached[s] {
                    if time > target {
                        // It is not asked, so that its time does not rise is no sign of a stuck clock.
                        lastRise[s] = now
                        continue
                    }
                    if isAwaited[s] { wanted = pace.records(of: s, from: time, to: target) }
                }
                let limit = min(wanted, epochRecords - got)
                let before = block.stagedCount
                next[s] = try log.poll(source: s, limit: limit, withHeaders: block.wantsHeaders) { record in
                    block.stage(record, source: s)
                    return !block.isFull
                }
                let count = block.stagedCount - before
                // A source has a backlog when it gives all that was wanted of it. Where the room left was for less, its giving all
                // of that does not tell, and what was known before stays.
                if count < limit { gaveAll[s] = block.isFull } else if limit == wanted { gaveAll[s] = true }
                got += count
            }
        }
        turn += 1
        if got > 0 { isAligned = false } else { look(now, until: ends) }
        return got
    }

    /// Holds back in the decoded block what lies beyond the time that everybody who is waited for has reached.
    ///
    /// A block whose memory is full is taken as it is, and so is an event with a bad clock: everybody would wait for its time.
    mutating func align(_ block: DecodedBlock, _ now: Duration, until ends: [Int64]?) {
        findFollowing(block)
        isOutlier.removeAll(keepingCapacity: true)
        isOutlier.append(contentsOf: repeatElement(false, count: block.events.count))
        for i in block.events.indices {
            let s = Int(block.eventSources[i])
            let time = block.events[i].time
            if let known = reached[s] {
                if time <= known { continue }
                if time - known > step {
                    // Far ahead of its source: the next event tells whether its clock is bad, and before that nobody counts on it.
                    guard let after = following[i] else { continue }
                    isOutlier[i] = time - after > step
                    if isOutlier[i] { continue }
                }
            }
            reached[s] = time
            lastRise[s] = now
        }
        look(now, until: ends)
        isAligned = true
        alignedFloor = floor
        guard let floor, !block.isFull else { return }
        block.hold(after: floor) { isOutlier[$0] }
        for s in next.indices where block.heldFrom[s] != nil { lastRise[s] = now }
    }

    /// The least event time that the source has given and that was held back; nil: none, or one that may come of a bad clock.
    func heldTime(of source: Int, in block: DecodedBlock) -> Int64? {
        guard let time = block.heldTime[source], time <= reached[source] ?? .min else { return nil }
        return time
    }

    private mutating func findFollowing(_ block: DecodedBlock) {
        following.removeAll(keepingCapacity: true)
        following.append(contentsOf: repeatElement(nil, count: block.events.count))
        last.removeAll(keepingCapacity: true)
        last.append(contentsOf: repeatElement(nil, count: next.count))
        for i in block.events.indices {
            let s = Int(block.eventSources[i])
            if let former = last[s] { following[former] = block.events[i].time }
            last[s] = i
        }
    }

    /// An event that was judged.
    mutating func see(source: Int, time: Int64) { pace.see(source: source, time: time) }
}

/// How densely each source's events lie in event time: how many records to ask for to reach a time, in a backlog.
private struct SourcePace {
    private struct Seen {
        var first: Int64
        var highest: Int64
        var events: Int64
        /// Events per millisecond; nil before there is a span.
        var density: Double? { highest > first ? Double(events) / Double(highest - first) : nil }
    }
    private var seen: [Seen?]
    /// Without a better guess.
    private static let records = 32
    private static let milliseconds: Int64 = 30_000

    init(sources: Int) { seen = [Seen?](repeating: nil, count: sources) }

    mutating func addSource() { seen.append(nil) }

    mutating func see(source: Int, time: Int64) {
        guard var known = seen[source] else {
            seen[source] = Seen(first: time, highest: time, events: 1)
            return
        }
        known.first = min(known.first, time)
        known.highest = max(known.highest, time)
        known.events += 1
        // The recent past counts: traffic has a daily rhythm.
        if known.events > 4096 {
            known.first += (known.highest - known.first) / 2
            known.events /= 2
        }
        seen[source] = known
    }

    /// The span in which all sources together have about so many events.
    func milliseconds(of records: Int) -> Int64 {
        let density = seen.reduce(0) { $0 + ($1?.density ?? 0) }
        return density > 0 ? Int64(min(Double(records) / density, 1e12)) : SourcePace.milliseconds
    }

    /// Records of a source between two event times, at least a few.
    func records(of source: Int, from: Int64, to: Int64) -> Int {
        guard to > from, let density = seen[source]?.density else { return SourcePace.records }
        return Int(min(max(density * Double(to - from), 16), 65_536))
    }
}
