extension Evaluator {
    /// Writes a rule's `because` for an event: UTF-8, escaped as the inside of a JSON string, personal values masked.
    ///
    /// A value that cannot be computed shows as `?`. A rule without `because` shows its title. A text of more than `longest` bytes
    /// is cut there, between characters, and ends with `…`; no more than that much is worked out. Returns whether it was.
    @discardableResult
    public mutating func appendReason(
        rule: Int,
        event: Int,
        _ input: EvaluationInput,
        longest: Int = .max,
        to out: inout [UInt8]
    ) -> Bool {
        let start = out.count
        let end = start.addingReportingOverflow(longest).overflow ? .max : start + longest
        let reason = sentences.reason(rule: rule, event: event)
        if reason.isEmpty {
            JSONText.append(escaping: ruleSet.rules[rule].title.utf8, to: &out)
            return JSONText.cut(&out, from: start, longest: longest)
        }
        for place in reason {
            if out.count > end { break }
            let part = sentences[place]
            guard let program = part.program else {
                sentences.appendText(part, to: &out)
                continue
            }
            machine.reset()
            append(run(program, input), part.type, isPersonal: part.isPersonal, form: .prose, end: end, to: &out)
        }
        return JSONText.cut(&out, from: start, longest: longest)
    }

    /// Writes a JSON object of what a rule read: its lets in their order, then fields, features and signals by first use.
    ///
    /// Values that are missing are `null`; personal texts are masked, as are personal numbers. Values of more than `longest` bytes
    /// are left out. Returns whether any was.
    @discardableResult
    public mutating func appendValues(
        rule: Int,
        event: Int,
        _ input: EvaluationInput,
        longest: Int = .max,
        to out: inout [UInt8]
    ) -> Bool {
        out.append(UInt8(ascii: "{"))
        let first = out.count
        var isCut = false
        for place in sentences.values(rule: rule, event: event) {
            let value = sentences[place]
            guard let program = value.program else { continue }
            let entry = out.count
            if entry > first { out.append(UInt8(ascii: ",")) }
            sentences.appendText(value, to: &out)
            machine.reset()
            let start = out.count
            append(
                run(program, input),
                value.type,
                isPersonal: value.isPersonal,
                form: .json,
                end: start.addingReportingOverflow(longest).overflow ? .max : start + longest,
                to: &out
            )
            if out.count - start > longest {
                out.removeLast(out.count - entry)
                isCut = true
            }
        }
        out.append(UInt8(ascii: "}"))
        return isCut
    }

    /// Writes a field of an event as JSON: a missing one as `null`, a personal one masked.
    ///
    /// The event need not have been judged: of one that repeats another the verdict quotes fields too.
    public mutating func appendField(_ field: Int, event: Int, _ input: EvaluationInput, to out: inout [UInt8]) {
        let schema = ruleSet.environment.events[event].fields[field]
        guard let type = StaticType(schema.type).valueType else { return }
        machine.aim(input, unit.header)
        append(input.fields[field], type, isPersonal: schema.isPersonal, form: .json, end: .max, to: &out)
    }

    private enum Form { case prose, json }

    /// Writes one value; texts and lists stop a little behind a count of `end` bytes, as what lies there is cut away.
    private func append(
        _ slot: Slot,
        _ type: ValueType,
        isPersonal: Bool,
        form: Form,
        end: Int,
        to out: inout [UInt8]
    ) {
        if slot.isMissing {
            out += (form == .json ? "null" : "?").utf8
            return
        }
        let isText: Bool =
            switch type {
            case .string, .timestamp, .duration: true
            case .double: !slot.double.isFinite
            case .int, .bool, .stringList: false
            }
        let quotes = form == .json && (isText || (isPersonal && type != .stringList))
        if quotes { out.append(UInt8(ascii: "\"")) }
        switch type {
        case .string:
            let bytes = machine.text(slot)
            if isPersonal {
                JSONText.append(masking: bytes, to: &out)
            } else {
                // A byte gives one or more.
                let room = max(0, end - out.count)
                JSONText.append(escaping: room < bytes.count ? bytes[...room] : bytes[...], to: &out)
            }
        case .stringList:
            if form == .json { out.append(UInt8(ascii: "[")) }
            for (index, element) in machine.list(slot).enumerated() {
                if out.count > end { break }
                if index > 0 { out += (form == .json ? "," : ", ").utf8 }
                append(element, .string, isPersonal: isPersonal, form: form, end: end, to: &out)
            }
            if form == .json { out.append(UInt8(ascii: "]")) }
        default:
            let start = out.count
            switch type {
            case .int: JSONText.append(slot.int, to: &out)
            case .bool: out += (slot.bool ? "true" : "false").utf8
            case .double: JSONText.append(slot.double, to: &out)
            case .timestamp: TimeText.write(timestamp: slot.int) { out.append($0) }
            default: TimeText.write(duration: slot.int) { out.append($0) }
            }
            if isPersonal {
                let plain = Array(out[start...])
                out.removeSubrange(start...)
                plain.withUnsafeBufferPointer { JSONText.append(masking: $0, to: &out) }
            }
        }
        if quotes { out.append(UInt8(ascii: "\"")) }
    }
}
