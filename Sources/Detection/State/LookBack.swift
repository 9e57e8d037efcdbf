import Models

/// The newest events of each entity, as references: who turns out to be in a ring is known by what was done before.
///
/// Of an entity the last few are kept, so that one that floods overwrites nothing but its own. When all places are taken, the
/// entity whose last event came first gives way with all of its events. Both depend on the events in their order alone.
///
/// Entities are known by their keyed hash, never 0. Cost: three cache lines an event, about 150 bytes each where an entity has one.
/// Memory grows to its limit and stays.
struct LookBack: ~Copyable {
    struct Entity: BitwiseCopyable {
        var oldest: UInt32
        var newest: UInt32
        var count: UInt32
        var unused: UInt32 = 0
    }

    struct Entry: BitwiseCopyable {
        var event: EventReference
        /// The entity's next event, or the next free place.
        var newer: UInt32
        var unused: UInt32 = 0
    }

    /// Most events kept of one entity; 0: nothing is kept.
    let perEntity: Int
    /// Most events kept in all.
    let limit: Int
    // Only the look-back's own files write these.
    var entities: OldestFirstTable<Entity>
    var entries: OwnedBuffer<Entry>
    /// Places ever used; beyond them and the free ones lies untouched memory.
    var used = 0
    /// Head of the list of free places, linked by `newer`.
    var free = UInt32.max
    /// Events kept now.
    var count = 0

    init(perEntity: Int, limit: Int) {
        self.perEntity = perEntity
        self.limit = max(2 * perEntity, limit)
        entities = OldestFirstTable(limit: self.limit)
        entries = OwnedBuffer(undefined: perEntity == 0 ? 0 : min(64, self.limit))
    }

    var bytes: Int { entities.bytes + entries.count * MemoryLayout<Entry>.stride }

    /// Keeps an event of an entity, as its newest.
    ///
    /// Returns how many events of others had to be forgotten for it.
    @discardableResult
    mutating func append(_ event: EventReference, of entity: UInt64) -> Int {
        if perEntity == 0 { return 0 }
        var row = entities.find(entity)
        if row != .max {
            entities.touch(row)
            if Int(entities[row].pointee.count) == perEntity {
                let place = entities[row].pointee.oldest
                entities[row].pointee.oldest = perEntity == 1 ? place : entries[Int(place)].newer
                if perEntity > 1 { link(place, to: row) }
                entries[Int(place)] = Entry(event: event, newer: .max)
                return 0
            }
        }
        // What gives way for it is another entity: this one is the newest, and no entity has all the places.
        let forgotten = free == .max && used == limit ? forgetOldest() : 0
        let place = makePlace()
        if row == .max {
            row = entities.insert(entity, Entity(oldest: place, newest: place, count: 0))
        } else {
            link(place, to: row)
        }
        entities[row].pointee.count += 1
        count += 1
        entries[Int(place)] = Entry(event: event, newer: .max)
        return forgotten
    }

    /// Lends the newest events kept of an entity, oldest first.
    ///
    /// - Parameter most: how many.
    func forEach(of entity: UInt64, most: Int = .max, _ body: (EventReference) -> Void) {
        let row = entities.find(entity)
        if row == .max { return }
        let kept = Int(entities[row].pointee.count)
        var place = entities[row].pointee.oldest
        for n in 0..<kept {
            if n >= kept - most { body(entries[Int(place)].event) }
            place = entries[Int(place)].newer
        }
    }

    // MARK: Places

    /// Makes a place the newest of an entity's.
    private func link(_ place: UInt32, to row: UInt32) {
        entries[Int(entities[row].pointee.newest)].newer = place
        entities[row].pointee.newest = place
    }

    private mutating func makePlace() -> UInt32 {
        if free != .max {
            defer { free = entries[Int(free)].newer }
            return free
        }
        if used == entries.count { entries.grow(to: min(2 * entries.count, limit)) }
        used += 1
        return UInt32(used - 1)
    }

    private mutating func forgetOldest() -> Int {
        let gone = entities[entities.removeOldest()].pointee
        entries[Int(gone.newest)].newer = free
        free = gone.oldest
        count -= Int(gone.count)
        return Int(gone.count)
    }
}
