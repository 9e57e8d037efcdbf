import Models
import RuleLanguage
import Testing

@testable import Detection

/// An event type with a field of each path, beside the two that every type needs.
private func schema(_ paths: [String], isRequired: Bool = false) throws -> EventSchema {
    var fields = [
        FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true),
        FieldSchema(name: "who", path: ["who"], type: .string, isRequired: true, entity: "account"),
    ]
    for (index, text) in paths.enumerated() {
        let path = try FieldPath(text: text)
        fields.append(
            FieldSchema(
                name: "f\(index)",
                path: path,
                type: path.hasEach ? .stringList : .string,
                isRequired: isRequired
            )
        )
    }
    return EventSchema(name: "e", topic: "t", fields: fields, time: .field(0), idField: nil, subjectField: 1)
}

/// What the fields of `paths` are in a record that holds these members too, or the dead letter.
private func outcome(_ members: String, _ paths: [String], isRequired: Bool = false) throws -> String {
    var bench = Bench(try plan([try schema(paths, isRequired: isRequired)]))
    let text = bench.outcome(#"{"ts":1760000000000,"who":"x",\#(members)}"#)
    let common = "ts=1760000000000 who='x'"
    return text.hasPrefix(common) ? String(text.dropFirst(common.count).drop { $0 == " " }) : text
}

@Suite struct ShapeTests {
    @Test(
        arguments: [
            (#""items":[{"sku":"a"},{"sku":"b"}]"#, ["items[0].sku", "items[1].sku", "items[2].sku"], "f0='a' f1='b'"),
            (#""items":[{"sku":"a"},{"sku":"b"}]"#, ["items[].sku"], "f0=[a b]"),
            (#""tags":["x","y","z"]"#, ["tags[]", "tags[1]"], "f0=[x y z] f1='y'"),
            (#""tags":[]"#, ["tags[]", "tags[0]"], "f0=[]"),
            (#""tags":null"#, ["tags[]", "tags[0]"], ""),
            (#""other":1"#, ["tags[]", "tags[0]"], ""),
            (#""a":{"b":[[["deep"]]]}"#, ["a.b[0][0][0]"], "f0='deep'"),
            (#""a":[{"b":["1","2"]},{"b":[]},{"b":["3"]}]"#, ["a[].b[]", "a[2].b[0]"], "f0=[1 2 3] f1='3'"),
            (#""a":[null,{"k":null},{},{"k":"v","\u006b2":"w"}]"#, ["a[].k", "a[3].k2"], "f0=[v] f1='w'"),
            (#""a" : [ { "k" : "v" , "n" : [ 1 , 2 ] } , { "k" : "\u00e4" } ] "#, ["a[].k"], "f0=[v ä]"),
            // One walk for each list, so that two of one array do not interleave in the list table.
            (#""i":[{"s":"a","t":"1"},{"s":"b","t":"2"}]"#, ["i[].s", "i[].t", "i[].s"], "f0=[a b] f1=[1 2] f2=[a b]"),
            // What nobody declared is passed over.
            (#""x":[{"s":[[]]}],"i":[{"s":"a","y":[{"s":"no"}]}]"#, ["i[].s"], "f0=[a]"),
            (#""i":{"s":"one, no list"}"#, ["i.s", "i[0].s"], "f0='one, no list'"),
            // Nothing in some form is not there; another value damages the fields that it is on the way to, and no others.
            (#""i":{}"#, ["i[].s", "i[0].t"], ""),
            (#""i":"""#, ["i[].s", "i[0].t"], ""),
            (#""i":["",{"s":"a"},[ ]]"#, ["i[].s", "i[2].t"], "f0=[a]"),
            (#""i":7,"j":"k""#, ["i[].s", "i[0].t", "j"], "f2='k' damaged f0 wrong_type damaged f1 wrong_type"),
            (#""i":[{"s":"a","t":7},{"s":"b"}]"#, ["i[].s", "i[].t"], "f0=[a b] damaged f1 wrong_type"),
            (#""i":[{"s":"a","s":"b"},{"t":"c"}]"#, ["i[].s", "i[].t"], "f1=[c] damaged f0 duplicate_field"),
            (#""i":[{"s":"\ud800","t":NaN}],"j":"k""#, ["i[0].s", "j"], "f1='k' damaged f0 invalid_escape"),
            (#""i":[],"i":[{"s":"a"}]"#, ["i[].s"], "damaged f0 duplicate_field"),
        ] as [(String, [String], String)]
    )
    func `a path leads into arrays`(_ members: String, _ paths: [String], _ expected: String) throws {
        #expect(try outcome(members, paths) == expected)
    }

    @Test func `an array cut short or broken is told like any other`() throws {
        #expect(try outcome(#""i":[{"s":"a"},"#, ["i[].s"]).hasPrefix("invalid_json"))
        var bench = Bench(try plan([try schema(["i[].s", "i[0].t"])]))
        let record = #"{"ts":1760000000000,"who":"x","i":[{"s":"a","t":"b\u00e4"},{"s":"c"}]}"#
        for length in 1..<record.utf8.count {
            let outcome = bench.outcome(Array(record.utf8.prefix(length)))
            if !outcome.hasPrefix("truncated_json") { Issue.record("cut at \(length): \(outcome)") }
        }
        #expect(bench.outcome(record).hasSuffix("f0=[a c] f1='bä'"))
    }

    @Test func `a required element that is not there makes a dead letter with its path`() throws {
        #expect(try outcome(#""i":[]"#, ["i[0].s"], isRequired: true).hasPrefix("missing_field i[0].s"))
    }

    @Test func `paths agree with a plain evaluation of random documents`() throws {
        var random = SplitMix64(seed: 7)
        var pairs = 0
        var found = 0
        for _ in 0..<2_500 {
            let paths = (0..<3).map { _ in Document.path(&random) }
            var kept: [FieldPath] = []
            for path in paths where !kept.contains(where: { Document.conflict($0, path) }) { kept.append(path) }
            var bench = Bench(try plan([try schema(kept.map(\.description))]))
            for _ in 0..<50 {
                let document = Document.object(depth: 0, &random)
                let record = #"{"ts":1760000000000,"who":"x",\#(document.members(&random))}"#
                let outcome = bench.outcome(record)
                let expected = Document.describe(kept.map { document.value(at: $0.steps[...]) })
                if outcome != "ts=1760000000000 who='x'" + expected {
                    Issue.record("\(record) \(kept): \(outcome), expected \(expected)")
                    return
                }
                pairs += kept.count
                if expected.contains("=") { found += 1 }
                bench.batch.removeAll()
            }
        }
        #expect(pairs > 200_000 && found > 5_000, "\(pairs) \(found)")
    }

    @Test func `elements that are events agree with a plain evaluation of random documents`() throws {
        var random = SplitMix64(seed: 11)
        var (events, letters, empty, found) = (0, 0, 0, 0)
        for _ in 0..<1_000 {
            func paths() -> [FieldPath] {
                var kept: [FieldPath] = []
                for path in (0..<3).map({ _ in Document.path(&random) })
                where !kept.contains(where: { Document.conflict($0, path) }) { kept.append(path) }
                return kept
            }
            let (own, inside) = (paths(), paths())
            var schema = try schema(
                own.map(\.description) + inside.map { "order.lines[].\($0.description)" }
            )
            schema.each = ["order", "lines"]
            for index in inside.indices where !inside[index].hasEach {
                schema.fields[2 + own.count + index].type = .string
            }
            let plan = try plan([schema])
            var decoder = EventDecoder(plan: plan)
            var batch = EventBatch()
            for _ in 0..<20 {
                let document = Document.object(depth: 0, &random)
                let lines = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                    Int.random(in: 0..<6, using: &random) == 0
                        ? Document.any(depth: 1, &random) : Document.object(depth: 1, &random)
                }
                let order = "\"order\":{\"lines\":\(Document.array(lines).text(&random))}"
                let members = document.members(&random)
                let record = Array(
                    (Bool.random(using: &random)
                        ? "{\(order),\(members),\"ts\":1760000000000,\"who\":\"x\"}"
                        : "{\"ts\":1760000000000,\"who\":\"x\",\(members),\(order)}").utf8
                )
                var expected: [String] = []
                for (part, line) in lines.enumerated() {
                    guard case .object = line else { continue }
                    let values =
                        own.map { document.value(at: $0.steps[...]) } + inside.map { line.value(at: $0.steps[...]) }
                    expected.append("\(part): ts=1760000000000 who='x'" + Document.describe(values))
                }
                batch.removeAll()
                decoder.partLetters.removeAll()
                let result = record.withUnsafeBytes {
                    decoder.decode(topic: 0, partition: 0, offset: 0, value: $0, into: &batch)
                }
                let said = (0..<batch.count).map { "\(batch.event($0).part): \(describe(batch.event($0), plan))" }
                let refused = decoder.partLetters.map { Int($0.part) }
                #expect(result == (lines.isEmpty ? .ignored : .events(expected.count)))
                #expect(decoder.partLetters.allSatisfy { $0.code == .notAnObject })
                if said != expected
                    || Set(refused).union(said.compactMap { Int($0.prefix { $0 != ":" }) }) != Set(lines.indices)
                    || refused.count + said.count != lines.count
                {
                    Issue.record(
                        "\(String(decoding: record, as: UTF8.self)) \(own) \(inside): \(said), expected \(expected)"
                    )
                    return
                }
                events += said.count
                letters += refused.count
                if lines.isEmpty { empty += 1 }
                if expected.contains(where: { $0.contains(" f") }) { found += 1 }
            }
        }
        #expect(events > 30_000 && letters > 2_000 && empty > 2_000 && found > 5_000, "\(events) \(letters) \(found)")
    }
}

/// A random document, and what a path of it is by the plainest reading.
private indirect enum Document {
    case object([(key: String, value: Document)])
    case array([Document])
    case string(String)
    /// A number or a word.
    case other(String)

    /// What a path leads to; nil: a value of another type than the path or the field takes.
    enum Found {
        case missing
        case text(String)
        case list([String])
    }

    static let keys = ["a", "b", "c", "key_of_nine", "a_key_of_more_than_sixteen"]

    static func path(_ random: inout SplitMix64) -> FieldPath {
        var steps: [FieldPath.Step] = [.key(keys.randomElement(using: &random) ?? "a")]
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1: steps.append(.key(keys.randomElement(using: &random) ?? "a"))
            case 2: steps.append(.index(Int.random(in: 0...2, using: &random)))
            default: steps.append(.each)
            }
        }
        return FieldPath(steps: steps)
    }

    /// One place of both, or one that is an object by one path and an array by the other.
    static func conflict(_ a: FieldPath, _ b: FieldPath) -> Bool {
        if a.overlaps(b) { return true }
        for (mine, others) in zip(a.steps, b.steps) {
            switch (mine, others) {
            case (.key(let one), .key(let other)): if one != other { return false }
            case (.key, _), (_, .key): return true
            default: return false
            }
        }
        return false
    }

    static func object(depth: Int, _ random: inout SplitMix64) -> Document {
        let names = keys.shuffled(using: &random).prefix(Int.random(in: 1...4, using: &random))
        return .object(names.map { ($0, any(depth: depth + 1, &random)) })
    }

    static func any(depth: Int, _ random: inout SplitMix64) -> Document {
        switch Int.random(in: 0..<(depth > 3 ? 3 : 10), using: &random) {
        case 0, 1: .string(["", "x", "tä", "\"\\\n", "longer than eight"].randomElement(using: &random) ?? "")
        case 2: .other(["null", "1.5", "true"].randomElement(using: &random) ?? "null")
        case 3...5: object(depth: depth, &random)
        default: .array((0..<Int.random(in: 0...3, using: &random)).map { _ in any(depth: depth + 1, &random) })
        }
    }

    func members(_ random: inout SplitMix64) -> String {
        guard case .object(let members) = self else { return "" }
        return members.map { member in
            let blank = Bool.random(using: &random) ? " " : ""
            // A key may be written with an escape.
            let key = member.key == "a" && Bool.random(using: &random) ? "\\u0061" : member.key
            return "\"\(key)\"\(blank):\(blank)\(member.value.text(&random))\(blank)"
        }.joined(separator: ",")
    }

    func text(_ random: inout SplitMix64) -> String {
        switch self {
        case .object: "{\(members(&random))}"
        case .array(let elements): "[" + elements.map { $0.text(&random) }.joined(separator: " , ") + "]"
        case .string(let text):
            "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n") + "\""
        case .other(let text): text
        }
    }

    func value(at steps: ArraySlice<FieldPath.Step>) -> Found? {
        if case .other("null") = self { return .missing }
        let rest = steps.dropFirst()
        switch (steps.first, self) {
        case (nil, .string(let text)): return .text(text)
        case (.key(let key)?, .object(let members)):
            guard let member = members.first(where: { $0.key == key }) else { return .missing }
            return member.value.value(at: rest)
        case (.index(let index)?, .array(let elements)):
            let gathers = rest.contains(.each)
            guard index < elements.count else { return gathers ? .list([]) : .missing }
            let found = elements[index].value(at: rest)
            if gathers, case .missing? = found { return .list([]) }
            return found
        case (.each?, .array(let elements)):
            var list: [String] = []
            for element in elements {
                switch element.value(at: rest) {
                case nil: return nil
                case .missing?: break
                case .text(let text)?: list.append(text)
                case .list(let more)?: list += more
                }
            }
            return .list(list)
        case (_?, .string("")): return .missing
        case (.key?, .array(let elements)): return elements.isEmpty ? .missing : nil
        case (_?, .object(let members)): return members.isEmpty ? .missing : nil
        default: return nil
        }
    }

    /// In the form of `describe`; a field is damaged where a value is of another type.
    static func describe(_ found: [Found?]) -> String {
        var text = ""
        var damages = ""
        for (index, value) in found.enumerated() {
            switch value {
            case nil: damages += " damaged f\(index) wrong_type"
            case .missing?: break
            case .text(let value)?: text += " f\(index)='\(value)'"
            case .list(let values)?: text += " f\(index)=[\(values.joined(separator: " "))]"
            }
        }
        return text + damages
    }
}
