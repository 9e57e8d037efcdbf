import Models

/// Counts who owns which units of a memory that hands out blocks: every block belongs to one owner or to a list of free ones, and
/// none is lost.
///
/// A check's work area, one bit a unit.
struct BlockCensus: ~Copyable {
    private let units: Int
    private var claimed: [UInt64]
    private var total = 0

    init(units: Int) {
        self.units = units
        claimed = [UInt64](repeating: 0, count: units / 64 + 1)
    }

    /// Claims the units of one block; throws when they lie outside or are somebody's already.
    mutating func claim(_ start: Int, _ count: Int, _ owner: @autoclosure () -> String) throws(StateError) {
        guard start >= 0, count > 0, start <= units, count <= units - start else {
            throw .inconsistent("\(owner()) lies outside the memory: \(count) units at \(start) of \(units)")
        }
        for unit in start..<(start + count) {
            let bit: UInt64 = 1 << UInt64(unit % 64)
            guard claimed[unit / 64] & bit == 0 else { throw .inconsistent("\(owner()) lies where another block does") }
            claimed[unit / 64] |= bit
        }
        total += count
    }

    /// Throws when units belong to nobody.
    func checkComplete(_ memory: String) throws(StateError) {
        try StateError.require(total == units, "\(units - total) of \(units) units of \(memory) are lost")
    }
}
