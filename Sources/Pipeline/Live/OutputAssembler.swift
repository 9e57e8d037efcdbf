import Detection
import RuleLanguage

/// Turns what an epoch gave into output records: verdicts with their CloudEvents headers, rings, dead letters, late events, the
/// journal.
///
/// CloudEvents 1.0, Kafka binary mode: attributes are headers `ce_*`, the value is the data, the key is the subject. A header costs
/// both sides and the broker as much as 100 bytes of body, so what key, body or the record's append time say is in none: those
/// stand that CloudEvents requires, and what readers choose records by. `ce_epoch` is the epoch that gave the verdict: with its id
/// it is the only one in the log. Everything in a record follows from journal and inputs.
final class OutputAssembler {
    private let deployment: Deployment
    private let verdictHeaders: [UInt8]
    private let verdictHeaderCount: Int
    private var scratch = ByteBuffer(capacity: 256)
    private var text: [UInt8] = []

    init(_ deployment: Deployment) {
        self.deployment = deployment
        let constant = [
            ("ce_specversion", "1.0"), ("ce_type", "weir.verdict.v1"),
            ("ce_source", deployment.description.verdictSource), ("content-type", "application/json"),
        ]
        verdictHeaders = OutputBatch.encodedHeaders(constant)
        verdictHeaderCount = constant.count
    }

    /// Appends the verdicts of the engine's last epoch, which has this number.
    func appendVerdicts(_ engine: Engine, epoch: Int64, to batch: inout OutputBatch) {
        scratch.removeAll()
        scratch.append(epoch)
        let number = UnsafeRawBufferPointer(scratch.bytes)
        engine.forEachOutput { output in
            output.forEachVerdict { record, value, key in
                batch.append(
                    topic: OutputTopics.verdictsIndex,
                    key: key,
                    value: value,
                    constantHeaders: verdictHeaders,
                    constantCount: verdictHeaderCount
                ) { headers in
                    if let id = VerdictRecord.identifier(in: value) { headers.add("ce_id", id) }
                    headers.add("ce_epoch", number)
                    if let severity = record.severity {
                        OutputAssembler.withText(of: severity) { headers.add("ce_severitytext", $0) }
                    }
                }
            }
        }
        engine.forEachRing { ring in
            batch.append(
                topic: OutputTopics.ringsIndex,
                key: { $0.append(contentsOf: ring.key) },
                value: { $0.append(contentsOf: ring.value) },
                headers: [("content-type", Array("application/json".utf8))]
            )
        }
    }

    /// Digest of what the engine says in its last epoch: its verdicts without their `versions`, and its rings, in their order.
    ///
    /// It follows from journal, inputs, topology and release, and where a table was full from the hash key: not from times and
    /// partitions of their records, nor from the number of threads.
    static func verdictDigest(of engine: Engine) -> UInt64 {
        var digest = ContentDigest()
        engine.forEachOutput { output in
            output.forEachVerdict { _, value, _ in digest.add(VerdictRecord.judgement(in: value)) }
        }
        engine.forEachRing { ring in
            digest.add(UnsafeRawBufferPointer(ring.key))
            digest.add(UnsafeRawBufferPointer(ring.value))
        }
        return digest.value
    }

    /// Appends a block's dead letters, ordered by topic, partition and offset.
    func appendDeadLetters(_ block: DecodedBlock, sources: [TopicPartition], to batch: inout OutputBatch) {
        func origin(_ rejected: RejectedRecord) -> (TopicPartition, Int64) {
            (sources[Int(rejected.record.source)], rejected.record.offset)
        }
        for rejected in block.rejected.sorted(by: { origin($0) < origin($1) }) {
            let (source, offset) = origin(rejected)
            text.removeAll(keepingCapacity: true)
            deployment.decodePlan.appendRecord(
                of: rejected.letter,
                topic: source.topic,
                partition: source.partition,
                offset: offset,
                value: block.value(of: rejected),
                fullLength: rejected.record.fullLength,
                to: &text
            )
            let value = text
            batch.append(
                topic: OutputTopics.deadLettersIndex,
                key: {
                    $0.append(contentsOf: "\(source.topic)/\(source.partition)/\(offset)".utf8)
                    if rejected.letter.part >= 0 { $0.append(contentsOf: "#\(rejected.letter.part)".utf8) }
                },
                value: { $0.append(contentsOf: value) },
                headers: [("content-type", Array("application/json".utf8))]
            )
        }
    }

    /// Most bytes of a late event that are copied: producers refuse records above 1,000,000 bytes by default, and a batch that can
    /// never be written would end every worker that tries.
    static let lateBytesMax = 900_000

    /// Appends late events as they came, with their origin and time in headers.
    ///
    /// What is longer than ``lateBytesMax`` is cut there, and a header `weir_length` gives its full length; the event itself stands
    /// in its topic. A record with several late events is written once, with the earliest one's time, and a header `weir_parts`
    /// names them.
    func appendLate(_ events: [Event], watermark: Int64?, to batch: inout OutputBatch) {
        struct Origin: Hashable {
            var topic: UInt16
            var partition: Int32
            var offset: Int64
        }
        var parts: [Origin: [UInt16]] = [:]
        func origin(_ event: Event) -> Origin? {
            guard deployment.description.events[Int(event.type)].each != nil else { return nil }
            return Origin(topic: event.topic, partition: event.partition, offset: event.offset)
        }
        for event in events { if let origin = origin(event) { parts[origin, default: []].append(event.part) } }
        for event in events {
            let named = origin(event).map { parts[$0]?.sorted() ?? [] }
            if let origin = origin(event), parts.removeValue(forKey: origin) == nil { continue }
            let topic = deployment.description.topics[Int(event.topic)]
            let length = Int(event.recordLength)
            let record = UnsafeBufferPointer(
                start: event.text + Int(event.recordOffset),
                count: min(length, OutputAssembler.lateBytesMax)
            )
            batch.append(
                topic: OutputTopics.lateIndex,
                key: { $0.append(contentsOf: "\(topic)/\(event.partition)/\(event.offset)".utf8) },
                value: { $0.append(contentsOf: record) },
                headers: [
                    ("weir_topic", Array(topic.utf8)), ("weir_partition", Array("\(event.partition)".utf8)),
                    ("weir_offset", Array("\(event.offset)".utf8)), ("weir_event_time_ms", Array("\(event.time)".utf8)),
                    ("weir_watermark_ms", Array("\(watermark ?? 0)".utf8)),
                ] + (named.map { [("weir_parts", Array($0.map(String.init).joined(separator: ",").utf8))] } ?? [])
                    + (length > OutputAssembler.lateBytesMax ? [("weir_length", Array("\(length)".utf8))] : [])
            )
        }
    }

    /// Appends the epoch's journal record.
    func appendJournal(_ record: JournalRecord, to batch: inout OutputBatch) {
        text.removeAll(keepingCapacity: true)
        record.write(to: &text)
        scratch.removeAll()
        scratch.append(record.epoch)
        text.withUnsafeBytes { value in
            batch.append(
                topic: OutputTopics.journalIndex,
                partition: 0,
                key: UnsafeRawBufferPointer(scratch.bytes),
                value: value,
                constantHeaders: [],
                constantCount: 0
            ) { _ in }
        }
        batch.epochs = (batch.epochs?.lowerBound ?? record.epoch)...record.epoch
    }

    private static func withText(of severity: RuleSeverity, _ body: (UnsafeRawBufferPointer) -> Void) {
        let name: StaticString =
            switch severity {
            case .low: "low"
            case .medium: "medium"
            case .high: "high"
            case .critical: "critical"
            }
        body(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    }
}
