/// Turns aggregates into features, so that equal ones are one.
struct AggregateChecker {
    let environment: RuleEnvironment
    let table: FeatureTable
    let builder: CodeBuilder
    let sink: DiagnosticSink

    /// Checks an aggregate and registers its feature.
    ///
    /// `readingEvents` are the event types of the rule; nil for a `feature` block, which is read wherever its keys are found.
    /// Returns nil after a reported error.
    func feature(
        _ syntax: AggregateSyntax,
        name: Named,
        in source: SourceText,
        readingEvents: [Int]?,
        readingScope: (Int) -> Scope
    ) -> Int? {
        let errors = sink.errorCount
        guard let event = environment.events.firstIndex(where: { $0.name == syntax.event.text }) else {
            sink.error(
                source,
                syntax.event.span,
                "no event '\(syntax.event.text)' in this topology",
                suggestion: Diagnostic.nearest(to: syntax.event.text, among: environment.events.map(\.name))
                    .map { "did you mean '\($0)'?" }
                    ?? "events are \(environment.events.map(\.name).joined(separator: ", "))"
            )
            return nil
        }
        let schema = environment.events[event]
        let scope = Scope(source: source, event: event, schema: schema, table: table, environment: environment)
        var counted: Set<Int> = []
        let argument = argument(syntax, scope, &counted)
        let summed = counted
        let filter = filter(syntax, scope, &counted)
        let keys = countedKeys(syntax, schema, source)
        checkWindow(syntax, source)
        guard sink.errorCount == errors else { return nil }
        warnOfCurrencies(syntax, schema, summed, counted, keys, source)
        let resultType: ValueType =
            switch syntax.function {
            case .count, .distinct: .int
            case .avg: .double
            case .sum, .min, .max, .first, .last: argument?.type ?? .int
            }
        let canonical = canonical(syntax, schema)
        let rename: (String) -> String = { name in schema.field(named: name).map { schema.fields[$0].name } ?? name }
        let index: Int
        if let known = table.byCanonical[canonical] {
            index = known
        } else {
            index = table.features.count
            table.features.append(
                Feature(
                    name: name.text,
                    isDeclared: false,
                    function: syntax.function,
                    event: event,
                    filter: filter,
                    argument: argument?.source,
                    argumentType: argument?.type,
                    countedKeys: keys,
                    readers: Array(repeating: nil, count: environment.events.count),
                    windowMilliseconds: syntax.windowMilliseconds,
                    excludesCurrent: syntax.excludesCurrent,
                    resultType: resultType,
                    column: table.width,
                    canonical: canonical,
                    filterText: syntax.filter?.canonical(rename) ?? "",
                    argumentText: syntax.argument?.canonical(rename) ?? ""
                )
            )
            let showsArgument = [.min, .max, .first, .last].contains(syntax.function)
            table.isPersonal.append(showsArgument && argument?.isPersonal == true)
            table.reads.append((counted.union(keys), Array(repeating: [], count: environment.events.count)))
            table.byCanonical[canonical] = index
            table.width += resultType == .string ? Feature.stringWidth : 1
            if table.width > RuleLimits.windowValues {
                sink.error(source, syntax.span, "this rule set has more than \(RuleLimits.windowValues) feature values")
            }
        }
        for reading in readingEvents ?? Array(environment.events.indices)
        where table.features[index].readers[reading] == nil {
            table.features[index].readers[reading] = readers(
                syntax,
                keys,
                counted: schema,
                scope: readingScope(reading),
                isOptional: readingEvents == nil,
                &table.reads[index].readers[reading]
            )
        }
        // A declared feature is read wherever its key is found; one whose key is found nowhere is a mistake, told for the counted
        // event.
        if readingEvents == nil, table.features[index].readers.allSatisfy({ $0 == nil }) {
            _ = readers(syntax, keys, counted: schema, scope: readingScope(event), isOptional: false, &counted)
        }
        guard sink.errorCount == errors else { return nil }
        if readingEvents == nil {
            table.features[index].isDeclared = true
            table.features[index].name = name.text
        }
        return index
    }

    private func argument(
        _ syntax: AggregateSyntax,
        _ scope: Scope,
        _ fields: inout Set<Int>
    ) -> (source: ValueSource, type: ValueType, isPersonal: Bool)? {
        let name = syntax.function.rawValue
        guard let expression = syntax.argument else {
            if syntax.function != .count {
                sink.error(
                    scope.source,
                    syntax.span,
                    "\(name)() needs to know of what",
                    suggestion: "\(name)(amount) of \(syntax.event.text) …"
                )
            }
            return nil
        }
        guard syntax.function != .count else {
            sink.error(
                scope.source,
                expression.span,
                "count() counts events and takes no argument",
                suggestion:
                    "write distinct(\(scope.source.text(expression.span))) for different values, or a condition after where"
            )
            return nil
        }
        var generator = Generator(scope, builder, sink)
        let value = generator.generate(expression)
        guard !value.isFailed else { return nil }
        fields.formUnion(generator.fieldsRead)
        let allowed: [ValueType]
        switch syntax.function {
        case .count, .sum, .avg: allowed = [.int, .double]
        case .min, .max: allowed = [.int, .double, .timestamp]
        case .distinct: allowed = [.string, .int, .bool]
        case .first, .last: allowed = [.int, .double, .bool, .string, .timestamp, .duration]
        }
        guard let type = value.type.valueType, allowed.contains(type) else {
            sink.error(
                scope.source,
                expression.span,
                "\(name)() does not take \(value.type.withArticle)",
                suggestion: "it takes \(allowed.map { StaticType($0).name }.joined(separator: ", "))"
            )
            return nil
        }
        if Bank.bank(of: value.operand) == Bank.fields {
            return (.field(Bank.index(of: value.operand)), type, value.isPersonal)
        }
        guard let program = generator.finish(value, at: expression.span) else { return nil }
        return (.program(program), type, value.isPersonal)
    }

    private func filter(_ syntax: AggregateSyntax, _ scope: Scope, _ fields: inout Set<Int>) -> Program? {
        guard let expression = syntax.filter else { return nil }
        var generator = Generator(scope, builder, sink)
        let value = generator.condition(expression)
        fields.formUnion(generator.fieldsRead)
        return generator.finish(value, at: expression.span)
    }

    private static let keyTypes: [FieldType] = [.string, .int, .bool]

    private func countedKeys(_ syntax: AggregateSyntax, _ schema: EventSchema, _ source: SourceText) -> [Int] {
        var keys: [Int] = []
        for key in syntax.keys {
            guard let field = schema.field(named: key.path.text) else {
                let names = schema.fields.map(\.name) + schema.fields.compactMap(\.entity)
                let several = schema.fields.filter { $0.entity == key.path.text }.map(\.name)
                sink.error(
                    source,
                    key.path.span,
                    several.isEmpty
                        ? "no field '\(key.path.text)' in event '\(schema.name)'"
                        : "event '\(schema.name)' has several fields of entity '\(key.path.text)'",
                    suggestion: several.isEmpty
                        ? Diagnostic.nearest(to: key.path.text, among: names).map { "did you mean '\($0)'?" }
                        : "name one: \(several.joined(separator: ", "))"
                )
                continue
            }
            guard AggregateChecker.keyTypes.contains(schema.fields[field].type) else {
                sink.error(
                    source,
                    key.path.span,
                    "a \(schema.fields[field].type.rawValue) cannot be a key",
                    suggestion: "keys are fields of type string, int or bool"
                )
                continue
            }
            keys.append(field)
        }
        if syntax.keys.count > RuleLimits.keys {
            sink.error(source, syntax.keys[RuleLimits.keys].path.span, "a window has at most \(RuleLimits.keys) keys")
        }
        return keys
    }

    /// Where the key stands in a reading event, and the fields it is found by; nil where it is not found.
    private func readers(
        _ syntax: AggregateSyntax,
        _ keys: [Int],
        counted: EventSchema,
        scope: Scope,
        isOptional: Bool,
        _ fields: inout Set<Int>
    ) -> [ValueSource]? {
        guard let schema = scope.schema else { return nil }
        var sources: [ValueSource] = []
        var used: Set<Int> = []
        for (key, field) in zip(syntax.keys, keys) {
            let wanted = StaticType(counted.fields[field].type)
            if let expression = key.reading {
                var found: Program?
                let read = {
                    var generator = Generator(scope, builder, sink)
                    let value = generator.generate(expression)
                    if !value.isFailed, value.type != wanted {
                        generator.error(
                            expression.span,
                            "'\(key.path.text)' is \(wanted.withArticle), and this is \(value.type.withArticle)"
                        )
                        return
                    }
                    used.formUnion(generator.fieldsRead)
                    found = generator.finish(value, at: expression.span)
                }
                if isOptional { _ = sink.attempt(read) } else { read() }
                guard let found else { return nil }
                sources.append(.program(found))
                continue
            }
            guard let reading = schema.field(named: key.path.text), StaticType(schema.fields[reading].type) == wanted
            else {
                if isOptional { return nil }
                sink.error(
                    scope.source,
                    key.path.span,
                    "event '\(schema.name)' has no \(wanted.name) field '\(key.path.text)' to read this window by",
                    suggestion: "write \(key.path.text) = the value's name in '\(schema.name)'"
                )
                return nil
            }
            sources.append(.field(reading))
            used.insert(reading)
        }
        fields = used
        return sources
    }

    /// The aggregate in a fixed form: fields by their own names, the window in milliseconds.
    private func canonical(_ syntax: AggregateSyntax, _ schema: EventSchema) -> String {
        let rename: (String) -> String = { name in schema.field(named: name).map { schema.fields[$0].name } ?? name }
        var text = "\(syntax.function.rawValue)(\(syntax.argument?.canonical(rename) ?? "")) of \(schema.name)"
        if let filter = syntax.filter { text += " where \(filter.canonical(rename))" }
        let keys = syntax.keys.map { key in key.path.text + (key.reading.map { " = " + $0.canonical() } ?? "") }
        text += " by \(keys.joined(separator: ", ")) over \(syntax.windowMilliseconds)ms"
        return syntax.excludesCurrent ? text + " excluding this" : text
    }
}
