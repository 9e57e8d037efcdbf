import Models

/// How the records of one source become events.
public struct SourceDecoding: Sendable {
    /// Index of the topic; nil for a file that holds several topics' records.
    public var topic: Int?
    public var partition: Int32
    /// The columns' names and the event types of a CSV file; nil for JSON.
    public var csv: (columns: [String], types: [Int])?

    public init(topic: Int?, partition: Int32, csv: (columns: [String], types: [Int])? = nil) {
        self.topic = topic
        self.partition = partition
        self.csv = csv
    }
}

/// A record that waits to be decoded; its bytes lie among those of the records staged with it.
public struct StagedRecord: BitwiseCopyable, Sendable {
    public var offset: Int64
    /// When the log took it, milliseconds since 1970; `Int64.min` where that is not known.
    public var appendTime: Int64
    /// Where its bytes begin.
    public var start: Int
    /// How many of its bytes are here; negative: a tombstone.
    public var length: Int32
    /// Index of the source it came from.
    public var source: Int32
    /// Of the record as it came; more than `length` when it was over the limit and only its beginning was kept.
    public var fullLength: Int
    /// How many bytes of what stands beside its value follow it.
    public var besideLength: Int
    /// Digest of the record as it came, for who staged it; 0: none was made.
    public var digest: UInt64

    @inlinable public init(
        offset: Int64,
        appendTime: Int64?,
        start: Int,
        length: Int?,
        source: Int,
        fullLength: Int,
        besideLength: Int = 0,
        digest: UInt64 = 0
    ) {
        self.offset = offset
        self.appendTime = appendTime ?? .min
        self.start = start
        self.length = length.map { Int32($0) } ?? -1
        self.source = Int32(source)
        self.fullLength = fullLength
        self.besideLength = besideLength
        self.digest = digest
    }

    /// Its bytes, given where those of all begin; nil for a tombstone.
    public func value(in bytes: UnsafeRawPointer) -> UnsafeRawBufferPointer? {
        length < 0 ? nil : UnsafeRawBufferPointer(start: bytes + start, count: Int(length))
    }

    /// What stands beside its value, as ``DecodePlan/partsBeside`` says; nil where nothing was kept of it.
    public func beside(in bytes: UnsafeRawPointer) -> UnsafeRawBufferPointer? {
        besideLength == 0
            ? nil : UnsafeRawBufferPointer(start: bytes + start + Int(max(0, length)), count: besideLength)
    }

    /// All its bytes here, those beside its value included.
    public var stagedLength: Int { Int(max(0, length)) + besideLength }
}

/// A record that did not become an event, and why.
public struct RejectedRecord: Sendable {
    public var letter: DeadLetter
    public var record: StagedRecord
}

/// DECODE: records of any source in, events out, in the order of the records.
///
/// One batch of records is ``begin(_:bytes:lanes:)``, then ``run(_:)`` once for each lane, in parallel or not, then ``end()``.
/// Lanes take contiguous ranges of the records, so the result does not depend on their number. Events stay valid until the next
/// ``begin(_:bytes:lanes:)`` or ``removeAll()``. Allocates nothing once warm, but for the file headers of CSV at the start.
///
/// Cost: that of ``EventDecoder``, and about 80 bytes moved per event.
public struct DecodeStage: ~Copyable {
    private var sources: [SourceDecoding]
    private let lanes: OwnedBuffer<DecodeLane>

    // Lent from `begin` to `end`.
    private var records = UnsafeBufferPointer<StagedRecord>(start: nil, count: 0)
    private var bytes: UnsafeRawPointer?
    private var used = 0

    /// What was decoded; the owner may put the events into another order.
    public private(set) var events = UnsafeMutableBufferPointer<Event>(start: nil, count: 0)
    private var eventMemory = OwnedBuffer<Event>(undefined: 0)
    /// Per event, in the order of decoding, the source it came from.
    public private(set) var eventSources: [Int32] = []
    /// What could not be decoded, in the order of the records.
    public private(set) var rejected: [RejectedRecord] = []
    /// What is nobody's concern, in the same order.
    public private(set) var ignored: [StagedRecord] = []

    /// - Parameters:
    ///   - sources: by ``StagedRecord/source``.
    ///   - lanes: the most that ``begin(_:bytes:lanes:)`` may ask for.
    /// - Throws: ``CSVHeaderError`` when a file's header does not fit its event types.
    public init(plan: DecodePlan, sources: [SourceDecoding], lanes count: Int) throws(CSVHeaderError) {
        self.sources = sources
        lanes = try OwnedBuffer(count: max(1, count)) { _ throws(CSVHeaderError) in try DecodeLane(plan, sources) }
    }

    /// Takes in one more source, of JSON, behind those that are there.
    public mutating func add(_ source: SourceDecoding) {
        precondition(source.csv == nil, "the columns of a CSV file are known from the start")
        sources.append(source)
        for l in lanes.indices { lanes[l].addSource() }
    }

    /// Takes up the records of a batch.
    ///
    /// - Parameters:
    ///   - records: lent until ``end()``.
    ///   - bytes: where ``StagedRecord/start`` counts from; lent as long.
    ///   - lanes: parts the work is split into, each to be run once.
    public mutating func begin(_ records: UnsafeBufferPointer<StagedRecord>, bytes: UnsafeRawPointer, lanes: Int) {
        precondition(lanes >= 1 && lanes <= self.lanes.count, "a stage has as many lanes as it was made with")
        removeAll()
        self.records = records
        self.bytes = bytes
        used = lanes
    }

    /// Decodes one lane's part; different lanes touch different memory.
    public func run(_ lane: Int) {
        guard let bytes else { preconditionFailure("no batch has begun") }
        let share = (records.count + used - 1) / used
        let range = min(lane * share, records.count)..<min((lane + 1) * share, records.count)
        lanes[lane].decode(UnsafeBufferPointer(rebasing: records[range]), bytes, sources)
    }

    /// Lays the lanes' events end to end.
    public mutating func end() {
        records = UnsafeBufferPointer(start: nil, count: 0)
        bytes = nil
        var total = 0
        for l in 0..<used { total += lanes[l].batch.count }
        if total > eventMemory.count { eventMemory = OwnedBuffer(undefined: max(4096, total)) }
        events = UnsafeMutableBufferPointer(start: eventMemory.base, count: total)
        var at = 0
        for l in 0..<used {
            for i in 0..<lanes[l].batch.count {
                events.initializeElement(at: at, to: lanes[l].batch.event(i))
                at += 1
            }
            eventSources.append(contentsOf: lanes[l].sources)
            rejected.append(contentsOf: lanes[l].rejected)
            ignored.append(contentsOf: lanes[l].ignored)
        }
    }

    /// Takes events and rejected records out of the result, before the events are put into another order.
    ///
    /// - Parameters:
    ///   - isMeant: of a record by its source and offset.
    ///   - removed: called for each event that goes.
    public mutating func remove(
        where isMeant: (_ source: Int, _ offset: Int64) -> Bool,
        removed: (_ source: Int, _ event: Event) -> Void
    ) {
        var kept = 0
        for i in events.indices {
            let source = Int(eventSources[i])
            if isMeant(source, events[i].offset) {
                removed(source, events[i])
                continue
            }
            events[kept] = events[i]
            eventSources[kept] = eventSources[i]
            kept += 1
        }
        events = UnsafeMutableBufferPointer(start: eventMemory.base, count: kept)
        eventSources.removeLast(eventSources.count - kept)
        rejected.removeAll { isMeant(Int($0.record.source), $0.record.offset) }
        ignored.removeAll { isMeant(Int($0.source), $0.offset) }
    }

    /// Forgets the result; keeps the memory.
    public mutating func removeAll() {
        events = UnsafeMutableBufferPointer(start: eventMemory.base, count: 0)
        eventSources.removeAll(keepingCapacity: true)
        rejected.removeAll(keepingCapacity: true)
        ignored.removeAll(keepingCapacity: true)
        for l in lanes.indices { lanes[l].removeAll() }
    }
}

/// One lane's decoders and what they have given.
struct DecodeLane: ~Copyable {
    private var decoder: EventDecoder
    private let csv: OwnedBuffer<CSVDecoder>
    /// Per source, the index of its CSV decoder, or -1.
    private var csvOf: [Int]
    private let recordLimit: Int
    var batch = EventBatch()
    /// Per event of the batch, the source it came from.
    private(set) var sources: [Int32] = []
    private(set) var rejected: [RejectedRecord] = []
    private(set) var ignored: [StagedRecord] = []

    init(_ plan: DecodePlan, _ sources: [SourceDecoding]) throws(CSVHeaderError) {
        decoder = EventDecoder(plan: plan)
        recordLimit = plan.limits.recordBytes
        var files = 0
        csvOf = sources.map {
            guard $0.csv != nil else { return -1 }
            files += 1
            return files - 1
        }
        let tables = sources.compactMap(\.csv)
        csv = try OwnedBuffer(count: tables.count) { index throws(CSVHeaderError) in
            try CSVDecoder(columns: tables[index].columns, types: tables[index].types, plan: plan)
        }
    }

    /// One more source, of JSON.
    mutating func addSource() { csvOf.append(-1) }

    mutating func decode(
        _ records: UnsafeBufferPointer<StagedRecord>,
        _ bytes: UnsafeRawPointer,
        _ decodings: [SourceDecoding]
    ) {
        for record in records {
            let source = Int(record.source)
            let value = record.value(in: bytes)
            let appendTime = record.appendTime == .min ? nil : record.appendTime
            let result: DecodeResult
            if record.fullLength > recordLimit {
                // Only its beginning is here: a flood of such records must not fill the memory.
                result = .rejected(.tooLarge(limit: recordLimit))
            } else if csvOf[source] >= 0 {
                result = csv.base[csvOf[source]].decode(
                    topic: decodings[source].topic,
                    partition: decodings[source].partition,
                    offset: record.offset,
                    value: value,
                    appendTime: appendTime,
                    into: &batch
                )
            } else {
                result = decoder.decode(
                    topic: decodings[source].topic,
                    partition: decodings[source].partition,
                    offset: record.offset,
                    value: value,
                    beside: record.beside(in: bytes),
                    appendTime: appendTime,
                    into: &batch
                )
            }
            switch result {
            case .events(let count):
                for _ in 0..<count { sources.append(record.source) }
                if decoder.partLetters.isEmpty { break }
                for letter in decoder.partLetters { rejected.append(RejectedRecord(letter: letter, record: record)) }
                decoder.partLetters.removeAll(keepingCapacity: true)
            case .ignored: ignored.append(record)
            case .rejected(let letter): rejected.append(RejectedRecord(letter: letter, record: record))
            case .full: preconditionFailure("a batch is closed long before its text is full")
            }
        }
    }

    mutating func removeAll() {
        batch.removeAll()
        sources.removeAll(keepingCapacity: true)
        rejected.removeAll(keepingCapacity: true)
        ignored.removeAll(keepingCapacity: true)
    }
}
