/// The slots that all state of Detection is split over, by the keys of what it is about; threads take whole slots.
///
/// One definition for every stage, table and exchange: what is sent to a slot is found there.
public enum Slots {
    /// How many there are; part of every snapshot's layout, so it never changes.
    public static let count = 64

    /// The slot of a key's hash: its six highest bits, so that tables choose their buckets by lower ones.
    @inline(__always)
    static func of(_ key: UInt64) -> Int { Int(truncatingIfNeeded: key &>> 58) }

    /// The slots of one part of `parts` that share them out.
    static func share(_ part: Int, of parts: Int) -> Range<Int> { part * count / parts..<(part + 1) * count / parts }
}
