/// Turns parsed blocks into a rule set.
struct RuleCompiler {
    let environment: RuleEnvironment
    let sink: DiagnosticSink
    let builder: CodeBuilder
    let table = FeatureTable()
    private var rules: [Rule] = []
    private var bodies: [[RuleBody]] = []

    init(_ environment: RuleEnvironment, _ sink: DiagnosticSink) {
        self.environment = environment
        self.sink = sink
        builder = CodeBuilder(hash: environment.hash)
    }

    private var aggregates: AggregateChecker {
        AggregateChecker(environment: environment, table: table, builder: builder, sink: sink)
    }

    private func scope(_ source: SourceText, _ event: Int, lets: [String: Scope.LetValue] = [:]) -> Scope {
        Scope(
            source: source,
            event: event,
            schema: environment.events[event],
            lets: lets,
            seesFeatures: true,
            table: table,
            environment: environment
        )
    }

    /// What a key's expression sees: keys are found before windows are read and signals given, so it has the event's fields only.
    private func keyScope(_ source: SourceText, _ event: Int, hidden: Set<String> = []) -> Scope {
        Scope(
            source: source,
            event: event,
            schema: environment.events[event],
            isKey: true,
            hidden: hidden,
            table: table,
            environment: environment
        )
    }

    mutating func compile(_ blocks: BlockSyntax) -> RuleSet? {
        for feature in blocks.features { declare(feature) }
        let ids = Dictionary(blocks.rules.map { ($0.id.text, $0) }, uniquingKeysWith: { first, _ in first })
        var seen: Set<String> = []
        for rule in blocks.rules {
            if !seen.insert(rule.id.text).inserted, let first = ids[rule.id.text] {
                let place = first.source.diagnostic(.error, at: first.id.span, "")
                sink.error(
                    rule.source,
                    rule.id.span,
                    "a second rule is called '\(rule.id.text)'",
                    suggestion: "the first stands at \(place.path):\(place.line)"
                )
                continue
            }
            compile(rule)
        }
        for policy in blocks.policies { checkLength(policy.name, "policy", policy.source) }
        for extra in blocks.policies.dropFirst() {
            sink.error(extra.source, extra.name.span, "a second policy", suggestion: "a rule set has one policy")
        }
        for test in blocks.tests {
            check(test, ruleIds: blocks.rules.map(\.id.text))
        }
        guard sink.errors.isEmpty else { return nil }
        warnOfActions(blocks)
        noteIdle(blocks)
        builder.freeze()
        let canonical =
            (table.features.filter(\.isDeclared).map { "feature \($0.name) = \($0.canonical)" }
            + blocks.rules.map(\.canonical) + blocks.policies.map(\.canonical)).joined(separator: "\n") + "\n"
        return RuleSet(
            environment: environment,
            features: table.features,
            featureRowWidth: table.width,
            rules: rules,
            bodies: bodies,
            policy: blocks.policies.first?.policy ?? .none,
            canonicalText: canonical,
            warnings: sink.warnings,
            notices: sink.notices,
            unit: builder.unit
        )
    }

    /// Warns of what a rule asks for and nothing can come of.
    private func warnOfActions(_ blocks: BlockSyntax) {
        for rule in blocks.rules {
            guard let span = rule.seen["then"] else { continue }
            let decisions = rule.actions.compactMap(\.decision)
            if let most = decisions.max(), let other = decisions.first(where: { $0 == .allow && $0 != most }) {
                sink.warning(
                    rule.source,
                    span,
                    "'\(other.name)' has no effect beside '\(most.name)': of a rule's decisions the strongest counts",
                    suggestion: "remove one of the two"
                )
            }
            let points = rule.actions.reduce(0) { if case .score(let points) = $1 { $0 + points } else { $0 } }
            if decisions.isEmpty, points != 0, blocks.policies.isEmpty {
                sink.warning(
                    rule.source,
                    span,
                    "'score' decides nothing: this rule set has no policy",
                    suggestion: "add one: policy shop { score review at 40, block at 80 cap 100 }"
                )
            }
            let cap = blocks.policies.first?.policy.cap ?? Policy.none.cap
            if points > cap {
                sink.warning(
                    rule.source,
                    span,
                    "an event's score is at most \(cap), and this rule adds \(points)",
                    suggestion: "write score +\(cap)"
                )
            }
        }
    }

    /// Tells of what is read and does nothing yet: once each, for there may be hundreds.
    private func noteIdle(_ blocks: BlockSyntax) {
        let alerts = blocks.rules.compactMap { rule in rule.seen["alert"].map { (rule.source, $0) } }
        let tests = blocks.tests.map { ($0.source, $0.title.span) }
        for (places, what) in [
            (alerts, "'alert' is read and has no effect yet"), (tests, "a test is read and not run yet"),
        ] {
            guard let (source, span) = places.first else { continue }
            sink.notice(source, span, places.count > 1 ? "\(what); this is the first of \(places.count)" : what)
        }
    }

    private func check(_ test: TestSyntax, ruleIds: [String]) {
        if !ruleIds.contains(test.rule.text) {
            sink.error(
                test.source,
                test.rule.span,
                "no rule '\(test.rule.text)' to test",
                suggestion: Diagnostic.nearest(to: test.rule.text, among: ruleIds).map { "did you mean '\($0)'?" }
            )
        }
        for case .send(let event, _, _, _, _) in test.steps
        where !environment.events.contains(where: { $0.name == event.text }) {
            sink.error(
                test.source,
                event.span,
                "no event '\(event.text)' in this topology",
                suggestion: Diagnostic.nearest(to: event.text, among: environment.events.map(\.name)).map {
                    "did you mean '\($0)'?"
                }
            )
        }
    }

    // MARK: feature

    private func declare(_ syntax: FeatureSyntax) {
        let name = syntax.name.text
        if table.declared[name] != nil || table.broken.contains(name) {
            sink.error(syntax.source, syntax.name.span, "a second feature is called '\(name)'")
            return
        }
        if let hidden = environment.events.first(where: { $0.field(named: name) != nil }) {
            sink.error(
                syntax.source,
                syntax.name.span,
                "'\(name)' is a field of event '\(hidden.name)' already",
                suggestion: "choose another name for the feature"
            )
        }
        let index = aggregates.feature(
            syntax.aggregate,
            name: syntax.name,
            in: syntax.source,
            readingEvents: nil,
            readingScope: { keyScope(syntax.source, $0) }
        )
        guard let index else {
            table.broken.insert(name)
            return
        }
        if let other = table.declared.first(where: { $0.value == index })?.key {
            sink.error(
                syntax.source,
                syntax.name.span,
                "features '\(other)' and '\(name)' are the same aggregate",
                suggestion: "use '\(other)'"
            )
        }
        table.declared[name] = index
    }

    // MARK: rule

    private mutating func compile(_ syntax: RuleSyntax) {
        // Refused already; its steps would have been its events and conditions, so nothing else is to blame.
        if syntax.seen["sequence"] != nil { return }
        checkClauses(syntax)
        checkLength(syntax.id, "rule", syntax.source)
        var events: [Int] = []
        for event in syntax.events {
            guard let index = environment.events.firstIndex(where: { $0.name == event.text }) else {
                let names = environment.events.map(\.name)
                sink.error(
                    syntax.source,
                    event.span,
                    "no event '\(event.text)' in this topology",
                    suggestion: Diagnostic.nearest(to: event.text, among: names).map { "did you mean '\($0)'?" }
                        ?? "events are \(names.joined(separator: ", "))"
                )
                continue
            }
            if !events.contains(index) { events.append(index) }
        }
        var compiled: [RuleBody] = []
        var used: Set<String> = []
        var features: Set<Int> = []
        var needs = RuleNeeds()
        for event in events {
            for key in syntax.alert?.keys ?? [] where environment.events[event].field(named: key.text) == nil {
                let names = environment.events[event].fields.map(\.name)
                sink.error(
                    syntax.source,
                    key.span,
                    "no field '\(key.text)' in event '\(environment.events[event].name)'",
                    suggestion: Diagnostic.nearest(to: key.text, among: names).map { "did you mean '\($0)'?" }
                )
            }
            if let body = body(syntax, event, events, &used, &features, &needs) { compiled.append(body) }
        }
        if !events.isEmpty, sink.errors.isEmpty { warnUnused(syntax, used) }
        let read = features.sorted()
        let canonical = ([syntax.canonical] + read.map { table.features[$0].canonical }).joined(separator: "\n")
        let weights = syntax.actions.map { if case .score(let points) = $0 { points } else { 0 } }
        rules.append(
            Rule(
                id: syntax.id.text,
                title: syntax.title,
                version: RuleCompiler.version(of: canonical),
                owner: syntax.owner,
                ticket: syntax.ticket,
                severity: syntax.severity ?? .medium,
                tags: syntax.tags,
                mode: syntax.mode ?? .live,
                events: events,
                actions: syntax.actions,
                decision: syntax.actions.compactMap(\.decision).max(),
                scoreWeight: weights.reduce(0, +),
                missing: syntax.missing ?? .skip,
                alert: syntax.alert.map {
                    RuleAlert(keys: $0.keys.map(\.text), everyMilliseconds: $0.everyMilliseconds)
                },
                exceptions: syntax.unlesses.map { syntax.source.text($0.span) },
                features: read,
                reads: needs.fields.sorted { ($0.event, $0.field) < ($1.event, $1.field) },
                signals: needs.signals.sorted(),
                undeterminedBy: needs.undeterminedBy,
                undecidedBy: needs.undecidedBy,
                canonicalText: syntax.canonical
            )
        )
        bodies.append(compiled)
    }

    /// FNV-1a (64 bits), of which the upper 48: stable across versions and machines, and not meant to resist anybody.
    static func version(of text: String) -> String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(hash >> 16, radix: 16)
        return String(repeating: "0", count: 12 - digits.count) + digits
    }

    /// A verdict says who decided, whatever else has no room in it.
    private func checkLength(_ name: Named, _ what: String, _ source: SourceText) {
        guard name.text.utf8.count > RuleLimits.nameCharacters else { return }
        sink.error(
            source,
            name.span,
            "the name of a \(what) has at most \(RuleLimits.nameCharacters) characters",
            suggestion: "say the rest in the title"
        )
    }

    private func checkClauses(_ rule: RuleSyntax) {
        let names = environment.events.map(\.name)
        func need(_ clause: String, _ suggestion: String) {
            guard rule.seen[clause] == nil else { return }
            sink.error(rule.source, rule.id.span, "rule '\(rule.id.text)' has no '\(clause)'", suggestion: suggestion)
        }
        need("on", "on \(names.first ?? "EVENT"); events are \(names.joined(separator: ", "))")
        need("when", "write its condition: when amount > 100; when true fires on every event")
        need("then", "write what it does: then review, score +20")
    }

    private func warnUnused(_ rule: RuleSyntax, _ used: Set<String>) {
        for binding in rule.lets where !used.contains(binding.name.text) {
            sink.warning(
                rule.source,
                binding.name.span,
                "'\(binding.name.text)' is never used",
                suggestion: "use it in when, unless or because, or delete it"
            )
        }
    }

    /// The names of a rule on one event type.
    ///
    /// Reports what is wrong with its lets.
    private func lets(
        _ rule: RuleSyntax,
        _ event: Int,
        _ events: [Int],
        _ used: inout Set<String>
    ) -> [String: Scope.LetValue] {
        var lets: [String: Scope.LetValue] = [:]
        for name in rule.letNames.subtracting(rule.lets.map(\.name.text)) { lets[name] = .failed }
        if rule.lets.count > RuleLimits.lets {
            sink.error(
                rule.source,
                rule.lets[RuleLimits.lets].name.span,
                "a rule has at most \(RuleLimits.lets) lets",
                suggestion: "split the rule, or name shared windows with feature"
            )
            return lets
        }
        for binding in rule.lets {
            let name = binding.name
            let bare = scope(rule.source, event)
            if lets[name.text] != nil {
                sink.error(
                    rule.source,
                    name.span,
                    "this rule has a second '\(name.text)'",
                    suggestion: "choose another name"
                )
                continue
            }
            if let meaning = bare.meaning(of: name.text) {
                let what =
                    switch meaning {
                    case .field: "a field of event '\(environment.events[event].name)'"
                    case .signal: "a signal"
                    default: "a feature"
                    }
                sink.error(
                    rule.source,
                    name.span,
                    "'\(name.text)' is \(what) already",
                    suggestion: "choose another name"
                )
            }
            switch binding.value {
            case .aggregate(let syntax):
                let index = aggregates.feature(
                    syntax,
                    name: name,
                    in: rule.source,
                    readingEvents: events,
                    readingScope: { keyScope(rule.source, $0, hidden: rule.letNames) }
                )
                lets[name.text] = index.map { .feature($0) } ?? .failed
            case .expression(let expression):
                var here = scope(rule.source, event, lets: lets)
                here.letsBelow = rule.letNames.subtracting(lets.keys)
                var generator = Generator(here, builder, sink)
                let value = generator.generateWhole(expression)
                used.formUnion(generator.usedLets)
                lets[name.text] = value.isFailed ? .failed : .expression(expression)
            }
        }
        return lets
    }

    private func body(
        _ rule: RuleSyntax,
        _ event: Int,
        _ events: [Int],
        _ used: inout Set<String>,
        _ features: inout Set<Int>,
        _ needs: inout RuleNeeds
    ) -> RuleBody? {
        let lets = lets(rule, event, events, &used)
        let scope = scope(rule.source, event, lets: lets)
        var judging = Generator(scope, builder, sink)
        judge(rule, &judging)
        used.formUnion(judging.usedLets)
        var reads = judging.reads
        needs.add(rule, scope, event, reads)
        var reason: [RuleBody.ReasonPart] = []
        for part in rule.because ?? [] {
            switch part {
            case .text(let bytes): reason.append(.text(JSONText.escaped(bytes)))
            case .hole(let expression):
                var generator = Generator(scope, builder, sink)
                let value = generator.generateWhole(expression)
                used.formUnion(generator.usedLets)
                for read in generator.reads where !reads.contains(read) { reads.append(read) }
                if case .list = value.type, value.type.valueType == nil {
                    sink.error(rule.source, expression.span, "\(value.type.withArticle) cannot be shown in a text")
                }
                guard let program = generator.finish(value, at: expression.span) else { continue }
                reason.append(.value(program, isPersonal: value.isPersonal))
            }
        }
        for read in reads where Bank.bank(of: read.operand) == Bank.features {
            if let index = table.feature(atColumn: Bank.index(of: read.operand)) { features.insert(index) }
        }
        guard sink.errors.isEmpty, let judgement = judging.store(.bool, at: rule.span) else { return nil }
        return RuleBody(
            event: event,
            judgement: judgement,
            reason: reason,
            values: values(rule, scope, reads)
        )
    }

    /// The judging program: false `when` → quiet; else a true `unless` → excepted; else a failure of a `when` → undetermined; else
    /// fired, with the first `unless` that is a failure.
    private func judge(_ rule: RuleSyntax, _ generator: inout Generator) {
        let outcome = generator.allocate()
        var quiet: [Int] = []
        for (index, clause) in rule.whens.enumerated() {
            generator.prepare(clause)
            let mark = generator.mark
            let value = generator.condition(clause, into: index == 0 ? outcome : nil)
            generator.release(mark)
            if index > 0 {
                quiet.append(generator.join(value, to: outcome, isAnd: true))
            } else {
                if value.operand != outcome { generator.emit(.move, result: outcome, value.operand) }
                quiet.append(generator.emit(.jumpIfFalse, outcome))
            }
        }
        let exception = rule.unlesses.isEmpty ? outcome : generator.allocate()
        var excepted: [Int] = []
        for (index, clause) in rule.unlesses.enumerated() {
            generator.prepare(clause)
            let mark = generator.mark
            let value = generator.condition(clause)
            generator.release(mark)
            excepted.append(generator.emit(.jumpIfTrue, value.operand))
            // False or a failure is left; the first failure stays.
            generator.emit(.noteUndecided, result: exception, value.operand, target: index, extra: index == 0 ? 0 : 1)
        }
        generator.emit(.fired, outcome, exception)
        for (index, jump) in excepted.enumerated() {
            generator.land(jump)
            generator.emit(.excepted, target: index)
        }
        for jump in quiet { generator.land(jump) }
        generator.emit(.quiet)
    }

    /// What `weir explain` and verdicts show: the lets in their order, then what was read besides.
    private func values(_ rule: RuleSyntax, _ scope: Scope, _ reads: [Generator.Read]) -> [RuleBody.NamedValue] {
        var values: [RuleBody.NamedValue] = []
        func add(_ name: String) {
            let key = JSONText.key(name)
            guard !values.contains(where: { $0.key == key }) else { return }
            var generator = Generator(scope, builder, sink)
            let parts = name.split(separator: ".").map(String.init)
            let span = Span(start: 0, end: 0)
            var expression = Expression(.identifier(parts[0]), span)
            for part in parts.dropFirst() { expression = Expression(.select(expression, part), span) }
            let value = generator.generateWhole(expression)
            guard let program = generator.finish(value, at: span) else { return }
            values.append(RuleBody.NamedValue(key: key, program: program, isPersonal: value.isPersonal))
        }
        for binding in rule.lets { add(binding.name.text) }
        for read in reads { add(read.name) }
        return values
    }
}
