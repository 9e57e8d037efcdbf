import Detection

/// Replays the whole journal from the inputs and compares every committed verdict with what comes out: `weir audit`.
///
/// Key, value and headers must be equal byte for byte; only the recorded time, which is a wall clock's, may differ. Of each verdict 32 bytes
/// are kept (id and half a SHA-256), so memory grows with the number of verdicts and not with their size. It reads committed records only, owns
/// nothing and writes nothing, and so may run beside the pipeline: verdicts about events behind the journal's end as it was found are left out.
public final class JournalAudit {
    /// What was found.
    public struct Result: Sendable, Equatable {
        /// Epochs in the journal.
        public var epochs: Int64 = 0
        /// Records its ranges hold.
        public var inputs: Int64 = 0
        /// Committed verdicts about them in the log.
        public var verdicts: Int64 = 0
        /// Verdicts that the replay gives and the log does not hold.
        public var missing: Int64 = 0
        /// Verdicts that the log holds again.
        public var repeated: Int64 = 0
        /// Verdicts with other bytes than the replay's, or that the replay does not give at all.
        public var different: Int64 = 0
        /// Some of them, at most ``JournalAudit/findingsMax``, the same in every run: what the log holds as it comes in the log, then what is
        /// missing by its id.
        public var findings: [Finding] = []
        /// False when the audit was stopped before its end.
        public var isComplete = true
        /// Partitions of the verdict topic whose beginning is gone, with the first offset there.
        public var shortened: [SourcePosition] = []

        /// Whether log and replay agree in everything.
        public var isClean: Bool { missing == 0 && repeated == 0 && different == 0 }
    }

    /// One verdict that is not as it should be.
    public struct Finding: Sendable, Equatable {
        /// The verdict's id, or `partition/offset` where the record is no verdict.
        public var verdict: String
        /// Why, for people.
        public var reason: String
    }

    /// Most findings that a result lists.
    public static let findingsMax = 20

    private struct Identifier: Hashable, Comparable {
        var high: UInt64
        var low: UInt64

        static func < (a: Identifier, b: Identifier) -> Bool { (a.high, a.low) < (b.high, b.low) }
    }
    private struct Expected {
        var high: UInt64
        var low: UInt64
        var isSeen = false
    }

    private let deployment: Deployment
    private let log: any LogReader
    private let team: ThreadTeam
    private let assembler: OutputAssembler
    private var batch = OutputBatch(topics: OutputTopics.all)
    private var expected: [Identifier: Expected] = [:]
    private var result = Result()

    /// - Parameters:
    ///   - log: only read from.
    ///   - threads: do not change the result.
    public init(_ deployment: Deployment, log: any LogReader, threads: Int) {
        self.deployment = deployment
        self.log = log
        team = ThreadTeam(lanes: threads)
        assembler = OutputAssembler(deployment)
    }

    deinit { team.stop() }

    /// Runs the audit; takes about as long as a recovery and one reading of the verdicts.
    ///
    /// - Parameter goOn: asked once per epoch with the number of epochs done, and now and then while verdicts are read; false stops the audit.
    /// - Throws: ``LogError``: `refused` when another topology wrote the journal; `incompatible` when epochs were judged by other rules than the
    ///   deployment's; `outOfRange` when journal or inputs have lost their beginning; `corrupt` when the journal contradicts itself or its
    ///   inputs.
    public func run(goOn: (_ epochs: Int64) -> Bool) throws(LogError) -> Result {
        result = Result()
        expected = [:]
        guard try log.partitions(of: OutputTopics.journal) != nil else {
            throw LogError(
                .refused,
                "the log has no topic \(OutputTopics.journal): nothing ran on it yet. Check which log was named")
        }
        // Before the replay, which with other rules would fail in less clear words.
        try checkJournal()
        let sources = try Worker.sources(of: deployment, in: log)
        let ends = try replay(sources, goOn)
        if result.isComplete { try compare(sources, ends, goOn) }
        if result.isComplete {
            // A dictionary's order is another one in each process: sorted before it is cut, so that every run names the same ones.
            let missing = expected.filter { !$0.value.isSeen }.keys.sorted()
            result.missing += Int64(missing.count)
            for id in missing.prefix(JournalAudit.findingsMax - result.findings.count) {
                add(JournalAudit.text(of: id), "missing: the replay gives it, the log does not hold it")
            }
            result.findings.sort { $0.verdict < $1.verdict }
        }
        expected = [:]
        return result
    }

    // MARK: What there should be

    private func checkJournal() throws(LogError) {
        let journal = TopicPartition(OutputTopics.journal, 0)
        let (start, end) = try log.bounds(of: journal)
        var failure: LogError?
        try log.read(journal, from: start, to: end) { record, _ in
            guard let value = record.value else { return true }
            do throws(LogError) { try check(JournalRecord(parsing: value)) } catch { failure = error }
            return failure == nil
        }
        if let failure { throw failure }
    }

    private func check(_ record: JournalRecord) throws(LogError) {
        try record.requireTopology(deployment.description.name)
        let pairs = [
            ("topology", record.topologyDigest, deployment.topologyDigest),
            ("release", record.releaseDigest, deployment.release.digest),
        ]
        guard let (what, wanted, got) = pairs.first(where: { $0.1 != $0.2 }) else { return }
        throw LogError(
            .incompatible,
            "epoch \(record.epoch) was judged with \(what) \(wanted.prefix(16)) and the folder has \(got.prefix(16)): "
                + "audit with the folder as it was then (weir check shows a folder's digests)")
    }

    /// Replays the journal and keeps what it gives; answers the offset behind the last replayed one of each source.
    private func replay(_ sources: [TopicPartition], _ goOn: (Int64) -> Bool) throws(LogError) -> [Int64] {
        let block = DecodedBlock(deployment, sources: sources, lanes: team.lanes)
        let processor = EpochProcessor(deployment, team: team)
        let replay = JournalReplay(log, deployment, sources: sources, block: block, processor: processor)
        try replay.run(seen: { _, _ in }) { (record) throws(LogError) in
            // The journal may have grown since it was checked.
            try check(record)
            result.epochs += 1
            result.inputs += processor.counts.records
            try expect(processor.engine)
            if goOn(result.epochs) { return true }
            result.isComplete = false
            return false
        }
        return replay.next
    }

    private func expect(_ engine: Engine) throws(LogError) {
        batch.removeAll()
        assembler.appendVerdicts(engine, recordedMilliseconds: 0, to: &batch)
        try batch.withParts { (record, key, value, _) throws(LogError) in
            guard record.topic == OutputTopics.verdictsIndex, let value else { return }
            guard let id = JournalAudit.identifier(in: value) else {
                preconditionFailure("a verdict begins with its id")
            }
            var digest = Digest(key: key, value: value)
            batch.forEachHeader(record) { digest.addHeader($0, $1) }
            let (high, low) = digest.finish()
            expected[id] = Expected(high: high, low: low)
        }
    }

    // MARK: What there is

    private func compare(_ sources: [TopicPartition], _ ends: [Int64], _ goOn: (Int64) -> Bool) throws(LogError) {
        for partition in try log.partitions(of: OutputTopics.verdicts) ?? [] {
            let source = TopicPartition(OutputTopics.verdicts, partition)
            let (start, end) = try log.bounds(of: source)
            if start > 0 { result.shortened.append(SourcePosition(source: source, next: start)) }
            var count = 0
            try log.read(source, from: start, to: end) { record, headers in
                compare(record, headers, partition, sources, ends)
                count += 1
                if count % 4096 == 0, !goOn(result.epochs) { result.isComplete = false }
                return result.isComplete
            }
            if !result.isComplete { return }
        }
    }

    private func compare(
        _ record: LogRecord, _ headers: [(String, UnsafeRawBufferPointer)], _ partition: Int32,
        _ sources: [TopicPartition],
        _ ends: [Int64]
    ) {
        if record.isSettling { return }
        guard let value = record.value, let id = JournalAudit.identifier(in: value),
            let event = JournalAudit.eventReference(in: value)
        else {
            result.verdicts += 1
            report(
                "\(OutputTopics.verdicts)/\(partition)/\(record.offset)", "different: the record is no verdict of weir")
            return
        }
        guard var verdict = expected[id] else {
            if let source = sources.firstIndex(of: event.source), event.offset >= ends[source] {
                // Committed after the journal's end was taken.
                return
            }
            result.verdicts += 1
            report(
                JournalAudit.text(of: id),
                "different: the log holds it about \(event.source)/\(event.offset), the replay does not give it")
            return
        }
        result.verdicts += 1
        if verdict.isSeen {
            result.repeated += 1
            add(JournalAudit.text(of: id), "repeated: again at \(OutputTopics.verdicts)/\(partition)/\(record.offset)")
            return
        }
        verdict.isSeen = true
        expected[id] = verdict
        var digest = Digest(key: record.key, value: value)
        for (name, header) in headers {
            var name = name
            name.withUTF8 { digest.addHeader(UnsafeRawBufferPointer($0), header) }
        }
        let (high, low) = digest.finish()
        if (high, low) != (verdict.high, verdict.low) {
            report(
                JournalAudit.text(of: id),
                "different: key, value or headers at \(OutputTopics.verdicts)/\(partition)/\(record.offset) are not those of the replay"
            )
        }
    }

    private func report(_ verdict: String, _ reason: String) {
        result.different += 1
        add(verdict, reason)
    }

    private func add(_ verdict: String, _ reason: String) {
        if result.findings.count < JournalAudit.findingsMax {
            result.findings.append(Finding(verdict: verdict, reason: reason))
        }
    }
}

extension JournalAudit {
    /// SHA-256 over all that must be equal, each part with its length before it.
    private struct Digest: ~Copyable {
        private var state = SHA256()

        init(key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer) {
            add(key)
            add(value)
        }

        mutating func addHeader(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
            if name.elementsEqual("ce_recordedtime".utf8) { return }
            add(name)
            add(value)
        }

        private mutating func add(_ part: UnsafeRawBufferPointer?) {
            withUnsafeBytes(of: Int64(part?.count ?? -1).littleEndian) { state.update($0) }
            if let part { state.update(part) }
        }

        /// The first 128 bits.
        consuming func finish() -> (high: UInt64, low: UInt64) {
            state.finish().withUnsafeBytes {
                ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            }
        }
    }

    /// The id at the beginning of a verdict.
    private static func identifier(in value: UnsafeRawBufferPointer) -> Identifier? {
        guard let text = VerdictRecord.identifier(in: value) else { return nil }
        var words: [UInt64] = [0, 0]
        var digits = 0
        for (i, byte) in text.enumerated() {
            if i == 8 || i == 13 || i == 18 || i == 23 {
                if byte != UInt8(ascii: "-") { return nil }
                continue
            }
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            words[digits / 16] = words[digits / 16] << 4 | UInt64(digit)
            digits += 1
        }
        return Identifier(high: words[0], low: words[1])
    }

    private static func text(of id: Identifier) -> String {
        func hex(_ word: UInt64) -> String {
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        let all = Array(hex(id.high) + hex(id.low))
        return [all[0..<8], all[8..<12], all[12..<16], all[16..<20], all[20..<32]].map { String($0) }.joined(
            separator: "-")
    }

    /// The event a verdict is about.
    ///
    /// Quotes inside a JSON string are escaped, so the keys with theirs cannot stand in one.
    private static func eventReference(in value: UnsafeRawBufferPointer) -> (source: TopicPartition, offset: Int64)? {
        var at = 0
        func skip(past text: StaticString) -> Bool {
            let length = text.utf8CodeUnitCount
            let wanted = UnsafeBufferPointer(start: text.utf8Start, count: length)
            while at + length <= value.count {
                if value[at] == wanted[0], value[at..<(at + length)].elementsEqual(wanted) {
                    at += length
                    return true
                }
                at += 1
            }
            return false
        }
        func number() -> Int64? {
            let start = at
            while at < value.count, value[at] >= 48, value[at] <= 57 { at += 1 }
            return Int64(String(decoding: value[start..<at], as: UTF8.self))
        }
        guard skip(past: "\"event\":{\"type\":\""), skip(past: "\"topic\":\"") else { return nil }
        let start = at
        while at < value.count, value[at] != UInt8(ascii: "\"") { at += 1 }
        let topic = String(decoding: value[start..<at], as: UTF8.self)
        guard skip(past: "\"partition\":"), let partition = number().flatMap({ Int32(exactly: $0) }),
            skip(past: "\"offset\":"),
            let offset = number()
        else { return nil }
        return (TopicPartition(topic, partition), offset)
    }
}
