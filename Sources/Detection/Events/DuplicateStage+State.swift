import Models

extension DuplicateStage {
    /// The event types whose ids are kept.
    var subject: String { owners.map(\.name).joined(separator: ", ") }

    private static let layout = "ids of all types 1: highest watermark i64"

    /// Writes a section for all, and one for each event type and slot; nothing where nobody looks for repetitions.
    func write(to writer: inout StateWriter) {
        guard isNeeded else { return }
        writer.section(StateSection(.recentIds), layout: DuplicateStage.layout) { $0.put(watermark) }
        for (n, owner) in owners.enumerated() {
            for slot in 0..<Slots.count {
                writer.section(StateSection(.recentIds, slot: slot, owner: owner.name), layout: owner.layout) {
                    tables[n * Slots.count + slot].write(to: &$0)
                }
            }
        }
    }

    /// Takes the place of what is here.
    mutating func read(from reader: StateReader) throws(StateError) {
        guard isNeeded else { return }
        var all = try reader.open(StateSection(.recentIds), layout: DuplicateStage.layout)
        watermark = try all.take()
        try all.finish()
        for (n, owner) in owners.enumerated() {
            for slot in 0..<Slots.count {
                var section = try reader.open(
                    StateSection(.recentIds, slot: slot, owner: owner.name),
                    layout: owner.layout
                )
                try tables[n * Slots.count + slot].read(from: &section)
                try section.finish()
            }
        }
        try checkInvariants()
    }

    func digest(into digest: inout UInt64) {
        guard isNeeded else { return }
        digest = SplitMix64.mix(digest ^ UInt64(bitPattern: watermark))
        for t in tables.indices { tables[t].digest(into: &digest) }
    }

    /// Every id is in the table of its slot, and each table is whole.
    func checkInvariants() throws(StateError) {
        for t in tables.indices {
            try tables[t].checkInvariants()
            var strays = 0
            tables[t].forEach { if Slots.of($0.key) != t % Slots.count { strays += 1 } }
            try StateError.require(strays == 0, "\(strays) ids are in slot \(t % Slots.count) and belong to others")
        }
    }
}
