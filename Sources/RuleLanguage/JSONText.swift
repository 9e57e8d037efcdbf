/// JSON's notation of texts and numbers (RFC 8259), for what rules and commands say.
///
/// Besides what JSON asks for, DEL is written as an escape: people see these texts on terminals. Verdicts hold foreign texts as
/// they came, by an escaper of their own that never allocates.
public enum JSONText {
    /// The bytes, UTF-8, as the inside of a JSON string.
    public static func escaped(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        append(escaping: bytes, to: &out)
        return out
    }

    /// An object's key with its quotes and colon.
    static func key(_ name: String) -> [UInt8] { Array("\"".utf8) + escaped(name.utf8) + Array("\":".utf8) }

    static func append(escaping bytes: some Sequence<UInt8>, to out: inout [UInt8]) {
        // What lies in memory is copied from one escape to the next.
        let isDone: Void? = bytes.withContiguousStorageIfAvailable { bytes in
            var plain = 0
            for at in bytes.indices where bytes[at] < 0x20 || escapes(bytes[at]) {
                out.append(contentsOf: bytes[plain..<at])
                append(escape: bytes[at], to: &out)
                plain = at + 1
            }
            out.append(contentsOf: bytes[plain...])
        }
        if isDone != nil { return }
        for byte in bytes {
            if byte < 0x20 || escapes(byte) { append(escape: byte, to: &out) } else { out.append(byte) }
        }
    }

    private static func escapes(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7F
    }

    private static func append(escape byte: UInt8, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\\"))
        switch byte {
        case 0x0A: out.append(UInt8(ascii: "n"))
        case 0x0D: out.append(UInt8(ascii: "r"))
        case 0x09: out.append(UInt8(ascii: "t"))
        case 0..<0x20, 0x7F:
            let digits = StaticString("0123456789abcdef").utf8Start
            out.append(UInt8(ascii: "u"))
            out.append(UInt8(ascii: "0"))
            out.append(UInt8(ascii: "0"))
            out.append(digits[Int(byte >> 4)])
            out.append(digits[Int(byte & 15)])
        default: out.append(byte)
        }
    }

    /// Cuts the inside of a JSON string behind `start` to `longest` bytes, never inside a character or an escape, and marks the
    /// place with `…` (its three bytes come on top); returns whether it had to.
    static func cut(_ out: inout [UInt8], from start: Int, longest: Int) -> Bool {
        guard out.count - start > longest else { return false }
        var end = start
        while true {
            let length: Int
            switch out[end] {
            case UInt8(ascii: "\\"): length = out[end + 1] == UInt8(ascii: "u") ? 6 : 2
            case 0..<0x80: length = 1
            case 0x80..<0xE0: length = 2
            case 0xE0..<0xF0: length = 3
            default: length = 4
            }
            if end + length - start > longest { break }
            end += length
        }
        out.removeLast(out.count - end)
        out += "…".utf8
        return true
    }

    /// First and last character with `***` between; of fewer than four characters nothing is shown.
    static func append(masking bytes: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) {
        let stars = Array("***".utf8)
        var characters = 0
        var last = 0
        for (index, byte) in bytes.enumerated() where byte & 0xC0 != 0x80 {
            characters += 1
            last = index
        }
        guard characters >= 4 else {
            out += stars
            return
        }
        var first = 1
        while first < bytes.count, bytes[first] & 0xC0 == 0x80 { first += 1 }
        append(escaping: bytes[..<first], to: &out)
        out += stars
        append(escaping: bytes[last...], to: &out)
    }

    static func append(_ value: Int64, to out: inout [UInt8]) {
        TimeText.write(int: value) { out.append($0) }
    }

    /// The shortest text that reads back as the same double; what JSON has no number for is written as a word.
    static func append(_ value: Double, to out: inout [UInt8]) {
        if value.isNaN {
            out += "NaN".utf8
        } else if value.isInfinite {
            out += (value < 0 ? "-Infinity" : "Infinity").utf8
        } else {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: ShortestDecimal.byteCountMax) { text in
                guard let start = text.baseAddress else { return }
                let length = ShortestDecimal.write(value, to: start)
                out.append(contentsOf: UnsafeBufferPointer(start: start, count: length))
            }
        }
    }
}
