import Models
import RuleLanguage

/// An event that repeats one of its type and of which a verdict tells so.
struct RepeatedEvent: BitwiseCopyable {
    var event: Event
    /// Its place in the epoch: so many events that are judged come before it.
    var place: Int
}

/// What remembering the ids of an event type costs so far, for metrics.
public struct IdCounters: Sendable, Equatable {
    /// Ids that have a place, of which some may be forgotten already.
    public var ids = 0
    /// Ids forgotten before their time because the table was full.
    public var evicted = 0
}

/// Before AGGREGATE: takes out the events that repeat an id of their type, so that no window, detector, model or rule sees them.
///
/// An epoch is ``begin(_:watermark:)``, ``identify(_:lane:of:)`` for each lane, which works out the ids of its events, when all
/// have returned ``find(_:lane:of:)`` for each lane, which looks up those ids that are its slots', in the order of the events, and
/// ``end(_:)``. Nothing of the epoch is copied where no event repeats another.
///
/// State is split over slots by the id's hash (``RecentIds``), for each type that is told to (``EventSchema/dedupe``); what an
/// event is depends on the events before it and the watermark alone. One of which a part of the id is missing is judged.
struct DuplicateStage: ~Copyable {
    /// How the id of an event type is made.
    struct Identity: BitwiseCopyable {
        /// Its table of the first slot; -1: nobody looks for repetitions.
        var tables = -1
        /// Its fields, in ``DuplicateStage/parts``.
        var start = 0
        var end = 0
        /// Whether a verdict tells of a repetition.
        var isTold = false
    }
    struct Part: BitwiseCopyable {
        var field: Int
        var isText: Bool
    }

    /// A search for an id that a lane has begun.
    struct Search: BitwiseCopyable {
        var id: UInt64
        var event: Int32
        var table: Int32
        /// The line that it had come to when the table had moved its ids so often.
        var line: RecentIds.Line
        var moves: Int
    }

    /// By event type.
    private let identities: OwnedBuffer<Identity>
    private let parts: OwnedBuffer<Part>
    /// Slots of one type one after the other, type by type.
    let tables: OwnedBuffer<RecentIds>
    /// Of each type that has tables, in their order: who they are, and what their state says they are.
    let owners: [(event: Int, name: String, layout: String)]
    private let hash: WordHash
    private let lanes: Int
    /// The highest so far: what is forgotten stays so, also in an epoch that looks further back, be its place cleared or not.
    var watermark = Int64.min
    /// Per event of the epoch: its id's hash, 0 for none; and whether it repeats one.
    private var ids = OwnedBuffer<UInt64>(undefined: 0)
    private var repeats = OwnedBuffer<Bool>(undefined: 0)
    /// Per lane and event type: repetitions found in this epoch.
    private let found: OwnedBuffer<Int>
    /// Per lane: the searches of a block of events.
    private let searches: OwnedBuffer<Search>
    /// Per lane: those of them that go on, by their place.
    private let open: OwnedBuffer<Int>
    /// Per lane: keeps early loads from being optimised away.
    private let warmth: OwnedBuffer<UInt64>
    private var judged = OwnedBuffer<Event>(undefined: 0)
    private var told: OwnedBuffer<RepeatedEvent> = OwnedBuffer(undefined: 0)
    private var toldCount = 0
    /// By event type: events of the last epoch that repeated another.
    private(set) var counts: [Int]

    init(_ configuration: EngineConfiguration, lanes: Int) {
        let schemas = configuration.events
        hash = WordHash(configuration.hash)
        self.lanes = lanes
        var parts: [Part] = []
        var identities = [Identity](repeating: Identity(), count: schemas.count)
        var owners: [(event: Int, name: String, layout: String)] = []
        var memories: [Int64] = []
        let limit = configuration.idsPerEvent / Slots.count
        for (type, schema) in schemas.enumerated() {
            guard let dedupe = schema.dedupe else { continue }
            identities[type] = Identity(
                tables: owners.count * Slots.count,
                start: parts.count,
                end: parts.count + dedupe.fields.count,
                isTold: schema.emission == .all
            )
            parts += dedupe.fields.map { Part(field: $0, isText: schema.fields[$0].type == .string) }
            memories.append(dedupe.overMilliseconds)
            let names = dedupe.fields.map { schema.fields[$0].name }.joined(separator: ", ")
            owners.append(
                (type, schema.name, "by \(names): \(RecentIds.layoutText(over: dedupe.overMilliseconds, limit: limit))")
            )
        }
        self.identities = OwnedBuffer(identities)
        self.parts = OwnedBuffer(parts)
        self.owners = owners
        tables = OwnedBuffer(count: owners.count * Slots.count) {
            RecentIds(over: memories[$0 / Slots.count], limit: limit)
        }
        found = OwnedBuffer(repeating: 0, count: lanes * schemas.count)
        searches = OwnedBuffer(undefined: lanes * DuplicateStage.block)
        open = OwnedBuffer(undefined: lanes * DuplicateStage.block)
        warmth = OwnedBuffer(repeating: 0, count: lanes)
        counts = [Int](repeating: 0, count: schemas.count)
    }

    /// Whether any event type is looked at.
    var isNeeded: Bool { !owners.isEmpty }

    /// Events of the last epoch that repeated another and of which a verdict tells, in the epoch's order.
    var repeated: UnsafeBufferPointer<RepeatedEvent> { UnsafeBufferPointer(start: told.base, count: toldCount) }

    // MARK: One epoch

    mutating func begin(_ events: UnsafeBufferPointer<Event>, watermark: Int64) {
        self.watermark = max(self.watermark, watermark)
        ids.grow(to: events.count)
        repeats.grow(to: events.count)
        found.base.update(repeating: 0, count: found.count)
        toldCount = 0
    }

    /// Works out the ids of a lane's share of the events.
    func identify(_ events: UnsafeBufferPointer<Event>, lane: Int, of lanes: Int) {
        let share = (events.count + lanes - 1) / lanes
        for i in min(lane * share, events.count)..<min((lane + 1) * share, events.count) {
            let identity = identities[Int(events[i].type)]
            repeats[i] = false
            ids[i] = identity.tables < 0 ? 0 : id(events[i], identity)
        }
    }

    /// The id's hash, or 0 when a part of it is missing.
    @inline(__always)
    private func id(_ event: Event, _ identity: Identity) -> UInt64 {
        var id: UInt64 = 0
        for p in identity.start..<identity.end {
            let slot = event.fields[parts[p].field]
            if slot.isMissing { return 0 }
            let hashed = parts[p].isText ? slot.bits : hash.number(slot.bits)
            id = p == identity.start ? hashed : hash.combine(id, hashed)
        }
        return id
    }

    /// Events looked at together, so that the cache misses of their look-ups overlap.
    private static let block = 32

    /// Looks up the ids that are a lane's slots', in the order of the events.
    func find(_ events: UnsafeBufferPointer<Event>, lane: Int, of lanes: Int) {
        guard let first = events.baseAddress else { return }
        let slots = Slots.share(lane, of: lanes)
        let counts = found.base + lane * identities.count
        let searches = searches.base + lane * DuplicateStage.block
        var start = 0
        while start < events.count {
            let end = min(start + DuplicateStage.block, events.count)
            var count = 0
            for i in start..<end {
                searches[count].event = Int32(truncatingIfNeeded: i)
                searches[count].id = ids[i]
                count &+= (ids[i] != 0 ? 1 : 0) & (slots.contains(Slots.of(ids[i])) ? 1 : 0)
            }
            lookAhead(first, searches, count, lane)
            for n in 0..<count {
                let search = searches[n]
                let event = Int(search.event)
                let table = Int(search.table)
                let line = search.moves == tables[table].moves ? search.line : tables[table].start(search.id)
                guard tables[table].see(search.id, at: first[event].time, watermark: watermark, from: line) else {
                    continue
                }
                repeats[event] = true
                counts[Int(first[event].type)] &+= 1
            }
            start = end
        }
    }

    /// Loads the lines that searches begin with, then those behind them where they go on, and so forth.
    ///
    /// Each loop is short and has no branch that depends on what is loaded, so that the loads of many searches are under way at
    /// once.
    @inline(__always)
    private func lookAhead(
        _ events: UnsafePointer<Event>,
        _ searches: UnsafeMutablePointer<Search>,
        _ count: Int,
        _ lane: Int
    ) {
        let open = open.base + lane * DuplicateStage.block
        var warm: UInt64 = 0
        for n in 0..<count {
            let id = searches[n].id
            let table = identities[Int(events[Int(searches[n].event)].type)].tables &+ Slots.of(id)
            let line = tables[table].start(id)
            searches[n].table = Int32(truncatingIfNeeded: table)
            searches[n].line = line
            searches[n].moves = tables[table].moves
            open[n] = n
            warm &+= line.pointee.key
        }
        var (left, round) = (count, 0)
        while left > 0, round < DuplicateStage.rounds {
            var goingOn = 0
            for n in 0..<left {
                let search = searches + open[n]
                let line = search.pointee.line
                let next = tables[Int(search.pointee.table)].ahead(search.pointee.id, line)
                search.pointee.line = next
                open[goingOn] = open[n]
                goingOn &+= next == line ? 0 : 1
                warm &+= next.pointee.key
            }
            (left, round) = (goingOn, round + 1)
        }
        warmth[lane] = warm
    }

    /// Most lines that are loaded ahead of a search.
    private static let rounds = 6

    /// The events that are judged: those given, or a copy of them without the ones that repeat another, good until the next epoch.
    mutating func end(_ events: UnsafeBufferPointer<Event>) -> UnsafeBufferPointer<Event> {
        var total = 0
        for type in counts.indices {
            counts[type] = 0
            for lane in 0..<lanes { counts[type] += found[lane * identities.count + type] }
            total += counts[type]
        }
        if total == 0 { return events }
        judged.grow(to: events.count)
        if identities.indices.contains(where: { identities[$0].isTold }) { told.grow(to: events.count) }
        var kept = 0
        for i in events.indices {
            if !repeats[i] {
                judged[kept] = events[i]
                kept += 1
            } else if identities[Int(events[i].type)].isTold {
                told[toldCount] = RepeatedEvent(event: events[i], place: kept)
                told[toldCount].event.flags.insert(.duplicate)
                toldCount += 1
            }
        }
        return UnsafeBufferPointer(start: judged.base, count: kept)
    }

    // MARK: What is kept

    var stateBytes: Int {
        var total = 0
        for t in tables.indices { total += tables[t].bytes }
        return total
    }

    /// By event type; nil for those that nobody looks at.
    var counters: [IdCounters?] {
        var counters = [IdCounters?](repeating: nil, count: counts.count)
        for (n, owner) in owners.enumerated() {
            var sum = IdCounters()
            for t in n * Slots.count..<(n + 1) * Slots.count {
                sum.ids += tables[t].count
                sum.evicted += tables[t].evicted
            }
            counters[owner.event] = sum
        }
        return counters
    }
}
