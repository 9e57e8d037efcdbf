/// What happened to a ring in an epoch.
public enum RingStatus: String, Sendable, Equatable {
    case opened, updated, closed
}

/// A member or target of a ring.
public struct RingName: Sendable, Equatable {
    public var hash: UInt64
    /// As in the events, at most 64 bytes; empty when it is no longer known.
    public var text: [UInt8]
}

/// One new version of a ring: everything its record on the topic of rings says.
public struct RingChange: Sendable, Equatable {
    /// Made of the detector's name and the smallest hash of the ring's first members; kept while the ring grows.
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
    public var members: [RingName]
    /// Number of targets and the first of them.
    public var targetCount: Int
    public var targets: [RingName]
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

    /// The ring's id in text, which is also its record's key: 16 hexadecimal digits.
    public static func text(ofID id: UInt64) -> String {
        let digits = String(id, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// Appends the ring's record as one JSON object with its keys in fixed order.
    public func appendJSON(to out: inout [UInt8]) {
        func raw(_ text: String) { out.append(contentsOf: text.utf8) }
        func names(_ list: [RingName]) {
            out.append(0x5B)
            for (i, name) in list.enumerated() {
                if i > 0 { out.append(0x2C) }
                if name.text.isEmpty {
                    raw("\"#" + RingChange.text(ofID: name.hash) + "\"")
                } else {
                    RingChange.appendString(name.text, to: &out)
                }
            }
            out.append(0x5D)
        }
        raw(
            "{\"id\":\"" + RingChange.text(ofID: id) + "\",\"version\":\(version),\"status\":\"" + status.rawValue
                + "\",\"detector\":")
        RingChange.appendString(Array(detector.utf8), to: &out)
        raw(",\"score\":" + RingChange.decimal(score) + ",\"size\":\(size),\"members\":")
        names(members)
        raw(",\"target_count\":\(targetCount),\"targets\":")
        names(targets)
        raw(",\"windows\":[")
        for (i, start) in windowStarts.enumerated() {
            raw((i > 0 ? "," : "") + "{\"from\":\(start),\"to\":\(start + windowLength)}")
        }
        raw("],\"first_time\":\(firstTime),\"last_time\":\(lastTime)")
        if let mergedInto { raw(",\"merged_into\":\"" + RingChange.text(ofID: mergedInto) + "\"") }
        raw(",\"evidence\":")
        RingChange.appendString(Array(evidence.utf8), to: &out)
        out.append(0x7D)
    }

    /// A score of 0...1 in at most six digits, which its quantum of a millionth allows exactly.
    static func decimal(_ value: Double) -> String {
        let millionths = Int((value * 1e6).rounded(.toNearestOrEven))
        var digits = String(millionths % 1_000_000)
        digits = String(repeating: "0", count: 6 - digits.count) + digits
        while digits.count > 1, digits.hasSuffix("0") { digits.removeLast() }
        return "\(millionths / 1_000_000)." + digits
    }

    /// JSON string of bytes that are valid UTF-8 (the decoder lets no others in).
    static func appendString(_ text: [UInt8], to out: inout [UInt8]) {
        out.append(0x22)
        for byte in text {
            switch byte {
            case 0x22, 0x5C: out.append(contentsOf: [0x5C, byte])
            case 0x00..<0x20:
                let hex = Array("0123456789abcdef".utf8)
                out.append(contentsOf: Array("\\u00".utf8) + [hex[Int(byte >> 4)], hex[Int(byte & 15)]])
            default: out.append(byte)
            }
        }
        out.append(0x22)
    }
}
