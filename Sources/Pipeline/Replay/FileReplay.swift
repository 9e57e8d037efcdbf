public import Detection
import RuleLanguage

/// Where a replay writes; nil: not wanted.
public struct ReplayOutputs {
    public var verdicts: LineWriter?
    public var features: LineWriter?
    public var deadLetters: LineWriter?
    public init(verdicts: LineWriter? = nil, features: LineWriter? = nil, deadLetters: LineWriter? = nil) {
        self.verdicts = verdicts
        self.features = features
        self.deadLetters = deadLetters
    }
}

/// What a replay did.
public struct ReplaySummary: Sendable {
    public var counts = EpochCounts()
    public var epochs: Int64 = 0
    public var stateBytes = 0
    public var windows = WindowCounters()
    /// Per rule of the set, in its order: how often it fired, was undetermined, and fired with an exception that could not be
    /// decided.
    public var fired: [Int] = []
    public var undetermined: [Int] = []
    public var undecided: [Int] = []
    public var ringsOpened = 0
    /// False when the replay was stopped before its inputs ended.
    public var isComplete = true
}

/// Runs a topology over files: JSON Lines or CSV, plain, gzip or zstd; several are merged by event time.
///
/// An epoch is ``epochEvents`` events in the order of the merge, so the same files give the same bytes on any number of threads. Of
/// a single file it is as many records, or fewer where they are so long that they fill a block: that depends on the records and
/// nothing else, so a file gives the same bytes plain, compressed and through a pipe. A file is a partition, numbered as given; an
/// event's offset is the number of its record. With `replay: { sort: true }` all events are decoded first and sorted by event time:
/// memory for the whole input.
public final class FileReplay {
    /// Events of an epoch.
    public static let epochEvents = 4096

    private let deployment: Deployment
    private let team: ThreadTeam
    private let processor: EpochProcessor
    private let outputs: ReplayOutputs
    private let paths: [String]
    private var summary = ReplaySummary()
    private var deadLetter: [UInt8] = []
    private let shouldStop: () -> Bool
    private let warn: (String) -> Void

    /// - Parameters:
    ///   - inputs: paths, `-` for stdin; `TOPIC=PATH` says which topic's records a file holds.
    ///   - shouldStop: asked between epochs, and while an input keeps it waiting.
    ///   - warn: hears what people should know of an input, once.
    public init(
        _ deployment: Deployment,
        inputs: [String],
        outputs: ReplayOutputs,
        threads: Int,
        shouldStop: @escaping () -> Bool = { false },
        warn: @escaping (String) -> Void = { _ in }
    ) {
        self.deployment = deployment
        self.warn = warn
        self.outputs = outputs
        self.shouldStop = shouldStop
        paths = inputs
        team = ThreadTeam(lanes: threads)
        processor = EpochProcessor(deployment, team: team, writesFeatures: outputs.features != nil)
        summary.fired = [Int](repeating: 0, count: deployment.release.rules.rules.count)
        summary.undetermined = summary.fired
        summary.undecided = summary.fired
    }

    deinit { team.stop() }

    /// What an input names: the file, and the topic (by its index) where one is given.
    public static func parts(of input: String, _ deployment: Deployment) -> (topic: Int?, path: String) {
        // A path may hold an equals sign too: only a known topic in front of it counts.
        guard let equals = input.firstIndex(of: "="),
            let topic = deployment.description.topics.firstIndex(of: String(input[..<equals]))
        else { return (nil, input) }
        return (topic, String(input[input.index(after: equals)...]))
    }

    /// Reads everything and closes nothing; call once.
    public func run() throws(LogError) -> ReplaySummary {
        do throws(LogError) {
            try judgeAll()
        } catch {
            guard error.kind == .stopped else { throw error }
            summary.isComplete = false
        }
        summary.stateBytes = processor.engine.stateBytes
        summary.windows = processor.engine.windowCounters
        return summary
    }

    private func makeTracker(sources: Int) -> WatermarkTracker {
        WatermarkTracker(sources: sources, latenessMilliseconds: deployment.description.time.latenessMilliseconds)
    }

    private func judgeAll() throws(LogError) {
        var files: [InputFile] = []
        for (index, path) in paths.enumerated() {
            let file = try InputFile(path, index: index, deployment, shouldStop)
            for warning in file.warnings(deployment) { warn(warning) }
            files.append(file)
        }
        if files.count == 1, !deployment.description.sortsReplay {
            try runOne(files[0])
        } else if deployment.description.sortsReplay {
            try runSorted(files)
        } else {
            try runMerged(files)
        }
    }

    // MARK: One file

    private func runOne(_ file: InputFile) throws(LogError) {
        let block = try file.makeBlock(deployment, lanes: team.lanes, source: 0)
        var tracker = makeTracker(sources: 1)
        while !isStopped() {
            guard try file.fill(block, source: 0) else { break }
            block.decode(team)
            try writeDeadLetters(block)
            let events = block.events
            try judge(events, rejected: block.rejected.count, &tracker) { i in (0, events[i].time) }
        }
    }

    // MARK: Several files

    /// One file's events in file order, decoded block by block; blocks that an epoch still points into wait until it ends.
    private final class Cursor {
        let file: InputFile
        var block: DecodedBlock
        var next = 0
        /// Nothing follows in the file behind the block.
        var isAtEnd = false
        init(_ file: InputFile, _ block: DecodedBlock) {
            self.file = file
            self.block = block
        }
        var head: Event? { next < block.events.count ? block.events[next] : nil }

        /// How far the file has come though its events wait for those of others: the least time of the next few, as the very next
        /// may have a bad clock; nil where too few are known to tell.
        ///
        /// - Parameter clock: what the file's judged events say.
        func heldTime(_ clock: SourceClock) -> Int64? {
            let events = block.events[next..<min(block.events.count, next + SourceClock.confirmations)]
            guard let least = events.lazy.map(\.time).min() else { return nil }
            if events.count < SourceClock.confirmations, !isAtEnd, clock.isAhead(least) { return nil }
            return least
        }
    }

    private func runMerged(_ files: [InputFile]) throws(LogError) {
        var cursors: [Cursor] = []
        for file in files {
            cursors.append(Cursor(file, try file.makeBlock(deployment, lanes: team.lanes, source: file.index)))
        }
        for cursor in cursors { try refill(cursor) }
        let epoch = UnsafeMutableBufferPointer<Event>.allocate(capacity: FileReplay.epochEvents)
        var sources = [Int](repeating: 0, count: FileReplay.epochEvents)
        var gave = [Bool](repeating: true, count: cursors.count)
        defer { epoch.deallocate() }
        var tracker = makeTracker(sources: cursors.count)
        var rejected = 0
        while !isStopped() {
            // Whose last event was judged has nothing to wait for any more.
            for (c, cursor) in cursors.enumerated() where cursor.head == nil && cursor.isAtEnd {
                tracker.isIdle[c] = true
            }
            // What gave events to the epoch before has its clock; at the start nobody waits yet.
            let waiting = cursors.indices.map { gave[$0] ? nil : cursors[$0].heldTime(tracker.clocks[$0]) }
            for c in gave.indices { gave[c] = false }
            var count = 0
            var retired: [DecodedBlock] = []
            while count < FileReplay.epochEvents {
                var best: (cursor: Int, head: Event)?
                for (c, cursor) in cursors.enumerated() {
                    guard let head = cursor.head else { continue }
                    if let found = best, !Event.precedes(head, found.head) { continue }
                    best = (c, head)
                }
                guard let (c, head) = best else { break }
                epoch.initializeElement(at: count, to: head)
                sources[count] = c
                gave[c] = true
                count += 1
                cursors[c].next += 1
                if cursors[c].head == nil, !cursors[c].isAtEnd {
                    // The epoch points into the block: a fresh one takes its place.
                    retired.append(cursors[c].block)
                    cursors[c].block = try cursors[c].file.makeBlock(deployment, lanes: team.lanes, source: c)
                    try refill(cursors[c])
                }
            }
            rejected = Int(pendingRejected)
            pendingRejected = 0
            if count == 0, rejected == 0 { break }
            try judge(
                UnsafeMutableBufferPointer(rebasing: epoch[0..<count]),
                rejected: rejected,
                &tracker,
                held: { waiting[$0] }
            ) { i in (sources[i], epoch[i].time) }
            withExtendedLifetime(retired) {}
        }
    }

    private var pendingRejected: Int64 = 0

    private func refill(_ cursor: Cursor) throws(LogError) {
        cursor.next = 0
        repeat {
            guard try cursor.file.fill(cursor.block, source: cursor.file.index) else {
                cursor.isAtEnd = true
                return
            }
            // Read to its end with this block: what waits in it is all there is.
            cursor.isAtEnd =
                cursor.block.stagedCount < FileReplay.epochEvents && !cursor.block.isFull && !cursor.file.isBroken
            cursor.block.decode(team)
            try writeDeadLetters(cursor.block)
            pendingRejected += Int64(cursor.block.rejected.count)
        } while cursor.block.events.isEmpty && !cursor.isAtEnd
    }

    /// Everything decoded, sorted, then judged in epochs.
    ///
    /// In order of time all files are one source: none waits for another.
    private func runSorted(_ files: [InputFile]) throws(LogError) {
        var tracker = makeTracker(sources: 1)
        var blocks: [DecodedBlock] = []
        var all: [Event] = []
        for file in files {
            while !isStopped() {
                let block = try file.makeBlock(deployment, lanes: team.lanes, source: file.index)
                guard try file.fill(block, source: file.index) else { break }
                block.decode(team)
                try writeDeadLetters(block)
                pendingRejected += Int64(block.rejected.count)
                all.append(contentsOf: block.events)
                blocks.append(block)
            }
        }
        all.sort { Event.precedes($0, $1) }
        let epoch = UnsafeMutableBufferPointer<Event>.allocate(capacity: FileReplay.epochEvents)
        defer { epoch.deallocate() }
        var at = 0
        while at < all.count || pendingRejected > 0, !isStopped() {
            let count = min(FileReplay.epochEvents, all.count - at)
            for i in 0..<count { epoch.initializeElement(at: i, to: all[at + i]) }
            let rejected = Int(pendingRejected)
            pendingRejected = 0
            try judge(
                UnsafeMutableBufferPointer(rebasing: epoch[0..<count]),
                rejected: rejected,
                &tracker
            ) { i in (0, all[at + i].time) }
            at += count
        }
        withExtendedLifetime(blocks) {}
    }

    // MARK: Epochs

    /// Whether somebody wants an end here; then the replay is not complete.
    private func isStopped() -> Bool {
        if shouldStop() { summary.isComplete = false }
        return !summary.isComplete
    }

    /// Judges the events as one epoch.
    ///
    /// - Parameters:
    ///   - held: the event time that a source has given and that waited when the epoch began; nil: none.
    ///   - origin: of an event by its index, before the epoch is sorted.
    private func judge(
        _ events: UnsafeMutableBufferPointer<Event>,
        rejected: Int,
        _ tracker: inout WatermarkTracker,
        held: (Int) -> Int64? = { _ in nil },
        origin: (Int) -> (source: Int, time: Int64)
    ) throws(LogError) {
        let watermark = tracker.advance(held: held)
        processor.process(
            events,
            records: events.count + rejected,
            rejected: rejected,
            watermark: watermark,
            accepted: { i in
                let (source, time) = origin(i)
                tracker.see(source: source, time: time)
            }
        )
        summary.counts += processor.counts
        summary.epochs += 1
        var failure: LogError?
        processor.engine.forEachOutput { output in
            for r in summary.fired.indices {
                summary.fired[r] += output.fired[r]
                summary.undetermined[r] += output.undetermined[r]
                summary.undecided[r] += output.undecided[r]
            }
            do throws(LogError) {
                try outputs.verdicts?.write(UnsafeRawBufferPointer(output.verdicts.bytes))
                try outputs.features?.write(UnsafeRawBufferPointer(output.features.bytes))
            } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
    }

    private func writeDeadLetters(_ block: DecodedBlock) throws(LogError) {
        guard let writer = outputs.deadLetters else { return }
        for rejected in block.rejected {
            let record = rejected.record
            deadLetter.removeAll(keepingCapacity: true)
            deployment.decodePlan.appendRecord(
                of: rejected.letter,
                topic: paths[Int(record.source)],
                partition: record.source,
                offset: record.offset,
                value: block.value(of: rejected),
                fullLength: record.fullLength,
                to: &deadLetter
            )
            var failure: LogError?
            deadLetter.withUnsafeBytes { bytes in
                do throws(LogError) { try writer.writeLine(bytes) } catch { failure = error }
            }
            if let failure { throw failure }
        }
    }
}
