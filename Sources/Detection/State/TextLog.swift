import Models

/// A circular log of short texts: the newest overwrite the oldest.
///
/// Most accounts that touch a target are never part of a ring; a table of all their names would cost a look-up per event. An append
/// costs a copy, and a name is looked for only when its token turns hot, hours later at most. A position stays valid until the log
/// has gone round once; after that the name is unknown until the actor acts again.
struct TextLog: ~Copyable {
    /// Longest text kept, in bytes; longer ones are cut at a character's border.
    static let longest = 64

    private let memory: OwnedBuffer<UInt8>
    let capacity: Int
    /// Bytes ever written; a position modulo `capacity` is a place.
    var end: UInt64 = 0

    /// - Parameter capacity: a power of two, at least 1024.
    init(capacity: Int) {
        precondition(capacity >= 1024 && capacity & (capacity - 1) == 0, "the capacity is a power of two from 1024")
        self.capacity = capacity
        memory = OwnedBuffer(repeating: 0, count: capacity)
    }

    @inline(__always)
    var bytes: UnsafeMutablePointer<UInt8> { memory.base }

    /// Writes a text and gives its position.
    mutating func append(_ text: UnsafePointer<UInt8>, count: Int) -> UInt64 {
        let length = TextLog.cut(text, count: count)
        let place = Int(truncatingIfNeeded: end) & (capacity - 1)
        if place + length + 1 > capacity { end += UInt64(capacity - place) }
        let position = end
        let start = bytes + (Int(truncatingIfNeeded: position) & (capacity - 1))
        start.pointee = UInt8(length)
        (start + 1).update(from: text, count: length)
        end += UInt64(length + 1)
        return position
    }

    /// The text at a position; empty when it has been overwritten.
    func read(_ position: UInt64) -> UnsafeBufferPointer<UInt8> {
        guard position < end, end - position <= UInt64(capacity) else {
            return UnsafeBufferPointer(start: nil, count: 0)
        }
        let place = Int(truncatingIfNeeded: position) & (capacity - 1)
        // A text never goes over the end; nor does what a position that is no text's start is taken for.
        return UnsafeBufferPointer(start: bytes + place + 1, count: min(Int(bytes[place]), capacity - place - 1))
    }

    /// Length of the longest prefix that fits and ends at a character's border.
    static func cut(_ text: UnsafePointer<UInt8>, count: Int) -> Int {
        guard count > longest else { return count }
        var length = longest
        while length > 0, text[length] & 0xC0 == 0x80 { length -= 1 }
        return length
    }
}
