/// Why the bytes of a file are no table of a time zone.
public struct TimeZoneFault: Error, Sendable, Equatable {
    /// As in "it is cut".
    public var reason: String
}

/// When a zone of the IANA database had which offset, and by which rule it will: the content of a TZif file (RFC 9636).
///
/// Pure, so what it says depends on the file alone; ``digest`` names that. A look-up costs one binary search, or two yearly rules.
public struct TimeZoneTable: Sendable {
    /// As in the database: `Europe/Berlin`.
    public let name: String
    /// SHA-256 of the file, hex.
    public let digest: String
    /// The local clock, in seconds, from which each next offset holds: at a change the later of the two clocks, so that a time that
    /// does not exist, and the first of two with the same name, have the offset before.
    private let changes: [Int64]
    /// Seconds east of Greenwich before the first change, then behind each.
    private let offsets: [Int64]
    /// Behind the last change.
    private let rule: YearlyOffsets?

    /// Reads a TZif file of version 2 or later.
    public init(name: String, digest: String, file: [UInt8]) throws(TimeZoneFault) {
        var reader = TZifReader(bytes: file)
        // First comes the same in 32 bits, for readers of 1986.
        let short = try reader.header()
        guard short.version >= UInt8(ascii: "2") else { throw TimeZoneFault(reason: "it holds no 64-bit times") }
        try reader.skip(short.bytes(perTime: 4))
        let header = try reader.header()
        guard header.leapSeconds == 0 else { throw TimeZoneFault(reason: "it counts leap seconds") }
        guard header.types > 0 else { throw TimeZoneFault(reason: "it holds no offset") }
        var times: [Int64] = []
        for _ in 0..<header.times { times.append(Int64(bitPattern: try reader.integer(bytes: 8))) }
        var types: [Int] = []
        for _ in 0..<header.times { types.append(Int(try reader.integer(bytes: 1))) }
        var offsetOfType: [Int64] = []
        for _ in 0..<header.types {
            offsetOfType.append(Int64(Int32(truncatingIfNeeded: try reader.integer(bytes: 4))))
            try reader.skip(2)
        }
        try reader.skip(header.characters + header.standardFlags + header.universalFlags)
        guard zip(times, times.dropFirst()).allSatisfy({ $0 < $1 }), types.allSatisfy({ $0 < header.types }),
            times.allSatisfy({ $0 > -1 << 60 && $0 < 1 << 60 }), offsetOfType.allSatisfy({ abs($0) <= 26 * 3600 })
        else { throw TimeZoneFault(reason: "its times are out of order") }
        self.name = name
        self.digest = digest
        var offsets = [offsetOfType[0]]
        var changes: [Int64] = []
        for (time, type) in zip(times, types) {
            changes.append(time + max(offsets[offsets.count - 1], offsetOfType[type]))
            offsets.append(offsetOfType[type])
        }
        self.changes = changes
        self.offsets = offsets
        let text = try reader.footer()
        rule = text.isEmpty ? nil : YearlyOffsets(text)
        if !text.isEmpty, rule == nil { throw TimeZoneFault(reason: "its last rule cannot be read") }
    }

    /// Seconds east of Greenwich at a local time, given in seconds since 1970 as if it were UTC.
    ///
    /// A time that the clocks skipped is taken with the offset before; one that they showed twice is the first.
    public func offset(local: Int64) -> Int64 {
        if let rule, changes.last.map({ local > $0 }) ?? true { return rule.offset(local: local) }
        var low = 0
        var high = changes.count
        while low < high {
            let middle = (low + high) / 2
            if changes[middle] <= local { low = middle + 1 } else { high = middle }
        }
        return offsets[low]
    }
}

extension TimeZoneTable: Equatable {
    /// Of one name and one file.
    public static func == (a: TimeZoneTable, b: TimeZoneTable) -> Bool { a.name == b.name && a.digest == b.digest }
}

/// The blocks of a TZif file, with its end checked at every step.
private struct TZifReader {
    struct Header {
        var version: UInt8
        var universalFlags: Int
        var standardFlags: Int
        var leapSeconds: Int
        var times: Int
        var types: Int
        var characters: Int

        /// Of the block behind it.
        func bytes(perTime: Int) -> Int {
            times * (perTime + 1) + types * 6 + characters + leapSeconds * (perTime + 4) + standardFlags
                + universalFlags
        }
    }

    let bytes: [UInt8]
    var at = 0

    mutating func skip(_ count: Int) throws(TimeZoneFault) {
        guard count <= bytes.count - at else { throw TimeZoneFault(reason: "it is cut") }
        at += count
    }

    /// Big-endian.
    mutating func integer(bytes count: Int) throws(TimeZoneFault) -> UInt64 {
        let start = at
        try skip(count)
        return bytes[start..<at].reduce(0) { $0 << 8 | UInt64($1) }
    }

    mutating func header() throws(TimeZoneFault) -> Header {
        guard bytes[at...].starts(with: Array("TZif".utf8)) else { throw TimeZoneFault(reason: "it is no TZif file") }
        try skip(4)
        let version = UInt8(truncatingIfNeeded: try integer(bytes: 1))
        try skip(15)
        var counts: [Int] = []
        for _ in 0..<6 { counts.append(Int(try integer(bytes: 4))) }
        return Header(
            version: version,
            universalFlags: counts[0],
            standardFlags: counts[1],
            leapSeconds: counts[2],
            times: counts[3],
            types: counts[4],
            characters: counts[5]
        )
    }

    /// The text between the two line ends at the file's end.
    mutating func footer() throws(TimeZoneFault) -> ArraySlice<UInt8> {
        let newline = UInt8(ascii: "\n")
        guard bytes.count - at >= 2, bytes[at] == newline, let end = bytes[(at + 1)...].firstIndex(of: newline) else {
            throw TimeZoneFault(reason: "it is cut")
        }
        return bytes[(at + 1)..<end]
    }
}
