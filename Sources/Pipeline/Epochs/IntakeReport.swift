public import Detection
import RuleLanguage

/// What was not as it should be among events and records: how fields came, why records are dead letters, what rules lacked.
///
/// Sums up epochs for those who run a topology, at the end of a replay and each minute of a run. Only judged events count, each
/// once.
public struct IntakeReport: Sendable {
    /// How one field of an event type came.
    public struct FieldLine: Sendable {
        public var event: Int
        public var field: Int
        /// Per ``EventCensus/State``.
        public var counts = [Int](repeating: 0, count: EventCensus.State.allCases.count)
        /// The first word that its `enum` does not have, masked where it is personal.
        public var unknownWord: String?
        /// It has been told already that it is never there.
        fileprivate var isTold = false

        /// How often it came so.
        public subscript(state: EventCensus.State) -> Int { counts[state.rawValue] }
    }

    /// Dead letters of one reason at one path.
    public struct DeadLine: Sendable {
        public var topic: String?
        public var code: DeadLetterCode
        /// Nil: the record as a whole.
        public var path: String?
        /// The same in the plan; -1: the record as a whole.
        fileprivate var pathIndex: Int32
        public var count = 0
        /// Where the first one stands: file and line, or topic, partition and offset.
        public var first: String
        /// What stood there, masked.
        public var example: String
    }

    /// How one rule ended.
    public struct RuleLine: Sendable {
        public var fired = 0
        public var undetermined = 0
        /// It fired with an exception that could not be decided.
        public var undecided = 0
        public var excepted = 0
        /// It met its budget of work.
        public var cut = 0
        /// How often it could not be decided for lack of what, by name; and the same of its exceptions.
        public var lacks: [String: Int] = [:]
        public var exceptionLacks: [String: Int] = [:]
    }

    /// Events judged, per type.
    public private(set) var judged: [Int]
    /// Per event type and field, in their order.
    public private(set) var fields: [FieldLine]
    /// In the order in which they were met.
    public private(set) var dead: [DeadLine] = []
    /// Per rule of the release.
    public private(set) var rules: [RuleLine]

    private let description: TopologyDescription
    private let ruleSet: RuleSet
    /// Per event type, the place of its first field among ``fields``.
    private let starts: [Int]

    /// Different reasons and paths that are told apart; of what comes later the reason alone is.
    private let deadMax: Int

    /// Nothing counted, of what a deployment's topology and release name.
    public init(_ deployment: Deployment) { self.init(deployment, deadMax: 1000) }

    init(_ deployment: Deployment, deadMax: Int) {
        self.deadMax = deadMax
        description = deployment.description
        ruleSet = deployment.release.rules
        judged = [Int](repeating: 0, count: description.events.count)
        starts = description.events.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1.fields.count) }
        fields = description.events.enumerated().flatMap { event, schema in
            schema.fields.indices.map { FieldLine(event: event, field: $0) }
        }
        rules = [RuleLine](repeating: RuleLine(), count: ruleSet.rules.count)
    }

    /// Nothing has been counted.
    public var isEmpty: Bool { judged.allSatisfy { $0 == 0 } && dead.isEmpty }

    /// What was counted since an earlier state of this report.
    func since(_ earlier: IntakeReport) -> IntakeReport {
        var new = self
        for event in judged.indices { new.judged[event] -= earlier.judged[event] }
        for place in fields.indices {
            for state in fields[place].counts.indices {
                new.fields[place].counts[state] -= earlier.fields[place].counts[state]
            }
        }
        for rule in rules.indices {
            let line = earlier.rules[rule]
            new.rules[rule].fired -= line.fired
            new.rules[rule].undetermined -= line.undetermined
            new.rules[rule].undecided -= line.undecided
            new.rules[rule].excepted -= line.excepted
            new.rules[rule].cut -= line.cut
            for (name, count) in line.lacks { new.rules[rule].lacks[name, default: 0] -= count }
            for (name, count) in line.exceptionLacks { new.rules[rule].exceptionLacks[name, default: 0] -= count }
            new.rules[rule].lacks = new.rules[rule].lacks.filter { $0.value > 0 }
            new.rules[rule].exceptionLacks = new.rules[rule].exceptionLacks.filter { $0.value > 0 }
        }
        // Lines are only ever added behind the others.
        for place in earlier.dead.indices { new.dead[place].count -= earlier.dead[place].count }
        new.dead.removeAll { $0.count == 0 }
        return new
    }

    /// Remembers that somebody has told of these fields that they are never there.
    mutating func noteTold(_ absent: [(event: Int, field: Int)]) {
        for (event, field) in absent { fields[starts[event] + field].isTold = true }
    }

    // MARK: Counting

    /// Takes in what one lane said of the last epoch.
    mutating func add(_ output: borrowing EpochOutput) {
        for event in judged.indices { judged[event] += output.census.judged(event) }
        output.census.forEach { event, field, state, count in
            fields[starts[event] + field].counts[state.rawValue] += count
        }
        for rule in rules.indices {
            rules[rule].fired += output.fired[rule]
            rules[rule].undetermined += output.undetermined[rule]
            rules[rule].undecided += output.undecided[rule]
            rules[rule].excepted += output.excepted[rule]
            rules[rule].cut += output.cut[rule]
            guard output.undetermined[rule] + output.undecided[rule] > 0 else { continue }
            output.forEachLack(of: rule) { outcome, event, count in
                let name = outcome.map { ruleSet.undeterminedField($0, event: event) } ?? "others"
                if outcome?.kind == .fired {
                    rules[rule].exceptionLacks[name, default: 0] += count
                } else {
                    rules[rule].lacks[name, default: 0] += count
                }
            }
        }
    }

    /// Looks for the first unknown word of each field that has one, among the events of the last epoch.
    mutating func addWords(_ events: UnsafeBufferPointer<Event>) {
        let isOpen = fields.contains { $0[.unknownWord] > 0 && $0.unknownWord == nil }
        guard isOpen else { return }
        for event in events where event.markCount > 0 {
            event.forEachMark { mark in
                guard mark.kind == .unknownWord else { return }
                mark.forEachField { field in
                    let place = starts[Int(event.type)] + field
                    guard fields[place].unknownWord == nil else { return }
                    let slot = event.fields[field]
                    let text = UnsafeRawBufferPointer(start: event.text + slot.textOffset, count: slot.textLength)
                    let isPersonal = description.events[Int(event.type)].fields[field].isPersonal
                    fields[place].unknownWord =
                        isPersonal ? MaskedExample.text(text) : String(decoding: text.prefix(64), as: UTF8.self)
                }
            }
        }
    }

    /// Takes in a dead letter.
    ///
    /// - Parameter first: says where it stands; called for the first of its kind.
    mutating func add(
        _ letter: DeadLetter,
        _ plan: DecodePlan,
        topic: String?,
        isCSV: Bool,
        value: UnsafeRawBufferPointer?,
        first: () -> String
    ) {
        func line(_ path: Int32) -> Int? {
            dead.firstIndex { $0.code == letter.code && $0.pathIndex == path && $0.topic == topic }
        }
        let isTold = dead.count < deadMax
        if let index = line(letter.path) ?? (isTold ? nil : line(-1)) {
            dead[index].count += 1
            return
        }
        let path = plan.path(of: letter)
        let example = value.map { IntakeReport.example(letter, path, isCSV: isCSV, $0) } ?? ""
        dead.append(
            DeadLine(
                topic: topic,
                code: letter.code,
                path: isTold ? path : nil,
                pathIndex: isTold ? letter.path : -1,
                count: 1,
                first: first(),
                example: example
            )
        )
    }

    /// What stands where a record was found wrong, masked.
    private static func example(_ letter: DeadLetter, _ path: String?, isCSV: Bool, _ record: UnsafeRawBufferPointer)
        -> String
    {
        if letter.code == .missingField || letter.code == .unknownEventType { return "" }
        if let path, !isCSV, let value = JSONScan.scalar(path.split(separator: ".").map(String.init), in: record) {
            return MaskedExample.text(value)
        }
        let start = min(Int(letter.byteOffset), record.count)
        var end = start
        while end < record.count, !(isCSV && path != nil && ",;\t|\n".utf8.contains(record[end])) { end += 1 }
        return MaskedExample.text(UnsafeRawBufferPointer(rebasing: record[start..<end]))
    }

    // MARK: What it means

    /// What people should know: fields that were never there, rules that could never be decided, many dead letters.
    ///
    /// - Parameters:
    ///   - records: read in all.
    ///   - ignored: those of them that held no event, as the topology allows.
    public func warnings(records: Int, ignored: Int = 0) -> [String] {
        var warnings: [String] = []
        for line in fields where judged[line.event] > 0 && line[.missing] == judged[line.event] && !line.isTold {
            let schema = description.events[line.event]
            let field = schema.fields[line.field]
            let thing = schema.each == nil ? "record" : "element"
            warnings.append(
                "field '\(field.name)' (path '\(field.path)') was missing in "
                    + "\(judged[line.event] == 1 ? "the only \(thing)" : "all \(judged[line.event]) \(thing)s") of event '\(schema.name)'"
            )
        }
        for (rule, line) in zip(ruleSet.rules, rules) {
            let asked = rule.events.reduce(0) { $0 + judged[$1] }
            guard asked > 0, line.undetermined == asked else { continue }
            let lacks = line.lacks.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.map { "'\($0.key)'" }
            warnings.append("rule '\(rule.id)' could never be decided, for lack of \(lacks.joined(separator: ", "))")
        }
        let dead = dead.reduce(0) { $0 + $1.count }
        // Each element of a record is an event or a dead letter of its own.
        let isSplit = description.events.contains { $0.each != nil }
        let all = isSplit ? dead + judged.reduce(0, +) + ignored : records
        if dead * 10 > all {
            warnings.append("\(dead) of \(all) records\(isSplit ? " and elements" : "") were dead letters")
        }
        if ignored > 0, ignored == records {
            warnings.append("no record held an event: all \(records) were ignored, as the topology says")
        }
        return warnings
    }

    /// Lines with something in them.
    public var oddFields: [FieldLine] { fields.filter { $0.counts.contains { $0 > 0 } } }

    /// How a field is called: `order.amount`.
    public func name(_ line: FieldLine) -> String {
        let schema = description.events[line.event]
        return "\(schema.name).\(schema.fields[line.field].name)"
    }

    /// The event type and the field of a line.
    public func names(_ line: FieldLine) -> (event: String, field: String) {
        let schema = description.events[line.event]
        return (schema.name, schema.fields[line.field].name)
    }

    /// The ids of the rules, in the order of ``rules``.
    public var ruleNames: [String] { ruleSet.rules.map(\.id) }
}
