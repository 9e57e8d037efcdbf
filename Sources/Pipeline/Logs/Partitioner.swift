/// Which partition a record goes to: as Kafka's default partitioner (`murmur2_random` of librdkafka), so that a topic keeps its
/// layout when it moves from one log to another.
public struct Partitioner: Sendable {
    private var turn = 0

    /// Starts with the first turn.
    public init() {}

    /// A keyed record goes by its key's hash; those without a key take turns.
    public mutating func partition(key: UnsafeRawBufferPointer?, of count: Int) -> Int {
        if count == 1 { return 0 }
        guard let key else {
            turn = (turn + 1) % count
            return turn
        }
        return Int(Partitioner.murmur2(key) & 0x7fff_ffff) % count
    }

    /// MurmurHash2 of 32 bits with Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
    static func murmur2(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let m: UInt32 = 0x5bd1_e995
        var hash: UInt32 = 0x9747_b28c ^ UInt32(truncatingIfNeeded: bytes.count)
        var at = 0
        while at + 4 <= bytes.count {
            var word = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)) &* m
            word = (word ^ (word >> 24)) &* m
            hash = (hash &* m) ^ word
            at += 4
        }
        if at < bytes.count {
            for i in stride(from: bytes.count - 1, through: at, by: -1) {
                hash ^= UInt32(bytes[i]) << UInt32(8 * (i - at))
            }
            hash = hash &* m
        }
        hash = (hash ^ (hash >> 13)) &* m
        return hash ^ (hash >> 15)
    }
}
