/// Records of a file, kept to be looked at more than once: its first ones, and ever fewer of the rest.
struct SampleRecords {
    /// The first records are all kept, and of later ones one in 16, in 32 and so on, each time as many.
    static let headRecords = 20_000
    private static let stepRecords = 5_000
    /// Bytes that are kept, and read.
    private static let keptBytesMax = 64 << 20
    static let readBytesMax = 256 << 20

    private var bytes: [UInt8] = []
    private var ends: [Int] = []
    /// Places in the file of those that are kept.
    private var places: Set<Int> = []
    /// Records read.
    private(set) var total = 0
    /// The file was read to its end.
    private(set) var isWhole = true

    var count: Int { ends.count }

    /// Reads a file.
    init(_ file: RecordFile) throws(LogError) {
        var stride = 1
        var left = SampleRecords.headRecords
        while true {
            let got = try file.nextBatch(maxRecords: 4096) { record in
                total += 1
                guard total % stride == 0, bytes.count < SampleRecords.keptBytesMax else { return true }
                bytes.append(contentsOf: record.bytes)
                ends.append(bytes.count)
                places.insert(total - 1)
                left -= 1
                if left == 0 {
                    stride = max(16, stride * 2)
                    left = SampleRecords.stepRecords
                }
                return true
            }
            if got == 0 { return }
            if file.bytesRead > SampleRecords.readBytesMax {
                isWhole = false
                return
            }
        }
    }

    /// Keeps one more, behind all others, unless it is kept already.
    mutating func append(_ record: [UInt8], place: Int) {
        guard places.insert(place).inserted else { return }
        bytes += record
        ends.append(bytes.count)
    }

    /// Lends each record that is kept, in the file's order.
    func forEach(_ body: (UnsafeRawBufferPointer) -> Void) {
        bytes.withUnsafeBytes { bytes in
            var start = 0
            for end in ends {
                body(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
                start = end
            }
        }
    }
}
