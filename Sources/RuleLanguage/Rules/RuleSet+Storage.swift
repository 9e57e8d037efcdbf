/// What a rule needs at run time beyond its metadata, per event type.
struct RuleBody: Sendable {
    enum ReasonPart: Sendable {
        /// Escaped as the inside of a JSON string.
        case text([UInt8])
        case value(Program, isPersonal: Bool)
    }
    struct NamedValue: Sendable {
        /// The name as a JSON key: with its quotes and the colon.
        var key: [UInt8]
        var program: Program
        var isPersonal: Bool
    }
    var event: Int
    var judgement: Program
    var reason: [ReasonPart]
    var values: [NamedValue]
}

/// One rule as the judging loop sees it.
struct JudgeEntry {
    var rule: Int32
    /// First instruction and first constant in the rule set's code.
    var start: Int32
    var constants: Int32
}

/// The tables the judging loop walks: per event type its rules, side by side.
///
/// `@unchecked Sendable`: written in init only.
final class JudgeTable: @unchecked Sendable {
    let entries: UnsafeMutablePointer<JudgeEntry>
    /// Per event type the first entry; one more than there are types.
    let starts: UnsafeMutablePointer<Int>
    let eventCount: Int
    let longest: Int

    init(_ perEvent: [[JudgeEntry]]) {
        eventCount = perEvent.count
        longest = perEvent.map(\.count).max() ?? 0
        entries = .allocate(capacity: max(1, perEvent.reduce(0) { $0 + $1.count }))
        starts = .allocate(capacity: perEvent.count + 1)
        var at = 0
        for (event, list) in perEvent.enumerated() {
            starts[event] = at
            for entry in list {
                (entries + at).initialize(to: entry)
                at += 1
            }
        }
        starts[perEvent.count] = at
    }

    deinit {
        entries.deallocate()
        starts.deallocate()
    }
}
