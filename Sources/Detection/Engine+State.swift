public import Models
public import RuleLanguage

extension Engine {
    private static let layout = "engine 1: slots u64, fingerprint of the hash u64, what it is of: bytes u64, text"

    /// Writes all that decides later verdicts, between two epochs, in the middle of a tick or not; see ``StateWriter``.
    ///
    /// Whoever keeps it keeps beside it what decides the next watermarks and which inputs are in it. The last epoch's outputs are
    /// not in it. Cost: one copy of ``stateBytes``.
    public func write(to writer: inout StateWriter) {
        let subject = subject
        writer.section(StateSection(.engine), layout: Engine.layout) {
            $0.put(Slots.count)
            $0.put(hashFingerprint)
            $0.put(counted: Array(subject.utf8))
        }
        writer.section(StateSection(.tickClock), layout: clock.layoutText) { clock.write(to: &$0) }
        duplicates.write(to: &writer)
        aggregate.write(to: &writer)
        relate.write(to: &writer)
        score.write(to: &writer)
    }

    /// An engine that goes on where the one that wrote the state stood: to the same bytes, on any number of lanes.
    ///
    /// Topology, settings and hash key must be those of the state; else the error says what is not. The release may be another one:
    /// windows are found by their features' canonical texts, and what it asks for beyond them begins empty, as with
    /// ``adopt(_:)``.
    ///
    /// - Parameter beside: rule sets of features that the state has and this release does not ask for. A state that an earlier
    ///   release wrote can be read by a later one that has a rule less: the windows of that rule lie among those that stay, and are
    ///   counted on.
    public convenience init(
        _ configuration: EngineConfiguration,
        lanes: Int,
        from reader: StateReader,
        beside: [RuleSet] = []
    ) throws(StateError) {
        self.init(configuration, lanes: lanes)
        try checkSubject(reader)
        var source = try reader.open(StateSection(.tickClock), layout: clock.layoutText)
        try clock.read(from: &source)
        try source.finish()
        try duplicates.read(from: reader)
        try aggregate.read(from: reader, beside: beside)
        rows.featureWidth = aggregate.featureWidth
        try relate.read(from: reader)
        try score.read(from: reader)
    }

    /// The topology, and whose sections there must be.
    private var subject: String {
        let signals = configuration.signals
        let names = [configuration.events.map(\.name), signals.detectors, signals.models].map {
            $0.joined(separator: ", ")
        }
        return "\(configuration.topology): events \(names[0]); detectors \(names[1]); models \(names[2])"
            + (duplicates.isNeeded ? "; ids of \(duplicates.subject)" : "")
    }

    /// Tells one hash from another and nothing of its key.
    private var hashFingerprint: UInt64 { configuration.hash("the state of an engine") }

    private func checkSubject(_ reader: StateReader) throws(StateError) {
        var source = try reader.open(StateSection(.engine), layout: Engine.layout)
        let (slots, fingerprint): (Int, UInt64) = (try source.take(), try source.take())
        let written: [UInt8] = try source.takeCounted("bytes of what the state is of", limit: 1 << 24)
        try source.finish()
        guard written == Array(subject.utf8) else {
            throw .otherLayout(
                section: "the state",
                found: String(decoding: written, as: UTF8.self),
                expected: subject
            )
        }
        guard slots == Slots.count else {
            throw .otherLayout(section: "the state", found: "\(slots) slots", expected: "\(Slots.count) slots")
        }
        guard fingerprint == hashFingerprint else {
            throw .otherLayout(section: "the state", found: "keys of another secret", expected: "keys of this one")
        }
    }

    /// A digest of all that decides later verdicts, the open tick included: two engines that give the same one are in the same
    /// state.
    ///
    /// The same whatever the number of lanes, and where keys and blocks lie in memory. It does depend on the hash key, as keys and
    /// texts are only kept as their hashes, and on which features were opened together. Cost: one pass over the state.
    public var digest: UInt64 {
        var digest: UInt64 = 0
        clock.digest(into: &digest)
        duplicates.digest(into: &digest)
        aggregate.digest(into: &digest)
        relate.digest(into: &digest)
        score.digest(into: &digest)
        return digest
    }

    /// Walks all that is kept and throws when a fact does not hold that later work relies on; costs as much as all the events that
    /// are kept.
    func checkInvariants() throws(StateError) {
        try duplicates.checkInvariants()
        try aggregate.checkInvariants()
        try relate.checkInvariants()
        try score.checkInvariants()
    }
}
