import Models

/// The ids that one slot has seen of late, each with the time of its first sighting: says of a sighting whether it repeats one.
///
/// An id is known by its keyed 64-bit hash, never 0. A sighting at a time repeats an id that was first seen less than ``over``
/// before it, or after it: who comes late is a repetition too. The first sighting's time stays, so that one who repeats for ever is
/// judged once every ``over``. What was first seen `over` before the watermark or earlier is forgotten, whether or not its place
/// has been cleared. So what is said follows from the sightings, their watermarks and ``limit`` alone.
///
/// Open addressing over lines of 64 bytes, four ids each, filled from their beginning; an id whose line is full stands in the next
/// one that is not. Lines are found by the hash's highest bits behind the slot's own, so that a table grows in its place by going
/// through memory once. At most 7/8 full; grows by a fifth when more than 13/16 are still wanted: 18 to 24 bytes an id, and work of
/// a constant size for each id that is added, expiry included. No memory is asked for but to grow.
///
/// A table that is full forgets the eldest eighth, counted in ``evicted``: those longest on their way out, not those of a sender.
struct RecentIds: ~Copyable {
    struct Entry: BitwiseCopyable {
        /// 0: a free place.
        var key: UInt64
        var time: Int64
    }

    /// The first place of a line.
    typealias Line = UnsafeMutablePointer<Entry>

    /// Places of a line.
    static var line: Int { 4 }
    private static let linesMin = 4

    /// How long an id is remembered, ms.
    let over: Int64
    /// Most ids.
    let limit: Int
    /// Lines that hold ``limit`` ids.
    private let linesMax: Int
    // Only the table's own files write these.
    var lines: Int
    var count = 0
    /// Ids forgotten before their time because the table was full.
    var evicted = 0
    /// How often ids have been moved, or may have been.
    private(set) var moves = 0
    /// No id was first seen before; spares passes in which nobody would be found to go.
    private var eldest = Int64.max
    private var memory: OwnedBuffer<Entry>
    /// The first line, at a multiple of 64 bytes.
    private(set) var places: UnsafeMutablePointer<Entry>

    init(over: Int64, limit: Int) {
        precondition(over > 0, "an id is remembered for a while")
        self.over = over
        self.limit = max(limit, 16)
        linesMax = (2 * self.limit + 6) / 7
        lines = RecentIds.linesMin
        memory = RecentIds.emptyLines(lines)
        places = RecentIds.first(of: memory)
    }

    private static func emptyLines(_ lines: Int) -> OwnedBuffer<Entry> { OwnedBuffer(zeroed: (lines + 1) * line) }

    /// The first of a block's lines that begin where a line of the cache does; the heap aligns to 16 bytes, one place.
    private static func first(of memory: borrowing OwnedBuffer<Entry>) -> UnsafeMutablePointer<Entry> {
        memory.base + (line - Int(bitPattern: memory.base) / MemoryLayout<Entry>.stride % line) % line
    }

    var bytes: Int { memory.count * MemoryLayout<Entry>.stride }

    /// Most ids in the lines there are.
    private var room: Int { min(limit, lines * 7 / 2) }

    /// Takes in a sighting; returns whether it is a repetition.
    ///
    /// - Parameters:
    ///   - time: when the event is judged to have happened; may lie before the watermark.
    ///   - watermark: the one in force; never goes back.
    @inline(__always)
    mutating func see(_ key: UInt64, at time: Int64, watermark: Int64) -> Bool {
        see(key, at: time, watermark: watermark, from: start(key))
    }

    /// The same, of a search that has come to a line: by ``start(_:)`` and ``ahead(_:_:)``, since when ``moves`` is what it was.
    @inline(__always)
    mutating func see(_ key: UInt64, at time: Int64, watermark: Int64, from start: Line) -> Bool {
        let forgotten = horizon(watermark)
        var line = start
        while true {
            let same = RecentIds.holders(of: key, line)
            if same != 0 {
                let found = line + same.trailingZeroBitCount
                if found.pointee.time > max(horizon(time), forgotten) { return true }
                // Never back: it was first seen before both horizons.
                if time > forgotten { found.pointee.time = time }
                return false
            }
            let taken = RecentIds.taken(line)
            if taken < RecentIds.line {
                if time > forgotten { add(Entry(key: key, time: time), line + taken, forgotten) }
                return false
            }
            line = after(line)
        }
    }

    /// The line where an id's search begins, for a look ahead.
    @inline(__always)
    func start(_ key: UInt64) -> Line { places + home(key) &* RecentIds.line }

    /// The line where an id's search goes on, or that one if it ends there, for a look ahead.
    @inline(__always)
    func ahead(_ key: UInt64, _ line: Line) -> Line {
        let goesOn = (RecentIds.holders(of: key, line) == 0 ? 1 : 0) & (line[RecentIds.line &- 1].key == 0 ? 0 : 1)
        return goesOn == 0 ? line : after(line)
    }

    /// Bits of those places of a line that hold a key: no branch, as nobody can tell which it will be.
    @inline(__always)
    private static func holders(of key: UInt64, _ line: Line) -> Int {
        (line[0].key == key ? 1 : 0) | (line[1].key == key ? 2 : 0) | (line[2].key == key ? 4 : 0)
            | (line[3].key == key ? 8 : 0)
    }

    /// How many places of a line are taken, the first ones: no branch either.
    @inline(__always)
    private static func taken(_ line: Line) -> Int {
        (line[0].key == 0 ? 0 : 1) &+ (line[1].key == 0 ? 0 : 1) &+ (line[2].key == 0 ? 0 : 1)
            &+ (line[3].key == 0 ? 0 : 1)
    }

    /// What was first seen then or earlier is no longer known at a time.
    @inline(__always)
    private func horizon(_ time: Int64) -> Int64 {
        let (horizon, over) = time.subtractingReportingOverflow(over)
        return over ? .min : horizon
    }

    /// The line where a search begins.
    @inline(__always)
    func home(_ key: UInt64) -> Int {
        Int(truncatingIfNeeded: (key &<< 6).multipliedFullWidth(by: UInt64(truncatingIfNeeded: lines)).high)
    }

    @inline(__always)
    func after(_ line: Int) -> Int { line &+ 1 == lines ? 0 : line &+ 1 }
    @inline(__always)
    private func after(_ line: Line) -> Line {
        let next = line + RecentIds.line
        return next == places + lines &* RecentIds.line ? places : next
    }

    /// Whether searches go on behind a line.
    @inline(__always)
    func isFull(_ line: Int) -> Bool { places[line &* RecentIds.line &+ RecentIds.line &- 1].key != 0 }

    // MARK: Room

    /// Adds an id that is not there, at the place where the search for it has ended, or where it ends when there is room again.
    @inline(__always)
    private mutating func add(_ entry: Entry, _ place: UnsafeMutablePointer<Entry>, _ forgotten: Int64) {
        if count < room { place.pointee = entry } else { addMakingRoom(entry, forgotten) }
        eldest = min(eldest, entry.time)
        count &+= 1
    }

    @inline(never)
    private mutating func addMakingRoom(_ entry: Entry, _ forgotten: Int64) {
        moves &+= 1
        if eldest <= forgotten { removeAll { $0.time <= forgotten } }
        if lines < linesMax {
            // Else another pass would be due soon: each is paid for by a sixteenth of the places.
            if count > lines * 13 / 4 { grow(to: min(lines + max(1, lines / 5), linesMax)) }
        } else if count > limit - limit / 8 {
            forgetEldest(count - (limit - limit / 8))
        }
        place(entry)
    }

    /// Puts an id that is not there into the first free place of its search.
    @inline(__always)
    private func place(_ entry: Entry) {
        var at = home(entry.key)
        while !put(entry, at) { at = after(at) }
    }

    /// Puts an id into a line's first free place; false where there is none.
    @inline(__always)
    private func put(_ entry: Entry, _ at: Int) -> Bool {
        let line = places + at &* RecentIds.line
        let taken = RecentIds.taken(line)
        if taken == RecentIds.line { return false }
        line[taken] = entry
        return true
    }

    /// Takes the ids out of a line: how many, and they in its first places.
    @inline(__always)
    private func take(_ at: Int) -> (count: Int, ids: InlineArray<4, Entry>) {
        let line = places + at &* RecentIds.line
        let taken = RecentIds.taken(line)
        let ids: InlineArray<4, Entry> = [line[0], line[1], line[2], line[3]]
        let free = Entry(key: 0, time: 0)
        (line[0], line[1], line[2], line[3]) = (free, free, free, free)
        return (taken, ids)
    }

    /// Lays the ids out over more lines, in the same memory: homes only move up, so from the last line down each id comes to a line
    /// that is laid out already.
    ///
    /// The system moves the pages of a large block, and only those that are new cost anything.
    private mutating func grow(to wanted: Int) {
        let old = lines
        let first = places - memory.base
        memory.resize(to: (wanted + 1) * RecentIds.line)
        lines = wanted
        places = RecentIds.first(of: memory)
        let moved = memory.base + first
        if moved != places { places.update(from: moved, count: old * RecentIds.line) }
        let fresh = places + old * RecentIds.line
        fresh.update(repeating: Entry(key: 0, time: 0), count: memory.base + memory.count - fresh)
        // Those that stood behind their home in the first lines, and those that find the last line full: few.
        var others: [Entry] = []
        for line in (0..<old).reversed() {
            let (count, ids) = take(line)
            for i in 0..<count {
                let id = ids[unchecked: i]
                var at = home(id.key)
                while at >= line, at < wanted, !put(id, at) { at &+= 1 }
                if at < line || at == wanted { others.append(id) }
            }
        }
        for id in others { place(id) }
    }

    /// Removes the ids of which something holds, in one pass: those behind a place that becomes free move up.
    @inline(__always)
    private mutating func removeAll(where isUnwanted: (Entry) -> Bool) {
        var eldest = Int64.max
        var removed = 0
        // Behind a line where every search ends that comes to it: so nobody moves but to a line that the pass has been at.
        var line = 0
        while isFull(line) { line += 1 }
        var hasRoom = false
        for _ in 0..<lines {
            line = after(line)
            let place = places + line &* RecentIds.line
            let wasFull = isFull(line)
            var unwanted = 0
            for i in 0..<RecentIds.line {
                let (isTaken, goes) = (place[i].key != 0, isUnwanted(place[i]))
                unwanted |= (isTaken && goes ? 1 : 0) &<< i
                eldest = min(eldest, isTaken && !goes ? place[i].time : .max)
            }
            if unwanted != 0 || hasRoom {
                removed += unwanted.nonzeroBitCount
                hasRoom = true
                let (count, ids) = take(line)
                for i in 0..<count where unwanted &>> i & 1 == 0 { self.place(ids[unchecked: i]) }
            }
            // A search that comes to a line with a free place goes no further.
            if !wasFull { hasRoom = false }
        }
        count -= removed
        self.eldest = eldest
    }

    // MARK: Full

    /// Forgets so many, the eldest first; of equal age by their key, so that it does not depend on where they stand.
    private mutating func forgetEldest(_ number: Int) {
        var rank = number
        let time = smallest(&rank) { UInt64(bitPattern: $0.time) ^ 1 << 63 }
        let key = smallest(&rank) { UInt64(bitPattern: $0.time) ^ 1 << 63 == time ? $0.key : nil }
        removeAll {
            let age = UInt64(bitPattern: $0.time) ^ 1 << 63
            return age < time || age == time && $0.key <= key
        }
        evicted += number
    }

    /// The value that so many are at most, found by a few counts in ever smaller ranges.
    ///
    /// - Parameters:
    ///   - rank: 1 for the smallest; then how many of those with this value are within it.
    ///   - value: of an id; nil for those that do not count.
    private func smallest(_ rank: inout Int, _ value: (Entry) -> UInt64?) -> UInt64 {
        var (low, high) = (UInt64.max, UInt64.min)
        forEach {
            guard let value = value($0) else { return }
            (low, high) = (min(low, value), max(high, value))
        }
        while low < high {
            let shift = UInt64(max(0, 54 - (high - low).leadingZeroBitCount))
            var counts = InlineArray<1024, Int32>(repeating: 0)
            forEach {
                guard let value = value($0), value >= low, value <= high else { return }
                counts[Int((value - low) >> shift)] += 1
            }
            var range = 0
            while rank > Int(counts[range]) {
                rank -= Int(counts[range])
                range += 1
            }
            low += UInt64(range) << shift
            high = min(high, low + (1 << shift - 1))
        }
        return low
    }

    /// Lends each id, forgotten ones that have their place still included.
    func forEach(_ body: (Entry) -> Void) {
        for place in 0..<lines * RecentIds.line where places[place].key != 0 { body(places[place]) }
    }

    // MARK: State

    /// Makes room for what is read: empty lines, as many as were written.
    mutating func lay(lines wanted: Int) {
        memory = RecentIds.emptyLines(wanted)
        places = RecentIds.first(of: memory)
        lines = wanted
        eldest = .min
    }

    /// How many lines there can be.
    var linesAllowed: ClosedRange<Int> { RecentIds.linesMin...max(RecentIds.linesMin, linesMax) }
    var isWithinRoom: Bool { count <= room }
}
