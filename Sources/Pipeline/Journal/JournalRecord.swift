public import Detection

/// One record of the journal topic: what one epoch was made of.
///
/// Everything that is not in the inputs but changes a result is in here.
///
/// JSON, UTF-8, fixed key order: `version` first, so that a program that is older than a record says so before it meets a key it
/// does not know:
/// ```
/// {"version":5,"epoch":12,"topology_name":"marketplace","watermark":1767600000000,
///  "ranges":[["orders",0,100,150,"00f1…"]],"records":50,"events":50,"dead_letters":0,"late":0,"verdicts":3,
///  "topology":"sha256…","release":"sha256…","engine":"0.1.0","input_digest":"9c4e…","verdict_digest":"37aa…",
///  "key":"0123456789abcdef"}
/// ```
/// `topology_name` says whose journal this is: a log has one, and the ids of the verdicts come from that name. A range is topic,
/// partition, first offset, the offset behind the last, and the ``InputDigest`` of what lay between them, of two parts where the
/// topology reads headers. `input_digest` is chained over all of that and over the epochs before, see
/// ``chainedInputDigest(after:)``: equal ones stand for equal histories. `verdict_digest` is of what was said, see
/// ``OutputAssembler/verdictDigest(of:)``, and `engine` is the version of the program that said it. Digests are 16 hexadecimal
/// digits. `watermark` is the one in force while the epoch was judged (absent
/// before there is one); it carries every decision about idle partitions. `triggers` holds what else was decided before the events,
/// `[["end_tick",1767600001000]]`: in silence event time had come to there; absent where nothing was. `aligned` names the
/// partitions, `[["orders",3,1767596400000]]`, whose events from a time on were judged at their own time though the watermark had
/// passed it, as their source had been idle; absent where there was none. Of the counts, `ignored`, `early`, `set_aside` and
/// `duplicates` are absent where they are 0; see ``EpochCounts``.
///
/// Version 4 had neither digests nor `engine`. Its records are read, and a journal that begins with them goes on in version 5: what
/// they were made from is proven by counts alone.
public struct JournalRecord: Sendable, Equatable {
    /// What an epoch took from one partition: offsets `from` and up to, without, `to`.
    public struct Range: Sendable, Equatable {
        public var source: TopicPartition
        public var from: Int64
        public var to: Int64
        /// Of the records between; nil in version 4.
        public var digest: InputDigest?
        public init(source: TopicPartition, from: Int64, to: Int64, digest: InputDigest? = nil) {
            self.source = source
            self.from = from
            self.to = to
            self.digest = digest
        }
    }

    /// A source that had been idle: its events at or after `from` are judged at their own time, whatever the watermark.
    public struct Aligned: Sendable, Equatable {
        public var source: TopicPartition
        public var from: Int64
        public init(source: TopicPartition, from: Int64) {
            self.source = source
            self.from = from
        }
    }

    /// By what an epoch can be checked again.
    public struct Proof: Sendable, Equatable {
        /// The version of the program, ``Deployment/engineVersion``.
        public var engine: String
        /// Of all that this epoch and those before it were given.
        public var inputDigest: UInt64
        /// Of what was said.
        public var verdictDigest: UInt64
        public init(engine: String, inputDigest: UInt64, verdictDigest: UInt64) {
            self.engine = engine
            self.inputDigest = inputDigest
            self.verdictDigest = verdictDigest
        }
    }

    /// Version of this format, and of the one before, which is read too.
    public static let version: Int64 = 5
    static let formerVersion: Int64 = 4

    public var epoch: Int64
    /// Name of the topology that judged the epoch: letters, digits and dashes.
    public var topologyName: String
    public var watermark: Int64?
    public var triggers: [Trigger]
    public var aligned: [Aligned]
    public var ranges: [Range]
    /// As the journal names them: the others are 0.
    public var counts: EpochCounts
    public var topologyDigest: String
    /// Digest of the ``Release`` that judged the epoch.
    public var releaseDigest: String
    /// What only version 5 says; nil in version 4.
    public var proof: Proof?
    /// ``HashKey/fingerprint`` of the secret under which identifiers were hashed; nil: the record does not say.
    ///
    /// No result depends on the key but by what a table forgets when it is full; and it tells whose snapshots are of use.
    public var keyFingerprint: String?

    public init(
        epoch: Int64,
        topologyName: String,
        watermark: Int64?,
        triggers: [Trigger] = [],
        aligned: [Aligned] = [],
        ranges: [Range],
        counts: EpochCounts,
        topologyDigest: String,
        releaseDigest: String,
        proof: Proof? = nil,
        keyFingerprint: String? = nil
    ) {
        self.epoch = epoch
        self.topologyName = topologyName
        self.watermark = watermark
        self.triggers = triggers
        self.aligned = aligned
        self.ranges = ranges
        self.counts = counts.asJournaled
        self.topologyDigest = topologyDigest
        self.releaseDigest = releaseDigest
        self.proof = proof
        self.keyFingerprint = keyFingerprint
    }

    /// Appends the record's JSON.
    public func write(to bytes: inout [UInt8]) {
        // Piece by piece, for a String of the whole would be made in a dozen allocations; a number of up to fifteen digits takes
        // none.
        func add(_ text: String) { bytes.append(contentsOf: text.utf8) }
        func add(_ label: String, _ number: Int64) {
            add(label)
            add(String(number))
        }
        func add(_ label: String, digest: UInt64) {
            add(label)
            for shift in stride(from: 60, through: 0, by: -4) {
                bytes.append(Hexadecimal.digit(UInt8(truncatingIfNeeded: digest >> UInt64(shift)) & 15))
            }
            add("\"")
        }
        add("{\"version\":", proof == nil ? JournalRecord.formerVersion : JournalRecord.version)
        add(",\"epoch\":", epoch)
        // Nothing in a topology's name is to be escaped either.
        add(",\"topology_name\":\"")
        add(topologyName)
        add("\"")
        if let watermark { add(",\"watermark\":", watermark) }
        for (i, trigger) in triggers.enumerated() {
            switch trigger {
            case .endTick(let time): add(i == 0 ? ",\"triggers\":[[\"end_tick\"," : ",[\"end_tick\",", time)
            }
            add(i == triggers.count - 1 ? "]]" : "]")
        }
        for (i, one) in aligned.enumerated() {
            add(i == 0 ? ",\"aligned\":[[\"" : ",[\"")
            add(one.source.topic)
            add("\",", Int64(one.source.partition))
            add(",", one.from)
            add(i == aligned.count - 1 ? "]]" : "]")
        }
        add(",\"ranges\":[")
        for (i, range) in ranges.enumerated() {
            // Topic names are letters, digits, dots, dashes and underscores: nothing to escape.
            add(i == 0 ? "[\"" : ",[\"")
            add(range.source.topic)
            add("\",", Int64(range.source.partition))
            add(",", range.from)
            add(",", range.to)
            if let digest = range.digest {
                add(",\"", digest: digest.content)
                if let headers = digest.headers { add(",\"", digest: headers) }
            }
            add("]")
        }
        add("]")
        for one in EpochCounts.journaled where !one.isOptional || counts[keyPath: one.count] != 0 {
            add(",\"")
            one.key.withUTF8Buffer { bytes.append(contentsOf: $0) }
            add("\":", counts[keyPath: one.count])
        }
        add(",\"topology\":\"")
        add(topologyDigest)
        add("\",\"release\":\"")
        add(releaseDigest)
        add("\"")
        if let proof {
            // A version is digits, letters, dots, dashes and a plus.
            add(",\"engine\":\"")
            add(proof.engine)
            add("\",\"input_digest\":\"", digest: proof.inputDigest)
            add(",\"verdict_digest\":\"", digest: proof.verdictDigest)
        }
        if let keyFingerprint {
            add(",\"key\":\"")
            add(keyFingerprint)
            add("\"")
        }
        add("}")
    }

    /// Reads a record; a text that is not one says where it stops making sense.
    public init(parsing bytes: UnsafeRawBufferPointer) throws(LogError) {
        var reader = Reader(bytes: bytes)
        self.init(
            epoch: -1,
            topologyName: "",
            watermark: nil,
            ranges: [],
            counts: EpochCounts(),
            topologyDigest: "",
            releaseDigest: ""
        )
        try reader.expect("{")
        let version = try JournalRecord.requireVersion(&reader)
        var (engine, inputDigest, verdictDigest) = (String?.none, UInt64?.none, UInt64?.none)
        var seen: Set<String> = []
        while reader.take(",") {
            let name = try reader.string()
            try reader.expect(":")
            guard seen.insert(name).inserted else { throw reader.damaged("a second '\(name)'") }
            switch name {
            case "epoch": epoch = try reader.integer()
            case "topology_name": topologyName = try reader.string()
            case "watermark": watermark = try reader.integer()
            case "topology": topologyDigest = try reader.string()
            case "release": releaseDigest = try reader.string()
            case "key": keyFingerprint = try reader.string()
            case "engine" where version == JournalRecord.version: engine = try reader.string()
            case "input_digest" where version == JournalRecord.version: inputDigest = try reader.digest()
            case "verdict_digest" where version == JournalRecord.version: verdictDigest = try reader.digest()
            case "triggers":
                try reader.expect("[")
                while !reader.take("]") {
                    if !triggers.isEmpty { try reader.expect(",") }
                    try reader.expect("[")
                    guard try reader.string() == "end_tick" else { throw reader.damaged("a trigger") }
                    try reader.expect(",")
                    triggers.append(.endTick(at: try reader.integer()))
                    try reader.expect("]")
                }
            case "aligned":
                try reader.expect("[")
                while !reader.take("]") {
                    if !aligned.isEmpty { try reader.expect(",") }
                    try reader.expect("[")
                    let topic = try reader.string()
                    try reader.expect(",")
                    guard let partition = Int32(exactly: try reader.integer()) else {
                        throw reader.damaged("a partition")
                    }
                    try reader.expect(",")
                    let from = try reader.integer()
                    try reader.expect("]")
                    aligned.append(Aligned(source: TopicPartition(topic, partition), from: from))
                }
            case "ranges": ranges = try JournalRecord.ranges(&reader, version)
            default:
                guard let one = EpochCounts.journaled.first(where: { $0.key.description == name }) else {
                    throw reader.damaged("no key '\(name)'")
                }
                counts[keyPath: one.count] = try reader.integer()
                guard counts[keyPath: one.count] >= 0 else { throw reader.damaged("a count below 0") }
            }
        }
        try reader.expect("}")
        guard reader.isAtEnd else { throw reader.damaged("more behind its end") }
        if version == JournalRecord.version {
            guard let engine, let inputDigest, let verdictDigest else { throw reader.damaged("no engine or digests") }
            proof = Proof(engine: engine, inputDigest: inputDigest, verdictDigest: verdictDigest)
        }
        // The number after it is a number too.
        guard (0..<Int64.max).contains(epoch) else { throw reader.damaged("no epoch number") }
        // Never taken for ours on trust: a build before the first release left the name out, and so may another program.
        guard !topologyName.isEmpty else {
            throw LogError(
                .corrupt,
                "the journal's epoch \(epoch) does not say which topology wrote it: start anew (weir run --start-anew) with an empty journal"
            )
        }
    }

    /// Takes the ranges.
    private static func ranges(_ reader: inout Reader, _ version: Int64) throws(LogError) -> [Range] {
        var ranges: [Range] = []
        try reader.expect("[")
        while !reader.take("]") {
            if !ranges.isEmpty { try reader.expect(",") }
            try reader.expect("[")
            let topic = try reader.string()
            try reader.expect(",")
            let partition = try reader.integer()
            try reader.expect(",")
            let from = try reader.integer()
            try reader.expect(",")
            let to = try reader.integer()
            var digest: InputDigest?
            if version == JournalRecord.version {
                try reader.expect(",")
                digest = InputDigest(content: try reader.digest())
                if reader.take(",") { digest?.headers = try reader.digest() }
            }
            try reader.expect("]")
            guard let partition = Int32(exactly: partition), from >= 0, from <= to else {
                throw reader.damaged("a range")
            }
            ranges.append(Range(source: TopicPartition(topic, partition), from: from, to: to, digest: digest))
        }
        return ranges
    }

    /// Takes the first key and its value; what another version says behind it is not looked at.
    private static func requireVersion(_ reader: inout Reader) throws(LogError) -> Int64 {
        let name = try reader.string()
        try reader.expect(":")
        // The first version stood at the record's end.
        let version = name == "epoch" ? 1 : try reader.integer()
        guard name == "version" || name == "epoch" else { throw reader.damaged("'version' expected first") }
        guard version == JournalRecord.version || version == formerVersion else {
            throw LogError(
                .incompatible,
                "the journal is of version \(version), this program reads \(formerVersion) and \(JournalRecord.version): use the release that wrote it, "
                    + "or start anew (weir run --start-anew) with an empty journal"
            )
        }
        return version
    }

    private struct Reader {
        let bytes: UnsafeRawBufferPointer
        var at = 0

        var isAtEnd: Bool { at == bytes.count }

        func damaged(_ what: String) -> LogError {
            LogError(
                .corrupt,
                "the journal holds a record that Weir did not write (\(what), byte \(at)): check which program writes to its topic"
            )
        }

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard at < bytes.count, bytes[at] == UInt8(ascii: character) else { return false }
            at += 1
            return true
        }

        mutating func expect(_ character: Unicode.Scalar) throws(LogError) {
            if !take(character) { throw damaged("'\(character)' expected") }
        }

        mutating func integer() throws(LogError) -> Int64 {
            let start = at
            if at < bytes.count, bytes[at] == UInt8(ascii: "-") { at += 1 }
            while at < bytes.count, bytes[at] >= 48, bytes[at] <= 57 { at += 1 }
            guard let value = Int64(String(decoding: bytes[start..<at], as: UTF8.self)) else {
                throw damaged("a number expected")
            }
            return value
        }

        mutating func digest() throws(LogError) -> UInt64 {
            let text = try string()
            guard text.utf8.count == 16, let value = UInt64(text, radix: 16) else { throw damaged("a digest expected") }
            return value
        }

        mutating func string() throws(LogError) -> String {
            try expect("\"")
            let start = at
            while at < bytes.count, bytes[at] != UInt8(ascii: "\"") {
                if bytes[at] == UInt8(ascii: "\\") { throw damaged("an escape") }
                at += 1
            }
            let text = String(decoding: bytes[start..<at], as: UTF8.self)
            try expect("\"")
            return text
        }
    }
}

extension JournalRecord {
    /// Digest of all that the epochs up to this one were given: what was taken of which source, the watermark, and what else was
    /// decided.
    ///
    /// What was made of it, by whom, is no part of it: it names a history. Equal ones mean that two epochs, of one journal or two,
    /// stand behind the same records in the same cuts.
    ///
    /// - Parameter former: of the epoch before; nil: there is none, or it was journaled in version 4. Then nothing before it is
    ///   proven.
    func chainedInputDigest(after former: UInt64?) -> UInt64 {
        var digest = former.map { ContentDigest(continuing: $0) } ?? ContentDigest()
        digest.add(epoch, watermark ?? .min)
        digest.add(Int64(triggers.count), Int64(aligned.count))
        for trigger in triggers {
            switch trigger {
            case .endTick(let time): digest.add(1, time)
            }
        }
        for one in aligned {
            digest.add(one.source.topic)
            digest.add(Int64(one.source.partition), one.from)
        }
        for range in ranges {
            digest.add(range.source.topic)
            digest.add(Int64(range.source.partition), range.from)
            digest.add(UInt64(bitPattern: range.to), range.digest?.content ?? 0)
            if let headers = range.digest?.headers { digest.add(headers, 1) }
        }
        return digest.value
    }
}
