import Foundation
import Testing

@testable import RuleLanguage

/// Google's CEL conformance suite, the tests that need no protobuf message, run through the rule compiler.
///
/// `cel-skips.txt` names every test that does not pass with its reason; a test that passes must not stand there.
struct Conformance {
    struct Failed: Error { var reason: String }

    /// Types a binding may have here.
    static func fieldType(_ name: String) -> FieldType? {
        switch name {
        case "int", "int64Value": .int
        case "double", "doubleValue": .double
        case "bool", "boolValue": .bool
        case "string", "stringValue": .string
        case "timestamp": .timestamp
        case "list(string)": .stringList
        default: nil
        }
    }

    static func cell(_ value: [String: Any]) -> Cell? {
        if let text = value["int64Value"] as? String, let int = Int64(text) { return .int(int) }
        if let text = value["stringValue"] as? String { return .text(text) }
        if let bool = value["boolValue"] as? Bool { return .bool(bool) }
        if let double = value["doubleValue"] as? Double { return .double(double) }
        return nil
    }

    /// Files of the suite that test extension libraries, none of which is part of the rule language.
    static let extensions = [
        "bindings_ext", "block_ext", "encoders_ext", "macros2", "math_ext", "network_ext", "optionals", "string_ext",
    ]

    /// The reason to keep in the skip list.
    static func reason(_ test: [String: Any], file: String, _ said: String) -> String {
        if extensions.contains(file) { return "extension library" }
        // Rules are always type-checked; these tests want what happens without.
        if test["disable_check"] as? Bool == true, !said.contains("not supported") {
            return "asks for evaluation without type check: \(said)"
        }
        return said
    }

    static func run(_ test: [String: Any]) throws(Failed) {
        let expression = test["expr"] as? String ?? ""
        let want = test["want"] as? [String: Any] ?? [:]
        guard (test["functions"] as? [String: Any] ?? [:]).isEmpty else { throw Failed(reason: "declared functions") }
        guard (test["container"] as? String ?? "").isEmpty else { throw Failed(reason: "containers") }
        let bindings = test["bindings"] as? [String: [String: Any]] ?? [:]
        let declared = test["type_env"] as? [String: String] ?? [:]
        var fields: [FieldSchema] = []
        var cells: [String: Cell] = [:]
        for name in Set(bindings.keys).union(declared.keys).sorted() {
            guard let type = fieldType(declared[name] ?? bindings[name]?.keys.first ?? "") else {
                throw Failed(reason: "variables of other types")
            }
            fields.append(Shop.field(name, type))
            if let value = bindings[name] {
                guard let cell = cell(value) else { throw Failed(reason: "variables of other types") }
                cells[name] = cell
            }
        }
        let schema = EventSchema(name: "", topic: "", fields: fields, time: .field(0), idField: nil, subjectField: 0)
        let environment = RuleEnvironment(events: [schema], signals: [], maximumWindowMilliseconds: 1, hash: Shop.hash)
        let sink = DiagnosticSink()
        let source = SourceText(path: "", text: expression)
        var parser = Parser(source, sink)
        let tree: ParsedExpression
        do {
            tree = try parser.expression()
            if parser.current.kind != .end { throw parser.fail("left over") }
        } catch {
            throw Failed(reason: "syntax: " + (sink.errors.first?.message ?? "left over"))
        }
        let builder = CodeBuilder(hash: Shop.hash)
        let scope = Scope(
            source: source,
            event: 0,
            schema: schema,
            table: FeatureTable(),
            environment: environment
        )
        var generator = Generator(scope, builder, sink)
        let value = generator.generate(tree)
        if value.isFailed { throw Failed(reason: sink.errors.first?.message ?? "type") }
        if test["check_only"] as? Bool == true {
            let name = value.type.name.replacingOccurrences(of: "<", with: "(").replacingOccurrences(of: ">", with: ")")
            guard name == want["type"] as? String else { throw Failed(reason: "deduced type \(name)") }
            return
        }
        generator.emit(.result, value.operand)
        guard let program = generator.store(.bool, at: tree.span) else { throw Failed(reason: "size") }
        builder.freeze()
        let header = builder.unit.header
        let rows = Rows(schema, cells)
        var machine = Machine(registers: header.pointee.registers)
        defer { machine.deallocate() }
        machine.aim(rows.input, header)
        let slot = machine.run(
            header.pointee.instructions + program.start,
            constants: header.pointee.constants + program.constants,
            header
        )
        if want["error"] != nil {
            guard slot.isMissing else { throw Failed(reason: "no error where one is due") }
            return
        }
        guard !slot.isMissing else { throw Failed(reason: "error at run time") }
        guard let wanted = want["value"] as? [String: Any] else { throw Failed(reason: "unknown matcher") }
        guard equals(slot, value.type, wanted, machine) else { throw Failed(reason: "another value") }
    }

    static func equals(_ slot: Slot, _ type: StaticType, _ wanted: [String: Any], _ machine: Machine) -> Bool {
        switch type {
        case .int: return wanted["int64Value"] as? String == String(slot.int)
        case .bool: return wanted["boolValue"] as? Bool == slot.bool
        case .string: return wanted["stringValue"] as? String == String(decoding: machine.text(slot), as: UTF8.self)
        case .double:
            if let word = wanted["doubleValue"] as? String {
                let special = ["NaN": Double.nan, "Infinity": .infinity, "-Infinity": -.infinity][word]
                return special.map { $0.isNaN ? slot.double.isNaN : $0 == slot.double } ?? false
            }
            return wanted["doubleValue"] as? Double == slot.double
        case .list(let element):
            guard let list = wanted["listValue"] as? [String: Any] else { return false }
            let values = list["values"] as? [[String: Any]] ?? []
            let slots = machine.list(slot)
            return values.count == slots.count
                && zip(slots, values).allSatisfy { equals($0, element, $1, machine) }
        default: return false
        }
    }
}

@Test func `the conformance suite passes but for the tests that the skip list explains`() throws {
    guard let shared = Fixtures.shared else {
        print("skipped: no ../shared/data/cel-spec beside the package (or set WEIR_SHARED)")
        return
    }
    let lines = try String(contentsOf: shared.appendingPathComponent("data/cel-spec/native.jsonl"), encoding: .utf8)
        .components(separatedBy: "\n").filter { !$0.isEmpty }
    var skips: [String: String] = [:]
    if let text = try? Fixtures.text("cel-skips.txt") {
        for line in text.components(separatedBy: "\n") where !line.isEmpty && !line.hasPrefix("#") {
            let parts = line.components(separatedBy: "\t")
            if parts.count == 2 { skips[parts[0]] = parts[1] }
        }
    }
    var counts: [String: (passed: Int, all: Int)] = [:]
    var failures: [(id: String, reason: String)] = []
    for line in lines {
        guard let test = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
            let id = test["id"] as? String
        else { continue }
        let file = id.components(separatedBy: "/")[0]
        counts[file, default: (0, 0)].all += 1
        do throws(Conformance.Failed) {
            try Conformance.run(test)
            counts[file]?.passed += 1
            if !Fixtures.updates { #expect(skips[id] == nil, "\(id) passes: take it off the skip list") }
        } catch {
            failures.append((id, Conformance.reason(test, file: file, error.reason)))
            if !Fixtures.updates { #expect(skips[id] != nil, "\(id): \(error.reason)") }
        }
    }
    for (file, count) in counts.sorted(by: { $0.key < $1.key }) {
        print("cel-spec \(file): \(count.passed) of \(count.all)")
    }
    let passed = counts.values.reduce(0) { $0 + $1.passed }
    print("cel-spec, non-protobuf suite: \(passed) of \(lines.count)")
    if Fixtures.updates {
        let head =
            "# Tests of the non-protobuf CEL suite that do not pass, and why. Written by WEIR_UPDATE_FIXTURES=1.\n"
        let body = failures.map { "\($0.id)\t\($0.reason)" }.joined(separator: "\n")
        try (head + body + "\n").write(to: Fixtures.url("cel-skips.txt"), atomically: true, encoding: .utf8)
    }
}
