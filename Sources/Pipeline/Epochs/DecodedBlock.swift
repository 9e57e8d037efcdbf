import Detection
import Models

/// Records gathered, then decoded by all lanes at once, then an epoch: staging, the DECODE stage and what is held back, as one
/// thing.
///
/// Events point into the block until ``removeAll()``.
final class DecodedBlock {
    /// In memory of its own: copying a record must not ask the runtime whether somebody else holds the property.
    private let staging: OwnedBuffer<RecordStaging>
    private var decoding: DecodeStage
    private var held: HeldBack
    private var sourceCount: Int
    private let beside: BesideParts
    /// By source, what ``takeInputDigests()`` has found.
    private var inputDigests: [InputDigest]
    /// By source, the last record that ``takeInputDigests()`` has seen in any epoch.
    private(set) var lastTaken: [TakenRecord?]

    /// A block for partitions of a log, which hold JSON.
    convenience init(_ deployment: Deployment, sources: [TopicPartition], lanes: Int) {
        do throws(CSVHeaderError) {
            try self.init(
                plan: deployment.decodePlan,
                sources: sources.map { SourceDecoding($0, of: deployment) },
                lanes: lanes
            )
        } catch { preconditionFailure("only a CSV header is refused, and there is none") }
    }

    init(plan: DecodePlan, sources: [SourceDecoding], lanes: Int) throws(CSVHeaderError) {
        decoding = try DecodeStage(plan: plan, sources: sources, lanes: lanes)
        staging = OwnedBuffer(count: 1) { _ in RecordStaging(recordLimit: plan.limits.recordBytes) }
        held = HeldBack(sources: sources.count)
        sourceCount = sources.count
        beside = BesideParts(plan.partsBeside)
        inputDigests = [InputDigest](repeating: InputDigest(), count: sources.count)
        lastTaken = [TakenRecord?](repeating: nil, count: sources.count)
    }

    /// Takes in one more source behind those that are there; what was staged and decoded stays as it is.
    func add(_ source: SourceDecoding) {
        decoding.add(source)
        held.addSource()
        sourceCount += 1
        inputDigests.append(InputDigest())
        lastTaken.append(nil)
    }

    var stagedCount: Int { staging[0].records.count }
    /// Its memory is used up: it takes no more records.
    var isFull: Bool { staging[0].isFull }
    /// What was decoded and not held back; the epoch may put the events into another order.
    var events: UnsafeMutableBufferPointer<Event> { decoding.events }
    /// Per event, in the order of decoding, the source it came from.
    var eventSources: [Int32] { decoding.eventSources }
    var rejected: [RejectedRecord] { decoding.rejected }
    /// What is nobody's concern, as the topology says.
    var ignored: [StagedRecord] { decoding.ignored }
    /// Per source, the offset of the first record that was held back.
    var heldFrom: [Int64?] { held.from }
    /// Per source, the least event time that was held back.
    var heldTime: [Int64?] { held.time }

    /// Per source, how many records were staged; counted when asked.
    func withStagedBySource(_ body: (UnsafeMutableBufferPointer<Int>) -> Void) {
        withUnsafeTemporaryAllocation(of: Int.self, capacity: sourceCount) { counts in
            counts.initialize(repeating: 0)
            for record in staging[0].records { counts[Int(record.source)] += 1 }
            body(counts)
        }
    }

    /// Adds when the log took the staged records, where it says so; those of one time that come together as one.
    func addAppendTimes(to times: inout [AppendTime]) {
        for record in staging[0].records where record.appendTime != .min {
            if let last = times.indices.last, times[last].milliseconds == record.appendTime {
                times[last].count += 1
            } else {
                times.append(AppendTime(milliseconds: record.appendTime, count: 1))
            }
        }
    }

    /// Copies a record; of one over the limit only as much as a dead letter shows.
    func stage(source: Int, offset: Int64, appendTime: Int64?, value: UnsafeRawBufferPointer?, fullLength: Int? = nil) {
        staging[0].append(source: source, offset: offset, appendTime: appendTime, value: value, fullLength: fullLength)
    }

    /// Whether its records are to be lent with their headers.
    var wantsHeaders: Bool { beside.wantsHeaders }

    /// Copies a log's record, with what the topology wants beside its value.
    func stage(_ record: LogRecord, source: Int) {
        staging[0].append(
            source: source,
            offset: record.offset,
            appendTime: record.appendTime,
            value: record.value,
            beside: beside.parts(of: record),
            digest: ContentDigest.of(record)
        )
    }

    /// Copies a record that was taken off its log before, with what was kept beside its value and its ``ContentDigest``.
    func stage(
        source: Int,
        offset: Int64,
        appendTime: Int64?,
        value: UnsafeRawBufferPointer?,
        beside: [UInt8],
        digest: UInt64
    ) {
        beside.withUnsafeBytes {
            staging[0].append(
                source: source,
                offset: offset,
                appendTime: appendTime,
                value: value,
                beside: $0,
                digest: digest
            )
        }
    }

    /// What the topology wants of a record beside its value, as ``stage(source:offset:appendTime:value:beside:digest:)`` takes it.
    func partsBeside(_ record: LogRecord) -> [UInt8] { [UInt8](beside.parts(of: record)) }

    /// Per source, the digest of the log's records that are staged and not held back, in the order of their offsets.
    ///
    /// It follows from the records alone: not from the polls that brought them, nor from what became of them, be they events, dead
    /// letters or nobody's concern. Valid until the next call.
    func takeInputDigests() -> [InputDigest] {
        let empty = ContentDigest().value
        let fresh = InputDigest(content: empty, headers: beside.wantsHeaders ? empty : nil)
        for source in inputDigests.indices { inputDigests[source] = fresh }
        staging[0].records.withUnsafeBufferPointer { records in
            var at = 0
            while at < records.count {
                // Of one source the records stand in their order, and mostly many of one source stand together.
                let source = records[at].source
                let first = at
                while at < records.count, records[at].source == source { at += 1 }
                take(UnsafeBufferPointer(rebasing: records[first..<at]), of: Int(source))
            }
        }
        return inputDigests
    }

    private func take(_ records: UnsafeBufferPointer<StagedRecord>, of source: Int) {
        var content = ContentDigest(continuing: inputDigests[source].content)
        for record in records { content.add(record.digest, 0) }
        inputDigests[source].content = content.value
        if let last = records.last { lastTaken[source] = TakenRecord(offset: last.offset, digest: last.digest) }
        guard let former = inputDigests[source].headers else { return }
        var headers = ContentDigest(continuing: former)
        for record in records { headers.add(record.beside(in: staging[0].bytes)) }
        inputDigests[source].headers = headers.value
    }

    /// Decodes all staged records.
    func decode(_ team: ThreadTeam) {
        let lanes = team.lanes(for: staging[0].records.count)
        staging[0].records.withUnsafeBufferPointer { records in
            decoding.begin(records, bytes: staging[0].bytes, lanes: lanes)
            team.run(lanes: lanes) { decoding.run($0) }
            decoding.end()
        }
    }

    /// Sets aside, for the next epoch, what each source holds from its first event after `time` on; after ``decode(_:)``.
    ///
    /// So a source that was read further than the others waits for them. ``removeAll()`` then keeps these records as the first ones
    /// staged.
    ///
    /// - Parameter isOutlier: whether an event, by its index, is no reason to set anything aside.
    func hold(after time: Int64, isOutlier: (Int) -> Bool) {
        held.take(after: time, of: &decoding, &staging[0], isOutlier: isOutlier)
    }

    /// Copies the records that became events into another block for the same sources, to be decoded there once more; before the
    /// events are put into another order.
    func stageEvents(into other: DecodedBlock) {
        var next = 0
        for record in staging[0].records {
            guard next < events.count else { return }
            if events[next].offset != record.offset { continue }
            while next < events.count, events[next].offset == record.offset { next += 1 }
            other.stage(
                source: Int(record.source),
                offset: record.offset,
                appendTime: record.appendTime == .min ? nil : record.appendTime,
                value: record.value(in: staging[0].bytes),
                fullLength: record.fullLength
            )
        }
    }

    /// The bytes of a rejected record; nil for a tombstone.
    func value(of rejected: RejectedRecord) -> UnsafeRawBufferPointer? { value(of: rejected.record) }

    /// The bytes of a staged record; nil for a tombstone.
    func value(of record: StagedRecord) -> UnsafeRawBufferPointer? { record.value(in: staging[0].bytes) }

    /// Forgets records and events but those set aside, which become records to decode again; keeps the memory.
    func removeAll() {
        held.release(into: &staging[0])
        decoding.removeAll()
    }
}

extension SourceDecoding {
    /// A partition of a log, which holds JSON.
    init(_ source: TopicPartition, of deployment: Deployment) {
        self.init(topic: deployment.description.topics.firstIndex(of: source.topic), partition: source.partition)
    }
}
