import Foundation
import RuleLanguage
import Testing

@testable import Pipeline

/// What may have happened to a value on its way: from the member as it stands, its key and its value, to what stands there instead.
private let damages: [(name: String, text: @Sendable (_ key: String, _ value: String) -> String)] = [
    ("not there", { "\"\($0)_\":\($1)" }), ("null", { key, _ in "\"\(key)\":null" }),
    ("an empty text", { key, _ in "\"\(key)\":\"\"" }), ("an empty object", { key, _ in "\"\(key)\":{}" }),
    ("an empty array", { key, _ in "\"\(key)\":[]" }), ("a number", { key, _ in "\"\(key)\":-12345678901234567890.5" }),
    ("a text", { key, _ in "\"\(key)\":\"no such value\"" }),
    ("a text of 40 KB", { key, _ in "\"\(key)\":\"\(String(repeating: "v", count: 40_000))\"" }),
    ("NaN", { key, _ in "\"\(key)\":NaN" }), ("half of a surrogate pair", { key, _ in "\"\(key)\":\"\\ud800\"" }),
    ("a broken escape", { key, _ in "\"\(key)\":\"\\x\"" }),
    ("a byte that is no UTF-8", { key, _ in "\"\(key)\":\"\u{0}\"" }),
    ("twice", { "\"\($0)\":\($1),\"\($0)\":\($1)" }),
]

/// An optional field of one of the flagship's event types.
private struct OptionalField: Sendable, CustomTestStringConvertible {
    var event: Int
    var field: Int
    /// Which records are of the type: what stands in them.
    var type: String
    var path: [String]
    var testDescription: String { "\(type) \(path.joined(separator: "."))" }

    static let all: [OptionalField] = {
        guard let flagship = try? Deployment(folder: "\(PackageFolder.root)/topologies/marketplace") else { return [] }
        return flagship.description.events.enumerated().flatMap { event, schema in
            schema.fields.indices.filter { !schema.fields[$0].isRequired }.map { field in
                OptionalField(
                    event: event,
                    field: field,
                    type: "\"type\":\"\(schema.discriminator?.value ?? "")\"",
                    path: schema.fields[field].path.leadingKeys
                )
            }
        }
    }()

    /// The lines with the field changed in each record of the type, and in how many that was.
    func changed(_ lines: [String], _ change: (_ key: String, _ value: String) -> String) -> (
        lines: [String], count: Int
    ) {
        var count = 0
        let result = lines.map { line in
            guard line.contains(type), let (range, value) = member(in: line) else { return line }
            count += 1
            return line.replacingCharacters(in: range, with: change(path[path.count - 1], value))
        }
        return (result, count)
    }

    /// Where the field's key and value stand; the samples have no blanks, no escapes and nothing but scalars in optional fields.
    private func member(in line: String) -> (Range<String.Index>, String)? {
        var start = line.startIndex
        for key in path.dropLast() {
            guard let object = line.range(of: "\"\(key)\":{", range: start..<line.endIndex) else { return nil }
            start = object.upperBound
        }
        // Within the object it is in, which has no other inside.
        let end = path.count == 1 ? line.endIndex : line[start...].firstIndex(of: "}") ?? line.endIndex
        guard let key = line.range(of: "\"\(path[path.count - 1])\":", range: start..<end) else { return nil }
        let isText = line[key.upperBound] == "\""
        let rest = isText ? line.index(after: key.upperBound) : key.upperBound
        guard let stop = line[rest...].firstIndex(where: { isText ? $0 == "\"" : $0 == "," || $0 == "}" }) else {
            return nil
        }
        let behind = isText ? line.index(after: stop) : stop
        return (key.lowerBound..<behind, String(line[key.upperBound..<behind]))
    }
}

/// What the flagship makes of records: how many were judged, and of each rule the events it spoke of.
private struct Judgement {
    var counts: EpochCounts
    var hits: [String: Set<String>] = [:]
    /// The fields that verdicts name as damaged or cut.
    var odd: Set<String> = []

    init(_ deployment: Deployment, _ lines: [String]) throws {
        let folder = TemporaryFolder()
        // A zero byte in a record of these stands for one that is not UTF-8.
        let bytes = Array(lines.joined(separator: "\n").utf8).map { $0 == 0 ? 0xC3 : $0 }
        save(bytes, folder.file("events.jsonl"))
        let writer = try LineWriter(path: folder.file("verdicts"))
        let replay = FileReplay(
            deployment,
            inputs: [folder.file("events.jsonl")],
            outputs: ReplayOutputs(verdicts: writer),
            threads: 1
        )
        counts = try replay.run().counts
        try writer.flush()
        try writer.close()
        for line in load(folder.file("verdicts")).split(separator: UInt8(ascii: "\n")) {
            let verdict = try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
            let id = try #require((verdict["event"] as? [String: Any])?["id"] as? String)
            for list in ["reasons", "shadow"] {
                for reason in verdict[list] as? [[String: Any]] ?? [] {
                    hits[reason["rule"] as? String ?? "", default: []].insert(id)
                }
            }
            for damaged in verdict["damaged"] as? [[String: Any]] ?? [] {
                odd.insert(damaged["field"] as? String ?? "")
            }
            odd.formUnion(verdict["cut"] as? [String] ?? [])
        }
    }
}

@Suite struct FlagshipDamageTests {
    private static func samples() -> [String] {
        // All of them: what counts is that nothing changes.
        ["account_takeover", "card_testing", "coupon_ring", "honest"].flatMap { name in
            load("\(PackageFolder.root)/topologies/marketplace/samples/\(name).jsonl").split(
                separator: UInt8(ascii: "\n")
            )
            .map { String(decoding: $0, as: UTF8.self) }
        }
    }

    private static func flagship() throws -> Deployment {
        try Deployment(folder: "\(PackageFolder.root)/topologies/marketplace")
    }

    /// In the order of their times, as one file has to be.
    private static func inOrder(_ lines: [String]) -> [String] {
        func time(_ line: String) -> Int {
            line.split(separator: "\"ts\":").dropFirst().first.flatMap { Int($0.prefix { $0.isNumber }) } ?? 0
        }
        return lines.sorted { time($0) < time($1) }
    }

    @Test(arguments: OptionalField.all)
    fileprivate func `no damage to an optional field keeps an event, or a rule that does not read it, from speaking`(
        _ field: OptionalField
    ) throws {
        let deployment = try Self.flagship()
        let lines = Self.inOrder(Self.samples())
        let whole = try Judgement(deployment, lines)
        #expect(whole.counts.events == lines.count && whole.counts.deadLetters == 0 && whole.odd.isEmpty)
        let name = deployment.description.events[field.event].fields[field.field].name
        let readers = Set(
            deployment.release.rules.rules.filter { rule in
                rule.reads.contains { $0.event == field.event && $0.field == field.field }
            }.map(\.id)
        )
        let others = whole.hits.filter { !readers.contains($0.key) }
        for damage in damages {
            let (changed, count) = field.changed(lines, damage.text)
            if count == 0 { return }
            let found = try Judgement(deployment, changed)
            #expect(found.counts.events == lines.count, "\(name): \(damage.name): judged")
            #expect(found.counts.deadLetters == 0, "\(name): \(damage.name)")
            #expect(found.hits.filter { !readers.contains($0.key) } == others, "\(name): \(damage.name)")
            #expect(found.odd.isSubset(of: [name]), "\(name): \(damage.name)")
        }
    }

    @Test func `the fields are those of the samples, rules speak of them, and the comparison can fail`() throws {
        let deployment = try Self.flagship()
        let lines = Self.inOrder(Self.samples())
        let changed = OptionalField.all.filter { $0.changed(lines) { "\"\($0)\":\($1)" }.count > 0 }
        #expect(changed.count >= 12, "\(changed.map(\.testDescription))")
        for field in changed {
            #expect(
                field.changed(lines) { "\"\($0)\":\($1)" }.lines == lines,
                "\(field.testDescription) stays as it is"
            )
        }
        let whole = try Judgement(deployment, lines)
        #expect(whole.hits.count >= 5, "\(whole.hits.keys)")
        // A rule that reads a field is another where the field says something else.
        let system = try #require(OptionalField.all.first { $0.path == ["device", "os"] && $0.type.contains("order") })
        let kiosk = try Judgement(deployment, system.changed(lines) { key, _ in "\"\(key)\":\"kiosk\"" }.lines)
        #expect(whole.hits["card_testing"]?.isEmpty == false && kiosk.hits["card_testing"] == nil)
        // Where the damage hits a field that is needed, the events are not judged.
        let broken = try Judgement(deployment, lines.map { $0.replacing("\"ts\":1", with: "\"ts\":NaN,\"t\":1") })
        #expect(broken.counts.deadLetters == lines.count && broken.hits.isEmpty)
    }
}
