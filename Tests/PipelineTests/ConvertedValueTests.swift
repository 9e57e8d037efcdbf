import Detection
import Models
import RuleLanguage
import Testing

@testable import Pipeline

/// A line of `Fixtures/converted-values.txt`.
private struct ConvertedValue: Sendable, CustomTestStringConvertible {
    var mapping: String
    var json: String?
    var column: String?
    var expected: String
    var currency = "EUR"
    var testDescription: String { "\(mapping) \(json ?? column ?? "")" }

    static let all: [ConvertedValue] = {
        var values: [ConvertedValue] = []
        for line in PackageFolder.text("Tests/PipelineTests/Fixtures/converted-values.txt").split(separator: "\n")
        where !line.hasPrefix("#") {
            let cells = String(line).split(separator: " | ", omittingEmptySubsequences: false).map(String.init)
            let isText = cells[1].hasPrefix("\"")
            var value = ConvertedValue(
                mapping: cells[0],
                json: cells[1] == "-" ? nil : cells[1],
                column: cells[2] == "-"
                    ? nil : cells[2] == "=" ? isText ? String(cells[1].dropFirst().dropLast()) : cells[1] : cells[2],
                expected: cells[3]
            )
            if cells.count > 4 { value.currency = String(cells[4].dropFirst(4)) }
            values.append(value)
        }
        return values
    }()

    /// What becomes of a record, of JSON or of CSV.
    func outcome(csv isCSV: Bool, _ record: String, marks: Bool = false) throws -> String {
        let description = try shop(isCSV ? "csv" : "json", x: mapping)
        let plan = try DecodePlan(
            schemas: description.events,
            topics: description.topics,
            hash: TextHash(key: .fixed)
        )
        var batch = EventBatch()
        let result = try Array(record.utf8).withUnsafeBytes { bytes in
            if isCSV {
                var decoder = try CSVDecoder(columns: ["ts", "who", "x", "ccy"], types: [0], plan: plan)
                return decoder.decode(partition: 0, offset: 0, value: bytes, into: &batch)
            }
            var decoder = EventDecoder(plan: plan)
            return decoder.decode(topic: 0, partition: 0, offset: 0, value: bytes, into: &batch)
        }
        switch result {
        case .events:
            var isCoerced = false
            batch.event(0).forEachMark { mark in
                if mark.kind == .coerced { mark.forEachField { if $0 == 3 { isCoerced = true } } }
            }
            return shown(batch.event(0), description.events[0]) + (marks && isCoerced ? " coerced" : "")
        case .rejected(let letter): return letter.code.name
        case .ignored: return "ignored"
        case .full: return "full"
        }
    }

    private func shown(_ event: Event, _ schema: EventSchema) -> String {
        let slot = event.fields[3]
        if slot.isMissing {
            var code = "missing"
            event.forEachMark { mark in
                mark.forEachField { if $0 == 3, let damage = mark.code { code = damage.name } }
            }
            return code
        }
        func text(_ slot: Slot) -> String {
            let bytes = UnsafeBufferPointer(start: event.text + slot.textOffset, count: slot.textLength)
            let text = String(decoding: bytes, as: UTF8.self)
            return "'\(text)'" + (slot.bits == TextHash(key: .fixed)(text) ? "" : " with a wrong hash")
        }
        switch schema.fields[3].type {
        case .string: return text(slot)
        case .int, .money, .timestamp: return "\(slot.int)"
        case .double: return "\(slot.double)"
        case .bool: return "\(slot.bool)"
        case .stringList:
            return "[\((0..<slot.listCount).map { text(event.lists[slot.listOffset + $0]) }.joined(separator: " "))]"
        }
    }
}

/// A topology of one event type with a field `x`, and what else stands in the file and in the event.
private func shop(_ format: String, x: String, file: String = "", event: String = "") throws -> TopologyDescription {
    try TopologyText.load(
        """
        topology: shop
        \(file)
        events:
          row:
            topic: rows
            format: \(format)
            time: ts
            subject: who
            \(event)
            fields:
              ts: timestamp
              who: { type: string, entity: account }
              ccy: string
              x: \(x)
        """
    )
}

@Suite struct ConvertedValueTests {
    @Test func `values in other forms than their type's own are read as the table says, in JSON and CSV alike`() throws
    {
        #expect(ConvertedValue.all.count > 150, "the table is there")
        for item in ConvertedValue.all {
            let currency = item.currency.isEmpty ? "null" : "\"\(item.currency)\""
            if let json = item.json {
                let needed = #""ts":1760000000000,"who":"a""#
                let behind = try item.outcome(csv: false, #"{\#(needed),"x":\#(json),"ccy":\#(currency)}"#)
                #expect(behind == item.expected, "\(item.testDescription)")
                let before = try item.outcome(csv: false, #"{"ccy":\#(currency),"x":\#(json),\#(needed)}"#)
                #expect(before == item.expected, "\(item.testDescription), the currency before it")
            }
            if let column = item.column {
                let quoted = "\"\(column.replacing("\"", with: "\"\""))\""
                let row = try item.outcome(csv: true, "1760000000000,a,\(quoted),\(item.currency)")
                #expect(row == item.expected, "the column of \(item.testDescription)")
            }
        }
    }

    @Test func `what was written in another form is marked, and what was not is not`() throws {
        func isMarked(_ mapping: String, _ json: String) throws -> Bool {
            let item = ConvertedValue(mapping: mapping, json: json, column: nil, expected: "")
            let record = #"{"ts":1760000000000,"who":"a","x":\#(json),"ccy":"EUR"}"#
            return try item.outcome(csv: false, record, marks: true).hasSuffix(" coerced")
        }
        let table: [(String, String, Bool)] = [
            ("{ type: int, coerce: numbers }", "\"1\"", true), ("{ type: int, coerce: numbers }", "1", false),
            ("{ type: int, coerce: numbers }", "\"x\"", false), ("{ type: bool, coerce: booleans }", "\"true\"", true),
            ("{ type: bool, coerce: booleans }", "1", true), ("{ type: bool, coerce: booleans }", "true", false),
            ("{ type: string, coerce: ids }", "7", true), ("{ type: string, coerce: ids }", "\"7\"", false),
            ("{ type: \"list<string>\", coerce: ids }", "[7]", true),
            ("{ type: \"list<string>\", coerce: ids }", "[\"7\"]", false),
            ("{ type: money, decimals: round }", "0.005", true), ("{ type: money, decimals: round }", "0.010", false),
            ("{ type: money, decimals: round, currency: ccy }", "0.005", true),
            ("{ type: money, decimals: round, currency: ccy }", "0.01", false),
            ("{ type: string, null_values: [a] }", "\"a\"", false),
        ]
        for (mapping, json, expected) in table {
            #expect(try isMarked(mapping, json) == expected, "\(mapping) \(json)")
        }
    }

    @Test func `a field takes what is said nearest to it, and only what means something for its type`() throws {
        func conversion(_ x: String, file: String = "", event: String = "") throws -> ValueConversion {
            try shop("json", x: x, file: file, event: event).events[0].fields[3].conversion
        }
        let file = "values: { coerce: [numbers, ids], null_values: [unknown], decimals: round, zone: Europe/Berlin }"
        let event = "values: { null_values: [none, \"\"] }"
        var expected = ValueConversion()
        expected.coercions = .numbers
        expected.nullWords = ["unknown"]
        expected.roundsDecimals = true
        #expect(try conversion("money", file: file) == expected)
        expected.nullWords = ["none", ""]
        #expect(try conversion("money", file: file, event: event) == expected)
        expected.nullWords = []
        expected.roundsDecimals = false
        #expect(
            try conversion(
                "{ type: money, null_values: [], decimals: reject }",
                file: file,
                event: event
            ) == expected
        )
        expected = ValueConversion()
        expected.coercions = .ids
        expected.nullWords = ["unknown"]
        #expect(try conversion("string", file: file) == expected)
        expected.coercions = []
        #expect(try conversion("bool", file: file) == expected)
        #expect(try conversion("{ type: string, coerce: [] }", file: file) == expected)
        #expect(try conversion("{ type: timestamp, format: iso8601 }", file: file).zone?.name == "Europe/Berlin")
        #expect(try conversion("{ type: timestamp, format: iso8601, zone: UTC }", file: file).zone == nil)
        #expect(try conversion("timestamp", file: file).zone == nil)
        #expect(try conversion("money") == .strict)
    }

    @Test func `what changes a value is in the digest, and what does not is not`() throws {
        func text(_ x: String, file: String = "") throws -> String {
            try shop("json", x: x, file: file).canonicalText
        }
        let plain = try text("money")
        #expect(try text("{ type: money, decimals: reject, coerce: [], null_values: [] }") == plain)
        #expect(try text("money", file: "values: { zone: Europe/Berlin, coerce: booleans }") == plain)
        let forms = [
            "money", "{ type: money, decimals: round }", "{ type: money, coerce: numbers }",
            "{ type: money, currency: ccy }",
            "{ type: money, null_values: [a] }", "{ type: money, null_values: [a, b] }",
            "{ type: timestamp, format: iso8601 }", "{ type: timestamp, format: rfc3339 }",
            "{ type: timestamp, format: \"%Y\" }", "{ type: timestamp, format: \"%y\" }",
            "{ type: timestamp, format: iso8601, zone: Europe/Berlin }",
            "{ type: timestamp, format: iso8601, zone: Europe/Paris }",
        ]
        #expect(Set(try forms.map { try text($0) }).count == forms.count)
        let zone = try text("{ type: timestamp, format: iso8601, zone: Europe/Berlin }")
        let line = try #require(zone.split(separator: "\n").first { $0.contains("zone") })
        #expect(line.hasPrefix("  zone Europe/Berlin ") && line.utf8.count == 21 + 64, "with the digest of its file")
    }

    @Test func `zones that are not there, are none or are cut are told apart`() throws {
        let folder = TemporaryFolder()
        var files = TimeZoneFiles()
        guard case .success = files.zone("Europe/Berlin") else {
            Issue.record("no time zones on this system: install tzdata")
            return
        }
        let whole = try FileText.read("\(files.folder)/Europe/Berlin", limit: 1 << 16).get()
        save(Array("no zone".utf8), folder.file("Text"))
        save(Array(whole.prefix(whole.count / 2)), folder.file("Cut"))
        save(Array(whole.dropLast(8)), folder.file("Footless"))
        save(whole, folder.file("Whole"))
        func message(_ name: String, in folder: String) -> String {
            var files = TimeZoneFiles(folder: folder)
            switch files.zone(name) {
            case .success(let zone): return "offset \(zone.offset(local: 1_767_600_000))"
            case .failure(let problem): return "\(problem.message) = \(problem.remedy)"
            }
        }
        let path = folder.path
        #expect(message("Whole", in: path) == "offset 3600")
        #expect(
            message("Europe/Berlin", in: "/nonexistent")
                == "the time zone 'Europe/Berlin' cannot be read: /nonexistent is not there"
                + " = install tzdata, or name its folder in TZDIR"
        )
        #expect(
            message("Text", in: path).hasPrefix("the time zone 'Text' cannot be read: \(path)/Text: it is no TZif file")
        )
        #expect(message("Cut", in: path).contains("it is cut"))
        #expect(message("Footless", in: path).contains("it is cut"))
        #expect(message("Wole", in: path) == "there is no time zone 'Wole' in \(path) = did you mean 'Whole'?")
        for name in ["../Whole", "", "/etc/passwd", "a//b", "+01:00", "Europe/Bérlin", "./Whole"] {
            #expect(message(name, in: path).hasPrefix("'\(name)' is no name of a time zone"), "\(name)")
        }
    }

    @Test func `no cut or changed file of a zone is read out of bounds`() throws {
        var files = TimeZoneFiles()
        let bytes = try FileText.read("\(files.folder)/Europe/Berlin", limit: 1 << 16).get()
        _ = files.zone("Europe/Berlin")
        for length in stride(from: 0, to: bytes.count, by: 7) {
            #expect(throws: TimeZoneFault.self) {
                try TimeZoneTable(name: "cut", digest: "", file: Array(bytes.prefix(length)))
            }
        }
        var random = SplitMix64(seed: 7)
        for _ in 0..<2000 {
            var changed = bytes
            for _ in 0..<4 {
                changed[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next())
            }
            // Refused or read, but never beyond its end.
            _ = try? TimeZoneTable(name: "changed", digest: "", file: changed).offset(local: 1_767_600_000)
        }
    }
}
