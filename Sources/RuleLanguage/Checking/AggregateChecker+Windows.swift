extension AggregateChecker {
    func checkWindow(_ syntax: AggregateSyntax, _ source: SourceText) {
        let most = DurationText.text(milliseconds: environment.maximumWindowMilliseconds)
        if syntax.windowMilliseconds == 0 {
            sink.error(
                source,
                syntax.windowSpan,
                "a window of \(source.text(syntax.windowSpan)) holds no event",
                suggestion: "from 1ms to \(most); limits.window in topology.yaml sets the longest"
            )
        } else if syntax.windowMilliseconds > environment.maximumWindowMilliseconds {
            sink.error(
                source,
                syntax.windowSpan,
                "a window of \(source.text(syntax.windowSpan)) is longer than this topology keeps",
                suggestion: "at most \(most); limits.window in topology.yaml sets it"
            )
        }
    }

    /// Warns where amounts of several currencies come together: 12.99 EUR and 1299 JPY are both 1299.
    ///
    /// - Parameters:
    ///   - summed: fields that the aggregate's argument reads.
    ///   - counted: those, and fields that its filter reads.
    ///   - keys: fields of the window's key.
    func warnOfCurrencies(
        _ syntax: AggregateSyntax,
        _ schema: EventSchema,
        _ summed: Set<Int>,
        _ counted: Set<Int>,
        _ keys: [Int],
        _ source: SourceText
    ) {
        let verb: String
        switch syntax.function {
        case .sum: verb = "adds"
        case .avg: verb = "averages"
        case .min, .max: verb = "compares"
        case .count, .distinct, .first, .last: return
        }
        for amount in summed.sorted() {
            guard let name = schema.fields[amount].conversion.currencyField, let currency = schema.field(named: name)
            else { continue }
            let field = schema.fields[currency]
            let isOne =
                keys.contains(currency) || field.isClosed && field.allowedValues.count == 1
                || syntax.filter.map { AggregateChecker.isPinned(currency, by: $0, schema) } ?? false
            // An argument that asks for the currency knows that there are several.
            if isOne || summed.contains(currency) { continue }
            let code = field.allowedValues.first ?? "EUR"
            var condition = "where \(name) == \"\(code)\""
            if let filter = syntax.filter, !counted.contains(currency) {
                let text = source.text(filter.span)
                switch filter.kind {
                case .or, .conditional: condition += " && (\(text))"
                default: condition += " && \(text)"
                }
            }
            let by = (syntax.keys.map(\.path.text) + [name]).joined(separator: ", ")
            sink.warning(
                source,
                syntax.span,
                "\(syntax.function.rawValue)() \(verb) amounts of several currencies: '\(schema.fields[amount].name)' is in minor units of whichever '\(name)' names",
                suggestion: syntax.keys.count < RuleLimits.keys
                    ? "write by \(by), or of one currency: \(condition)" : "of one currency: \(condition)"
            )
        }
    }

    /// Whether a condition holds for one value of a text field alone.
    private static func isPinned(_ field: Int, by condition: Expression, _ schema: EventSchema) -> Bool {
        func isField(_ expression: Expression) -> Bool {
            expression.nameChain.flatMap { schema.field(named: $0.joined(separator: ".")) } == field
        }
        switch condition.kind {
        case .and(let items): return items.contains { isPinned(field, by: $0, schema) }
        case .binary(.equal, let a, let b): return isField(a) && b.isLiteral || isField(b) && a.isLiteral
        case .binary(.isIn, let a, let b):
            if case .list(let items) = b.kind { return isField(a) && items.count == 1 && items[0].isLiteral }
            return false
        default: return false
        }
    }
}
