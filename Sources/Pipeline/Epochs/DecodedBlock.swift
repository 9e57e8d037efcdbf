import Detection
import Glibc

/// How the records of one source become events.
struct SourceDecoding: Sendable {
    /// Index of the topic; nil for a file that holds several topics' records.
    var topic: Int?
    var partition: Int32
    /// The header and the event types of a CSV file; nil for JSON.
    var csv: (header: [UInt8], types: [Int])?
}

/// A record that did not become an event, in its block.
struct RejectedRecord {
    var letter: DeadLetter
    var source: Int
    var offset: Int64
    /// The record's bytes in the block's staging; negative length: a tombstone.
    var start: Int
    var length: Int
    /// Of the record as it came; more than `length` when it was over the limit.
    var fullLength: Int
}

/// Records gathered and then decoded by all lanes at once: the DECODE stage over one batch of records.
///
/// ``stage(source:offset:appendTime:value:)`` copies what a log lends; ``decode(_:)`` splits the records over the lanes in contiguous ranges, so
/// that the events come out in the order of staging whatever the number of lanes. Events point into the block until ``removeAll()``.
final class DecodedBlock {
    private struct Staged {
        var offset: Int64
        var appendTime: Int64
        var start: Int
        /// Negative: a tombstone.
        var length: Int32
        var source: Int32
        var fullLength: Int
    }

    /// One lane's decoders and results.
    private final class DecodeLane {
        // Behind pointers: a class's own properties are checked for exclusive access at each use.
        let decoder: UnsafeMutablePointer<EventDecoder>
        let csv: UnsafeMutablePointer<CSVDecoder>
        private var csvCount = 0
        let batch: UnsafeMutablePointer<EventBatch>
        /// Per event of the batch, the source it came from.
        var sources: [Int32] = []
        var rejected: [RejectedRecord] = []

        init(_ plan: DecodePlan, _ sources: [SourceDecoding]) throws(CSVHeaderError) {
            decoder = .allocate(capacity: 1)
            decoder.initialize(to: EventDecoder(plan: plan))
            batch = .allocate(capacity: 1)
            batch.initialize(to: EventBatch())
            let files = sources.compactMap(\.csv)
            csv = .allocate(capacity: max(1, files.count))
            // Everything is initialised from here on, so a throw runs `deinit`, which knows how many there are.
            for file in files {
                let place = csv + csvCount
                try file.header.withUnsafeBufferPointer { (bytes) throws(CSVHeaderError) in
                    place.initialize(
                        to: try CSVDecoder(header: UnsafeRawBufferPointer(bytes), types: file.types, plan: plan))
                }
                csvCount += 1
            }
        }

        deinit {
            decoder.deinitialize(count: 1)
            decoder.deallocate()
            batch.deinitialize(count: 1)
            batch.deallocate()
            csv.deinitialize(count: csvCount)
            csv.deallocate()
        }
    }

    /// Bytes of records after which a block should be closed.
    static let stagedBytesMax = 4 << 20

    private let sources: [SourceDecoding]
    /// Per source, the index of its CSV decoder, or -1.
    private let csvOf: [Int]
    private let recordLimit: Int
    private var lanes: [DecodeLane] = []
    private var bytes: UnsafeMutableRawPointer
    private var capacity = 1 << 20
    private var used = 0
    private var staged: [Staged] = []
    /// Records that ``hold(after:isOutlier:)`` set aside.
    private var held: [Staged] = []
    /// Per source, the offset of the first record that was set aside.
    private(set) var heldFrom: [Int64?]
    /// Per source, the least event time that was set aside.
    private(set) var heldTime: [Int64?]

    private(set) var events: UnsafeMutableBufferPointer<Event>
    private var eventCapacity = 0
    /// Per event, the source it came from.
    private(set) var eventSources: [Int32] = []
    private(set) var rejected: [RejectedRecord] = []

    /// A block for partitions of a log, which hold JSON.
    convenience init(_ deployment: Deployment, sources: [TopicPartition], lanes: Int) {
        do throws(CSVHeaderError) {
            try self.init(
                plan: deployment.decodePlan,
                sources: sources.map {
                    SourceDecoding(
                        topic: deployment.description.topics.firstIndex(of: $0.topic), partition: $0.partition, csv: nil
                    )
                }, lanes: lanes)
        } catch { preconditionFailure("only a CSV header is refused, and there is none") }
    }

    init(plan: DecodePlan, sources: [SourceDecoding], lanes count: Int) throws(CSVHeaderError) {
        self.sources = sources
        var files = 0
        csvOf = sources.map {
            guard $0.csv != nil else { return -1 }
            files += 1
            return files - 1
        }
        recordLimit = plan.limits.recordBytes
        heldFrom = [Int64?](repeating: nil, count: sources.count)
        heldTime = heldFrom
        bytes = DecodedBlock.resized(nil, to: capacity)
        events = UnsafeMutableBufferPointer(start: nil, count: 0)
        for _ in 0..<max(1, count) { lanes.append(try DecodeLane(plan, sources)) }
    }

    deinit {
        free(bytes)
        events.baseAddress?.deallocate()
    }

    /// The C library moves the pages of a large piece of memory instead of copying them.
    private static func resized(_ bytes: UnsafeMutableRawPointer?, to count: Int) -> UnsafeMutableRawPointer {
        guard let moved = realloc(bytes, count) else { preconditionFailure("out of memory") }
        return moved
    }

    var stagedCount: Int { staged.count }
    /// Its memory is used up: it takes no more records.
    var isFull: Bool { used + staged.count * MemoryLayout<Staged>.stride >= DecodedBlock.stagedBytesMax }
    /// Per source, how many records were staged; counted when asked.
    func withStagedBySource(_ body: (UnsafeMutableBufferPointer<Int>) -> Void) {
        withUnsafeTemporaryAllocation(of: Int.self, capacity: sources.count) { counts in
            counts.initialize(repeating: 0)
            for record in staged { counts[Int(record.source)] += 1 }
            body(counts)
        }
    }

    /// Copies a record; of one over the limit only as much as a dead letter shows.
    func stage(source: Int, offset: Int64, appendTime: Int64?, value: UnsafeRawBufferPointer?, fullLength: Int? = nil) {
        var entry = Staged(
            offset: offset, appendTime: appendTime ?? .min, start: used, length: -1, source: Int32(source),
            fullLength: 0)
        if let value {
            entry.fullLength = max(value.count, fullLength ?? 0)
            let kept = entry.fullLength > recordLimit ? min(value.count, DecodePlan.deadLetterBytes) : value.count
            if used + kept > capacity {
                capacity = max(capacity * 2, used + kept)
                bytes = DecodedBlock.resized(bytes, to: capacity)
            }
            if let from = value.baseAddress { (bytes + used).copyMemory(from: from, byteCount: kept) }
            entry.length = Int32(kept)
            used += kept
        }
        staged.append(entry)
    }

    /// Decodes all staged records.
    func decode(_ team: ThreadTeam) {
        let count = staged.count
        let used = count < 64 * lanes.count ? 1 : lanes.count
        let share = (count + used - 1) / max(1, used)
        team.run(lanes: used) { l in
            let lane = lanes[l]
            let batch = lane.batch
            var origins: [Int32] = []
            swap(&origins, &lane.sources)
            defer { swap(&origins, &lane.sources) }
            for i in min(l * share, count)..<min((l + 1) * share, count) {
                let record = staged[i]
                let source = Int(record.source)
                let value =
                    record.length < 0
                    ? nil : UnsafeRawBufferPointer(start: bytes + record.start, count: Int(record.length))
                let appendTime = record.appendTime == .min ? nil : record.appendTime
                let result: DecodeResult
                if record.fullLength > recordLimit {
                    // Only its beginning is here: a flood of such records must not fill the memory.
                    result = .rejected(.tooLarge(limit: recordLimit))
                } else if csvOf[source] >= 0 {
                    result = lane.csv[csvOf[source]].decode(
                        partition: sources[source].partition, offset: record.offset, value: value,
                        appendTime: appendTime,
                        into: &batch.pointee)
                } else {
                    result = lane.decoder.pointee.decode(
                        topic: sources[source].topic, partition: sources[source].partition, offset: record.offset,
                        value: value,
                        appendTime: appendTime, into: &batch.pointee)
                }
                switch result {
                case .event: origins.append(record.source)
                case .rejected(let letter):
                    lane.rejected.append(
                        RejectedRecord(
                            letter: letter, source: source, offset: record.offset, start: record.start,
                            length: Int(record.length),
                            fullLength: record.fullLength))
                case .full: preconditionFailure("a block is closed long before its text is full")
                }
            }
        }
        var total = 0
        for l in 0..<used { total += lanes[l].batch.pointee.count }
        if total > eventCapacity {
            events.baseAddress?.deallocate()
            eventCapacity = max(4096, total)
            events = UnsafeMutableBufferPointer(start: .allocate(capacity: eventCapacity), count: 0)
        }
        events = UnsafeMutableBufferPointer(start: events.baseAddress, count: total)
        var at = 0
        for l in 0..<used {
            let batch = lanes[l].batch
            for i in 0..<batch.pointee.count {
                events.initializeElement(at: at, to: batch.pointee.event(i))
                at += 1
            }
            eventSources.append(contentsOf: lanes[l].sources)
            rejected.append(contentsOf: lanes[l].rejected)
        }
    }

    /// Sets aside, for the next block, what each source holds from its first event after `time` on; after ``decode(_:)``.
    ///
    /// So a source that was read further than the others waits for them. ``removeAll()`` then keeps these records as the first ones
    /// staged.
    ///
    /// - Parameter isOutlier: whether an event, by its index, is no reason to set anything aside.
    func hold(after time: Int64, isOutlier: (Int) -> Bool) {
        var isAny = false
        for i in events.indices
        where events[i].time > time && heldFrom[Int(eventSources[i])] == nil && !isOutlier(i) {
            heldFrom[Int(eventSources[i])] = events[i].offset
            isAny = true
        }
        if !isAny { return }
        func isHeld(_ source: Int, _ offset: Int64) -> Bool { heldFrom[source].map { offset >= $0 } ?? false }
        var kept = 0
        for i in events.indices {
            let source = Int(eventSources[i])
            if isHeld(source, events[i].offset) {
                heldTime[source] = min(heldTime[source] ?? .max, events[i].time)
                continue
            }
            events[kept] = events[i]
            eventSources[kept] = eventSources[i]
            kept += 1
        }
        events = UnsafeMutableBufferPointer(start: events.baseAddress, count: kept)
        eventSources.removeLast(eventSources.count - kept)
        rejected.removeAll { isHeld($0.source, $0.offset) }
        kept = 0
        for record in staged {
            if isHeld(Int(record.source), record.offset) {
                held.append(record)
            } else {
                staged[kept] = record
                kept += 1
            }
        }
        staged.removeLast(staged.count - kept)
    }

    /// The bytes of a rejected record; nil for a tombstone.
    func value(of record: RejectedRecord) -> UnsafeRawBufferPointer? {
        record.length < 0 ? nil : UnsafeRawBufferPointer(start: bytes + record.start, count: record.length)
    }

    /// Forgets records and events but those set aside, which become records to decode again; keeps the memory.
    func removeAll() {
        used = 0
        staged.removeAll(keepingCapacity: true)
        for var record in held {
            let length = Int(max(0, record.length))
            (bytes + used).copyMemory(from: bytes + record.start, byteCount: length)
            record.start = used
            used += length
            staged.append(record)
        }
        held.removeAll(keepingCapacity: true)
        for source in heldFrom.indices {
            heldFrom[source] = nil
            heldTime[source] = nil
        }
        eventSources.removeAll(keepingCapacity: true)
        rejected.removeAll(keepingCapacity: true)
        events = UnsafeMutableBufferPointer(start: events.baseAddress, count: 0)
        for lane in lanes {
            lane.batch.pointee.removeAll()
            lane.sources.removeAll(keepingCapacity: true)
            lane.rejected.removeAll(keepingCapacity: true)
        }
    }
}
