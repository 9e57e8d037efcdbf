import RuleLanguage

/// What a verdict says of rules that did not speak, and of fields that were not as they should be.
extension VerdictWriter {
    /// Writes which rules would have fired but for an exception, which could not be decided, and which fired as an exception could
    /// not be decided.
    mutating func writeOthers(
        _ outcomes: UnsafeBufferPointer<RuleOutcome>,
        _ type: UInt16,
        _ output: inout ByteBuffer
    ) {
        var isFirst = true
        for outcome in outcomes where outcome.kind == .excepted {
            let before = output.count
            output.append(isFirst ? ",\"excepted\":[" : ",")
            let exception = rules[Int(outcome.rule)].exceptionStart + Int(outcome.exception)
            text.append(exceptions[exception], to: &output)
            output.append("}")
            if fits(before, &output) { isFirst = false }
        }
        if !isFirst { output.append("]") }
        isFirst = true
        for outcome in outcomes where outcome.kind == .undetermined {
            let before = output.count
            output.append(isFirst ? ",\"undetermined\":[{\"rule\":\"" : ",{\"rule\":\"")
            text.append(rules[Int(outcome.rule)].id, to: &output)
            output.append("\",\"field\":\"")
            output.appendEscaped(ruleSet.undeterminedField(outcome, event: Int(type)))
            output.append("\"}")
            if fits(before, &output) { isFirst = false }
        }
        if !isFirst { output.append("]") }
        isFirst = true
        for outcome in outcomes where outcome.isUndecided {
            let before = output.count
            output.append(isFirst ? ",\"undecided\":[" : ",")
            let exception = rules[Int(outcome.rule)].exceptionStart + Int(outcome.exception)
            text.append(exceptions[exception], to: &output)
            output.append(",\"field\":\"")
            output.appendEscaped(ruleSet.undeterminedField(outcome, event: Int(type)))
            output.append("\"}")
            if fits(before, &output) { isFirst = false }
        }
        if !isFirst { output.append("]") }
    }

    /// Writes which fields could not be read, and which are shown in part.
    ///
    /// A field's value never stands here: it may be anything.
    mutating func writeMarks(_ event: Event, _ output: inout ByteBuffer) {
        let names = types[Int(event.type)].fieldStart
        var isFirst = true
        event.forEachMark { mark in
            guard let code = mark.code else { return }
            mark.forEachField { field in
                let before = output.count
                output.append(isFirst ? ",\"damaged\":[{\"field\":\"" : ",{\"field\":\"")
                text.append(fields[names + field], to: &output)
                output.append("\",\"code\":\"")
                output.append(code.name)
                output.append("\"}")
                if fits(before, &output) { isFirst = false }
            }
        }
        if !isFirst { output.append("]") }
        isFirst = true
        event.forEachMark { mark in
            guard mark.kind == .cut else { return }
            mark.forEachField { field in
                let before = output.count
                output.append(isFirst ? ",\"cut\":[\"" : ",\"")
                text.append(fields[names + field], to: &output)
                output.append("\"")
                if fits(before, &output) { isFirst = false }
            }
        }
        if !isFirst { output.append("]") }
    }

    /// Takes an entry back that the verdict has no room for.
    private mutating func fits(_ before: Int, _ output: inout ByteBuffer) -> Bool {
        if output.count - start <= Bounds.others { return true }
        output.truncate(to: before)
        leftOut += 1
        return false
    }
}
