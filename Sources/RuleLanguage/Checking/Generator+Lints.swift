extension Generator {
    /// Warns of comparisons that are allowed and hardly ever meant.
    func warnOfTraps(
        _ operation: Expression.Binary,
        _ left: Expression,
        _ a: Value,
        _ right: Expression,
        _ b: Value
    ) {
        if operation.isComparison {
            if b.type == .double { warnOfDivision(left, a) }
            if a.type == .double { warnOfDivision(right, b) }
        }
        if operation == .equal || operation == .notEqual {
            warnOfValue(right, of: a)
            warnOfValue(left, of: b)
        }
        if operation == .isIn, case .list(let items) = right.kind {
            for item in items { warnOfValue(item, of: a) }
        }
    }

    /// `refunds / orders > 0.5`: the division of ints has cut the fraction off already.
    private func warnOfDivision(_ expression: Expression, _ value: Value) {
        guard value.type == .int, case .binary(.divide, let a, let b) = expression.kind else { return }
        sink.warning(
            scope.source,
            expression.span,
            "\(text(expression)) divides ints and cuts off the fraction",
            suggestion: "write ratio(\(text(a)), \(text(b)))"
        )
    }

    /// A literal that the topology's `enum` of the field does not list.
    private func warnOfValue(_ literal: Expression, of value: Value) {
        guard case .string(let bytes) = literal.kind, Bank.bank(of: value.operand) == Bank.fields,
            let field = scope.schema?.fields[Bank.index(of: value.operand)], !field.allowedValues.isEmpty
        else { return }
        let word = String(decoding: bytes, as: UTF8.self)
        guard !field.allowedValues.contains(word) else { return }
        let nearest = Diagnostic.nearest(to: word, among: field.allowedValues)
        sink.warning(
            scope.source,
            literal.span,
            "'\(field.name)' is never \"\(word)\"",
            suggestion: nearest.map { "did you mean \"\($0)\"?" }
                ?? "the topology allows \(list(of: field.allowedValues))"
        )
    }
}
