import Testing

@testable import RuleLanguage

/// What a rule depends on, and what can leave it undecided, as a table.
@Suite struct LackTests {
    /// Clauses of a rule on `order`; what can leave its conditions undetermined; what its exceptions undecided.
    private static let table: [(clauses: String, conditions: String, exceptions: String)] = [
        ("when amount > 3", "amount", ""),
        ("when id == \"a\" && account != \"b\"", "", ""),
        ("when has(amount) && amount > 3", "", ""),
        ("when !has(amount) || amount > 3", "", ""),
        ("when has(amount) ? amount > 3 : express", "express", ""),
        ("when has(weight) && amount > 3", "amount", ""),
        ("when amount > 3 when has(amount)", "", ""),
        ("when amount > 3 || true", "", ""),
        ("when amount > 3 && false", "", ""),
        ("when amount > 3 && weight > 1.0", "amount, weight", ""),
        ("let big = amount > 3 let both = big && express when both", "amount, express", ""),
        ("when coupons.exists(c, c == channel)", "coupons, channel", ""),
        ("when has(coupons) && coupons.exists(channel, channel == \"a\")", "", ""),
        ("when amount in [1, items]", "amount, items", ""),
        ("when ring.size > 3 && anomaly.score > 0.5", "", ""),
        ("when true unless channel == \"pos\"", "", "channel"),
        ("when true unless has(channel) && channel == \"pos\"", "", ""),
        ("when true unless channel == \"pos\" unless true", "", ""),
        ("when has(channel) unless channel == \"pos\"", "", ""),
        ("when amount > 3 unless amount > 9", "amount", ""),
        ("when amount > 3 unless weight > 9.0", "amount", "weight"),
        // A window: without its key, or empty.
        ("let n = count() of order by account over 1h when n > 3", "", ""),
        ("let n = count() of order where amount > 3 by device.id over 1h when n > 3", "device.id", ""),
        ("let n = count() of order by device.id over 1h when has(device.id) && n > 3", "", ""),
        ("let n = count() of click by device.id = channel over 1h when n > 3", "channel", ""),
        ("let m = max(amount) of order by account over 1h when m > 3", "m", ""),
        ("let f = first(id) of order by account over 1h when f == \"a\"", "", ""),
        ("let f = first(id) of order by account over 1h excluding this when f == \"a\"", "f", ""),
        ("let f = first(id) of order where express by account over 1h when f == \"a\"", "f", ""),
        ("let f = last(id) of click by account over 1h when has(f) && f == \"a\"", "", ""),
        ("let f = last(id) of order by account = channel over 1h when f == \"a\"", "channel, f", ""),
    ]

    private static func rule(_ clauses: String) throws -> Rule {
        try Shop.compile("rule r \"R\" { on order \(clauses) then block because \"{email}\" }").rules[0]
    }

    @Test func `what can leave a rule or its exceptions undecided`() throws {
        for (clauses, conditions, exceptions) in Self.table {
            let rule = try Self.rule(clauses)
            #expect(rule.undeterminedBy.joined(separator: ", ") == conditions, "\(clauses)")
            #expect(rule.undecidedBy.joined(separator: ", ") == exceptions, "\(clauses)")
        }
    }

    /// Every field that leaves a rule undecided when it is taken away is one of those it names.
    @Test func `nothing leaves a rule undecided that was not named`() throws {
        let whole: [String: Cell] = [
            "id": .text("a"), "account": .text("u"), "device.id": .text("d"), "amount": .int(5), "weight": .double(2),
            "items": .int(3), "express": .bool(true), "channel": .text("web"), "coupons": .texts(["x"]),
        ]
        var undecided = 0
        for (clauses, _, _) in Self.table where !clauses.contains(" over ") {
            let set = try Shop.compile("rule r \"R\" { on order \(clauses) then block }")
            var evaluator = Evaluator(set)
            for missing in whole.keys where missing != "id" && missing != "account" {
                let rows = Rows(
                    Shop.order,
                    whole.filter { $0.key != missing },
                    signals: [Slot(0.5), Slot(Int64(4)), Slot(0.9)]
                )
                let outcome = evaluator.judge(event: 0, rows.input)[0]
                if outcome.kind == .undetermined {
                    undecided += 1
                    #expect(set.rules[0].undeterminedBy.contains(missing), "\(clauses) without \(missing)")
                }
                if outcome.isUndecided {
                    undecided += 1
                    #expect(set.rules[0].undecidedBy.contains(missing), "\(clauses) without \(missing)")
                }
            }
        }
        #expect(undecided > 10)
    }

    @Test func `a rule reads the fields of its conditions, those behind windows too, and no others`() throws {
        let rule = try Self.rule(
            """
            let n = sum(position) of click where item != "i" by device.id = channel over 1h
            let unused = count() of order by device.id over 1h
            when n > 3 && ring.size > 1
            unless express
            """
        )
        let names = rule.reads.map {
            "\(Shop.environment.events[$0.event].name).\(Shop.environment.events[$0.event].fields[$0.field].name)"
        }
        #expect(
            names == ["order.express", "order.channel", "click.item", "click.device.id", "click.position"]
        )
        #expect(rule.signals == [1])
    }
}
