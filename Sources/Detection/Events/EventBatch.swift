public import Models
public import RuleLanguage

/// The decoded events of one epoch: rows of slots, the texts they point at, and the original records, in buffers that are used
/// again.
///
/// Layout, all of it owned by the batch:
/// - *text*: for every event the bytes of its record, then at least ``readablePadding`` zero bytes, then the texts that had to be
///   rewritten (unescaped strings, pseudonyms);
/// - *rows*: one ``Slot`` per declared field, rows back to back; types have rows of different lengths;
/// - *lists*: the elements of `list<string>` fields, and the events' marks;
/// - *entries*: where each event's row, record and marks stand, and its times and origin.
///
/// The buffers grow while events are decoded and so may move; take ``event(_:)`` only when the epoch is complete. An ``Event`` is a
/// set of pointers into the batch and is valid until the next decode or ``removeAll(keepingCapacity:)``. A batch belongs to one
/// thread at a time.
///
/// `@unchecked Sendable`: the buffers have one owner, and a noncopyable value is in one place at a time.
public struct EventBatch: ~Copyable, @unchecked Sendable {
    /// Bytes behind every record that may be read and are zero: the scanner reads whole words and stops at the first of them.
    public static let readablePadding = 16
    /// Text offsets are 32 bits wide.
    public static let maximumTextBytes = 0xFFFF_FFFF

    /// One event's place in the buffers.
    @usableFromInline struct Entry: BitwiseCopyable {
        @usableFromInline var row: Int
        @usableFromInline var time: Int64
        @usableFromInline var offset: Int64
        @usableFromInline var partition: Int32
        @usableFromInline var topic: UInt16
        @usableFromInline var type: UInt16
        @usableFromInline var recordOffset: UInt32
        @usableFromInline var recordLength: UInt32
        @usableFromInline var writtenTime: Int64
        @usableFromInline var firstMark: UInt32 = 0
        @usableFromInline var markCount: UInt8 = 0
        @usableFromInline var flags: EventFlags = []
        @usableFromInline var part: UInt16 = 0
    }

    @usableFromInline var text = OwnedBuffer<UInt8>(undefined: 1 << 16)
    var textCount = 0
    @usableFromInline var rows = OwnedBuffer<Slot>(undefined: 1 << 10)
    var rowsCount = 0
    @usableFromInline var lists = OwnedBuffer<Slot>(undefined: 1 << 6)
    var listsCount = 0
    @usableFromInline var entries = OwnedBuffer<Entry>(undefined: 1 << 7)
    /// Text above this makes ``EventDecoder/decode(topic:partition:offset:value:beside:appendTime:into:)`` return
    /// ``DecodeResult/full``.
    public let textLimit: Int
    /// Events in the batch.
    public internal(set) var count = 0

    /// An empty batch; memory comes with the first events and stays.
    ///
    /// - Parameter textLimit: bytes of text it may hold, at most ``maximumTextBytes``.
    public init(textLimit: Int = EventBatch.maximumTextBytes) {
        precondition(textLimit <= EventBatch.maximumTextBytes, "text offsets are 32 bits wide")
        self.textLimit = textLimit
    }

    /// Whether there are no events.
    public var isEmpty: Bool { count == 0 }
    /// Bytes of text in use.
    public var textBytes: Int { textCount }
    /// Bytes of all buffers, used or not.
    var memoryBytes: Int {
        text.count + (rows.count + lists.count) * MemoryLayout<Slot>.stride
            + entries.count * MemoryLayout<Entry>.stride
    }

    /// The event at an index, in the order of decoding; see the type's description for how long it is valid.
    @inlinable public func event(_ index: Int) -> Event {
        precondition(index >= 0 && index < count, "no such event in the batch")
        let entry = entries[index]
        return Event(
            fields: UnsafePointer(rows.base + entry.row),
            text: UnsafePointer(text.base),
            lists: UnsafePointer(lists.base),
            time: entry.time,
            offset: entry.offset,
            partition: entry.partition,
            topic: entry.topic,
            type: entry.type,
            recordOffset: entry.recordOffset,
            recordLength: entry.recordLength,
            writtenTime: entry.writtenTime,
            firstMark: entry.firstMark,
            markCount: entry.markCount,
            flags: entry.flags,
            part: entry.part
        )
    }

    /// Adds a mark to the event that was appended last.
    public mutating func append(_ mark: EventMark) {
        precondition(count > 0 && entries[count - 1].markCount < .max, "a mark belongs to an event, which has few")
        EventBatch.double(&lists, to: listsCount + 1)
        if entries[count - 1].markCount == 0 { entries[count - 1].firstMark = UInt32(truncatingIfNeeded: listsCount) }
        entries[count - 1].markCount += 1
        lists[listsCount] = mark.slot
        listsCount += 1
    }

    /// Forgets the events; keeps the memory for the next epoch unless told otherwise.
    public mutating func removeAll(keepingCapacity: Bool = true) {
        count = 0
        textCount = 0
        rowsCount = 0
        listsCount = 0
        if !keepingCapacity { self = EventBatch(textLimit: textLimit) }
    }

    /// Makes room for one more event, so that nothing moves while its record is scanned; false when the text would pass its limit.
    @inline(__always)
    mutating func reserve(text textBytes: Int, fields: Int, listElements: Int) -> Bool {
        if textBytes > text.count - textCount || fields > rows.count - rowsCount
            || listElements > lists.count - listsCount
            || count == entries.count
        {
            return grow(text: textBytes, fields: fields, listElements: listElements)
        }
        return textBytes <= textLimit - textCount
    }

    @inline(never)
    private mutating func grow(text textBytes: Int, fields: Int, listElements: Int) -> Bool {
        guard textBytes <= textLimit - textCount else { return false }
        EventBatch.double(&text, to: textCount + textBytes)
        EventBatch.double(&rows, to: rowsCount + fields)
        EventBatch.double(&lists, to: listsCount + listElements)
        EventBatch.double(&entries, to: count + 1)
        return true
    }

    /// Doubles, so that n bytes cost at most 2n bytes of copying.
    private static func double<Element: BitwiseCopyable>(_ buffer: inout OwnedBuffer<Element>, to wanted: Int) {
        guard wanted > buffer.count else { return }
        var larger = buffer.count * 2
        while larger < wanted { larger *= 2 }
        buffer.resize(to: larger)
    }
}
