import Detection
import Glibc

/// Records copied out of what a log lends, one behind the other, until they are decoded.
struct RecordStaging: ~Copyable {
    /// Bytes of records after which no more should be taken.
    static let bytesMax = 4 << 20

    /// Longer records are dead letters, and only what those show of them is kept.
    private let recordLimit: Int
    private(set) var bytes: UnsafeMutableRawPointer
    private var capacity = 1 << 20
    private var used = 0
    private(set) var records: [StagedRecord] = []

    init(recordLimit: Int) {
        self.recordLimit = recordLimit
        bytes = RecordStaging.resized(nil, to: capacity)
    }

    deinit { free(bytes) }

    /// The C library moves the pages of a large piece of memory instead of copying them.
    private static func resized(_ bytes: UnsafeMutableRawPointer?, to count: Int) -> UnsafeMutableRawPointer {
        guard let moved = realloc(bytes, count) else { preconditionFailure("out of memory") }
        return moved
    }

    /// Its memory is used up: it takes no more records.
    var isFull: Bool { used + records.count * MemoryLayout<StagedRecord>.stride >= RecordStaging.bytesMax }

    /// Copies a record; of one over the limit only as much as a dead letter shows.
    ///
    /// - Parameters:
    ///   - fullLength: the record's, where `value` is only its beginning.
    ///   - beside: what stands beside the value, as the decoder takes it; empty where nobody wants it.
    ///   - digest: of the whole record as it came, which may be longer than what is kept; 0: none is wanted.
    mutating func append(
        source: Int,
        offset: Int64,
        appendTime: Int64?,
        value: UnsafeRawBufferPointer?,
        fullLength: Int? = nil,
        beside: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0),
        digest: UInt64 = 0
    ) {
        let full = max(value?.count ?? 0, fullLength ?? 0)
        let length = value.map { full > recordLimit ? min($0.count, DecodePlan.deadLetterBytes) : $0.count }
        let kept = length ?? 0
        if used + kept + beside.count > capacity {
            capacity = max(capacity * 2, used + kept + beside.count)
            bytes = RecordStaging.resized(bytes, to: capacity)
        }
        if let from = value?.baseAddress { (bytes + used).copyMemory(from: from, byteCount: kept) }
        if let from = beside.baseAddress { (bytes + used + kept).copyMemory(from: from, byteCount: beside.count) }
        records.append(
            StagedRecord(
                offset: offset,
                appendTime: appendTime,
                start: used,
                length: length,
                source: source,
                fullLength: value == nil ? 0 : full,
                besideLength: beside.count,
                digest: digest
            )
        )
        used += kept + beside.count
    }

    /// Takes records out of the list; their bytes stay until ``removeAll(but:)``.
    mutating func remove(where isMeant: (StagedRecord) -> Bool, removed: (StagedRecord) -> Void) {
        var kept = 0
        for record in records {
            if isMeant(record) {
                removed(record)
            } else {
                records[kept] = record
                kept += 1
            }
        }
        records.removeLast(records.count - kept)
    }

    /// Forgets all records but some that had been taken out, which become the first ones; keeps the memory.
    mutating func removeAll(but held: [StagedRecord]) {
        used = 0
        records.removeAll(keepingCapacity: true)
        // In the order in which they were staged, so none is written over before it has moved.
        for var record in held {
            let length = record.stagedLength
            (bytes + used).copyMemory(from: bytes + record.start, byteCount: length)
            record.start = used
            used += length
            records.append(record)
        }
    }
}
