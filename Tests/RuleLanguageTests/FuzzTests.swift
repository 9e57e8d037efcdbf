import Models
import Testing

@testable import RuleLanguage

private let sample = """
    feature orders_1h = count() of order where has(amount) && amount > 0 by account over 1h excluding this
    rule farm "Farm: {\\"x\\"}" {
      owner "o" ticket "T-1" severity high tags "a", "b"
      on order, click
      let n = distinct(device.id) of order by device.id over 24h
      let late = device.id in ["a", "b"] ? n + 1 : 0
      when n >= 4 || (n >= 2 && -late < 3 % 2) // why
      unless device.id.matches(r"^[a-z]{2,5}$") || !has(device.id)
      then block, score +60, queue "promo", challenge "otp", tag "t"
      because "{n} on {device.id} {{x}} {ts.getHours("+02:00")}"
      alert by device.id every 1h
      missing review mode shadow
    }
    policy p { score review at 40, block at 80 cap 100 }
    test "t" for farm { send order {'device.id': 'd1', 'amount': 500} times 4 vary account every 1m expect block on 4 }
    """

private func survives(_ text: String) {
    do {
        let set = try RuleSet.compile([RuleSource(path: "f", text: text)], in: Shop.environment)
        var evaluator = Evaluator(set)
        let rows = Rows(Shop.order, ["amount": .int(5), "device.id": .text("abc"), "ts": .int(0)])
        for outcome in evaluator.judge(event: 0, rows.input) {
            var out: [UInt8] = []
            evaluator.appendReason(rule: Int(outcome.rule), event: 0, rows.input, to: &out)
            evaluator.appendValues(rule: Int(outcome.rule), event: 0, rows.input, to: &out)
        }
    } catch {
        #expect(!error.diagnostics.isEmpty && error.diagnostics.count <= 120)
        for diagnostic in error.diagnostics {
            #expect(diagnostic.line >= 1 && diagnostic.column >= 1 && !diagnostic.rendered.isEmpty)
        }
    }
}

@Test func `a rule file cut anywhere gives complaints, never a crash`() {
    let bytes = Array(sample.utf8)
    for end in stride(from: 0, through: bytes.count, by: 3) { survives(String(decoding: bytes[..<end], as: UTF8.self)) }
    for start in stride(from: 0, to: bytes.count, by: 7) { survives(String(decoding: bytes[start...], as: UTF8.self)) }
}

@Test func `a rule file with bytes and words exchanged gives complaints, never a crash`() {
    var random = SplitMix64(seed: 7091)
    let bytes = Array(sample.utf8)
    let words = sample.split(whereSeparator: { $0 == " " || $0 == "\n" }).map(String.init)
    let odd = Array("{}()[]\"'\\,.:?=&|!<>+-*/%0aZ_\n\t\u{0}é".utf8)
    for _ in 0..<400 {
        var mutant = bytes
        for _ in 0...random.below(4) { mutant[random.below(mutant.count)] = odd[random.below(odd.count)] }
        survives(String(decoding: mutant, as: UTF8.self))
        var shuffled = words
        for _ in 0...random.below(4) {
            let from = random.below(shuffled.count)
            switch random.below(3) {
            case 0: shuffled.remove(at: from)
            case 1: shuffled.insert(shuffled[random.below(shuffled.count)], at: from)
            default: shuffled.swapAt(from, random.below(shuffled.count))
            }
        }
        survives(shuffled.joined(separator: " "))
    }
}

@Test func `nesting beyond the limit is a complaint, however it is nested`() {
    let deep = 50_000
    for (open, close) in [
        ("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("size(", ")"), ("true ? true : ", ""),
        ("coupons.exists(c, ", ")"),
    ] {
        let text = String(repeating: open, count: deep) + "express" + String(repeating: close, count: deep)
        let said = Shop.complaints("rule r \"R\" { on order when \(text) then block }")
        #expect(said.contains("nested more than 250 levels deep") || said.contains("cannot be negated"), "\(open)")
    }
    let sum = Array(repeating: "amount", count: 5000).joined(separator: " + ")
    #expect(Shop.complaints("rule r \"R\" { on order when \(sum) > 3 then block }").contains("250 levels"))
    let wide = Array(repeating: "amount > 3", count: 5000).joined(separator: " || ")
    #expect(Shop.complaints("rule r \"R\" { on order when \(wide) then block }") == "")
}

/// Values at and beyond the ends of their types; a decoder lets few of them through, and a program must not rely on it.
private enum Extreme {
    static let ints: [Int64] = [
        .min, .min + 1, -1, 0, 1, .max - 1, .max, TimeText.minimum - 1, TimeText.minimum, TimeText.maximum,
        TimeText.maximum + 1, -TimeText.durationLimit - 1, TimeText.durationLimit, 1 << 53 + 1,
    ]
    static let doubles: [Double] = [
        .nan, .infinity, -.infinity, .greatestFiniteMagnitude, .leastNonzeroMagnitude, -0.0, 0, 0x1p63, -0x1p63, 0x1p64,
        1e19, -1e19, 0.5, -0.5,
    ]
    static let texts = [
        "", "0", "-", "+", "-9223372036854775808", "9223372036854775808", "1e400", "nan", "inf", "true", "\u{0}",
        "über",
        "9999-12-31T23:59:59.99999999999999999999Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
        "9223372036854775807h", "-9223372036854775807ms9223372036854775807ms", "9223372036854775807.9ns", "1.h",
        String(repeating: "9", count: 400), String(repeating: "a", count: 65_535),
    ]
    static let lists = [[], [""], texts, [String](repeating: "ab", count: 1024)]

    static func rows(_ random: inout SplitMix64) -> Rows {
        var cells: [String: Cell] = [:]
        for field in Shop.order.fields where random.below(16) > 0 {
            cells[field.name] =
                switch field.type {
                case .int, .money, .timestamp: .int(ints[random.below(ints.count)])
                case .double: .double(doubles[random.below(doubles.count)])
                case .bool: .bool(random.below(2) == 0)
                case .string: .text(texts[random.below(texts.count)])
                case .stringList: .texts(lists[random.below(lists.count)])
                }
        }
        // A column may hold an int, a time, a duration or a double; each is sixteen bytes without a reference.
        let features = (0..<8).map { _ in
            random.below(8) == 0
                ? Slot.missing
                : random.below(2) == 0
                    ? Slot(ints[random.below(ints.count)]) : Slot(doubles[random.below(doubles.count)])
        }
        return Rows(
            Shop.order,
            cells,
            features: features,
            signals: [
                Slot(doubles[random.below(doubles.count)]), Slot(ints[random.below(ints.count)]),
                Slot(doubles[random.below(doubles.count)]),
            ]
        )
    }
}

@Test func `no program traps on a value at the end of its range`() throws {
    var expressions = try Fixtures.text("semantics.txt").split(separator: "\n").filter { !$0.hasPrefix("#") }.map {
        String($0.prefix { $0 != "\t" })
    }
    for part in ["FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "Hours", "Minutes", "Seconds"] {
        for zone in ["", "\"+02:00\"", "\"-23:59\"", "\"+23:59\""] { expressions.append("ts.get\(part)(\(zone))") }
    }
    for part in ["Hours", "Minutes", "Seconds", "Milliseconds"] {
        expressions += ["(ts - paid_at).get\(part)()", "gap.get\(part)()", "duration(channel).get\(part)()"]
    }
    for sign in ["+", "-", "*", "/", "%"] {
        expressions += ["amount \(sign) items", "(amount \(sign) 7) \(sign) items"]
    }
    for sign in ["+", "-", "*", "/"] { expressions += ["weight \(sign) ring.score", "double(amount) \(sign) weight"] }
    for sign in ["<", "<=", ">", ">=", "==", "!="] {
        expressions += [
            "amount \(sign) weight", "weight \(sign) amount", "ts \(sign) paid_at", "channel \(sign) email",
        ]
    }
    expressions += [
        "-amount", "-weight", "ts + gap", "ts - gap", "gap + gap", "gap - duration(channel)", "ts - paid_at",
        "ts - latest",
        "latest + gap", "timestamp(amount)", "timestamp(channel)", "int(ts)", "int(weight)", "int(channel)",
        "double(amount)",
        "double(channel)", "bool(channel)", "string(amount)", "string(weight)", "string(ts)", "string(gap)",
        "string(latest)",
        "ratio(amount, items)", "coupons[amount]", "coupons[size(coupons) - 1]", "coupons + coupons", "channel + email",
        "(channel + email).lowerAscii().upperAscii()", "channel.size() + coupons.size()", "channel.startsWith(email)",
        "channel.endsWith(email)", "channel.contains(email)", "channel.matches(\"^(a|aa)+$\")", "channel in coupons",
        "amount in [1, 9223372036854775807]", "weight in [1, 2]", "amount in [0.5, 9.3e18]", "total + amount",
        "mean + weight",
        "coupons.map(c, c + channel)", "coupons.filter(c, c != channel).size()", "coupons.exists_one(c, c == channel)",
        "coupons.all(a, coupons.exists(b, a == b))", "coupons.map(c, size(c) * items)", "coupons.map(c, [c, c])",
    ]
    var random = SplitMix64(seed: 1)
    let rows = (0..<150).map { _ in Extreme.rows(&random) }
    var programs = 0
    for expression in expressions {
        let text = """
            rule r "R" { on order
              let gap = first(paid_at - ts) of order where ts.getHours("+02:00") > 3 by account over 1h
              let latest = max(paid_at + duration("1h")) of order by account over 1h
              let total = sum(amount * items) of order by account over 1h
              let mean = avg(weight) of order by account over 1h
              let value = \(expression)
              when true
              then review
              because "{value} {gap} {latest} {total} {mean}" }
            """
        let set: RuleSet
        do { set = try RuleSet.compile([RuleSource(path: "f", text: text)], in: Shop.environment) } catch { continue }
        programs += 1
        var evaluator = Evaluator(set)
        var out: [UInt8] = []
        for row in rows {
            out.removeAll(keepingCapacity: true)
            _ = evaluator.judge(event: 0, row.input)
            evaluator.appendReason(rule: 0, event: 0, row.input, longest: 4000, to: &out)
            evaluator.appendValues(rule: 0, event: 0, row.input, longest: 4000, to: &out)
            for feature in set.features {
                if let filter = feature.filter { _ = evaluator.isTrue(filter, row.input) }
                if case .program(let argument)? = feature.argument { _ = evaluator.evaluate(argument, row.input) }
            }
        }
    }
    #expect(programs > 150, "\(programs) programs ran")
}

@Test func `complaints stop at twenty`() {
    let text = (0..<100).map { "rule r\($0) \"R\" { on order when acount == \($0) then block }" }.joined(
        separator: "\n"
    )
    do {
        _ = try RuleSet.compile([RuleSource(path: "f", text: text)], in: Shop.environment)
        Issue.record("it compiled")
    } catch {
        #expect(error.diagnostics.count == 20)
    }
}

@Test func `a loop over loops is cut, not waited for`() throws {
    let set = try Shop.compile(
        """
        rule r "R" { on order
          when coupons.all(a, coupons.all(b, coupons.all(c, a + b != c)))
          then block }
        """
    )
    var evaluator = Evaluator(set)
    let rows = Rows(Shop.order, ["coupons": .texts((0..<100).map { "c\($0)" })])
    let outcome = evaluator.judge(event: 0, rows.input)[0]
    #expect(outcome.kind == .undetermined)
    #expect(set.undeterminedField(outcome, event: 0) == "limit")
}

@Test func `long texts in loops and many loops on one event are cut too`() throws {
    let long = String(repeating: "a", count: 60_000)
    let loop = "coupons.all(c, !(c + \"b\").matches(\"(a|aa)+c\"))"
    let text = try Shop.compile("rule r \"R\" { on order when \(loop) then block }")
    var evaluator = Evaluator(text)
    let texts = Rows(Shop.order, ["coupons": .texts(Array(repeating: long, count: 12))])
    let cut = evaluator.judge(event: 0, texts.input)[0]
    #expect(cut.kind == .undetermined && text.undeterminedField(cut, event: 0) == "limit")

    let rules = (0..<20).map {
        "rule r\($0) \"R\" { on order when coupons.all(a, coupons.all(b, a + b != \"\")) then tag \"t\" }"
    }
    let set = try Shop.compile(rules.joined(separator: "\n"))
    var second = Evaluator(set)
    let many = Rows(Shop.order, ["coupons": .texts((0..<130).map { "c\($0)" })])
    let kinds = second.judge(event: 0, many.input).map(\.kind)
    #expect(kinds.prefix(11).allSatisfy { $0 == .fired } && kinds.suffix(8).allSatisfy { $0 == .undetermined })
    // The next event starts afresh.
    #expect(second.judge(event: 0, many.input)[0].kind == .fired)
}
