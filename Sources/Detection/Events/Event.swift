public import RuleLanguage

/// One decoded event as the stages see it: pointers into its batch, valid until the epoch ends.
public struct Event: BitwiseCopyable {
    /// One slot per declared field of its type.
    public var fields: UnsafePointer<Slot>
    /// Start of its batch's text and list table.
    public var text: UnsafePointer<UInt8>
    public var lists: UnsafePointer<Slot>
    /// Event time in milliseconds since 1970.
    public var time: Int64
    public var offset: Int64
    public var partition: Int32
    /// Index of the source topic, which rises with its name, and of the event type in the topology.
    public var topic: UInt16
    public var type: UInt16
    /// The original record's value in `text`.
    public var recordOffset: UInt32
    public var recordLength: UInt32

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
        recordLength: UInt32
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
    }

    /// The order of an epoch: event time, topic name, partition, offset; total, because no two records share the last three.
    @inlinable public static func precedes(_ a: Event, _ b: Event) -> Bool {
        if a.time != b.time { return a.time < b.time }
        if a.topic != b.topic { return a.topic < b.topic }
        if a.partition != b.partition { return a.partition < b.partition }
        return a.offset < b.offset
    }
}
