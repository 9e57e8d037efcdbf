import Models

/// The ids that one slot has seen of late, each with the time of its first sighting: says of a sighting whether it repeats one.
///
/// An id is known by its keyed 64-bit hash, never 0. A sighting at a time repeats an id that was first seen less than ``over``
/// before it, or after it: who comes late is a repetition too. The first sighting's time stays, so that one who repeats for ever is
/// judged once every ``over``. What was first seen `over` before the watermark or earlier is forgotten, whether or not its place
/// has been cleared. So what is said follows from the sightings, their watermarks and ``limit`` alone.
///
/// Open addressing over lines of 64 bytes, four ids each, filled from their beginning; an id whose line is full stands in the next
/// one that is not. Lines are found by the hash's highest bits behind the slot's own, so that a table grows by going through memory
/// once. At most 7/8 full; grows by a fifth when more than 13/16 are still wanted: 18 to 24 bytes an id, and work of a constant
/// size for each id that is added, expiry included. No memory is asked for but to grow.
///
/// A table that is full forgets the eldest eighth, counted in ``evicted``: those longest on their way out, not those of a sender.
struct RecentIds: ~Copyable {
    struct Entry: BitwiseCopyable {
        /// 0: a free place.
        var key: UInt64
        var time: Int64
    }

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
        let forgotten = horizon(watermark)
        var at = home(key)
        while true {
            let line = places + at &* RecentIds.line
            let same = RecentIds.holders(of: key, in: line)
            if same != 0 {
                let found = line + same.trailingZeroBitCount
                if found.pointee.time > max(horizon(time), forgotten) { return true }
                // Never back: it was first seen before both horizons.
                if time > forgotten { found.pointee.time = time }
                return false
            }
            let free = RecentIds.holders(of: 0, in: line)
            if free != 0 {
                if time > forgotten {
                    add(Entry(key: key, time: time), line + free.trailingZeroBitCount, forgotten)
                }
                return false
            }
            at = after(at)
        }
    }

    /// Bits of those places of a line that hold a key: no branch, as nobody can tell which it will be.
    @inline(__always)
    private static func holders(of key: UInt64, in line: UnsafeMutablePointer<Entry>) -> Int {
        (line[0].key == key ? 1 : 0) | (line[1].key == key ? 2 : 0) | (line[2].key == key ? 4 : 0)
            | (line[3].key == key ? 8 : 0)
    }

    /// The first place of an id's line, for a look ahead.
    @inline(__always)
    func firstKey(_ key: UInt64) -> UInt64 { places[home(key) &* RecentIds.line].key }

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
    private func place(_ entry: Entry) {
        var at = home(entry.key)
        while isFull(at) { at = after(at) }
        var free = places + at * RecentIds.line
        while free.pointee.key != 0 { free += 1 }
        free.pointee = entry
    }

    private mutating func grow(to wanted: Int) {
        let old = lines
        let larger = RecentIds.emptyLines(wanted)
        let from = places
        lines = wanted
        places = RecentIds.first(of: larger)
        for i in 0..<old * RecentIds.line where from[i].key != 0 { place(from[i]) }
        memory = larger
    }

    /// Removes the ids of which something holds, in one pass.
    private mutating func removeAll(where isUnwanted: (Entry) -> Bool) {
        var eldest = Int64.max
        for line in 0..<lines {
            var place = line * RecentIds.line
            let end = place + RecentIds.line
            // Another id may come into a place that is cleared, from behind.
            while place < end, places[place].key != 0 {
                if isUnwanted(places[place]) {
                    remove(line, place)
                } else {
                    eldest = min(eldest, places[place].time)
                    place += 1
                }
            }
        }
        self.eldest = eldest
    }

    /// Clears a place; later ids of its searches move up, possibly into this very place.
    private mutating func remove(_ line: Int, _ place: Int) {
        count &-= 1
        guard takeOut(line, place) else { return }
        // Nobody who stands behind a line that was full may be cut off from it by the free place.
        var (hole, at) = (line, after(line))
        while true {
            let wasFull = isFull(at)
            let first = at * RecentIds.line
            let moves = (first..<first + RecentIds.line).first { place in
                places[place].key != 0 && distance(home(places[place].key), at) >= distance(hole, at)
            }
            if let moves {
                places[hole * RecentIds.line + RecentIds.line - 1] = places[moves]
                _ = takeOut(at, moves)
                hole = at
            }
            if !wasFull { return }
            at = after(at)
        }
    }

    /// Takes one id out of a line, the line's last one into its place; returns whether the line was full.
    private func takeOut(_ line: Int, _ place: Int) -> Bool {
        let wasFull = isFull(line)
        var last = (line + 1) * RecentIds.line - 1
        while places[last].key == 0 { last -= 1 }
        places[place] = places[last]
        places[last] = Entry(key: 0, time: 0)
        return wasFull
    }

    /// Lines from one on to another, round the end.
    private func distance(_ from: Int, _ to: Int) -> Int { to >= from ? to - from : to - from + lines }

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
