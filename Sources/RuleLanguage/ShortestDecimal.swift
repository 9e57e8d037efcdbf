/// The shortest decimal text that reads back as the same double, as `Double.description` gives it, without a String.
///
/// A String of more than 15 bytes is an allocation, and a fraction such as .3333333333333333 has more. The standard library's
/// printer works on its stack and hands its bytes to a stream; this stream takes them as they are.
public enum ShortestDecimal {
    /// Room that ``write(_:to:)`` needs; the longest text is `-2.2250738585072014e-308`, of 24.
    public static let byteCountMax = 32

    /// Writes a finite number and returns how many bytes it took.
    public static func write(_ value: Double, to place: UnsafeMutablePointer<UInt8>) -> Int {
        precondition(value.isFinite, "what is no number has no decimal text")
        var stream = Stream(place: place)
        value.write(to: &stream)
        return stream.count
    }

    private struct Stream: TextOutputStream {
        let place: UnsafeMutablePointer<UInt8>
        var count = 0

        mutating func take(_ bytes: UnsafeBufferPointer<UInt8>) {
            precondition(count + bytes.count <= ShortestDecimal.byteCountMax, "a double takes 24 bytes at most")
            guard let from = bytes.baseAddress else { return }
            (place + count).update(from: from, count: bytes.count)
            count += bytes.count
        }

        // The requirement that number printing calls. A library that called the other one would give the same bytes with an
        // allocation.
        mutating func _writeASCII(_ buffer: UnsafeBufferPointer<UInt8>) { take(buffer) }

        mutating func write(_ string: String) {
            var string = string
            string.withUTF8 { take($0) }
        }
    }
}
