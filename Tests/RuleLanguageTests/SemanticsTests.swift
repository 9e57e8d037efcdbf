import Foundation
import Testing

@testable import RuleLanguage

/// Evaluates one expression over an order; the value as text, or why there is none.
private func evaluated(_ expression: String, _ rows: Rows) -> String {
    let text = "rule r \"R\" { on order let value = \(expression) when true then block because \"{value}\" }"
    let set: RuleSet
    do {
        set = try RuleSet.compile([RuleSource(path: "t", text: text)], in: Shop.environment)
    } catch {
        return "does not compile: " + (error.diagnostics.first?.message ?? "")
    }
    guard let program = set.sentences.reason(rule: 0, event: 0).first.flatMap({ set.sentences[$0].program }) else {
        return "no value"
    }
    var evaluator = Evaluator(set)
    let slot = evaluator.run(program, rows.input)
    guard slot.isMissing else {
        var out: [UInt8] = []
        evaluator.appendValues(rule: 0, event: 0, rows.input, to: &out)
        let whole = out.text
        // {"value":…, and then what it read; a table line shows the value only.
        let start = whole.index(whole.startIndex, offsetBy: 9)
        var depth = 0
        var quoted = false
        var end = start
        for index in whole[start...].indices {
            let character = whole[index]
            if character == "\"", whole[whole.index(before: index)] != "\\" { quoted.toggle() }
            if !quoted, character == "[" { depth += 1 }
            if !quoted, character == "]" { depth -= 1 }
            end = index
            if !quoted, depth == 0, character == "," || character == "}" { break }
        }
        return String(whole[start..<end])
    }
    let outcome = RuleOutcome(rule: 0, kind: .undetermined, exception: 0, failure: slot.bits)
    return "fails: " + set.undeterminedField(outcome, event: 0)
}

/// The table: `expression` TAB `value`, over the order described in its head.
@Test func `expressions mean what the table says`() throws {
    let rows = Rows(
        Shop.order,
        [
            "id": .text("o-1"), "ts": .int(1_767_600_000_123), "account": .text("alice83"), "amount": .int(12_999),
            "weight": .double(2.5), "items": .int(3), "express": .bool(true), "channel": .text("Web"),
            "coupons": .texts(["SAVE10", "VIP", "über"]),
        ],
        signals: [Slot(0.25), Slot(Int64(7)), Slot.missing]
    )
    var updated = ""
    for line in try Fixtures.text("semantics.txt").components(separatedBy: "\n") where !line.isEmpty {
        let parts = line.components(separatedBy: "\t")
        guard !line.hasPrefix("#") else {
            updated += line + "\n"
            continue
        }
        let value = evaluated(parts[0], rows)
        updated += "\(parts[0])\t\(value)\n"
        if !Fixtures.updates { #expect(parts.count == 2 && value == parts[1], "\(parts[0])") }
    }
    if Fixtures.updates { try updated.write(to: Fixtures.url("semantics.txt"), atomically: true, encoding: .utf8) }
}

@Test func `a missing field decides only when nothing else does`() throws {
    let set = try Shop.compile(
        """
        rule both "B" { on order when weight > 1.0 && express then block }
        rule either "E" { on order when weight > 1.0 || express then block }
        rule two "T" { on order when weight > 1.0 when express then block }
        rule spared "S" { on order when weight > 1.0 unless express then block missing fire }
        rule unsure "U" { on order when express unless weight > 1.0 unless channel == "pos" then block }
        rule careful "C" { on order when has(weight) && weight > 1.0 then block }
        rule asleep "A" { on order when true then block mode off }
        rule shadow "W" { on order when true then block mode shadow }
        """
    )
    #expect(set.rulesByEvent[0] == [0, 1, 2, 3, 4, 5, 7])
    #expect(set.rules[3].missing == .fire && set.rules[7].mode == .shadow)
    var evaluator = Evaluator(set)
    func kinds(_ cells: [String: Cell], _ evaluator: inout Evaluator) -> [RuleOutcome.Kind] {
        evaluator.judge(event: 0, Rows(Shop.order, cells).input).map(\.kind)
    }
    #expect(
        kinds(["express": .bool(false), "channel": .text("web")], &evaluator)
            == [.quiet, .undetermined, .quiet, .undetermined, .quiet, .quiet, .fired]
    )
    #expect(
        kinds(["express": .bool(true), "channel": .text("web")], &evaluator)
            == [.undetermined, .fired, .undetermined, .excepted, .fired, .quiet, .fired]
    )
    // What an exception lacks is no way around the rule: it fires and says which one was not decided.
    let unsure = evaluator.judge(event: 0, Rows(Shop.order, ["express": .bool(true)]).input)[4]
    #expect(unsure.isUndecided && unsure.exception == 0 && set.undeterminedField(unsure, event: 0) == "weight")
    let second = evaluator.judge(
        event: 0,
        Rows(Shop.order, ["express": .bool(true), "weight": .double(0)]).input
    )[4]
    #expect(second.isUndecided && second.exception == 1 && set.undeterminedField(second, event: 0) == "channel")
    let sure = evaluator.judge(
        event: 0,
        Rows(Shop.order, ["express": .bool(true), "weight": .double(0), "channel": .text("web")]).input
    )[4]
    #expect(sure.kind == .fired && !sure.isUndecided)
    #expect(
        kinds(["express": .bool(true), "channel": .text("pos")], &evaluator)
            == [.undetermined, .fired, .undetermined, .excepted, .excepted, .quiet, .fired]
    )
    #expect(
        kinds(["weight": .double(2), "express": .bool(true)], &evaluator)
            == [.fired, .fired, .fired, .excepted, .excepted, .fired, .fired]
    )
    let outcomes = evaluator.judge(event: 0, Rows(Shop.order, ["express": .bool(true), "channel": .text("pos")]).input)
    #expect(outcomes[4].exception == 1)
    #expect(set.rules[4].exceptions == ["weight > 1.0", "channel == \"pos\""])
    #expect(set.undeterminedField(outcomes[0], event: 0) == "weight")
}

@Test func `a let is computed once and keeps its value`() throws {
    let set = try Shop.compile(
        """
        rule r "R" { on order
          let big = amount > 100
          let both = big && express
          when items > 0
          when big
          when both || big
          unless !big
          then block }
        """
    )
    var evaluator = Evaluator(set)
    let small = Rows(Shop.order, ["items": .int(1), "amount": .int(5), "express": .bool(true)])
    let large = Rows(Shop.order, ["items": .int(1), "amount": .int(500), "express": .bool(false)])
    for _ in 0..<2 {
        #expect(evaluator.judge(event: 0, small.input)[0].kind == .quiet)
        #expect(evaluator.judge(event: 0, large.input)[0].kind == .fired)
    }
}

@Test func `equal aggregates are one feature and readers follow names and entities`() throws {
    let set = try Shop.compile(
        """
        feature per_device = count() of order by device.id over 1h
        feature per_account = count() of order by account over 60m excluding this
        rule a "A" { on order, click let n = count( ) of order by device.id over 60m when n > 3 then tag "t" }
        rule b "B" { on click let last = first(channel) of order by account = user over 1h when last == "web" then tag "t" }
        rule c "C" { on click when per_account > 2 then tag "t" }
        """
    )
    #expect(set.features.map(\.name) == ["per_device", "per_account", "last"])
    #expect(set.features[0].isDeclared && !set.features[2].isDeclared)
    #expect(set.readable == [[0, 1], [0, 1, 2]])
    #expect(set.features[1].excludesCurrent)
    #expect(set.featureRowWidth == 2 + Feature.stringWidth)
    guard case .field(3)? = set.features[0].readers[0]?[0], case .field(4)? = set.features[0].readers[1]?[0],
        case .field(2)? = set.features[1].readers[1]?[0], case .program? = set.features[2].readers[1]?[0]
    else {
        Issue.record("readers stand elsewhere")
        return
    }
    #expect(set.rules[0].features == [0] && set.rules[0].events == [0, 1])
}

@Test func `a rule's version follows its words and its windows, not its layout`() throws {
    let base = "feature n = count() of order by account over 1h\nrule r \"R\" { on order when n > 3 then block }"
    let spaced =
        "feature n = count() of order by account over 60m // hourly\nrule r \"R\" {\n on order\n when n > 3 then block }"
    let wider = base.replacingOccurrences(of: "1h", with: "2h")
    #expect(try Shop.compile(base).rules[0].version == Shop.compile(spaced).rules[0].version)
    #expect(try Shop.compile(base).canonicalText == Shop.compile(spaced).canonicalText)
    #expect(try Shop.compile(base).rules[0].version != Shop.compile(wider).rules[0].version)
    #expect(try Shop.compile(base).rules[0].version.count == 12)
}

@Test func `filters and arguments are programs that count missing as false`() throws {
    let set = try Shop.compile(
        "feature f = sum(amount * 2) of order where channel.startsWith(\"w\") && items > 1 by account over 1h"
    )
    var evaluator = Evaluator(set)
    guard let filter = set.features[0].filter, case .program(let argument)? = set.features[0].argument else {
        Issue.record("no programs")
        return
    }
    let good = Rows(Shop.order, ["channel": .text("web"), "items": .int(2), "amount": .int(50)])
    let bare = Rows(Shop.order, ["channel": .text("web")])
    #expect(evaluator.isTrue(filter, good.input) && !evaluator.isTrue(filter, bare.input))
    #expect(evaluator.evaluate(argument, good.input) == Slot(Int64(100)))
    #expect(evaluator.evaluate(argument, bare.input) == .missing)
}

@Test func `personal values never show whole`() throws {
    let set = try Shop.compile(
        """
        rule r "R" { on order
          let mail = email.lowerAscii()
          let both = account + "/" + channel
          let seen = last(email) of order by account over 1h
          when mail.size() > 3 && both != "" && seen != "x"
          then review
          because "{email} {mail} {both} {seen} {email.size()} {account == email}" }
        """
    )
    var evaluator = Evaluator(set)
    let rows = Rows(
        Shop.order,
        ["email": .text("Zoe@Example.org"), "account": .text("ab"), "channel": .text("web")],
        features: [.missing]
    )
    var out: [UInt8] = []
    evaluator.appendReason(rule: 0, event: 0, rows.input, to: &out)
    #expect(out.text == "Z***g z***g a***b ? 15 false")
    out = []
    evaluator.appendValues(rule: 0, event: 0, rows.input, to: &out)
    #expect(out.text == #"{"mail":"z***g","both":"a***b","seen":null,"email":"Z***g","account":"***","channel":"web"}"#)
}

@Test func `lets that read lets cost their own size, not the product`() throws {
    var text = "rule r \"R\" { on order let a0 = items + 1\n"
    for index in 1..<60 { text += "let a\(index) = a\(index - 1) - a\(index - 1) + a\(index - 1)\n" }
    let set = try Shop.compile(text + "when a59 == 4 then block because \"{a59}\" }")
    var evaluator = Evaluator(set)
    let rows = Rows(Shop.order, ["items": .int(3)])
    #expect(evaluator.judge(event: 0, rows.input)[0].kind == .fired)
    var out: [UInt8] = []
    evaluator.appendReason(rule: 0, event: 0, rows.input, to: &out)
    #expect(out.text == "4")
}
