import Testing

@testable import Detection

/// What a window keeps of a computed argument, as feature rows and rules see it.
@Suite struct WindowValueTests {
    private func rows(_ bench: EngineBench, _ orders: [EngineBench.Order], _ names: [String]) -> [[String]] {
        bench.judge(orders).features.map { row in names.map { EngineBench.value($0, row) } }
    }

    // MARK: Numbers

    @Test func `a value that is not a number keeps its order out of the window, like one that is missing`() throws {
        let bench = try EngineBench(
            """
            feature n   = count() of order by account over 1d
            feature sum = sum(a / b) of order by account over 1d
            feature avg = avg(a / b) of order by account over 1d
            feature min = min(a / b) of order by account over 1d
            feature max = max(a / b) of order by account over 1d
            feature one = first(a / b) of order by account over 1d
            feature end = last(a / b) of order by account over 1d
            feature txt = sum(double(country)) of order by account over 1d
            """
        )
        let orders: [(a: Double?, b: Double?, country: String?)] = [
            (0, 0, "nan"), (6, 3, "1.5"), (0, 0, "NaN"), (nil, 1, nil), (8, 2, "-nan"),
        ]
        let got = rows(
            bench,
            orders.enumerated().map {
                .init(time: Int64(1_000 + $0), account: "x", a: $1.a, b: $1.b, country: $1.country)
            },
            ["n", "sum", "avg", "min", "max", "one", "end", "txt"]
        )
        #expect(
            got == [
                ["1", "0.0", "null", "null", "null", "null", "null", "0.0"],
                ["2", "2.0", "2.0", "2.0", "2.0", "2.0", "2.0", "1.5"],
                ["3", "2.0", "2.0", "2.0", "2.0", "2.0", "2.0", "1.5"],
                ["4", "2.0", "2.0", "2.0", "2.0", "2.0", "2.0", "1.5"],
                ["5", "6.0", "3.0", "2.0", "4.0", "2.0", "4.0", "1.5"],
            ]
        )
    }

    @Test func `an infinity is greater than every number, and a sum takes it for the largest amount`() throws {
        let bench = try EngineBench(
            """
            feature sum = sum(a / b) of order by account over 1s
            feature max = max(a / b) of order by account over 1s
            rule steep "Far more than ever" {
              owner "t" severity high
              on order
              when max > 1000.0 && sum > 1000.0
              then review, score +40
              because "{max}"
            }
            """
        )
        let judged = bench.judge([
            .init(time: 1_000, account: "x", a: 6, b: 3), .init(time: 1_500, account: "x", a: 1, b: 0),
            .init(time: 2_400, account: "x", a: 3, b: 1), .init(time: 2_600, account: "x", a: 4, b: 1),
        ])
        #expect(judged.verdicts.count == 2)
        let sums = judged.features.map { Double(EngineBench.value("sum", $0)) }
        // 10^18 swallows the small amounts while it is inside; what is left behind it is exact.
        #expect(sums == [2, 1e18, 1e18, 7])
        #expect(judged.features.map { EngineBench.value("max", $0) } == ["2.0", "null", "null", "4.0"])
    }

    @Test func `a sum of huge amounts is right where it fits 64 bits, and has no value where it does not`() throws {
        let bench = try EngineBench(
            """
            feature sum  = sum(amount) of order by account over 1s
            feature past = sum(amount) of order by account over 1s excluding this
            feature avg  = avg(amount) of order by account over 1s
            rule large "More than anybody has" {
              owner "t" severity high
              on order
              when sum > 0
              then review, score +40
              because "{sum}"
              missing review
            }
            """
        )
        let amounts: [(time: Int64, amount: Int64)] = [
            (1_000, 10_000_000_000_000), (1_100, .max), (1_200, .min), (1_300, -1), (2_150, 5), (2_250, 7),
        ]
        let judged = bench.judge(amounts.map { .init(time: $0.time, account: "x", amount: $0.amount) })
        #expect(
            judged.features.map { EngineBench.value("sum", $0) } == [
                "10000000000000", "null", "9999999999999", "9999999999998", "-9223372036854775804", "11",
            ]
        )
        #expect(
            judged.features.map { EngineBench.value("past", $0) } == [
                "0", "10000000000000", "null", "9999999999999", "null", "4",
            ]
        )
        // An average needs no 64 bits: it is a double.
        #expect(
            judged.features.map { Double(EngineBench.value("avg", $0)) } == [
                1e13, 4_611_691_018_427_387_904, 3_333_333_333_333, 2_499_999_999_999.5, -3_074_457_345_618_258_432,
                11.0 / 3,
            ]
        )
        var undetermined = 0
        bench.engine.forEachOutput { undetermined += $0.undetermined.reduce(0, +) }
        #expect(undetermined == 1)
        #expect(judged.verdicts.count == 5)
    }

    // MARK: Texts

    @Test func `the first and last computed text are kept as they were written`() throws {
        let bench = try EngineBench(
            """
            feature low  = last(country.lowerAscii()) of order by account over 1d
            feature one  = first(country.lowerAscii()) of order by account over 1d
            feature size = last(a > 1.0 ? "big" : "small") of order by account over 1d
            feature else = last(a > 1.0 ? country : "none") of order by account over 1d
            feature before = last(country + "/" + country.lowerAscii()) of order by account over 1d excluding this
            """
        )
        let got = rows(
            bench,
            [
                .init(time: 1_000, account: "x", a: 1, country: "DE"),
                .init(time: 1_001, account: "x", a: 2, country: "Fr"),
                .init(time: 1_002, account: "y", a: 2, country: "US"),
                .init(time: 1_003, account: "x", a: 0),
                // Out of order: it is slipped in before the others.
                .init(time: 999, account: "x", a: 0, country: "AT"),
                .init(time: 1_004, account: "x", a: 0, country: ""),
            ],
            ["low", "one", "size", "else", "before"]
        )
        #expect(
            got == [
                [#""de""#, #""de""#, #""small""#, #""none""#, "null"],
                [#""fr""#, #""de""#, #""big""#, #""Fr""#, #""DE/de""#],
                [#""us""#, #""us""#, #""big""#, #""US""#, "null"],
                [#""fr""#, #""de""#, #""small""#, #""none""#, #""Fr/fr""#],
                [#""at""#, #""at""#, #""small""#, #""none""#, "null"],
                [#""""#, #""at""#, #""small""#, #""none""#, #""Fr/fr""#],
            ]
        )
    }

    @Test func `a long computed text is cut where a field's would be, never inside a character`() throws {
        let bench = try EngineBench(
            """
            feature field = last(country) of order by account over 1d
            feature computed = last(country.lowerAscii()) of order by account over 1d
            """
        )
        let texts = ["x" + String(repeating: "é", count: 40), String(repeating: "z", count: 64), "€"]
        for (i, text) in texts.enumerated() {
            let row = bench.judge([.init(time: Int64(1_000 + i), account: "x", country: text)]).features.first ?? ""
            let field = EngineBench.value("field", row)
            #expect(EngineBench.value("computed", row) == field)
            #expect(field.utf8.count == [65, 66, 5][i])
        }
    }

    @Test func `rules read a computed text by its hash and by its letters`() throws {
        let bench = try EngineBench(
            """
            rule german "The account's last country was Germany" {
              owner "t" severity high
              on order
              let country_now = last(country.lowerAscii()) of order by account over 1d
              let size = last(a > 1.0 ? "big" : "small") of order by account over 1d
              when country_now == "de" && country_now.startsWith("d") && size == "big" && size.contains("ig")
              then review, score +40
              because "{country_now}, {size}"
            }
            """
        )
        let verdicts = bench.judge([
            .init(time: 1_000, account: "x", a: 3, country: "DE"),
            .init(time: 1_001, account: "x", a: 3, country: "FR"),
            .init(time: 1_002, account: "x", a: 0, country: "DE"),
        ]).verdicts
        #expect(verdicts.count == 1)
        #expect(verdicts.first?.contains(#""text":"de, big""#) == true)
    }
}
