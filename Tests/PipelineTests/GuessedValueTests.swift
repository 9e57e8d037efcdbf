import RuleLanguage
import Testing

@testable import Pipeline

/// What `weir init` proposes where values are not in the strict form of a type: each row a sample, the lines it must become, and
/// what must be said of it in words.
@Suite struct GuessedValueTests {
    private let folder = TemporaryFolder()

    struct Sample: Sendable, CustomTestStringConvertible {
        var name: String
        var file: String
        var records: [String]
        var lines: [String]
        /// Parts of what is said; none: nothing is doubtful.
        var doubts: [String] = []
        var testDescription: String { name }
    }

    /// JSON with a time and an account around the given keys.
    private static func json(_ name: String, _ inner: [String], _ lines: [String], _ doubts: [String] = []) -> Sample {
        let records = inner.enumerated().map { index, inner in
            "{\"ts\":\(1_767_571_200_000 + index),\"account\":\"a\(index % 3)\"\(inner.isEmpty ? "" : ",")\(inner)}"
        }
        return Sample(name: name, file: "sample.jsonl", records: records, lines: lines, doubts: doubts)
    }

    /// CSV with a time and an account before the given column.
    private static func csv(
        _ name: String,
        _ column: String,
        _ values: [String],
        _ lines: [String],
        _ doubts: [String] = []
    )
        -> Sample
    {
        let rows = values.enumerated().map { "\(1_767_571_200_000 + $0)|a\($0 % 3)|\($1)" }
        return Sample(
            name: name,
            file: "sample.csv",
            records: ["ts|account|\(column)"] + rows,
            lines: lines,
            doubts: doubts
        )
    }

    static let samples: [Sample] = [
        // Numbers for texts.
        json(
            "an id of 64 bits",
            ["\"id\":5600000000000000001", "\"id\":5600000000000000002"],
            ["id: { type: string, coerce: [ids] }", "id: id"]
        ),
        json(
            "a longer one",
            ["\"user_id\":987654321012345678900"],
            ["user_id: { type: string, coerce: [ids], entity: account, personal: true }"]
        ),
        json(
            "ids as numbers and as texts",
            ["\"item_id\":7", "\"item_id\":\"B7\""],
            ["item_id: { type: string, coerce: [ids], entity: item }"]
        ),
        json("a number that is none", ["\"amp\":123456789012345678901"], ["amp: { type: string, coerce: [ids] }"]),
        json("a field called as the first rule counts", ["\"n\":1,\"hourly\":2"], ["\"n\": int", "hourly: int"]),
        json("a status is a number", ["\"status_code\":404"], ["status_code: int"]),
        json(
            "a size of several types",
            ["\"size\":1", "\"size\":\"XL\""],
            ["# size: its values are of several types: text, number"]
        ),
        // Texts for numbers.
        json(
            "texts by a quantity's name",
            ["\"qty\":\"3\"", "\"qty\":\"10\""],
            ["qty: { type: int, coerce: [numbers] }"]
        ),
        json(
            "texts with fractions",
            ["\"lon\":\"1.5\"", "\"lon\":\"2\""],
            ["lon: { type: double, coerce: [numbers] }"]
        ),
        json("texts and numbers", ["\"amp\":\"1\"", "\"amp\":2"], ["amp: { type: int, coerce: [numbers] }"]),
        json(
            "texts that may be codes",
            ["\"shelf\":\"12\""],
            ["shelf: string  # texts of digits: for a number write { type: int, coerce: [numbers] }"]
        ),
        json("texts with leading zeros", ["\"zip\":\"01234\"", "\"zip\":\"99999\""], ["zip: string"]),
        json("an amount as text", ["\"price\":\"12.99\""], ["price: { type: money, scale: 2 }"]),
        json(
            "an amount between blanks",
            ["\"price\":\" 12.99 \""],
            ["price: { type: money, scale: 2, coerce: [numbers] }"]
        ),
        json(
            "an amount with a sign",
            ["\"price\":\"$12.99\""],
            ["price: string  # not read as money: its texts are no plain numbers"]
        ),
        json("seconds as text", ["\"paid_at\":\"1767571200\""], ["paid_at: { type: timestamp, format: s }"]),
        // Truth values.
        json("truth as text", ["\"ok\":\"true\"", "\"ok\":\"False\""], ["ok: { type: bool, coerce: [booleans] }"]),
        json("truth as a digit", ["\"is_new\":0", "\"is_new\":1"], ["is_new: { type: bool, coerce: [booleans] }"]),
        json("a digit that is none", ["\"new\":0", "\"new\":1"], ["new: int"]),
        csv("truth in columns", "is_new", ["0", "1"], ["is_new: bool"]),
        csv("truth in capitals", "new", ["True", "FALSE"], ["new: { type: bool, coerce: [booleans] }"]),
        // Amounts.
        json(
            "digits of arithmetic",
            ["\"amount\":0.30000000000000004", "\"amount\":1.25"],
            [
                "amount: { type: money, scale: 2, decimals: round }  # numbers with digits of arithmetic, such as 9.989999999999998, are rounded"
            ]
        ),
        json("a rate is no amount", ["\"amount\":1.23456789"], ["amount: double"]),
        json("three digits", ["\"amount\":1.234", "\"amount\":1.5"], ["amount: { type: money, scale: 3 }"]),
        json(
            "yen and euro",
            ["\"amount\":1299,\"currency\":\"JPY\"", "\"amount\":12.99,\"currency\":\"eur\""],
            ["amount: { type: money, currency: currency }", "currency: string"]
        ),
        json("yen alone", ["\"amount\":1299,\"currency\":\"JPY\""], ["amount: { type: money, currency: currency }"]),
        json(
            "euro without a fraction",
            ["\"amount\":1299,\"currency\":\"EUR\""],
            ["amount: { type: money, currency: currency }"],
            ["`amount` has whole numbers only, read as major units"]
        ),
        json("cents by name", ["\"amount_cents\":1299,\"currency\":\"EUR\""], ["amount_cents: int"]),
        json(
            "a currency's sign",
            ["\"amount\":12.99,\"currency\":\"€\""],
            ["amount: { type: money, scale: 2 }"],
            ["`currency` holds other words than the codes of ISO 4217, so `amount` has 2 decimal digits"]
        ),
        json(
            "a currency that is not always there",
            ["\"amount\":12.99,\"currency\":\"EUR\"", "\"amount\":5.50"],
            ["amount: { type: money, scale: 2 }"],
            ["`currency` is not beside every amount"]
        ),
        json(
            "more digits than the currency has",
            ["\"amount\":12.99,\"currency\":\"JPY\""],
            ["amount: { type: money, scale: 2 }"],
            ["`currency` has digits that are fewer than its amounts have"]
        ),
        json(
            "each amount its own currency",
            ["\"a\":{\"price\":1.5,\"currency\":\"EUR\"},\"b\":{\"price\":5,\"currency\":\"JPY\"}"],
            ["a.price: { type: money, currency: a.currency }", "b.price: { type: money, currency: b.currency }"]
        ),
        // Words for nothing.
        csv("NULL among numbers", "amp", ["1", "NULL", "3"], ["amp: { type: int, null_values: [\"NULL\"] }"]),
        csv(
            "N/A among times",
            "paid_at",
            ["2026-01-05T08:00:00Z", "N/A"],
            ["paid_at: { type: timestamp, format: rfc3339, null_values: [\"N/A\"] }"]
        ),
        csv(
            "a date of zeros",
            "paid_at",
            ["2026-01-05T08:00:00Z", "0000-00-00 00:00:00"],
            ["paid_at: { type: timestamp, format: rfc3339, null_values: [\"0000-00-00 00:00:00\"] }"]
        ),
        json(
            "an identity of zeros",
            ["\"device_id\":\"00000000-0000-0000-0000-000000000000\"", "\"device_id\":\"d7\""],
            ["device_id: { type: string, null_values: [\"00000000-0000-0000-0000-000000000000\"], entity: device }"]
        ),
        csv(
            "unknown is nobody",
            "card",
            ["c1", "unknown"],
            ["card: { type: string, null_values: [\"unknown\"], entity: card, personal: true }"]
        ),
        csv("NA is a country", "country", ["NA", "DE"], ["country: string"]),
        csv("NULL is none", "country", ["NULL", "DE"], ["country: { type: string, null_values: [\"NULL\"] }"]),
        csv("nothing but NULL", "gone", ["NULL", "NULL"], ["# gone: it was NULL in every record"]),
        // Times.
        json(
            "no seconds, a short offset",
            ["\"paid_at\":\"2026-01-05T08:00+01\""],
            ["paid_at: { type: timestamp, format: iso8601 }"]
        ),
        json(
            "PHP's strokes",
            [#""paid_at":"01\/13\/2026 08:00""#],
            ["paid_at: { type: timestamp, format: \"%m/%d/%Y %H:%M\" }"],
            ["`paid_at` says nothing of the distance from UTC and is read as UTC"]
        ),
        json(
            "the zone stands beside",
            ["\"at\":\"2026-01-05 08:00:00\",\"timezone\":\"Europe\\/Berlin\""],
            ["at: { type: timestamp, format: rfc3339, zone: Europe/Berlin }"],
            ["`at` says nothing of the distance from UTC: read by the clock of Europe/Berlin, which `timezone` names"]
        ),
        json(
            "several zones",
            [
                "\"at\":\"2026-01-05 08:00:00\",\"tz\":\"Europe/Berlin\"",
                "\"at\":\"2026-01-05 08:00:00\",\"tz\":\"Asia/Tokyo\"",
            ],
            ["at: { type: timestamp, format: rfc3339 }"],
            ["`tz` names several zones"]
        ),
        csv(
            "digits of a date",
            "paid_on",
            ["20260105", "20261231"],
            ["paid_on: { type: timestamp, format: \"%Y%m%d\" }"],
            ["read as UTC"]
        ),
        csv("digits of no date", "lot", ["20260105", "20261231"], ["lot: int"]),
        csv("a version is no date", "version", ["1.2.26", "3.2.26"], ["version: string"]),
        csv(
            "day or month",
            "paid_on",
            ["01/02/2026", "03/02/2026"],
            ["paid_on: { type: timestamp, format: \"%m/%d/%Y\" }"],
            [
                "`paid_on` may be day/month/year or month/day/year, undecided by its texts: month/day/year was taken",
                "UTC",
            ]
        ),
        csv(
            "day or month between points",
            "paid_on",
            ["01.02.2026", "03.02.2026"],
            ["paid_on: { type: timestamp, format: \"%d.%m.%Y\" }"],
            ["undecided by its texts: day/month/year was taken, as such signs are most often meant", "UTC"]
        ),
        csv(
            "like another column",
            "paid_on|sent_on",
            ["01/02/2026|13/02/2026", "03/02/2026|14/02/2026"],
            [
                "paid_on: { type: timestamp, format: \"%d/%m/%Y\" }",
                "sent_on: { type: timestamp, format: \"%d/%m/%Y\" }",
            ],
            ["day/month/year was taken, as `sent_on` is", "UTC"]
        ),
        csv(
            "by the order of records",
            "paid_on",
            (0..<24).map { "\($0 / 12 + 1)/\($0 % 12 + 1)/2026" },
            ["paid_on: { type: timestamp, format: \"%m/%d/%Y\" }"],
            ["month/day/year was taken, in which the records are in order of time", "UTC"]
        ),
        // Arrays.
        json("texts", ["\"tags\":[\"a\",\"b\"]", "\"tags\":[]"], ["tags: list<string>"]),
        json(
            "ids",
            ["\"product_ids\":[1,2]", "\"product_ids\":[\"x\"]"],
            ["product_ids: { type: list<string>, coerce: [ids] }"]
        ),
        json(
            "of each element",
            ["\"line_items\":[{\"sku\":\"a\",\"id\":1,\"qty\":1},{\"sku\":\"b\",\"id\":2,\"qty\":2}]"],
            [
                "line_items.sku: { type: list<string>, path: \"line_items[].sku\" }",
                "line_items: { type: list<string>, path: \"line_items[].id\", coerce: [ids] }",
                "# \"line_items[].qty\": its values are no texts, and a list holds nothing else; of one element: `line_items[0].qty`",
            ]
        ),
        json(
            "of the only element",
            ["\"line_items\":[{\"sku\":\"a\",\"qty\":1,\"note\":\"x\"}]", "\"line_items\":[]"],
            [
                "line_items.sku: { type: string, path: \"line_items[0].sku\", entity: item }  # no array on the way had more elements in the sample",
                "line_items.qty: { type: int, path: \"line_items[0].qty\" }  # no array on the way had more elements in the sample",
                "line_items.note: { type: list<string>, path: \"line_items[].note\" }",
            ]
        ),
        json(
            "an empty array for an object",
            ["\"billing\":{\"city\":\"x\"}", "\"billing\":[]", "\"billing\":\"\""],
            ["billing.city: string"]
        ),
    ]

    @Test(arguments: samples)
    func `what a sample holds is declared so that each of its records is judged`(_ sample: Sample) throws {
        folder.write(sample.records.map { $0 + "\n" }.joined(), sample.file)
        let guess = try TopologyGuess(path: folder.file(sample.file), threads: 1)
        let yaml = guess.yaml.split(separator: "\n").map { $0.drop { $0 == " " } }
        for line in sample.lines { #expect(yaml.contains { $0 == line }, "\(line) in\n\(guess.yaml)") }
        let doubts = guess.doubts
        #expect(doubts.count == sample.doubts.count, "\(doubts)")
        for doubt in sample.doubts { #expect(doubts.contains { $0.contains(doubt) }, "\(doubt) in \(doubts)") }
        for doubt in doubts { #expect(guess.yaml.contains("# - \(doubt)") && guess.readme.contains(doubt)) }
        #expect(
            guess.trial.faults.isEmpty && guess.trial.damaged.isEmpty,
            "\(guess.trial.faults) \(guess.trial.damaged)"
        )
        try guess.write(to: folder.file("made"))
        let summary = try FileReplay(
            Deployment(folder: folder.file("made")),
            inputs: [folder.file(sample.file)],
            outputs: ReplayOutputs(),
            threads: 1
        ).run()
        #expect(summary.counts.deadLetters == 0 && summary.counts.late == 0)
        #expect(summary.counts.verdicts + summary.counts.silent == Int64(guess.trial.records))
    }

    @Test func `numbers of a table are written as most of them tell, and else it is said`() throws {
        func csv(_ values: [String]) throws -> (keys: String, doubts: [String]) {
            let rows = values.enumerated().map { "\(1_767_571_200_000 + $0)|a|\($1)\n" }
            folder.write("ts|account|amount\n" + rows.joined(), "numbers.csv")
            let guess = try TopologyGuess(path: folder.file("numbers.csv"), threads: 1)
            #expect(guess.trial.faults.isEmpty && guess.trial.damaged.isEmpty)
            return (guess.form.csv?.keys ?? "", guess.doubts)
        }
        let bar = "delimiter: \"|\""
        #expect(try csv(["1.234", "0,50"]).keys == "\(bar), decimal: \",\", thousands: \".\"")
        #expect(try csv(["1,234", "0.50"]).keys == "\(bar), thousands: \",\"")
        #expect(try csv(["1'234.50", "0.50"]).keys == "\(bar), thousands: \"'\"")
        #expect(try csv(["48.137", "0.50"]).keys == bar)
        let point = try csv(["1.234", "2.345"])
        #expect(point.keys == bar && point.doubts.contains { $0.contains("9.999 are read with a fraction") })
        let comma = try csv(["1,234", "2,345"])
        #expect(comma.keys == bar && comma.doubts.contains { $0.contains("9,999 may have thousands or a fraction") })
        // What only a late row tells is learnt from it.
        let late = try csv((0..<900).map { "\(1 + $0 % 9).\(100 + $0 % 900)" } + ["0,5"])
        #expect(late.keys == "\(bar), decimal: \",\", thousands: \".\"")
    }

    @Test func `what stands in nearly every record may be its time, and it is said`() throws {
        let records = (0..<100).map { n in
            "{\(n == 7 ? "" : "\"ts\":\(1_767_571_200_000 + n),")\"account\":\"a\(n % 9)\"}\n"
        }
        folder.write(records.joined(), "nearly.jsonl")
        let guess = try TopologyGuess(path: folder.file("nearly.jsonl"), threads: 1)
        #expect(guess.events[0].timeField == "ts" && guess.trial.dead == 1)
        #expect(
            guess.doubts == [
                "`ts` is not in every record: those without it are dead letters, as nothing better is in all"
            ]
        )
    }

    @Test func `records that tell no time have the time of their place in the file`() throws {
        folder.write("u1 i1 None -1 None\nu2 i1 None 1 None\nu3 i2 None 1 None\n", "reviews.txt")
        let guess = try TopologyGuess(path: folder.file("reviews.txt"), threads: 1)
        #expect(guess.yaml.contains("    time: { from: 2020-01-01, every: 1s }\n    subject: c1\n"), "\(guess.yaml)")
        #expect(guess.trial.events == 3 && guess.trial.faults.isEmpty)
        #expect(guess.doubts.first?.contains("nothing in the records is a time") == true)
        // A table of measurements is about nobody.
        folder.write("f0,f1\n" + (0..<30).map { "0.\($0),\($0).5\n" }.joined(), "table.csv")
        do {
            _ = try TopologyGuess(path: folder.file("table.csv"), threads: 1)
            Issue.record("a table of measurements became events")
        } catch { #expect(error.message.contains("could name whom it is about")) }
    }
}
