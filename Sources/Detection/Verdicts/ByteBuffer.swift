import Models
import RuleLanguage

/// A growing run of bytes that outputs are written into; keeps its memory between epochs.
public struct ByteBuffer: ~Copyable {
    private var memory: OwnedBuffer<UInt8>
    public private(set) var count = 0

    public init(capacity: Int = 1 << 16) { memory = OwnedBuffer(undefined: max(64, capacity)) }

    public var base: UnsafeMutablePointer<UInt8> { memory.base }
    public var bytes: UnsafeBufferPointer<UInt8> { UnsafeBufferPointer(start: base, count: count) }

    /// Forgets the content and keeps the memory.
    public mutating func removeAll() { count = 0 }

    /// Forgets what stands behind the first `length` bytes.
    public mutating func truncate(to length: Int) {
        precondition(length <= count)
        count = length
    }

    /// Makes room for `more` bytes at the end and returns where they go.
    ///
    /// Raise ``count`` with ``advance(_:)``.
    @inline(__always)
    mutating func room(_ more: Int) -> UnsafeMutablePointer<UInt8> {
        if memory.count &- count < more { grow(more) }
        return base + count
    }

    @inline(__always)
    mutating func advance(_ written: Int) { count &+= written }

    private mutating func grow(_ more: Int) {
        memory.resize(to: max(memory.count * 2, count + more))
    }

    /// Appends one byte.
    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        room(1).pointee = byte
        count &+= 1
    }

    /// Appends a literal: a plain copy.
    @inline(__always)
    public mutating func append(_ text: StaticString) {
        room(text.utf8CodeUnitCount).update(from: text.utf8Start, count: text.utf8CodeUnitCount)
        count &+= text.utf8CodeUnitCount
    }

    /// Appends `length` bytes, which must not lie in this buffer.
    @inline(__always)
    public mutating func append(_ bytes: UnsafePointer<UInt8>, count length: Int) {
        room(length).update(from: bytes, count: length)
        count &+= length
    }

    /// Appends the bytes of an array.
    public mutating func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { if let start = $0.baseAddress { append(start, count: $0.count) } }
    }

    /// Appends a text as UTF-8; disfavoured, so that a literal is taken as a StaticString.
    @_disfavoredOverload
    public mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { if let start = $0.baseAddress { append(start, count: $0.count) } }
    }

    /// Decimal digits of an integer.
    @inline(__always)
    public mutating func append(_ value: Int64) {
        let at = room(20)
        count &+= ByteBuffer.write(value, at)
    }

    /// Writes the decimal digits of an integer, at most 20 bytes; returns how many.
    @inline(__always)
    static func write(_ value: Int64, _ at: UnsafeMutablePointer<UInt8>) -> Int {
        if UInt64(bitPattern: value) < 10 {
            at[0] = UInt8(truncatingIfNeeded: value) &+ 48
            return 1
        }
        var magnitude = value.magnitude
        var written = 0
        if value < 0 {
            at[0] = UInt8(ascii: "-")
            written = 1
        }
        var digits = 1
        var bound: UInt64 = 10
        while digits < 19, magnitude >= bound {
            digits &+= 1
            bound &*= 10
        }
        if digits == 19, magnitude >= bound { digits = 20 }
        var place = written &+ digits
        repeat {
            place &-= 1
            let (quotient, rest) = magnitude.quotientAndRemainder(dividingBy: 10)
            at[place] = UInt8(truncatingIfNeeded: rest) &+ 48
            magnitude = quotient
        } while magnitude != 0
        return written &+ digits
    }

    /// The shortest decimal text that reads back as the same double; JSON has no infinities, they are `null`.
    public mutating func append(_ value: Double) {
        guard value.isFinite else { return append("null") }
        let at = room(ShortestDecimal.byteCountMax)
        count &+= ShortestDecimal.write(value, to: at)
    }

    /// The inside of a JSON string: quotes, backslashes and control characters escaped.
    public mutating func appendEscaped(_ text: UnsafePointer<UInt8>, count length: Int) {
        let at = room(length * 6)
        var written = 0
        var i = 0
        // Eight bytes at a time as long as none is to be escaped.
        while i &+ 8 <= length {
            let word = UnsafeRawPointer(text + i).loadUnaligned(as: UInt64.self)
            if ByteBuffer.needsEscape(word) { break }
            UnsafeMutableRawPointer(at + i).storeBytes(of: word, as: UInt64.self)
            i &+= 8
        }
        written = i
        while i < length {
            let byte = text[i]
            i &+= 1
            if byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
                at[written] = byte
                written &+= 1
                continue
            }
            at[written] = UInt8(ascii: "\\")
            let short: UInt8? =
                switch byte {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"): byte
                case 0x0A: UInt8(ascii: "n")
                case 0x0D: UInt8(ascii: "r")
                case 0x09: UInt8(ascii: "t")
                default: nil
                }
            if let short {
                at[written &+ 1] = short
                written &+= 2
                continue
            }
            let digits: StaticString = "0123456789abcdef"
            at[written &+ 1] = UInt8(ascii: "u")
            at[written &+ 2] = UInt8(ascii: "0")
            at[written &+ 3] = UInt8(ascii: "0")
            at[written &+ 4] = digits.utf8Start[Int(byte >> 4)]
            at[written &+ 5] = digits.utf8Start[Int(byte & 15)]
            written &+= 6
        }
        count &+= written
    }

    /// Whether one of eight bytes is a quote, a backslash or a control character.
    @inline(__always)
    private static func needsEscape(_ word: UInt64) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let quote = word ^ (ones &* 0x22)
        let backslash = word ^ (ones &* 0x5C)
        let found = ((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash) | ((word &- ones &* 0x20) & ~word)
        return found & (ones &* 0x80) != 0
    }

    /// The inside of a JSON string, as for the bytes of a text.
    public mutating func appendEscaped(_ text: String) {
        var text = text
        text.withUTF8 { if let start = $0.baseAddress { appendEscaped(start, count: $0.count) } }
    }

    /// Appends a time as `2026-01-05T08:00:00.250Z`, with milliseconds only when there are any.
    ///
    /// Years 0001 to 9999. Days to civil date after Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    public mutating func appendTime(milliseconds: Int64) {
        let (days, inDay) = milliseconds.flooredDivision(by: 86_400_000)
        let shifted = days + 719_468
        let (era, dayOfEra) = shifted.flooredDivision(by: 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let inSecond = UInt32(truncatingIfNeeded: inDay % 1000)
        let seconds = UInt32(truncatingIfNeeded: inDay / 1000)
        let at = room(24)
        ByteBuffer.write(UInt32(truncatingIfNeeded: year), digits: 4, at)
        at[4] = UInt8(ascii: "-")
        ByteBuffer.write(UInt32(truncatingIfNeeded: month), digits: 2, at + 5)
        at[7] = UInt8(ascii: "-")
        ByteBuffer.write(UInt32(truncatingIfNeeded: day), digits: 2, at + 8)
        at[10] = UInt8(ascii: "T")
        ByteBuffer.write(seconds / 3600, digits: 2, at + 11)
        at[13] = UInt8(ascii: ":")
        ByteBuffer.write(seconds / 60 % 60, digits: 2, at + 14)
        at[16] = UInt8(ascii: ":")
        ByteBuffer.write(seconds % 60, digits: 2, at + 17)
        if inSecond == 0 {
            at[19] = UInt8(ascii: "Z")
            count &+= 20
        } else {
            at[19] = UInt8(ascii: ".")
            ByteBuffer.write(inSecond, digits: 3, at + 20)
            at[23] = UInt8(ascii: "Z")
            count &+= 24
        }
    }

    /// Writes the last so many decimal digits of a number.
    @inline(__always)
    private static func write(_ value: UInt32, digits: Int, _ at: UnsafeMutablePointer<UInt8>) {
        // By constants: a division by a variable takes longer than all the rest.
        var left = value
        var place = digits
        while place > 0 {
            place &-= 1
            at[place] = UInt8(truncatingIfNeeded: left % 10) &+ 48
            left /= 10
        }
    }
}

extension Int64 {
    /// Quotient towards minus infinity and the remainder that goes with it, 0 or more.
    func flooredDivision(by divisor: Int64) -> (Int64, Int64) {
        let (q, r) = quotientAndRemainder(dividingBy: divisor)
        return r < 0 ? (q - 1, r + divisor) : (q, r)
    }
}
