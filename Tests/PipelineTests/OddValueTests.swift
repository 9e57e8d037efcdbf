import Detection
import RuleLanguage
import Testing

@testable import Pipeline

/// A line of `Fixtures/odd-values.txt`, whose head tells how to read it.
private struct OddValue: Sendable {
    var line: Int
    /// How the field is declared.
    var mapping: String
    var json: [UInt8]?
    var column: [UInt8]?
    var expected: String

    static func all(in table: String) -> [OddValue] {
        var values: [OddValue] = []
        for (index, line) in table.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
        where !line.isEmpty && !line.hasPrefix("#") {
            let cells = String(line).split(separator: " | ", omittingEmptySubsequences: false).map(String.init)
            precondition(cells.count == 4, "odd-values.txt:\(index + 1) has four cells")
            let isText = cells[1].hasPrefix("\"") && cells[1].hasSuffix("\"")
            let same = isText ? String(cells[1].dropFirst().dropLast()) : cells[1]
            values.append(
                OddValue(
                    line: index + 1,
                    mapping: cells[0],
                    json: cells[1] == "-" ? nil : bytes(cells[1]),
                    column: cells[2] == "-" ? nil : column(cells[2] == "=" ? same : cells[2]),
                    expected: String(decoding: bytes(cells[3]), as: UTF8.self)
                )
            )
        }
        return values
    }

    private static func column(_ cell: String) -> [UInt8] {
        if cell.hasPrefix("bare ") { return bytes(String(cell.dropFirst(5))) }
        return bytes("\"" + cell.replacing("\"", with: "\"\"") + "\"")
    }

    /// `<C3>` is a byte, `<text*70>` a repetition, whose text may hold bytes.
    static func bytes(_ text: String) -> [UInt8] {
        var result: [UInt8] = []
        var rest = Substring(text)
        while let first = rest.first {
            if first == "<", let (repeated, length) = repetition(rest) {
                result += repeated
                rest = rest.dropFirst(length)
            } else if first == "<", rest.dropFirst(3).first == ">",
                let byte = UInt8(rest.dropFirst().prefix(2), radix: 16)
            {
                result.append(byte)
                rest = rest.dropFirst(4)
            } else {
                result += Array(String(first).utf8)
                rest = rest.dropFirst()
            }
        }
        return result
    }

    private static func repetition(_ text: Substring) -> (bytes: [UInt8], length: Int)? {
        guard let star = text.firstIndex(of: "*"), let end = text[star...].firstIndex(of: ">"),
            let count = Int(text[text.index(after: star)..<end])
        else { return nil }
        let inner = text[text.index(after: text.startIndex)..<star]
        // The nearest bracket opens it, but for a byte inside.
        if inner.contains("<"), !(inner.hasPrefix("<") && inner.count == 4) { return nil }
        let piece = bytes(String(inner))
        return (Array((0..<count).map { _ in piece }.joined()), text[..<end].count + 1)
    }

    /// The declaration with one more key.
    func declaration(_ key: String) -> String {
        if key.isEmpty { return mapping }
        return mapping.hasPrefix("{") ? "{ \(key), " + mapping.dropFirst(2) : "{ type: \(mapping), \(key) }"
    }

    /// The first key of the field's path.
    var key: String {
        guard let path = mapping.split(separator: "path: ").dropFirst().first else { return "x" }
        return String(path.prefix { $0 != "." && $0 != " " && $0 != "," })
    }
}

/// What becomes of one record: its field `x`, or its code.
private struct Outcome: Equatable {
    var text: String
    /// Of a text: what it is compared by.
    var hash: UInt64 = 0

    init(_ format: String, _ declaration: String, _ record: [UInt8]) throws {
        let description = try TopologyText.load(
            """
            topology: shop
            events:
              row:
                topic: rows
                format: \(format)
                time: ts
                subject: who
                fields:
                  ts: timestamp
                  who: { type: string, entity: account }
                  x: \(declaration)
            """
        )
        let hash = TextHash(key: .fixed)
        let plan = try DecodePlan(schemas: description.events, topics: description.topics, hash: hash)
        var batch = EventBatch()
        let result = try record.withUnsafeBytes { bytes in
            if format == "csv" {
                var decoder = try CSVDecoder(columns: ["ts", "who", "x"], types: [0], plan: plan)
                return decoder.decode(partition: 0, offset: 0, value: bytes, into: &batch)
            }
            var decoder = EventDecoder(plan: plan)
            return decoder.decode(topic: 0, partition: 0, offset: 0, value: bytes, into: &batch)
        }
        switch result {
        case .events: text = ""
        case .rejected(let letter): text = "dead \(letter.code.name)"
        case .ignored: text = "ignored"
        case .full: text = "full"
        }
        if case .events = result {
            let event = batch.event(0)
            var marks: [String] = []
            event.forEachMark { mark in
                mark.forEachField { field in
                    let other = field == 2 ? "" : " in field \(field)"
                    switch mark.kind {
                    case .damaged: marks.append("damaged \(mark.code?.name ?? "")" + other)
                    case .cut: marks.append("cut" + other)
                    case .unknownWord: marks.append("unknown" + other)
                    case .coerced: marks.append("coerced" + other)
                    }
                }
            }
            let slot = event.fields[2]
            if description.events[0].fields[2].type == .string, !slot.isMissing { self.hash = slot.bits }
            let isDamaged = marks.contains { $0.hasPrefix("damaged") }
            let value = slot.isMissing ? isDamaged ? [] : ["missing"] : [shown(slot, event, description.events[0])]
            text = (marks + value).joined(separator: " ")
            let isWhole = self.hash == 0 || slot.textLength == 0 || self.hash == hash(content(slot, event))
            if isWhole == marks.contains("cut"), slot.textLength > 0, self.hash != 0 { text += " with a wrong hash" }
        }
    }

    private func content(_ slot: Slot, _ event: Event) -> String {
        String(
            decoding: UnsafeBufferPointer(start: event.text + slot.textOffset, count: slot.textLength),
            as: UTF8.self
        )
    }

    private func shown(_ slot: Slot, _ event: Event, _ schema: EventSchema) -> String {
        switch schema.fields[2].type {
        case .string: "'\(content(slot, event))'"
        case .int, .money, .timestamp: "\(slot.int)"
        case .double: "\(slot.double)"
        case .bool: "\(slot.bool)"
        case .stringList:
            "[\((0..<slot.listCount).map { content(event.lists[slot.listOffset + $0], event) }.joined(separator: " "))]"
        }
    }
}

@Suite struct OddValueTests {
    private static let table = PackageFolder.text("Tests/PipelineTests/Fixtures/odd-values.txt")

    /// What is not as the table says.
    private func findings(in values: [OddValue]) throws -> [String] {
        var findings: [String] = []
        for value in values {
            func check(_ way: String, _ outcome: Outcome, _ expected: String) {
                if outcome.text != expected {
                    findings.append(
                        "odd-values.txt:\(value.line): \(way): \(outcome.text.prefix(120)), not \(expected.prefix(120))"
                    )
                }
            }
            let rejected = value.expected.replacing("damaged", with: "dead")
            let required = rejected == "missing" ? "dead missing_field" : rejected
            let ways = [
                ("", value.expected, "as it stands"), ("required: true", required, "required"),
                ("on_error: reject", rejected, "on_error: reject"),
            ]
            for (key, expected, way) in ways {
                var hashes: [UInt64] = []
                if let json = value.json {
                    let needed = Array(#""ts":1760000000000,"who":"a""#.utf8)
                    let member = Array("\"\(value.key)\":".utf8) + json
                    let behind = try Outcome(
                        "json",
                        value.declaration(key),
                        Array("{".utf8) + needed + Array(",".utf8) + member + Array("}".utf8)
                    )
                    check(way, behind, expected)
                    hashes.append(behind.hash)
                    if !expected.hasPrefix("dead") {
                        let before = try Outcome(
                            "json",
                            value.declaration(key),
                            Array("{ ".utf8) + member + Array(" ,\n".utf8) + needed + Array(" }".utf8)
                        )
                        check("\(way), before the others", before, expected)
                        hashes.append(before.hash)
                    }
                }
                if let column = value.column {
                    let row = try Outcome("csv", value.declaration(key), Array("1760000000000,a,".utf8) + column)
                    check("\(way), in CSV", row, expected)
                    hashes.append(row.hash)
                }
                if Set(hashes).count > 1 { findings.append("odd-values.txt:\(value.line): \(way): the hashes differ") }
            }
        }
        return findings
    }

    @Test func `odd values are what the table says, optional, required, rejected and in CSV`() throws {
        let values = OddValue.all(in: OddValueTests.table)
        #expect(values.count >= 220, "the table is there")
        #expect(values.count { $0.column != nil } >= 100, "much of it for CSV too")
        let found = try findings(in: values)
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
    }

    @Test func `one wrong line of the table is found, and once`() throws {
        func found(_ line: String) throws -> [String] {
            try findings(in: OddValue.all(in: "# head\n\(line)\nint | 1 | = | 1"))
        }
        #expect(try found("int | 12 | - | 12").isEmpty)
        #expect(
            try found("int | \"a\" | - | damaged invalid_timestamp") == [
                "odd-values.txt:2: as it stands: damaged wrong_type, not damaged invalid_timestamp",
                "odd-values.txt:2: as it stands, before the others: damaged wrong_type, not damaged invalid_timestamp",
                "odd-values.txt:2: required: dead wrong_type, not dead invalid_timestamp",
                "odd-values.txt:2: on_error: reject: dead wrong_type, not dead invalid_timestamp",
            ]
        )
        for wrong in [
            "int | 12 | = | 13", "string | \"a\" | - | cut 'a'", "{ type: string, max_length: 2 } | \"USA\" | = | 'US'",
            "string | null | - | ''", "{ type: string, enum: [web] } | \"pos\" | = | 'pos'",
            "int | - | x | damaged invalid_utf8",
        ] {
            #expect(try !found(wrong).isEmpty, "\(wrong)")
        }
    }
}
