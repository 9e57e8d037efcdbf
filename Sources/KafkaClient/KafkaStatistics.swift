/// What is worth watching of librdkafka's statistics: lag, round trips, messages, the state of the transaction.
///
/// A reader of the JSON that a client emits every `statistics.interval.ms`, tolerant on purpose: unknown members are stepped over,
/// known ones that are missing or of another type stay nil or 0, since the members differ between versions of librdkafka. One pass
/// over some kilobytes, no recursion into what is unknown. Members: github.com/confluentinc/librdkafka/blob/master/STATISTICS.md.
public struct KafkaStatistics: Sendable, Equatable {
    /// One partition of a topic that a client knows.
    public struct Partition: Sendable, Equatable {
        public var topic: String
        public var partition: Int32
        /// Whether the consumer was told to fetch it; it knows of the topic's others too, after some minutes also of new ones.
        public var isAssigned = false
        /// Behind the last record, and behind the last one that no open transaction keeps back; nil when not known yet.
        public var end: Int64?
        public var stableEnd: Int64?
        /// Behind the last record that the application took.
        public var taken: Int64?
        /// Where fetching stands, when the application has taken all that was fetched: beyond `taken` by markers of transactions.
        public var fetched: Int64?
        /// The broker that is asked for its records; nil: none is.
        public var broker: Int32?
    }

    /// One broker that a client knows by an address.
    public struct Broker: Sendable, Equatable {
        public var id: Int32 = -1
        /// Host and port.
        public var address = ""
        /// There is a connection.
        public var isConnected = false
        /// Requests wait for an answer.
        public var isAwaited = false
        /// How long it has said nothing, seconds; nil: it never said anything.
        public var silence: Double?
    }

    /// The client's name, such as `weir-shop-0#consumer-2`: another one for each client made.
    public var name = ""
    /// Whether it is a producer; consumers are the others.
    public var isProducer = false
    /// When the client reported, seconds since 1970; nil when it does not say.
    public var time: Double?
    /// Messages sent to and received from the brokers since the client was made.
    public var messagesSent = 0
    public var messagesReceived = 0
    /// The longest median round trip among the brokers asked in the last interval, seconds; nil when none was.
    ///
    /// A consumer's includes how long the broker holds an empty fetch back, see ``Consumer/Options/fetchWaitMilliseconds``.
    public var roundTripSeconds: Double?
    /// The state of the transaction as librdkafka names it, such as `Ready` or `AbortableError`; nil without transactions.
    public var transactionState: String?
    public var partitions: [Partition] = []
    public var brokers: [Broker] = []

    /// Reads one emission; nil when it is no JSON object.
    public init?(json: UnsafeRawBufferPointer) {
        var reader = StatisticsReader(json)
        var found = KafkaStatistics()
        let isObject = reader.members { reader, key in
            switch key {
            case "name": found.name = reader.string() ?? ""
            case "type": found.isProducer = reader.string() == "producer"
            case "time": found.time = reader.number()
            case "txmsgs": found.messagesSent = Int(reader.number() ?? 0)
            case "rxmsgs": found.messagesReceived = Int(reader.number() ?? 0)
            case "brokers": _ = reader.members { reader, _ in found.readBroker(&reader) }
            case "topics": _ = reader.members { reader, topic in found.readTopic(&reader, topic) }
            case "eos":
                _ = reader.members { reader, key in
                    if key == "txn_state" { found.transactionState = reader.string() } else { reader.skip() }
                }
            default: reader.skip()
            }
        }
        guard isObject, !reader.isBroken else { return nil }
        // A consumer and a plain producer have the state too, for ever in its first value.
        if found.transactionState == "Init" { found.transactionState = nil }
        self = found
    }

    private init() {}

    private mutating func readBroker(_ reader: inout StatisticsReader) {
        var median: Double?
        var count = 0.0
        var broker = Broker()
        // Coordinators are the others once more, under a name instead of an address.
        var isLogical = false
        _ = reader.members { reader, key in
            switch key {
            case "nodeid": broker.id = reader.number().flatMap { Int32(exactly: $0.rounded()) } ?? -1
            case "nodename": broker.address = reader.string() ?? ""
            case "source":
                let source = reader.string()
                isLogical = source == "logical" || source == "internal"
            case "state": broker.isConnected = reader.string() == "UP"
            case "waitresp_cnt": broker.isAwaited = reader.number() ?? 0 > 0
            case "rxidle": broker.silence = reader.number().flatMap { $0 >= 0 ? $0 / 1e6 : nil }
            case "rtt":
                _ = reader.members { reader, key in
                    switch key {
                    case "p50": median = reader.number()
                    case "cnt": count = reader.number() ?? 0
                    default: reader.skip()
                    }
                }
            default: reader.skip()
            }
        }
        if !isLogical, !broker.address.isEmpty { brokers.append(broker) }
        // Without a request in the interval the median is a 0 that says nothing.
        guard let median, count > 0 else { return }
        roundTripSeconds = max(roundTripSeconds ?? 0, median / 1e6)
    }

    private mutating func readTopic(_ reader: inout StatisticsReader, _ topic: String) {
        _ = reader.members { reader, key in
            guard key == "partitions" else { return reader.skip() }
            _ = reader.members { reader, number in
                let partition = readPartition(&reader, topic, number)
                // -1 stands for records whose partition is not chosen yet.
                if let partition, partition.partition >= 0 { partitions.append(partition) }
            }
        }
    }

    private func readPartition(_ reader: inout StatisticsReader, _ topic: String, _ number: String) -> Partition? {
        var values: [String: Int64] = [:]
        var isAssigned = false
        _ = reader.members { reader, key in
            switch key {
            case "desired": isAssigned = reader.flag() ?? false
            case "app_offset", "next_offset", "hi_offset", "ls_offset", "fetchq_cnt", "broker", "leader":
                values[key] = reader.number().flatMap { Int64(exactly: $0.rounded()) }
            default: reader.skip()
            }
        }
        guard let partition = Int32(number) else { return nil }
        func known(_ key: String) -> Int64? { values[key].flatMap { $0 >= 0 ? $0 : nil } }
        var found = Partition(topic: topic, partition: partition, isAssigned: isAssigned)
        found.end = known("hi_offset")
        found.stableEnd = known("ls_offset")
        found.taken = known("app_offset")
        if let next = known("next_offset"), known("fetchq_cnt") ?? 0 == 0 { found.fetched = next }
        found.broker = (known("broker") ?? known("leader")).flatMap { Int32(exactly: $0) }
        return found
    }
}

/// A cursor over JSON that somebody else's program wrote: steps through objects, reads strings and numbers, steps over the rest.
struct StatisticsReader {
    private let bytes: UnsafeRawBufferPointer
    private var at = 0
    /// Something was not JSON; everything after reads as absent.
    private(set) var isBroken = false

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// The next byte that is no white space, not taken; 0 at the end.
    private mutating func next() -> UInt8 {
        while at < bytes.count, StatisticsReader.isSpace(bytes[at]) { at += 1 }
        return at < bytes.count && !isBroken ? bytes[at] : 0
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

    /// What ends a number or a word.
    private static func isBorder(_ byte: UInt8) -> Bool {
        isSpace(byte) || byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]")
            || byte == UInt8(ascii: ":")
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next() == byte else { return false }
        at += 1
        return true
    }

    /// Steps through the object that comes next; `body` must take each member's value.
    ///
    /// False, and the value skipped, when it is no object.
    mutating func members(_ body: (inout StatisticsReader, String) -> Void) -> Bool {
        guard next() == UInt8(ascii: "{") else {
            skip()
            return false
        }
        at += 1
        if take(UInt8(ascii: "}")) { return true }
        while !isBroken {
            guard let key = string(), take(UInt8(ascii: ":")) else { break }
            let before = at
            body(&self, key)
            if at == before { break }
            if take(UInt8(ascii: ",")) { continue }
            if take(UInt8(ascii: "}")) { return true }
            break
        }
        isBroken = true
        return false
    }

    /// The string that comes next; nil, and the value skipped, when it is none.
    mutating func string() -> String? {
        guard next() == UInt8(ascii: "\"") else {
            skip()
            return nil
        }
        at += 1
        var text: [UInt8] = []
        while at < bytes.count {
            let byte = bytes[at]
            at += 1
            if byte == UInt8(ascii: "\"") { return String(decoding: text, as: UTF8.self) }
            if byte == UInt8(ascii: "\\"), at < bytes.count {
                // Names of clients, topics and states need no more than the escaped byte itself.
                text.append(bytes[at])
                at += 1
            } else {
                text.append(byte)
            }
        }
        isBroken = true
        return nil
    }

    /// The number that comes next; nil, and the value skipped, when it is none.
    mutating func number() -> Double? {
        let first = next()
        guard first == UInt8(ascii: "-") || (0x30...0x39).contains(first) else {
            skip()
            return nil
        }
        let start = at
        skip()
        return Double(String(decoding: bytes[start..<at], as: UTF8.self))
    }

    /// Whether `true` comes next; nil, and the value skipped, when it is neither that nor `false`.
    mutating func flag() -> Bool? {
        let first = next()
        skip()
        return first == UInt8(ascii: "t") ? true : first == UInt8(ascii: "f") ? false : nil
    }

    /// Steps over the value that comes next, whatever it is.
    mutating func skip() {
        var depth = 0
        repeat {
            switch next() {
            case UInt8(ascii: "\""): _ = string()
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                depth += 1
                at += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                at += 1
            case UInt8(ascii: ","), UInt8(ascii: ":"):
                at += 1
                if depth == 0 { isBroken = true }
            case 0: isBroken = true
            default:
                while at < bytes.count, !StatisticsReader.isBorder(bytes[at]) { at += 1 }
            }
        } while depth > 0 && !isBroken
        if depth < 0 { isBroken = true }
    }
}
