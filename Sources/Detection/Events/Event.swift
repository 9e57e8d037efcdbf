public import RuleLanguage

/// One decoded event as the stages see it: pointers into its batch, valid until the epoch ends.
public struct Event: BitwiseCopyable {
    /// One slot per declared field of its type.
    public var fields: UnsafePointer<Slot>
    /// Start of its batch's text and list table.
    public var text: UnsafePointer<UInt8>
    public var lists: UnsafePointer<Slot>
    /// When it is judged, in milliseconds since 1970: the event time, or where an event had to be moved to.
    public var time: Int64
    /// The event time as it was written; differs from ``time`` where ``flags`` say why.
    public var writtenTime: Int64
    public var offset: Int64
    public var partition: Int32
    /// Index of the source topic, which rises with its name, and of the event type in the topology.
    public var topic: UInt16
    public var type: UInt16
    /// The original record's value in `text`.
    public var recordOffset: UInt32
    public var recordLength: UInt32
    /// What is odd about it: so many marks from this place of `lists` on; see ``EventMark``.
    public var firstMark: UInt32
    public var markCount: UInt8
    public var flags: EventFlags
    /// Which of its record's events it is; 0 where a record is one event.
    public var part: UInt16

    @inlinable public init(
        fields: UnsafePointer<Slot>,
        text: UnsafePointer<UInt8>,
        lists: UnsafePointer<Slot>,
        time: Int64,
        offset: Int64,
        partition: Int32,
        topic: UInt16,
        type: UInt16,
        recordOffset: UInt32,
        recordLength: UInt32,
        writtenTime: Int64? = nil,
        firstMark: UInt32 = 0,
        markCount: UInt8 = 0,
        flags: EventFlags = [],
        part: UInt16 = 0
    ) {
        self.fields = fields
        self.text = text
        self.lists = lists
        self.time = time
        self.offset = offset
        self.partition = partition
        self.topic = topic
        self.type = type
        self.recordOffset = recordOffset
        self.recordLength = recordLength
        self.writtenTime = writtenTime ?? time
        self.firstMark = firstMark
        self.markCount = markCount
        self.flags = flags
        self.part = part
    }

    /// Calls `body` with each mark, in the order in which they were made.
    @inlinable public func forEachMark(_ body: (EventMark) -> Void) {
        for place in 0..<Int(markCount) { body(EventMark(slot: lists[Int(firstMark) + place])) }
    }

    /// Has it judged at another time than its own, and in its row too, so that rules see no other; the written one stays.
    ///
    /// - Parameter field: of its row, that holds its time; nil where none does. The row must be its batch's, which nobody reads
    ///   yet.
    public mutating func place(at time: Int64, _ flag: EventFlags, field: Int?) {
        self.time = time
        flags.insert(flag)
        if let field { UnsafeMutablePointer(mutating: fields)[field] = Slot(time) }
    }

    /// The order of an epoch: time, topic name, partition, offset, part; total, because no two events share the last four.
    @inlinable public static func precedes(_ a: Event, _ b: Event) -> Bool {
        if a.time != b.time { return a.time < b.time }
        if a.topic != b.topic { return a.topic < b.topic }
        if a.partition != b.partition { return a.partition < b.partition }
        if a.offset != b.offset { return a.offset < b.offset }
        return a.part < b.part
    }
}

/// Why an event is not judged as it came.
public struct EventFlags: OptionSet, BitwiseCopyable, Sendable {
    public var rawValue: UInt8
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// It came behind the watermark and is judged there.
    public static let late = EventFlags(rawValue: 1)
    /// Its time lies too far behind the time at which the log took it, and it is judged then.
    public static let early = EventFlags(rawValue: 2)
    /// It came before.
    public static let duplicate = EventFlags(rawValue: 4)
}
