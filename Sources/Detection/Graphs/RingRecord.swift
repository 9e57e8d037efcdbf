/// What happened to a ring in an epoch.
public enum RingStatus: String, Sendable, Equatable {
    case opened, updated, closed
}

/// A member or target of a ring.
struct RingName: Sendable, Equatable {
    var hash: UInt64
    private var name: LockstepRings.Name

    /// - Parameter text: as in the events; its first 64 bytes are kept.
    init(hash: UInt64, text: [UInt8]) {
        self.init(hash: hash, name: text.withUnsafeBufferPointer { LockstepRings.Name($0) })
    }

    init(hash: UInt64, name: LockstepRings.Name) {
        self.hash = hash
        self.name = name
    }

    /// As in the events, at most 64 bytes; empty when it is no longer known.
    var text: [UInt8] { withText { Array($0) } }

    /// The same without a copy.
    func withText<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        var bytes = name.bytes
        let length = Int(name.length)
        return withUnsafeBytes(of: &bytes) { all in
            all.withMemoryRebound(to: UInt8.self) { body(UnsafeBufferPointer(rebasing: $0[..<length])) }
        }
    }

    static func == (a: RingName, b: RingName) -> Bool {
        a.hash == b.hash && a.withText { text in b.withText { text.elementsEqual($0) } }
    }
}

/// An act of a ring's member.
struct RingEvent: Sendable, Equatable {
    /// Its place among ``RingChange/members``.
    var member: Int
    var event: EventReference
}

/// One new version of a ring: everything its record on the topic of rings says.
public struct RingChange: Sendable, Equatable {
    /// Made of the detector's name, the ring's number and the time of its first act; kept while the ring grows.
    public var id: UInt64
    /// 1 when opened, one more with each change.
    public var version: Int
    public var status: RingStatus
    public var detector: String
    /// 0...1: 0.5 just significant, 0.8 at a chance of 1e-24, 0.9 at 1e-54.
    public var score: Double
    /// -log10 of the chance that so many accounts meet by accident.
    public var strength: Double
    /// Number of members; the list holds at most ``Lockstep/namesPerRecord`` of them, in the order they joined.
    public var size: Int
    var members: [RingName]
    /// The newest acts of the members, each member's oldest first, at most ``Lockstep/actsPerRecord``; none of a ring that has
    /// closed.
    var events: [RingEvent] = []
    /// Number of targets and the first of them.
    public var targetCount: Int
    var targets: [RingName]
    /// Starts of the windows in which the members met, ms since 1970, ascending, at most ``Lockstep/windowsPerRing``.
    public var windowStarts: [Int64]
    public var windowLength: Int64
    /// First and last act, ms since 1970.
    public var firstTime: Int64
    public var lastTime: Int64
    /// The ring that took this one's members in, for a ring closed by a merge.
    public var mergedInto: UInt64?
    /// One sentence for people.
    public var evidence: String

    /// One that says nothing yet.
    init(detector: String, windowLength: Int64) {
        self.init(
            id: 0,
            version: 0,
            status: .opened,
            detector: detector,
            score: 0,
            strength: 0,
            size: 0,
            members: [],
            targetCount: 0,
            targets: [],
            windowStarts: [],
            windowLength: windowLength,
            firstTime: 0,
            lastTime: 0,
            mergedInto: nil,
            evidence: ""
        )
    }

    init(
        id: UInt64,
        version: Int,
        status: RingStatus,
        detector: String,
        score: Double,
        strength: Double,
        size: Int,
        members: [RingName],
        targetCount: Int,
        targets: [RingName],
        windowStarts: [Int64],
        windowLength: Int64,
        firstTime: Int64,
        lastTime: Int64,
        mergedInto: UInt64?,
        evidence: String
    ) {
        self.id = id
        self.version = version
        self.status = status
        self.detector = detector
        self.score = score
        self.strength = strength
        self.size = size
        self.members = members
        self.targetCount = targetCount
        self.targets = targets
        self.windowStarts = windowStarts
        self.windowLength = windowLength
        self.firstTime = firstTime
        self.lastTime = lastTime
        self.mergedInto = mergedInto
        self.evidence = evidence
    }

    /// Bytes of a ring's id in text.
    static let idLength = 16
    /// What stands before it in a record.
    fileprivate static let idHead: StaticString = "{\"ring_id\":\""

    /// Writes the ring's id in text, which is also its record's key: ``idLength`` hexadecimal digits.
    static func writeText(ofID id: UInt64, to bytes: UnsafeMutableRawPointer) {
        let digits: StaticString = "0123456789abcdef"
        for i in 0..<idLength {
            bytes.storeBytes(
                of: digits.utf8Start[Int(truncatingIfNeeded: id >> UInt64(60 - 4 * i)) & 15],
                toByteOffset: i,
                as: UInt8.self
            )
        }
    }

    static func appendText(ofID id: UInt64, to out: inout ByteBuffer) {
        writeText(ofID: id, to: out.room(idLength))
        out.advance(idLength)
    }

    /// Writes the record of the topic of rings, its keys in fixed order; `events` only where the detector looks back.
    ///
    /// ```
    /// {"ring_id":"…","version":2,"status":"updated","detector":"coupon_ring","score":0.79,"size":17,"target_count":3,
    ///  "members":["u1",…],"targets":["SAVE10",…],"first_time":"2026-01-05T08:00:00Z","last_time":"…","window":"6 h",
    ///  "windows":[{"from":"…","to":"…"}],
    ///  "events":[{"member":"u1","type":"coupon_redeemed","topic":"coupons","partition":0,"offset":12,"id":"c9","time":"…"}],
    ///  "p_value":2e-23,"text":"17 accounts redeemed …","merged_into":"…"}
    /// ```
    /// At most 200 members and 50 targets are named; a text no longer known is `#` and its place in the list. `merged_into` only
    /// where a ring closed because another took its members in.
    ///
    /// - Parameter names: of the topology's topics and event types.
    func appendJSON(_ names: RingRecords.Names, to out: inout ByteBuffer) {
        func name(_ name: RingName, _ place: Int) {
            out.append("\"")
            name.withText { text in
                if let start = text.baseAddress, text.count > 0 {
                    out.appendEscaped(start, count: text.count)
                } else {
                    out.append("#")
                    out.append(Int64(place + 1))
                }
            }
            out.append("\"")
        }
        out.append(RingChange.idHead)
        RingChange.appendText(ofID: id, to: &out)
        out.append("\",\"version\":")
        out.append(Int64(version))
        out.append(",\"status\":\"")
        out.append(status.rawValue)
        out.append("\",\"detector\":\"")
        out.appendEscaped(detector)
        out.append("\",\"score\":")
        out.append(RingChange.decimal(score))
        out.append(",\"size\":")
        out.append(Int64(size))
        out.append(",\"target_count\":")
        out.append(Int64(targetCount))
        out.append(",\"members\":[")
        for i in members.indices {
            if i > 0 { out.append(",") }
            name(members[i], i)
        }
        out.append("],\"targets\":[")
        for i in 0..<min(targets.count, Lockstep.targetNamesPerRecord) {
            if i > 0 { out.append(",") }
            name(targets[i], i)
        }
        out.append("],\"first_time\":\"")
        out.appendTime(milliseconds: firstTime)
        out.append("\",\"last_time\":\"")
        out.appendTime(milliseconds: lastTime)
        out.append("\",\"window\":\"")
        out.append(LockstepRings.length(windowLength))
        out.append("\",\"windows\":[")
        for (i, start) in windowStarts.enumerated() {
            out.append(i > 0 ? ",{\"from\":\"" : "{\"from\":\"")
            out.appendTime(milliseconds: start)
            out.append("\",\"to\":\"")
            out.appendTime(milliseconds: start + windowLength)
            out.append("\"}")
        }
        if !events.isEmpty {
            out.append("],\"events\":[")
            for (i, act) in events.enumerated() {
                out.append(i > 0 ? ",{\"member\":" : "{\"member\":")
                name(members[act.member], act.member)
                appendJSON(act.event, names, to: &out)
                out.append("}")
            }
        }
        out.append("],\"p_value\":")
        out.append(LockstepRings.chance(strength))
        out.append(",\"text\":\"")
        out.appendEscaped(evidence)
        out.append("\"")
        if let mergedInto {
            out.append(",\"merged_into\":\"")
            RingChange.appendText(ofID: mergedInto, to: &out)
            out.append("\"")
        }
        out.append("}")
    }

    private func appendJSON(_ event: EventReference, _ names: RingRecords.Names, to out: inout ByteBuffer) {
        out.append(",\"type\":\"")
        out.append(names.types[Int(event.type)])
        out.append("\",\"topic\":\"")
        out.append(names.topics[Int(event.topic)])
        out.append("\",\"partition\":")
        out.append(Int64(event.partition))
        out.append(",\"offset\":")
        out.append(event.offset)
        if let part = event.partOfRecord {
            out.append(",\"part\":")
            out.append(Int64(part))
        }
        if event.hasIdentifier {
            out.append(",\"id\":\"")
            event.appendIdentifier(to: &out)
            out.append("\"")
        }
        out.append(",\"time\":\"")
        out.appendTime(milliseconds: event.time)
        out.append("\"")
    }

    /// A score of 0...1 in at most six digits, which its quantum of a millionth allows exactly.
    static func decimal(_ value: Double) -> String {
        let millionths = Int((value * 1e6).rounded(.toNearestOrEven))
        var digits = String(millionths % 1_000_000)
        digits = String(repeating: "0", count: 6 - digits.count) + digits
        while digits.count > 1, digits.hasSuffix("0") { digits.removeLast() }
        return "\(millionths / 1_000_000)." + digits
    }
}

/// One change of a ring as a finished record of the ring topic; its bytes are the engine's until the next epoch.
public struct RingRecord {
    /// JSON.
    public let value: UnsafeRawBufferPointer
    public let status: RingStatus

    /// The ring's id, as the value has it: on a compacted topic each ring's last version stays.
    public var key: UnsafeRawBufferPointer {
        let start = RingChange.idHead.utf8CodeUnitCount
        return UnsafeRawBufferPointer(rebasing: value[start..<start + RingChange.idLength])
    }
    /// Whether the record's status is `opened`.
    public var isOpening: Bool { status == .opened }
}

/// The records of an epoch, one behind the other in memory that stays.
struct RingRecords: ~Copyable {
    /// The topology's, by the indices that an event has; all need no escapes.
    struct Names {
        var topics: [[UInt8]] = []
        var types: [[UInt8]] = []
    }

    private let names: Names
    private var bytes = ByteBuffer(capacity: 1 << 14)
    private var ends: [Int] = []
    private var statuses: [RingStatus] = []

    init(_ names: Names = Names()) { self.names = names }

    mutating func removeAll() {
        bytes.removeAll()
        ends.removeAll(keepingCapacity: true)
        statuses.removeAll(keepingCapacity: true)
    }

    mutating func append(_ change: RingChange) {
        change.appendJSON(names, to: &bytes)
        ends.append(bytes.count)
        statuses.append(change.status)
    }

    func forEach(_ body: (RingRecord) -> Void) {
        var start = 0
        for n in ends.indices {
            let value = UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes.bytes[start..<ends[n]]))
            body(RingRecord(value: value, status: statuses[n]))
            start = ends[n]
        }
    }
}
