public import Detection
public import RuleLanguage

/// Where a replay writes; nil: not wanted.
public struct ReplayOutputs {
    public var verdicts: LineWriter?
    public var features: LineWriter?
    public var rings: LineWriter?
    public var deadLetters: LineWriter?
    public init(
        verdicts: LineWriter? = nil,
        features: LineWriter? = nil,
        rings: LineWriter? = nil,
        deadLetters: LineWriter? = nil
    ) {
        self.verdicts = verdicts
        self.features = features
        self.rings = rings
        self.deadLetters = deadLetters
    }
}

/// What a replay did.
public struct ReplaySummary: Sendable {
    public var counts = EpochCounts()
    /// What was not as it should be.
    public var intake: IntakeReport
    public var epochs: Int64 = 0
    public var stateBytes = 0
    public var windows = WindowCounters()
    public var ringsOpened = 0
    /// False when the replay was stopped before its inputs ended.
    public var isComplete = true

    init(_ deployment: Deployment) { intake = IntakeReport(deployment) }

    /// Nothing could be read: there were records, and all that they gave is dead letters.
    public var isAllDead: Bool {
        counts.deadLetters > 0 && counts.events + counts.setAside == 0 && counts.ignored == 0
    }
}

/// Runs a topology over files: JSON Lines or CSV, plain, gzip or zstd; several are merged by event time.
///
/// An epoch is ``epochEvents`` events in the order of the merge, or fewer where their records are so long that they reach
/// ``epochBytes`` together. That depends on the events and nothing else, so the same files give the same bytes on any number of
/// threads, plain, compressed and through a pipe, in whatever order they are named, and dead letters among the events change
/// nothing. A file is a partition, see ``InputFile/partitions(of:_:)``; an event's offset is the number of its record. With
/// `replay: { sort: true }` all events are decoded first and sorted by event time: memory for the whole input.
public final class FileReplay {
    /// Events of an epoch.
    public static let epochEvents = 4096
    /// Bytes of an epoch's records; the event that reaches them is its last.
    static let epochBytes = 16 << 20

    private let deployment: Deployment
    private let team: ThreadTeam
    private let processor: EpochProcessor
    private let outputs: ReplayOutputs
    private let paths: [String]
    private var summary: ReplaySummary
    private var deadLetter: [UInt8] = []
    /// The one that the last epoch was judged under.
    private var watermark: Int64?
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
        summary = ReplaySummary(deployment)
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

    /// The deployment with the topics in place of its patterns that inputs name, as `TOPIC=FILE`.
    public static func bound(_ deployment: Deployment, to inputs: [String]) throws(DiagnosticError) -> Deployment {
        try deployment.bound(to: inputs.compactMap { claimedTopic(of: $0) })
    }

    /// What stands for a topic in an input that looks like `TOPIC=FILE` and is no file as a whole, whether there is such a topic or
    /// not.
    static func claimedTopic(of input: String) -> String? {
        guard let equals = input.firstIndex(of: "="), FileText.kind(of: input) == .absent else { return nil }
        let name = input[..<equals]
        return name.isEmpty || name.contains("/") ? nil : String(name)
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
        let partitions = InputFile.partitions(of: paths, deployment)
        var feeds: [EventFeed] = []
        for (path, partition) in zip(paths, partitions) {
            let file = try InputFile(path, partition: partition, deployment, shouldStop)
            for warning in file.warnings(deployment) { warn(warning) }
            summary.intake.noteTold(file.absentFields(deployment))
            feeds.append(
                EventFeed(file, deployment, team) { (block, file) throws(LogError) in
                    try self.writeDeadLetters(block, file)
                }
            )
        }
        let buffer = UnsafeMutableBufferPointer<Event>.allocate(capacity: FileReplay.epochEvents)
        defer { buffer.deallocate() }
        if deployment.description.sortsReplay { try runSorted(feeds, buffer) } else { try runMerged(feeds, buffer) }
        if summary.isComplete { try endTick() }
    }

    /// Judges events in the order of their times as far as each file has them in order.
    private func runMerged(_ feeds: [EventFeed], _ buffer: UnsafeMutableBufferPointer<Event>) throws(LogError) {
        var sources = [Int](repeating: 0, count: FileReplay.epochEvents)
        var gave = [Bool](repeating: true, count: feeds.count)
        var waiting = [Int64?](repeating: nil, count: feeds.count)
        var tracker = makeTracker(sources: feeds.count)
        while !isStopped() {
            if feeds.count > 1 { for feed in feeds { try feed.read(atLeast: SourceClock.confirmations) } }
            for feed in feeds { if let failure = feed.failure, feed.known == 0 { throw failure } }
            // Whose last event was judged has nothing to wait for any more.
            for (f, feed) in feeds.enumerated() where feed.known == 0 && feed.isRead { tracker.isIdle[f] = true }
            // What gave events to the epoch before has its clock; at the start nobody waits yet.
            for f in gave.indices {
                waiting[f] = gave[f] ? nil : feeds[f].heldTime
                gave[f] = false
            }
            let events: UnsafeMutableBufferPointer<Event>
            if feeds.count == 1 {
                events = try feeds[0].takeEpoch(buffer)
                gave[0] = true
            } else {
                events = try merge(feeds, buffer, &sources, &gave)
            }
            let read = feeds.reduce(into: RecordCounts()) { $0 += $1.takeCounts() }
            if !events.isEmpty || read.records > 0 {
                try judge(events, read, &tracker, held: { waiting[$0] }) { i in
                    (feeds.count == 1 ? 0 : sources[i], events[i].time)
                }
            }
            for feed in feeds { feed.endEpoch() }
            if events.isEmpty, feeds.allSatisfy({ $0.failure == nil }) { break }
        }
    }

    /// Takes the events of an epoch out of several files, the earliest first.
    ///
    /// It ends early where the events before a damaged place have been taken.
    private func merge(
        _ feeds: [EventFeed],
        _ buffer: UnsafeMutableBufferPointer<Event>,
        _ sources: inout [Int],
        _ gave: inout [Bool]
    ) throws(LogError) -> UnsafeMutableBufferPointer<Event> {
        var size = EpochSize()
        while !size.isFull {
            var best: (feed: Int, head: UnsafePointer<Event>)?
            for (f, feed) in feeds.enumerated() {
                guard let head = feed.head else { continue }
                if let found = best, !Event.precedes(head.pointee, found.head.pointee) { continue }
                best = (f, head)
            }
            guard let (f, head) = best else { break }
            buffer.initializeElement(at: size.count, to: head.pointee)
            sources[size.count] = f
            size.add(head.pointee)
            gave[f] = true
            feeds[f].advance()
            try feeds[f].read(atLeast: SourceClock.confirmations)
            if feeds[f].known == 0, feeds[f].failure != nil { break }
        }
        return UnsafeMutableBufferPointer(rebasing: buffer[..<size.count])
    }

    /// Everything decoded, sorted, then judged in epochs.
    ///
    /// In order of time all files are one source: none waits for another.
    private func runSorted(_ feeds: [EventFeed], _ buffer: UnsafeMutableBufferPointer<Event>) throws(LogError) {
        var tracker = makeTracker(sources: 1)
        var all: [Event] = []
        for feed in feeds {
            while !feed.isRead, !isStopped() { try feed.readBlock() }
            if let failure = feed.failure { throw failure }
            while let head = feed.head {
                all.append(head.pointee)
                feed.advance()
            }
        }
        all.sort { Event.precedes($0, $1) }
        var read = feeds.reduce(into: RecordCounts()) { $0 += $1.takeCounts() }
        var at = 0
        while at < all.count || read.records > 0, !isStopped() {
            var size = EpochSize()
            while at + size.count < all.count, !size.isFull {
                buffer.initializeElement(at: size.count, to: all[at + size.count])
                size.add(all[at + size.count])
            }
            try judge(UnsafeMutableBufferPointer(rebasing: buffer[..<size.count]), read, &tracker) { i in
                (0, all[at + i].time)
            }
            read = RecordCounts()
            at += size.count
        }
        withExtendedLifetime(feeds) {}
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
    ///   - read: the records that were read for it, some of whose events may wait for the next.
    ///   - held: the event time that a source has given and that waited when the epoch began; nil: none.
    ///   - origin: of an event by its index, before the epoch is sorted.
    private func judge(
        _ events: UnsafeMutableBufferPointer<Event>,
        _ read: RecordCounts,
        _ tracker: inout WatermarkTracker,
        held: (Int) -> Int64? = { _ in nil },
        origin: (Int) -> (source: Int, time: Int64)
    ) throws(LogError) {
        watermark = tracker.advance(held: held)
        processor.process(
            events,
            records: read.records,
            rejected: read.rejected,
            ignored: read.ignored,
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
            summary.intake.add(output)
            do throws(LogError) {
                try outputs.verdicts?.write(UnsafeRawBufferPointer(output.verdicts.bytes))
                try outputs.features?.write(UnsafeRawBufferPointer(output.features.bytes))
            } catch { failure = failure ?? error }
        }
        summary.intake.addWords(UnsafeBufferPointer(rebasing: events[..<Int(processor.counts.events)]))
        if let failure { throw failure }
        try writeRings()
    }

    /// Ends the last tick, which no event ends, as a worker does in silence: so that what its events taught is told.
    private func endTick() throws(LogError) {
        guard let end = processor.engine.openTickEnd else { return }
        processor.process(
            UnsafeMutableBufferPointer(start: nil, count: 0),
            records: 0,
            rejected: 0,
            watermark: watermark,
            triggers: [.endTick(at: end)]
        )
        try writeRings()
    }

    private func writeRings() throws(LogError) {
        var failure: LogError?
        processor.engine.forEachRing { ring in
            if ring.isOpening { summary.ringsOpened += 1 }
            do throws(LogError) { try outputs.rings?.writeLine(ring.value) } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
    }

    private func writeDeadLetters(_ block: DecodedBlock, _ file: InputFile) throws(LogError) {
        for rejected in block.rejected {
            let record = rejected.record
            summary.intake.add(
                rejected.letter,
                deployment.decodePlan,
                topic: file.topic,
                isCSV: file.dialect != nil,
                value: block.value(of: rejected)
            ) { "\(file.path):\(file.line(of: record.offset))" }
            guard let writer = outputs.deadLetters else { continue }
            deadLetter.removeAll(keepingCapacity: true)
            deployment.decodePlan.appendRecord(
                of: rejected.letter,
                topic: file.topic,
                partition: file.decoding.partition,
                offset: record.offset,
                file: (file.path, file.line(of: record.offset)),
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
