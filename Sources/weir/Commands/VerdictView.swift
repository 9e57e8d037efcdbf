import FoundationEssentials
import RuleLanguage

/// A verdict as people read it: one line.
struct VerdictView {
    private struct Body: Decodable {
        struct Subject: Decodable {
            var type: String
            var id: String
        }
        struct Event: Decodable {
            var type: String
            var id: String
            var time: String
        }
        struct Reason: Decodable {
            var rule: String
            var severity: String
            var text: String
        }
        var decision: String
        var score: Int
        var subject: Subject
        var event: Event
        var reasons: [Reason]
        var shadow: [Reason]?
    }

    private let body: Body

    /// Reads a verdict's JSON; nil when it is none.
    init?(json: UnsafeRawBufferPointer) {
        guard let body = try? JSONDecoder().decode(Body.self, from: Data(json)) else { return nil }
        self.body = body
    }

    var decision: String { body.decision }
    var eventID: String { body.event.id }
    var subjectID: String { body.subject.id }

    /// Whether a rule gave a reason, be it in shadow.
    func names(rule: String) -> Bool { (body.reasons + (body.shadow ?? [])).contains { $0.rule == rule } }

    /// The highest severity of its reasons, those in shadow included; nil when it has none.
    var severity: RuleSeverity? {
        (body.reasons + (body.shadow ?? [])).compactMap { RuleSeverity(rawValue: $0.severity) }.max()
    }

    /// Local `time severity decision score subject rules: reason`, coloured by severity on a terminal.
    func line(_ terminal: Terminal, _ tags: SubjectTags) -> String {
        let severity = self.severity?.rawValue ?? "-"
        let rules = body.reasons.isEmpty ? (body.shadow ?? []).map { "(\($0.rule))" } : body.reasons.map(\.rule)
        let time = LocalTime.text(body.event.time) ?? Terminal.escaped(body.event.time)
        let head =
            "\(time) \(VerdictView.padded(severity, 8)) \(VerdictView.padded(Terminal.escaped(body.decision.uppercased()), 9)) \(VerdictView.padded(String(body.score), 4))"
        let subject = "\(body.subject.type):\(tags.tag(of: body.subject.id))"
        let why = body.reasons.first?.text ?? body.shadow?.first?.text ?? ""
        let text =
            "\(head) \(Terminal.escaped(subject)) \(Terminal.escaped(rules.joined(separator: ", "))): \(Terminal.escaped(why))"
        return terminal.styled(text, Terminal.style(forSeverity: severity), on: .output)
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}

/// What people see in place of a subject's id.
///
/// Six hexadecimal digits of a keyed hash: they tell one from another in a list (among 580 different ones two are alike with a
/// chance of a hundredth), and without the key nobody finds the id by trying those that he knows.
struct SubjectTags {
    private let hash: TextHash?

    /// The ids themselves.
    static let none = SubjectTags(hash: nil)

    /// Under a key that nobody keeps.
    static func ofThisRun() -> SubjectTags {
        var random = SystemRandomNumberGenerator()
        return SubjectTags(hash: TextHash(key: HashKey(random.next(), random.next())))
    }

    /// Under a key that everybody has: for invented subjects.
    static let ofInvented = SubjectTags(hash: TextHash(key: .fixed))

    func tag(of id: String) -> String {
        guard let hash else { return id }
        let digits = String(hash(id) >> 40, radix: 16)
        return "#" + String(repeating: "0", count: 6 - digits.count) + digits
    }
}
