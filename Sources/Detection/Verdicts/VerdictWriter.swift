import RuleLanguage

/// Writes verdicts as JSON in one fixed key order; the schema ships as `schemas/verdict.schema.json` of the product.
///
/// ```
/// {"verdict_id":"…","decision":"block","score":760,"decided_by":{"rule":"…"},"revision":1,"subject":{"type":"account","id":"u1"},
///  "event":{"type":"order","topic":"orders","partition":0,"offset":12,"id":"e12","time":"2026-01-05T08:00:00Z","context":{…}},
///  "reasons":[{"rule":"…","version":"…","title":"…","owner":"…","ticket":"…","mode":"live","decision":"block","weight":60,
///              "severity":"high","tags":[…],"text":"…","values":{…},"actions":[…]}],
///  "shadow":[…],"excepted":[{"rule":"…","unless":"…"}],"undetermined":[{"rule":"…","field":"…"}],
///  "undecided":[{"rule":"…","unless":"…","field":"…"}],
///  "rings":[{"detector":"…","id":"…","size":17,"score":0.98}],"scores":{"order_anomaly":0.91},
///  "truncated":{"shortened":2,"left_out":1},"versions":{…}}
/// ```
/// `decided_by` is a rule, the policy's line (`{"policy":"…","at":700}`) or the rule whose `allow` overrules (`{"allow":"…"}`);
/// absent where nobody asked for anything above `allow`. It, `revision`, `context`, `shadow`, `excepted`, `undetermined`,
/// `undecided`, `rings` and `scores`, and a reason's `owner`, `ticket`, `decision`, `tags`, `undetermined` and `actions`, appear
/// only when there is something to say.
///
/// A verdict is never longer than ``VerdictRecord/bytesMax``. An event's id is cut at 8192 bytes; subjects are kept whole. Fields
/// of the context with which it would pass ``Bounds/context`` are left out. From the first reason with which the verdict would pass
/// ``Bounds/whole``, reasons are written short: at most 1000 bytes of text, and values of up to 200 bytes. Short reasons that pass
/// ``Bounds/short`` and further entries that pass ``Bounds/others`` are left out. `truncated` says how many of each; decision and
/// score still count them all. So the work on a verdict is bounded too, whatever its event quotes.
struct VerdictWriter: ~Copyable {
    private typealias Piece = RenderedText.Piece
    /// Everything of an event type's verdicts that never changes, rendered once.
    private struct TypeText: BitwiseCopyable {
        /// Slot of the id, or -1; whether it is a text; slot of the subject.
        var idField: Int
        var idIsText: Bool
        var subjectField: Int
        var subject: Piece
        var event: Piece
        /// Its fields of the context, in ``VerdictWriter/context``.
        var contextStart: Int
        var contextEnd: Int
    }
    /// Up to which length of a verdict its parts are written; behind them come rings, scores and versions with at most 9,000 bytes,
    /// and before them subject, event and id with up to 450,000.
    private enum Bounds {
        static let whole = 500_000
        static let short = 650_000
        static let others = 690_000
        /// Bytes of all fields of the context.
        static let context = 40_000
        static let eventIdentifier = 8192
        static let shortText = 1000
        static let shortValue = 200
    }
    private struct RuleText: BitwiseCopyable {
        var id: Piece
        var isLive: Bool
        /// What it does when it cannot be decided.
        var missing: MissingPolicy
        /// From the brace to the opening quote of `text`; live and in shadow.
        var head: Piece
        /// The same where it could not be decided and asks for a review only.
        var reviewHead: Piece
        /// From behind `values` to the closing brace.
        var tail: Piece
        /// Where the objects of its `unless` clauses, without their closing braces, begin in ``VerdictWriter/exceptions``.
        var exceptionStart: Int
    }
    private let text: RenderedText
    private let types: [TypeText]
    /// A field and its key, quotes and colon.
    private let context: [(field: Int, key: Piece)]
    private let rules: [RuleText]
    private let exceptions: [Piece]
    private let ruleSet: RuleSet
    /// Per detector and model, from the brace or quote to what follows the name.
    private let rings: [(columns: SignalLayout.Ring, head: Piece)]
    private let scores: [(column: Int, key: Piece)]
    /// What stands in `decided_by` before the number of the policy's line.
    private let policyHead: Piece
    private let tail: Piece
    private let topics: [Piece]
    private let topology: Piece
    private let identifier: @Sendable (UnsafeRawBufferPointer, UnsafeMutablePointer<UInt8>) -> Void
    private var name = ByteBuffer(capacity: 256)
    /// Where the verdict begins that is being written, and what was left out of it.
    private var start = 0
    private var isFull = false
    private var shortened = 0
    private var leftOut = 0
    private var scratch: [UInt8] = []

    init(_ configuration: EngineConfiguration) {
        var text = RenderedText()
        topics = configuration.topics.map { text.add($0) }
        topology = text.add(configuration.topology)
        identifier = configuration.verdictIdentifier
        tail = text.add(",\"versions\":\(configuration.release.versions)}")
        let layout = configuration.signals
        rings = layout.detectors.enumerated().map {
            (layout.ring($0), text.add("{\"detector\":\"\($1)\",\"id\":\""))
        }
        scores = layout.models.enumerated().map { (layout.score($0), text.add("\"\($1)\":")) }
        policyHead = text.add(",\"decided_by\":{\"policy\":\"\(configuration.release.rules.policy.name)\",\"at\":")
        var context: [(field: Int, key: Piece)] = []
        types = configuration.events.map { schema in
            let start = context.count
            context += schema.contextFields.map { ($0, text.add("\"\(schema.fields[$0].name)\":")) }
            let subject = schema.fields[schema.subjectField]
            return TypeText(
                idField: schema.idField ?? -1,
                idIsText: schema.idField.map { schema.fields[$0].type == .string } ?? false,
                subjectField: schema.subjectField,
                subject: text.add(",\"subject\":{\"type\":\"\(subject.entity ?? subject.name)\",\"id\":\""),
                event: text.add("\"},\"event\":{\"type\":\"\(schema.name)\",\"topic\":\""),
                contextStart: start,
                contextEnd: context.count
            )
        }
        self.context = context
        ruleSet = configuration.release.rules
        var exceptions: [Piece] = []
        rules = configuration.release.rules.rules.map { rule in
            let start = exceptions.count
            exceptions += rule.exceptions.map {
                text.add("{\"rule\":\"\(rule.id)\",\"unless\":\"\(VerdictWriter.escaped($0))\"")
            }
            return RuleText(
                id: text.add(rule.id),
                isLive: rule.mode == .live,
                missing: rule.missing,
                head: text.add(VerdictWriter.head(of: rule, asksForReview: false)),
                reviewHead: text.add(VerdictWriter.head(of: rule, asksForReview: true)),
                tail: text.add(VerdictWriter.tail(of: rule)),
                exceptionStart: start
            )
        }
        self.exceptions = exceptions
        self.text = text
    }

    /// Writes one verdict and its key.
    ///
    /// - Parameters:
    ///   - outcomes: what the event type's rules said; lies in the evaluator.
    ///   - evaluator: has just judged the event.
    mutating func write(
        _ event: Event,
        _ judgement: Judgement,
        outcomes: UnsafeBufferPointer<RuleOutcome>,
        input: EvaluationInput,
        evaluator: inout Evaluator,
        to output: inout EpochOutput
    ) {
        start = output.verdicts.count
        isFull = false
        shortened = 0
        leftOut = 0
        output.verdicts.append(VerdictRecord.opening)
        writeIdentifier(event, &output.verdicts)
        output.verdicts.append("\",\"decision\":\"")
        output.verdicts.append(judgement.decision.name)
        output.verdicts.append("\",\"score\":")
        output.verdicts.append(Int64(judgement.score))
        writeDecider(judgement.decider, &output.verdicts)
        if judgement.revision > 0 {
            output.verdicts.append(",\"revision\":")
            output.verdicts.append(Int64(judgement.revision))
        }
        let type = types[Int(event.type)]
        text.append(type.subject, to: &output.verdicts)
        let subject = event.fields[type.subjectField]
        output.verdicts.appendEscaped(event.text + subject.textOffset, count: subject.textLength)
        text.append(type.event, to: &output.verdicts)
        text.append(topics[Int(event.topic)], to: &output.verdicts)
        output.verdicts.append("\",\"partition\":")
        output.verdicts.append(Int64(event.partition))
        output.verdicts.append(",\"offset\":")
        output.verdicts.append(event.offset)
        output.verdicts.append(",\"id\":\"")
        let isCut = writeEventIdentifier(event, longest: Bounds.eventIdentifier, &output.verdicts)
        output.verdicts.append("\",\"time\":\"")
        output.verdicts.appendTime(milliseconds: event.time)
        output.verdicts.append("\"")
        if type.contextEnd > type.contextStart {
            writeContext(type.contextStart..<type.contextEnd, event, input, &evaluator, &output.verdicts)
        }
        output.verdicts.append("},\"reasons\":[")
        _ = writeReasons(outcomes, event.type, live: true, opening: nil, input, &evaluator, &output)
        output.verdicts.append("]")
        if writeReasons(outcomes, event.type, live: false, opening: ",\"shadow\":[", input, &evaluator, &output) {
            output.verdicts.append("]")
        }
        writeOthers(outcomes, event.type, &output)
        writeSignals(input.signals, &output.verdicts)
        let isTruncated = isCut || shortened > 0 || leftOut > 0
        if isTruncated { writeTruncation(isCut, &output.verdicts) }
        text.append(tail, to: &output.verdicts)
        let length = output.verdicts.count - start
        precondition(length <= VerdictRecord.bytesMax, "a verdict's parts are bounded")
        output.verdicts.append(UInt8(ascii: "\n"))
        let keyStart = output.keys.count
        output.keys.append(event.text + subject.textOffset, count: subject.textLength)
        output.append(
            VerdictRecord(
                start: start,
                length: length,
                keyStart: keyStart,
                keyLength: subject.textLength,
                time: event.time,
                event: event.type,
                decision: judgement.decision,
                severity: judgement.severity,
                score: Int32(judgement.score),
                isTruncated: isTruncated
            )
        )
    }

    /// The event's own id, or `topic/partition/offset`; the inside of a JSON string.
    ///
    /// A text of more than `longest` bytes is cut there, between characters; returns whether it was.
    @discardableResult
    func writeEventIdentifier(_ event: Event, longest: Int = .max, _ output: inout ByteBuffer) -> Bool {
        let type = types[Int(event.type)]
        if type.idField >= 0, !event.fields[type.idField].isMissing {
            let id = event.fields[type.idField]
            guard type.idIsText else {
                output.append(id.int)
                return false
            }
            let bytes = event.text + id.textOffset
            var length = min(id.textLength, longest)
            let isCut = length < id.textLength
            while isCut, length > 0, bytes[length] & 0xC0 == 0x80 { length -= 1 }
            output.appendEscaped(bytes, count: length)
            return isCut
        }
        text.append(topics[Int(event.topic)], to: &output)
        output.append(UInt8(ascii: "/"))
        output.append(Int64(event.partition))
        output.append(UInt8(ascii: "/"))
        output.append(event.offset)
        return false
    }

    private func writeDecider(_ decider: Judgement.Decider, _ output: inout ByteBuffer) {
        switch decider {
        case .nobody: return
        case .rule(let rule):
            output.append(",\"decided_by\":{\"rule\":\"")
            text.append(rules[rule].id, to: &output)
            output.append("\"}")
        case .policy(let score):
            text.append(policyHead, to: &output)
            output.append(Int64(score))
            output.append("}")
        case .allowed(let rule):
            output.append(",\"decided_by\":{\"allow\":\"")
            text.append(rules[rule].id, to: &output)
            output.append("\"}")
        }
    }

    /// Writes the fields that the topology lists for the event's type.
    private mutating func writeContext(
        _ fields: Range<Int>,
        _ event: Event,
        _ input: EvaluationInput,
        _ evaluator: inout Evaluator,
        _ output: inout ByteBuffer
    ) {
        output.append(",\"context\":{")
        let first = output.count
        for place in fields {
            let (field, key) = context[place]
            scratch.removeAll(keepingCapacity: true)
            evaluator.appendField(field, event: Int(event.type), input, to: &scratch)
            if output.count - first + scratch.count > Bounds.context {
                leftOut += 1
                continue
            }
            if output.count > first { output.append(",") }
            text.append(key, to: &output)
            output.append(scratch)
        }
        output.append("}")
    }

    /// Writes the rings that the event's actors are in and what the models say, all from the signal row.
    private func writeSignals(_ signals: UnsafePointer<Slot>, _ output: inout ByteBuffer) {
        var isFirst = true
        for ring in rings where signals[ring.columns.size].int > 0 {
            output.append(isFirst ? ",\"rings\":[" : ",")
            isFirst = false
            text.append(ring.head, to: &output)
            output.append(ring.columns.idText(signals), count: RingChange.idLength)
            output.append("\",\"size\":")
            output.append(signals[ring.columns.size].int)
            output.append(",\"score\":")
            output.append(signals[ring.columns.score].double)
            output.append("}")
        }
        if !isFirst { output.append("]") }
        isFirst = true
        for score in scores where signals[score.column].double > 0 {
            output.append(isFirst ? ",\"scores\":{" : ",")
            isFirst = false
            text.append(score.key, to: &output)
            output.append(signals[score.column].double)
        }
        if !isFirst { output.append("}") }
    }

    private func writeTruncation(_ isCut: Bool, _ output: inout ByteBuffer) {
        output.append(",\"truncated\":{")
        if isCut { output.append("\"event_id\":true") }
        if shortened > 0 {
            output.append(isCut ? ",\"shortened\":" : "\"shortened\":")
            output.append(Int64(shortened))
        }
        if leftOut > 0 {
            output.append(isCut || shortened > 0 ? ",\"left_out\":" : "\"left_out\":")
            output.append(Int64(leftOut))
        }
        output.append("}")
    }

    private mutating func writeIdentifier(_ event: Event, _ output: inout ByteBuffer) {
        name.removeAll()
        text.append(topics[Int(event.topic)], to: &name)
        name.append(UInt8(ascii: "/"))
        name.append(Int64(event.partition))
        name.append(UInt8(ascii: "/"))
        name.append(event.offset)
        name.append(UInt8(ascii: "/"))
        text.append(topology, to: &name)
        let into = output.room(VerdictRecord.idLength)
        identifier(UnsafeRawBufferPointer(name.bytes), into)
        output.advance(VerdictRecord.idLength)
    }

    /// Writes the live or the watched rules that speak, `opening` before the first, and returns whether there were any.
    private mutating func writeReasons(
        _ outcomes: UnsafeBufferPointer<RuleOutcome>,
        _ type: UInt16,
        live: Bool,
        opening: StaticString?,
        _ input: EvaluationInput,
        _ evaluator: inout Evaluator,
        _ output: inout EpochOutput
    ) -> Bool {
        var isFirst = true
        for outcome in outcomes where speaks(outcome) && rules[Int(outcome.rule)].isLive == live {
            let before = output.verdicts.count
            if !isFirst { output.verdicts.append(",") } else if let opening { output.verdicts.append(opening) }
            let place = output.verdicts.count
            if !isFull {
                let isCut = writeReason(
                    outcome,
                    type,
                    input,
                    Bounds.whole,
                    Bounds.whole,
                    &evaluator,
                    &output.verdicts
                )
                isFull = isCut || output.verdicts.count - start > Bounds.whole
                if isFull { output.verdicts.truncate(to: place) }
            }
            if isFull {
                let isCut = writeReason(
                    outcome,
                    type,
                    input,
                    Bounds.shortText,
                    Bounds.shortValue,
                    &evaluator,
                    &output.verdicts
                )
                if output.verdicts.count - start > Bounds.short {
                    output.verdicts.truncate(to: before)
                    leftOut += 1
                    continue
                }
                if isCut { shortened += 1 }
            }
            isFirst = false
        }
        return !isFirst
    }

    /// Writes one reason and returns whether its text was cut or a value left out.
    private mutating func writeReason(
        _ outcome: RuleOutcome,
        _ type: UInt16,
        _ input: EvaluationInput,
        _ longestText: Int,
        _ longestValue: Int,
        _ evaluator: inout Evaluator,
        _ output: inout ByteBuffer
    ) -> Bool {
        let rule = Int(outcome.rule)
        let isUndetermined = outcome.kind == .undetermined
        let asksForReview = isUndetermined && rules[rule].missing == .review
        text.append(asksForReview ? rules[rule].reviewHead : rules[rule].head, to: &output)
        scratch.removeAll(keepingCapacity: true)
        let isTextCut = evaluator.appendReason(rule: rule, event: Int(type), input, longest: longestText, to: &scratch)
        output.append(scratch)
        output.append("\",\"values\":")
        scratch.removeAll(keepingCapacity: true)
        let isValueLeftOut = evaluator.appendValues(
            rule: rule,
            event: Int(type),
            input,
            longest: longestValue,
            to: &scratch
        )
        output.append(scratch)
        if isUndetermined {
            output.append(",\"undetermined\":\"")
            output.appendEscaped(ruleSet.undeterminedField(outcome, event: Int(type)))
            output.append("\"")
        }
        if asksForReview { output.append("}") } else { text.append(rules[rule].tail, to: &output) }
        return isTextCut || isValueLeftOut
    }

    /// Writes which rules would have fired but for an exception, which could not be decided, and which fired as an exception could
    /// not be decided.
    private mutating func writeOthers(
        _ outcomes: UnsafeBufferPointer<RuleOutcome>,
        _ type: UInt16,
        _ output: inout EpochOutput
    ) {
        var isFirst = true
        for outcome in outcomes where outcome.kind == .excepted {
            let before = output.verdicts.count
            output.verdicts.append(isFirst ? ",\"excepted\":[" : ",")
            let exception = rules[Int(outcome.rule)].exceptionStart + Int(outcome.exception)
            text.append(exceptions[exception], to: &output.verdicts)
            output.verdicts.append("}")
            if fits(before, &output.verdicts) { isFirst = false }
        }
        if !isFirst { output.verdicts.append("]") }
        isFirst = true
        for outcome in outcomes where outcome.kind == .undetermined {
            let before = output.verdicts.count
            output.verdicts.append(isFirst ? ",\"undetermined\":[{\"rule\":\"" : ",{\"rule\":\"")
            text.append(rules[Int(outcome.rule)].id, to: &output.verdicts)
            output.verdicts.append("\",\"field\":\"")
            output.verdicts.appendEscaped(ruleSet.undeterminedField(outcome, event: Int(type)))
            output.verdicts.append("\"}")
            if fits(before, &output.verdicts) { isFirst = false }
        }
        if !isFirst { output.verdicts.append("]") }
        isFirst = true
        for outcome in outcomes where outcome.isUndecided {
            let before = output.verdicts.count
            output.verdicts.append(isFirst ? ",\"undecided\":[" : ",")
            let exception = rules[Int(outcome.rule)].exceptionStart + Int(outcome.exception)
            text.append(exceptions[exception], to: &output.verdicts)
            output.verdicts.append(",\"field\":\"")
            output.verdicts.appendEscaped(ruleSet.undeterminedField(outcome, event: Int(type)))
            output.verdicts.append("\"}")
            if fits(before, &output.verdicts) { isFirst = false }
        }
        if !isFirst { output.verdicts.append("]") }
    }

    /// Takes an entry back that the verdict has no room for.
    private mutating func fits(_ before: Int, _ output: inout ByteBuffer) -> Bool {
        if output.count - start <= Bounds.others { return true }
        output.truncate(to: before)
        leftOut += 1
        return false
    }

    /// Whether the rule is among the reasons: it fired, or could not be decided and is told to speak then.
    private func speaks(_ outcome: RuleOutcome) -> Bool {
        outcome.kind == .fired || (outcome.kind == .undetermined && rules[Int(outcome.rule)].missing != .skip)
    }
}
