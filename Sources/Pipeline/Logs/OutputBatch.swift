/// Output records of one or more epochs, gathered for one atomic commit: one growing buffer and a table of ranges.
public struct OutputBatch: ~Copyable {
    /// One record as ranges into ``bytes``.
    ///
    /// Headers lie as `count` pairs of (UInt16 length, bytes) name and (UInt16 length, bytes) value.
    public struct Record: Sendable {
        /// Index into ``topics``.
        public var topic: Int
        /// -1: the key decides, and without a key the log.
        public var partition: Int32
        public var keyOffset: Int
        /// -1: no key.
        public var keyLength: Int
        public var valueOffset: Int
        /// -1: a tombstone.
        public var valueLength: Int
        public var headersOffset: Int
        public var headerCount: Int
    }

    /// The output topics, by index.
    public let topics: [String]
    public private(set) var bytes: [UInt8] = []
    public private(set) var records: [Record] = []
    /// Number of the first and last epoch in it; nil while empty.
    public var epochs: ClosedRange<Int64>?

    public init(topics: [String]) { self.topics = topics }

    public var isEmpty: Bool { records.isEmpty && epochs == nil }

    /// Adds a record; the closures append their part to the buffer.
    ///
    /// - Parameter partition: where it goes; -1: its key decides, and without a key the log.
    public mutating func append(
        topic: Int,
        partition: Int32 = -1,
        key: ((inout [UInt8]) -> Void)?,
        value: ((inout [UInt8]) -> Void)?,
        headers: [(String, [UInt8])] = []
    ) {
        let keyOffset = bytes.count
        key?(&bytes)
        let keyLength = key == nil ? -1 : bytes.count - keyOffset
        let valueOffset = bytes.count
        value?(&bytes)
        let valueLength = value == nil ? -1 : bytes.count - valueOffset
        let headersOffset = bytes.count
        for (name, value) in headers {
            OutputBatch.appendPart(name.utf8, to: &bytes)
            OutputBatch.appendPart(value, to: &bytes)
        }
        records.append(
            Record(
                topic: topic,
                partition: partition,
                keyOffset: keyOffset,
                keyLength: keyLength,
                valueOffset: valueOffset,
                valueLength: valueLength,
                headersOffset: headersOffset,
                headerCount: headers.count
            )
        )
    }

    /// Adds a record whose headers are a block made once and some made now; copies what it is given, allocates nothing once warm.
    ///
    /// - Parameters:
    ///   - constantHeaders: encoded by ``encodedHeaders(_:)``.
    ///   - constantCount: how many headers it holds.
    public mutating func append(
        topic: Int,
        partition: Int32 = -1,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        constantHeaders: [UInt8],
        constantCount: Int,
        _ further: (inout HeaderWriter) -> Void
    ) {
        let keyOffset = bytes.count
        if let key { bytes.append(contentsOf: key) }
        let valueOffset = bytes.count
        if let value { bytes.append(contentsOf: value) }
        let headersOffset = bytes.count
        bytes.append(contentsOf: constantHeaders)
        var writer = HeaderWriter(bytes: bytes)
        bytes = []
        further(&writer)
        bytes = writer.bytes
        records.append(
            Record(
                topic: topic,
                partition: partition,
                keyOffset: keyOffset,
                keyLength: key?.count ?? -1,
                valueOffset: valueOffset,
                valueLength: value?.count ?? -1,
                headersOffset: headersOffset,
                headerCount: constantCount + writer.count
            )
        )
    }

    /// Adds headers behind a record's constant ones.
    public struct HeaderWriter {
        fileprivate var bytes: [UInt8]
        public fileprivate(set) var count = 0

        /// Adds one header; both parts at most 65,535 bytes.
        public mutating func add(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
            precondition(value.count <= UInt16.max, "a header part is at most 65,535 bytes")
            appendLength(name.utf8CodeUnitCount)
            bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
            appendLength(value.count)
            bytes.append(contentsOf: value)
            count += 1
        }

        private mutating func appendLength(_ length: Int) {
            bytes.append(UInt8(truncatingIfNeeded: length))
            bytes.append(UInt8(truncatingIfNeeded: length >> 8))
        }
    }

    /// Headers in the form ``append(topic:partition:key:value:constantHeaders:constantCount:_:)`` takes them.
    public static func encodedHeaders(_ headers: [(String, String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for (name, value) in headers {
            appendPart(name.utf8, to: &bytes)
            appendPart(value.utf8, to: &bytes)
        }
        return bytes
    }

    /// Calls the body with each header of a record.
    public func forEachHeader(
        _ record: Record,
        _ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) {
        bytes.withUnsafeBytes { all in
            var rest = UnsafeRawBufferPointer(rebasing: all[record.headersOffset...])
            for _ in 0..<record.headerCount {
                guard let name = OutputBatch.takePart(of: &rest), let value = OutputBatch.takePart(of: &rest) else {
                    preconditionFailure("a record's headers lie in its batch")
                }
                body(name, value)
            }
        }
    }

    /// Calls the body with each header of a block, as a log keeps it; returns false where the block is damaged.
    static func readHeaders(
        _ block: UnsafeRawBufferPointer,
        _ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        var rest = block
        while rest.count > 0 {
            guard let name = takePart(of: &rest), let value = takePart(of: &rest) else { return false }
            body(name, value)
        }
        return true
    }

    /// Takes one length and its bytes off the front; nil where they are not there.
    private static func takePart(of rest: inout UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard rest.count >= 2 else { return nil }
        let end = 2 + Int(UInt16(littleEndian: rest.loadUnaligned(as: UInt16.self)))
        guard end <= rest.count else { return nil }
        defer { rest = UnsafeRawBufferPointer(rebasing: rest[end...]) }
        return UnsafeRawBufferPointer(rebasing: rest[2..<end])
    }

    /// Calls the body with each record, its key, value and block of headers (nil: none), until it throws.
    public func withParts(
        _ body: (
            _ record: Record, _ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?,
            _ headers: UnsafeRawBufferPointer?
        ) throws(LogError) -> Void
    ) throws(LogError) {
        try bytes.withUnsafeBufferPointer { (buffer) throws(LogError) in
            let all = UnsafeRawBufferPointer(buffer)
            for (index, record) in records.enumerated() {
                func part(_ offset: Int, _ length: Int) -> UnsafeRawBufferPointer? {
                    length < 0 ? nil : UnsafeRawBufferPointer(rebasing: all[offset..<(offset + length)])
                }
                // A record's headers end where the next record begins.
                let end = index + 1 < records.count ? records[index + 1].keyOffset : bytes.count
                let headers = record.headerCount == 0 ? nil : part(record.headersOffset, end - record.headersOffset)
                try body(
                    record,
                    part(record.keyOffset, record.keyLength),
                    part(record.valueOffset, record.valueLength),
                    headers
                )
            }
        }
    }

    /// Forgets the records and keeps the memory.
    public mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        records.removeAll(keepingCapacity: true)
        epochs = nil
    }

    private static func appendPart(_ part: some Collection<UInt8>, to bytes: inout [UInt8]) {
        precondition(part.count <= UInt16.max, "a header part is at most 65,535 bytes")
        let length = UInt16(part.count)
        bytes.append(UInt8(truncatingIfNeeded: length))
        bytes.append(UInt8(truncatingIfNeeded: length >> 8))
        bytes.append(contentsOf: part)
    }
}
