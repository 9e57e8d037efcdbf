import RuleLanguage

/// Writes verdicts as JSON in one fixed key order; the schema ships as `schemas/verdict.schema.json` of the product.
///
/// ```
/// {"verdict_id":"…","decision":"block","score":760,"decided_by":{"rule":"…"},"revision":1,"subject":{"type":"account","id":"u1"},
///  "event":{"type":"order","topic":"orders","partition":0,"offset":12,"part":3,"id":"e12","time":"2026-01-05T08:00:00Z",
///           "late":"2026-01-05T07:00:00Z","early":"…","duplicate":true,"context":{…}},
///  "reasons":[{"rule":"…","version":"…","title":"…","owner":"…","ticket":"…","mode":"live","decision":"block","weight":60,
///              "severity":"high","tags":[…],"text":"…","values":{…},"actions":[…]}],
///  "shadow":[…],"excepted":[{"rule":"…","unless":"…"}],"undetermined":[{"rule":"…","field":"…"}],
///  "undecided":[{"rule":"…","unless":"…","field":"…"}],
///  "damaged":[{"field":"…","code":"wrong_type"}],"cut":["…"],
///  "rings":[{"detector":"…","id":"…","size":17,"score":0.98}],"scores":{"order_anomaly":0.91},
///  "truncated":{"shortened":2,"left_out":1},"versions":{…}}
/// ```
/// `decided_by` is a rule, the policy's line (`{"policy":"…","at":700}`) or the rule whose `allow` overrules (`{"allow":"…"}`);
/// absent where nobody asked for anything above `allow`. `late` and `early` are the event's time as it was written, where it is
/// judged at another one. They, `decided_by`, `revision`, `part`, `duplicate`, `context`, `shadow`, `excepted`, `undetermined`,
/// `undecided`, `damaged`, `cut`, `rings` and `scores`, and a reason's `owner`, `ticket`, `decision`, `tags`, `undetermined` and
/// `actions`, appear only when there is something to say.
///
/// A verdict is never longer than ``VerdictRecord/bytesMax``. An event's id is cut at 8192 bytes; subjects are kept whole. Fields
/// of the context with which it would pass ``Bounds/context`` are left out. From the first reason with which the verdict would pass
/// ``Bounds/whole``, reasons are written short: at most 1000 bytes of text, and values of up to 200 bytes. Short reasons that pass
/// ``Bounds/short`` and further entries that pass ``Bounds/others`` are left out. `truncated` says how many of each; decision and
/// score still count them all. So the work on a verdict is bounded too, whatever its event quotes.
struct VerdictWriter: ~Copyable {
    typealias Piece = RenderedText.Piece
    /// Everything of an event type's verdicts that never changes, rendered once.
    struct TypeText: BitwiseCopyable {
        /// Slot of the id, or -1; whether it is a text; slot of the subject.
        var idField: Int
        var idIsText: Bool
        /// A record of it holds several events, so a part stands behind each id.
        var hasParts: Bool
        var subjectField: Int
        var subject: Piece
        var event: Piece
        /// Where the names of its fields begin in ``VerdictWriter/fields``.
        var fieldStart: Int
        /// Its fields of the context, in ``VerdictWriter/context``.
        var contextStart: Int
        var contextEnd: Int
    }
    /// Up to which length of a verdict its parts are written; behind them come rings, scores and versions with at most 9,000 bytes,
    /// and before them subject, event and id with up to 450,000.
    enum Bounds {
        static let whole = 500_000
        static let short = 650_000
        static let others = 690_000
        /// Bytes of all fields of the context.
        static let context = 40_000
        static let eventIdentifier = 8192
        static let shortText = 1000
        static let shortValue = 200
    }
    struct RuleText: BitwiseCopyable {
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
    let text: RenderedText
    let types: [TypeText]
    /// The names of all types' fields, type by type.
    let fields: [Piece]
    /// A field and its key, quotes and colon.
    let context: [(field: Int, key: Piece)]
    let rules: [RuleText]
    let exceptions: [Piece]
    let ruleSet: RuleSet
    /// Per detector and model, from the brace or quote to what follows the name.
    private let rings: [(columns: SignalLayout.Ring, head: Piece)]
    private let scores: [(column: Int, key: Piece)]
    /// What stands in `decided_by` before the number of the policy's line.
    private let policyHead: Piece
    private let tail: Piece
    let topics: [Piece]
    let topology: Piece
    let identifier: @Sendable (UnsafeRawBufferPointer, UnsafeMutablePointer<UInt8>) -> Void
    var name = ByteBuffer(capacity: 256)
    /// Where the verdict begins that is being written, and what was left out of it.
    private(set) var start = 0
    private var isFull = false
    private var shortened = 0
    var leftOut = 0
    var scratch: [UInt8] = []

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
        var fields: [Piece] = []
        types = configuration.events.map { schema in
            let start = context.count
            let fieldStart = fields.count
            fields += schema.fields.map { text.add($0.name) }
            context += schema.contextFields.map { ($0, text.add("\"\(schema.fields[$0].name)\":")) }
            let subject = schema.fields[schema.subjectField]
            return TypeText(
                idField: schema.idField ?? -1,
                idIsText: schema.idField.map { schema.fields[$0].type == .string } ?? false,
                hasParts: schema.each != nil,
                subjectField: schema.subjectField,
                subject: text.add(",\"subject\":{\"type\":\"\(subject.entity ?? subject.name)\",\"id\":\""),
                event: text.add("\"},\"event\":{\"type\":\"\(schema.name)\",\"topic\":\""),
                fieldStart: fieldStart,
                contextStart: start,
                contextEnd: context.count
            )
        }
        self.fields = fields
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
        let isCut = writeEvent(event, input, &evaluator, &output.verdicts)
        output.verdicts.append(",\"reasons\":[")
        _ = writeReasons(outcomes, event.type, live: true, opening: nil, input, &evaluator, &output)
        output.verdicts.append("]")
        if writeReasons(outcomes, event.type, live: false, opening: ",\"shadow\":[", input, &evaluator, &output) {
            output.verdicts.append("]")
        }
        writeOthers(outcomes, event.type, &output.verdicts)
        if event.markCount > 0 { writeMarks(event, &output.verdicts) }
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

    /// Whether the rule is among the reasons: it fired, or could not be decided and is told to speak then.
    private func speaks(_ outcome: RuleOutcome) -> Bool {
        outcome.kind == .fired || (outcome.kind == .undetermined && rules[Int(outcome.rule)].missing != .skip)
    }
}
