import Testing

@testable import RuleLanguage

private let farm = """
    // Several accounts on one device.
    feature orders_1h = count() of order by account over 1h
    rule device_farm "Several accounts on one device" {
      owner "promo-risk"  severity high  tags "incentive_abuse", "multi"
      on order
      let accounts = distinct(account) of order by device.id over 24h
      let spent    = sum(amount) of order where amount > 0 by device.id over 7d
      let share    = ratio(spent, accounts)
      when accounts >= 4 || (accounts >= 2 && spent > 20000)
      when orders_1h < 100
      unless channel == "pos"
      then block, score +60, queue "promo"
      because "{accounts} accounts on device {device.id}, {account} spent {share}"
    }
    policy shop { score review at 40, block at 80 cap 100 }
    test "four accounts" for device_farm {
      send order {'device.id': 'd1', 'amount': 500} times 4 vary account every 1m
      expect block on 4  expect quiet on 3
    }
    """

@Test func `a rule with windows compiles, judges and gives its reason`() throws {
    let set = try Shop.compile(farm)
    #expect(set.warnings.isEmpty)
    #expect(
        set.features.map(\.canonical) == [
            "count() of order by account over 3600000ms",
            "distinct(account) of order by device.id over 86400000ms",
            "sum(amount) of order where (amount > 0) by device.id over 604800000ms",
        ]
    )
    #expect(set.featureRowWidth == 3)
    #expect(set.rulesByEvent == [[0], []])
    // The click names its account `user`; `account` is its entity, so the declared feature can be read there.
    #expect(set.readable == [[0, 1, 2], [0]])
    let rule = set.rules[0]
    #expect(rule.decision == .block && rule.scoreWeight == 60 && rule.severity == .high)
    #expect(rule.tags == ["incentive_abuse", "multi"])
    #expect(set.policy.threshold(score: 39) == nil && set.policy.threshold(score: 1000)?.decision == .block)

    var evaluator = Evaluator(set)
    func judge(_ cells: [String: Cell], _ features: [Int64], _ evaluator: inout Evaluator) -> RuleOutcome {
        let rows = Rows(Shop.order, cells, features: features.map { Slot($0) })
        return evaluator.judge(event: 0, rows.input)[0]
    }
    #expect(judge(["channel": .text("web")], [1, 3, 100], &evaluator).kind == .quiet)
    #expect(judge(["channel": .text("web")], [1, 4, 100], &evaluator).kind == .fired)
    #expect(judge(["channel": .text("web")], [1, 2, 20001], &evaluator).kind == .fired)
    #expect(judge(["channel": .text("web")], [100, 4, 100], &evaluator).kind == .quiet)
    #expect(judge(["channel": .text("pos")], [1, 4, 100], &evaluator).kind == .excepted)
    let undecided = judge([:], [1, 4, 100], &evaluator)
    #expect(undecided.isUndecided && undecided.exception == 0)
    #expect(set.undeterminedField(undecided, event: 0) == "channel")

    let rows = Rows(
        Shop.order,
        ["device.id": .text("d\"1"), "account": .text("alice83"), "channel": .text("web")],
        features: [1, 4, 22].map { Slot(Int64($0)) }
    )
    var reason: [UInt8] = []
    evaluator.appendReason(rule: 0, event: 0, rows.input, to: &reason)
    #expect(reason.text == #"4 accounts on device d\"1, a***3 spent 5.5"#)
    var values: [UInt8] = []
    evaluator.appendValues(rule: 0, event: 0, rows.input, to: &values)
    #expect(
        values.text
            == #"{"accounts":4,"spent":22,"share":5.5,"orders_1h":1,"channel":"web","device.id":"d\"1","account":"a***3"}"#
    )
}
