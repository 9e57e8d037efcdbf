import RuleLanguage
import Testing

@testable import Pipeline

@Suite struct SampleProbeTests {
    private func probe(_ records: [String]) -> SampleProbe {
        var probe = SampleProbe()
        for record in records { Array(record.utf8).withUnsafeBytes { probe.see(json: $0) } }
        return probe
    }

    @Test func `a probe tells what stands at each path, how often and as what`() throws {
        let probe = probe([
            #"{"a":1,"b":{"c":"x","d":null},"l":["p","q"],"i":[{"sku":"s1"},{"sku":"s2"}]}"#,
            #"{"a":2.5,"b":{"c":"y"},"l":[],"i":[1]}"#,
            #"{"a":"3","b":{"c":"","d":true},"x\"y":1}"#,
        ])
        #expect(probe.records == 3 && probe.unreadable == 0)
        func at(_ text: String) throws -> PathFacts {
            try #require(probe.facts.first { $0.path.text == text }, "\(text)")
        }
        let a = try at("a")
        #expect(a.present == 3 && a.integers == 1 && a.decimals == 1 && a.texts == 1 && a.numericTexts == 1)
        #expect(try at("b").objects == 3)
        let c = try at("b.c")
        #expect(c.present == 2 && c.empty == 1 && c.examples == ["x", "y"])
        let d = try at("b.d")
        #expect(d.present == 1 && d.empty == 1 && d.words == 1)
        let l = try at("l")
        #expect(l.present == 1 && l.empty == 1 && l.textLists == 1)
        let i = try at("i")
        #expect(i.present == 2 && i.otherLists == 1 && i.idLists == 1 && i.elements == 2)
        #expect(try at("i[].sku").present == 1)
        #expect(probe.facts.count == 8)
    }

    @Test func `what is no object is counted as unreadable, and odd values in it are not`() {
        let good = [
            #"{"a":NaN,"b":"\ud800\x","c":[1,[2,{"d":"]"}]],"e":-Infinity}"#, " { } ", #"{"a":1,"a":2}"#,
            #"{"deep":"# + String(repeating: "[", count: 500) + String(repeating: "]", count: 500) + "}",
        ]
        let bad = [
            "", "[1]", "7", "{", #"{"a"}"#, #"{"a":}"#, #"{"a":1"#, #"{"a":1}x"#, #"{"a":1,}"#, #"{"a":"x}"#,
            #"{"a":[1}"#, "{a:1}",
        ]
        #expect(probe(good).unreadable == 0)
        for record in bad { #expect(probe([record]).unreadable == 1, "\(record)") }
        #expect(probe(good + bad).records == good.count + bad.count)
    }

    @Test func `keys made of values do not fill the memory`() {
        var probe = SampleProbe()
        for n in 0..<5000 { Array("{\"k\(n)\":{\"v\":1},\"id\":\"x\"}".utf8).withUnsafeBytes { probe.see(json: $0) } }
        #expect(probe.unreadable == 0 && probe.facts.count <= 2000)
        #expect(probe.facts.first { $0.path.text == "id" }?.present == 5000)
    }

    @Test func `an example shows the form of a value and nothing else`() {
        for (value, shown) in [
            ("Ada.Lovelace+1@example.org", "aaa.aaaaaaaa+9@aaaaaaa.aaa"), ("12/1/2010 8:26", "99/9/9999 9:99"),
            ("Zürich", "aaaaaa"), ("", ""),
            (String(repeating: "x", count: 41), String(repeating: "a", count: 40) + "…"), ("٣€", "9€"),
        ] {
            #expect(Array(value.utf8).withUnsafeBytes { MaskedExample.text($0) } == shown)
        }
        #expect([0x61, 0xff, 0x39].withUnsafeBytes { MaskedExample.text($0) }.contains("�"))
    }

    @Test func `numbers are told from codes and from other texts`() {
        func shape(_ text: String) -> String {
            guard let shape = Array(text.utf8).withUnsafeBytes({ NumberShape($0) }) else { return "-" }
            return
                "\(shape.isLong || shape.hasLeadingZero ? "code" : shape.isInteger ? "int" : "fraction") \(shape.fractionDigits) \(shape.value)"
        }
        for (text, expected) in [
            ("0", "int 0 0.0"), ("-12", "int 0 -12.0"), ("007", "code 0 7.0"), ("1.50", "fraction 2 1.5"),
            ("1e3", "fraction 0 1000.0"),
            ("-1.5E-1", "fraction 1 -0.15"), ("1000000000000000000", "code 0 1e+18"),
        ] { #expect(shape(text) == expected) }
        for text in ["", "-", "+1", "1.", ".5", "1,5", "1e", "0x1", " 1", "1 ", "NaN", "--1"] {
            #expect(shape(text) == "-", "\(text)")
        }
    }

    /// A text, and the forms in which it can be read, the strictest first; empty: it is no time.
    private static let times: [(text: String, forms: [String])] = [
        ("2026-01-05T08:00:00Z", ["rfc3339", "iso8601", "%Y-%m-%dT%H:%M:%S%z"]),
        ("2026-01-05 08:00:00", ["rfc3339", "iso8601", "%Y-%m-%d %H:%M:%S"]),
        ("2026-01-05t08:00:00.123456+01:00", ["rfc3339", "iso8601", "%Y-%m-%dt%H:%M:%S.%f%z"]),
        ("2026-01-05", ["iso8601", "%Y-%m-%d"]), ("2026-01-05T08:00Z", ["iso8601", "%Y-%m-%dT%H:%M%z"]),
        ("2026-01-05 08:00:00 +0100", ["iso8601", "%Y-%m-%d %H:%M:%S %z"]),
        ("2026-01-05 8:05", ["%Y-%m-%d %H:%M"]), ("2026/01/05 08:00:00", ["%Y/%m/%d %H:%M:%S"]),
        ("05.01.2026 08:00", ["%d.%m.%Y %H:%M", "%m.%d.%Y %H:%M"]), ("13.1.2026", ["%d.%m.%Y"]),
        ("12/31/2010 8:26", ["%m/%d/%Y %H:%M"]), ("06/01/1998-07:55", ["%d/%m/%Y-%H:%M", "%m/%d/%Y-%H:%M"]),
        ("1/2/2026 12:05 AM", ["%d/%m/%Y %I:%M %p", "%m/%d/%Y %I:%M %p"]),
        ("01/02/03", ["%d/%m/%y", "%m/%d/%y", "%y/%m/%d"]), ("05/Jan/2026:08:00:00 +0100", ["%d/%b/%Y:%H:%M:%S %z"]),
        ("Mon, 05 Jan 2026 08:00:00 GMT", ["%a, %d %b %Y %H:%M:%S GMT"]), ("January 5, 2026", ["%B %d, %Y"]),
        ("05.01.2026, 08:00 Uhr", ["%d.%m.%Y, %H:%M Uhr", "%m.%d.%Y, %H:%M Uhr"]),
        ("20260105", ["%Y%m%d"]), ("20260105T080000Z", ["%Y%m%dT%H%M%S%z"]), ("20260105080000", ["%Y%m%d%H%M%S"]),
        ("2026-02-30", []), ("31/31/2026", []), ("1767571200", []), ("10.1.2.3", []), ("1.2", []), ("SKU-1234-56", []),
        ("2026-01-05 25:00", []), ("2026-01-05 08:00:00 CEST", []), ("", []), ("Room 101", []),
    ]

    @Test func `a time has the forms in which the decoder takes it`() {
        for (text, forms) in SampleProbeTests.times {
            var times = TimeForms()
            Array(text.utf8).withUnsafeBytes { times.take($0) }
            #expect(times.readings.map(\.format.name) == forms, "\(text)")
            #expect(Array(text.utf8).withUnsafeBytes { TimeForms.isTime($0) } != forms.isEmpty, "\(text)")
        }
    }

    @Test func `each later time may rule out a form, and none brings one back`() {
        func forms(_ texts: [String]) -> [String] {
            var times = TimeForms()
            for text in texts { Array(text.utf8).withUnsafeBytes { times.take($0) } }
            return times.readings.map(\.format.name)
        }
        #expect(forms(["1/2/2026", "2/2/2026"]) == ["%d/%m/%Y", "%m/%d/%Y"])
        #expect(forms(["1/2/2026", "13/2/2026"]) == ["%d/%m/%Y"])
        #expect(forms(["1/2/2026", "2/13/2026"]) == ["%m/%d/%Y"])
        #expect(forms(["1/2/2026", "2/13/2026", "13/2/2026"]).isEmpty)
        #expect(forms(["2026-01-05 08:00:00", "2026-01-05 08:00"]) == ["iso8601"])
        #expect(forms(["2026-01-05 10:00", "2026-01-05 8:00"]) == ["%Y-%m-%d %H:%M"])
        #expect(forms(["x", "2026-01-05"]).isEmpty)
        // Nearly all is told apart from all.
        var times = TimeForms()
        for text in (1...31).map({ "07/\($0)/1998" }) + ["07/32/1998"] {
            Array(text.utf8).withUnsafeBytes { times.take($0) }
        }
        #expect(times.readings.isEmpty && times.nearest?.format.name == "%m/%d/%Y" && times.nearest?.misses == 1)
    }

    @Test func `names tell entities, times and amounts`() {
        func words(_ path: String) -> NameWords {
            NameWords(SamplePath(steps: path.split(separator: ".").map(String.init)))
        }
        for (path, entity) in [
            ("CUSTOMER_ID", "account"), ("CustomerID", "account"), ("buyer.id", "account"), ("user", "account"),
            ("account.age_days", nil),
            ("device.id", "device"), ("device.os", nil), ("net.ip", "ip"), ("IPAddress", "ip"),
            ("payment.card", "card"), ("StockCode", "item"),
            ("item.seller", "seller"), ("item.price", nil), ("InvoiceNo", "order"), ("user_agent", nil),
            ("email.domain", nil), ("email", "email"),
            ("TERMINAL_ID", "seller"), ("CUSTOMER_ID_NB_TX_1DAY_WINDOW", nil), ("ship.address", "address"),
            ("app", nil), ("description", nil), ("Kundennummer", "account"), ("Bestellnr", "order"),
            ("ArtikelNr", "item"),
            ("Kunde_ID", "account"), ("Hausnummer", nil),
        ] as [(String, String?)] { #expect(words(path).entity == entity, "\(path)") }
        for (path, timeliness) in [
            ("ts", 2), ("TX_DATETIME", 2), ("created_at", 2), ("placed_at", 1), ("click_time", 2),
            ("attributed_time", -1), ("dwell_ms", -1),
            ("amount", 0), ("expires_at", -1), ("Bestelldatum", 2), ("Lieferdatum", -1), ("Zeit", 2),
        ] { #expect(words(path).timeliness == timeliness, "\(path)") }
        #expect(words("Betrag").isMoney && !words("amount_cents").isMoney && !words("total_weight").isMoney)
        #expect(words("currency_code").isCurrency && words("time_zone").isZone && !words("zone").isZone)
        #expect(words("TX_AMOUNT").isMoney && words("UnitPrice").isMoney && !words("Quantity").isMoney)
    }
}
