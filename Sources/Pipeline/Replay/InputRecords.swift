import Detection
import RuleLanguage

/// The records of files as a log takes them, each with its topic and key, in the order of their events' times as far as each file
/// has them in order.
///
/// What cannot be read is given too, before the events that were read with it: the pipeline that reads the log says what is wrong
/// with it. That needs a topic, which a file of several topics does not tell of such a record; and it needs all of the record.
public final class InputRecords {
    /// One record.
    public struct Record {
        /// Index of the topic in the topology.
        public var topic: Int
        /// The text of the event's subject; nil for a record that cannot be read.
        public var key: [UInt8]?
        /// As it stands in the file.
        public var value: [UInt8]
        /// How far event time has come with it, in milliseconds since 1970; nil before the first event.
        ///
        /// One clock that is far ahead does not count.
        public var time: Int64?
    }

    /// Records that were given and cannot be read.
    public private(set) var unreadable = 0
    /// Records that were given though they hold no event, as may be.
    public private(set) var ignored = 0
    /// Records that were not given: whose topic is not known, and longer ones than `limits.record_bytes`.
    public private(set) var withoutTopic = 0
    public private(set) var tooLong = 0

    private let deployment: Deployment
    private let team = ThreadTeam(lanes: 1)
    private var feeds: [EventFeed] = []
    /// Records without events that wait, from ``nextRejected`` on.
    private var rejected: [(topic: Int, value: [UInt8], isIgnored: Bool)] = []
    private var nextRejected = 0
    /// Whose event was given last.
    private var given: EventFeed?
    private var clock: SourceClock

    /// Opens the files, which hold JSON.
    ///
    /// - Parameters:
    ///   - inputs: as of a replay.
    ///   - shouldStop: asked while an input keeps its reader waiting.
    ///   - warn: hears what people should know of an input, once.
    public init(
        _ deployment: Deployment,
        inputs: [String],
        shouldStop: @escaping () -> Bool,
        warn: (String) -> Void
    ) throws(LogError) {
        self.deployment = deployment
        clock = SourceClock(latenessMilliseconds: deployment.description.time.latenessMilliseconds)
        let partitions = InputFile.partitions(of: inputs, deployment)
        for (input, partition) in zip(inputs, partitions) {
            let file = try InputFile(input, partition: partition, deployment, isForLog: true, shouldStop)
            for warning in file.warnings(deployment) { warn(warning) }
            feeds.append(
                EventFeed(file, deployment, team) { [unowned self] (block, file) throws(LogError) in keep(block, file) }
            )
        }
    }

    deinit { team.stop() }

    /// The next record; nil at the end.
    public func next() throws(LogError) -> Record? {
        if let feed = given {
            // A record is given once, however many events it holds.
            if let offset = feed.head?.pointee.offset {
                while let head = feed.head, head.pointee.offset == offset { feed.advance() }
            }
            feed.endEpoch()
            given = nil
        }
        if nextRejected == rejected.count {
            for feed in feeds {
                if let failure = feed.failure, feed.known == 0 { throw failure }
                try feed.read(atLeast: 1)
            }
        }
        if nextRejected < rejected.count { return takeRejected() }
        var best: (feed: EventFeed, event: Event)?
        for feed in feeds {
            guard let head = feed.head else {
                if let failure = feed.failure { throw failure }
                continue
            }
            if let found = best, !Event.precedes(head.pointee, found.event) { continue }
            best = (feed, head.pointee)
        }
        guard let (feed, event) = best else { return nil }
        given = feed
        clock.see(event.time)
        let subject = event.fields[deployment.description.events[Int(event.type)].subjectField]
        return Record(
            topic: Int(event.topic),
            key: copy(event, subject.textOffset, subject.textLength),
            value: copy(event, Int(event.recordOffset), Int(event.recordLength)),
            time: clock.reached
        )
    }

    private func copy(_ event: Event, _ offset: Int, _ count: Int) -> [UInt8] {
        Array(UnsafeBufferPointer(start: event.text + offset, count: count))
    }

    private func takeRejected() -> Record {
        let (topic, value, isIgnored) = rejected[nextRejected]
        nextRejected += 1
        if nextRejected == rejected.count {
            rejected.removeAll(keepingCapacity: true)
            nextRejected = 0
        }
        if isIgnored { ignored += 1 } else { unreadable += 1 }
        return Record(topic: topic, key: nil, value: value, time: clock.reached)
    }

    /// Keeps a block's records that are no events.
    private func keep(_ block: DecodedBlock, _ file: InputFile) {
        var next = 0
        var last = Int64(-1)
        for letter in block.rejected where letter.record.offset != last {
            last = letter.record.offset
            // Of one with several events some may be readable.
            while next < block.events.count, block.events[next].offset < last { next += 1 }
            if next < block.events.count, block.events[next].offset == last { continue }
            keep(letter.record, block, file, isIgnored: false)
        }
        for record in block.ignored { keep(record, block, file, isIgnored: true) }
    }

    private func keep(_ record: StagedRecord, _ block: DecodedBlock, _ file: InputFile, isIgnored: Bool) {
        guard let topic = file.decoding.topic else {
            withoutTopic += 1
            return
        }
        guard let value = block.value(of: record), value.count == record.fullLength else {
            tooLong += 1
            return
        }
        rejected.append((topic, Array(value), isIgnored))
    }
}
