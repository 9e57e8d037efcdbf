import RuleLanguage

/// Writes verdicts as JSON in one fixed key order; the schema ships as `schemas/verdict.schema.json` of the product.
///
/// ```
/// {"verdict_id":"…","decision":"block","score":760,"subject":{"type":"account","id":"u1"},
///  "event":{"type":"order","topic":"orders","partition":0,"offset":12,"id":"e12","time":"2026-01-05T08:00:00Z"},
///  "reasons":[{"rule":"…","version":"…","mode":"live","decision":"block","weight":60,"severity":"high","tags":[…],"text":"…","values":{…}}],
///  "shadow":[…],"excepted":[{"rule":"…","unless":"…"}],"undetermined":[{"rule":"…","field":"…"}],"actions":[…],
///  "ring":{"id":"…","size":17,"score":0.98},"anomaly":{"score":0.91},"versions":{…}}
/// ```
/// `shadow`, `excepted`, `undetermined`, `actions`, `ring` and `anomaly` appear only when there is something to say.
final class VerdictWriter {
    /// Everything of an event type's verdicts that never changes, rendered once.
    private struct TypeText {
        /// Slot of the id, or -1; whether it is a text; slot of the subject.
        var idField: Int
        var idIsText: Bool
        var subjectField: Int
        var subject: [UInt8]
        var event: [UInt8]
    }
    private struct RuleText {
        /// From the brace to the opening quote of `text`; live and in shadow.
        var head: [UInt8]
        /// From behind `values` to the closing brace.
        var tail: [UInt8]
        /// Per `unless`, its object in `excepted`.
        var exceptions: [[UInt8]]
    }
    private let types: [TypeText]
    private let texts: [RuleText]
    private let ruleSet: RuleSet
    private let modes: [RuleMode]
    private let tail: [UInt8]
    private let topics: [String]
    private let topology: [UInt8]
    private let identifier: @Sendable (UnsafeRawBufferPointer, UnsafeMutablePointer<UInt8>) -> Void
    private var name = ByteBuffer(capacity: 256)
    private var scratch: [UInt8] = []

    init(_ configuration: EngineConfiguration) {
        topics = configuration.topics
        topology = Array(configuration.topology.utf8)
        identifier = configuration.verdictIdentifier
        tail = Array(",\"versions\":\(configuration.versions)}".utf8)
        types = configuration.events.map { schema in
            TypeText(
                idField: schema.idField ?? -1,
                idIsText: schema.idField.map { schema.fields[$0].type == .string } ?? false,
                subjectField: schema.subjectField,
                subject: Array(
                    ",\"subject\":{\"type\":\"\(schema.fields[schema.subjectField].entity ?? schema.fields[schema.subjectField].name)\",\"id\":\""
                        .utf8),
                event: Array("\"},\"event\":{\"type\":\"\(schema.name)\",\"topic\":\"".utf8))
        }
        ruleSet = configuration.rules
        modes = ruleSet.rules.map(\.mode)
        texts = configuration.rules.rules.map { rule in
            var head = "{\"rule\":\"\(rule.id)\",\"version\":\"\(rule.version)\",\"mode\":\"\(rule.mode.rawValue)\""
            head +=
                ",\"decision\":\"\(rule.decision.name)\",\"weight\":\(rule.scoreWeight),\"severity\":\"\(rule.severity.rawValue)\""
            if !rule.tags.isEmpty {
                head +=
                    ",\"tags\":[" + rule.tags.map { "\"\(VerdictWriter.escaped($0))\"" }.joined(separator: ",") + "]"
            }
            head += ",\"text\":\""
            let actions = rule.actions.compactMap { action -> String? in
                switch action {
                case .challenge(let kind): "{\"challenge\":\"\(VerdictWriter.escaped(kind))\"}"
                case .tag(let tag): "{\"tag\":\"\(VerdictWriter.escaped(tag))\"}"
                case .queue(let queue): "{\"queue\":\"\(VerdictWriter.escaped(queue))\"}"
                case .allow, .block, .review, .score: nil
                }
            }
            return RuleText(
                head: Array(head.utf8),
                tail: Array((actions.isEmpty ? "}" : ",\"actions\":[\(actions.joined(separator: ","))]}").utf8),
                exceptions: rule.exceptions.map {
                    Array("{\"rule\":\"\(rule.id)\",\"unless\":\"\(VerdictWriter.escaped($0))\"}".utf8)
                })
        }
    }

    private static func escaped(_ text: String) -> String {
        var buffer = ByteBuffer(capacity: 64)
        buffer.appendEscaped(text)
        return String(decoding: buffer.bytes, as: UTF8.self)
    }

    /// Writes one verdict and its key.
    ///
    /// - Parameters:
    ///   - outcomes: what the event type's rules said; lies in the evaluator.
    ///   - evaluator: has just judged the event.
    func write(
        _ event: Event, decision: Decision, score: Int, severity: RuleSeverity?,
        outcomes: UnsafeBufferPointer<RuleOutcome>,
        input: EvaluationInput, ring: RingMembership?, evaluator: inout Evaluator, to output: inout EpochOutput
    ) {
        let start = output.verdicts.count
        output.verdicts.append("{\"verdict_id\":\"")
        writeIdentifier(event, &output.verdicts)
        output.verdicts.append("\",\"decision\":\"")
        output.verdicts.append(decision.name)
        output.verdicts.append("\",\"score\":")
        output.verdicts.append(Int64(score))
        let texts = types[Int(event.type)]
        output.verdicts.append(texts.subject)
        let subject = event.fields[texts.subjectField]
        output.verdicts.appendEscaped(event.text + subject.textOffset, count: subject.textLength)
        output.verdicts.append(texts.event)
        output.verdicts.append(topics[Int(event.topic)])
        output.verdicts.append("\",\"partition\":")
        output.verdicts.append(Int64(event.partition))
        output.verdicts.append(",\"offset\":")
        output.verdicts.append(event.offset)
        output.verdicts.append(",\"id\":\"")
        writeEventIdentifier(event, &output.verdicts)
        output.verdicts.append("\",\"time\":\"")
        output.verdicts.appendTime(milliseconds: event.time)
        output.verdicts.append("\"},\"reasons\":[")
        _ = writeReasons(outcomes, event.type, mode: .live, opening: nil, input, &evaluator, &output)
        output.verdicts.append("]")
        if writeReasons(outcomes, event.type, mode: .shadow, opening: ",\"shadow\":[", input, &evaluator, &output) {
            output.verdicts.append("]")
        }
        writeOthers(outcomes, event.type, &output)
        if let ring {
            output.verdicts.append(",\"ring\":{\"id\":\"")
            RingChange.appendText(ofID: ring.ring, to: &output.verdicts)
            output.verdicts.append("\",\"size\":")
            output.verdicts.append(Int64(ring.size))
            output.verdicts.append(",\"score\":")
            output.verdicts.append(ring.score)
            output.verdicts.append("}")
        }
        let anomaly = input.signals[Signals.anomalyScore].double
        if anomaly > 0 {
            output.verdicts.append(",\"anomaly\":{\"score\":")
            output.verdicts.append(anomaly)
            output.verdicts.append("}")
        }
        output.verdicts.append(tail)
        let length = output.verdicts.count - start
        output.verdicts.append(UInt8(ascii: "\n"))
        let keyStart = output.keys.count
        output.keys.append(event.text + subject.textOffset, count: subject.textLength)
        output.append(
            VerdictRecord(
                start: start, length: length, keyStart: keyStart, keyLength: subject.textLength, time: event.time,
                event: event.type, decision: decision, severity: severity, score: Int32(score)))
    }

    /// The event's own id, or `topic/partition/offset`; the inside of a JSON string.
    func writeEventIdentifier(_ event: Event, _ output: inout ByteBuffer) {
        let type = types[Int(event.type)]
        if type.idField >= 0, !event.fields[type.idField].isMissing {
            let id = event.fields[type.idField]
            if type.idIsText {
                output.appendEscaped(event.text + id.textOffset, count: id.textLength)
            } else {
                output.append(id.int)
            }
            return
        }
        output.append(topics[Int(event.topic)])
        output.append(UInt8(ascii: "/"))
        output.append(Int64(event.partition))
        output.append(UInt8(ascii: "/"))
        output.append(event.offset)
    }

    private func writeIdentifier(_ event: Event, _ output: inout ByteBuffer) {
        name.removeAll()
        name.append(topics[Int(event.topic)])
        name.append(UInt8(ascii: "/"))
        name.append(Int64(event.partition))
        name.append(UInt8(ascii: "/"))
        name.append(event.offset)
        name.append(UInt8(ascii: "/"))
        name.append(topology)
        let into = output.room(36)
        identifier(UnsafeRawBufferPointer(name.bytes), into)
        output.advance(36)
    }

    /// Writes the rules of a mode that fired, `opening` before the first, and answers whether there were any.
    private func writeReasons(
        _ outcomes: UnsafeBufferPointer<RuleOutcome>, _ type: UInt16, mode: RuleMode, opening: StaticString?,
        _ input: EvaluationInput, _ evaluator: inout Evaluator,
        _ output: inout EpochOutput
    ) -> Bool {
        var isFirst = true
        for outcome in outcomes where speaks(outcome) && modes[Int(outcome.rule)] == mode {
            let rule = Int(outcome.rule)
            if !isFirst { output.verdicts.append(",") } else if let opening { output.verdicts.append(opening) }
            isFirst = false
            output.verdicts.append(texts[rule].head)
            scratch.removeAll(keepingCapacity: true)
            evaluator.appendReason(rule: rule, event: Int(type), input, to: &scratch)
            output.verdicts.append(scratch)
            output.verdicts.append("\",\"values\":")
            scratch.removeAll(keepingCapacity: true)
            evaluator.appendValues(rule: rule, event: Int(type), input, to: &scratch)
            output.verdicts.append(scratch)
            output.verdicts.append(texts[rule].tail)
        }
        return !isFirst
    }

    /// Writes which rules would have fired but for an exception, and which could not be decided.
    private func writeOthers(
        _ outcomes: UnsafeBufferPointer<RuleOutcome>, _ type: UInt16, _ output: inout EpochOutput
    ) {
        var isFirst = true
        for outcome in outcomes where outcome.kind == .excepted {
            output.verdicts.append(isFirst ? ",\"excepted\":[" : ",")
            isFirst = false
            output.verdicts.append(texts[Int(outcome.rule)].exceptions[Int(outcome.exception)])
        }
        if !isFirst { output.verdicts.append("]") }
        isFirst = true
        for outcome in outcomes where outcome.kind == .undetermined {
            output.verdicts.append(isFirst ? ",\"undetermined\":[{\"rule\":\"" : ",{\"rule\":\"")
            isFirst = false
            output.verdicts.append(ruleSet.rules[Int(outcome.rule)].id)
            output.verdicts.append("\",\"field\":\"")
            output.verdicts.appendEscaped(ruleSet.undeterminedField(outcome, event: Int(type)))
            output.verdicts.append("\"}")
        }
        if !isFirst { output.verdicts.append("]") }
    }

    /// Whether the rule is among the reasons: it fired, or could not be decided and is told to speak then.
    private func speaks(_ outcome: RuleOutcome) -> Bool {
        outcome.kind == .fired || (outcome.kind == .undetermined && ruleSet.rules[Int(outcome.rule)].missing != .skip)
    }
}
