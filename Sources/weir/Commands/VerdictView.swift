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

    /// The highest severity of its reasons, those in shadow included; nil when it has none.
    var severity: RuleSeverity? {
        (body.reasons + (body.shadow ?? [])).compactMap { RuleSeverity(rawValue: $0.severity) }.max()
    }

    /// Local `time severity decision score subject rules: reason`, coloured by severity on a terminal; the subject masked.
    func line(_ terminal: Terminal) -> String {
        let severity = self.severity?.rawValue ?? "-"
        let rules = body.reasons.isEmpty ? (body.shadow ?? []).map { "(\($0.rule))" } : body.reasons.map(\.rule)
        let time = LocalTime.text(body.event.time) ?? Terminal.escaped(body.event.time)
        let head =
            "\(time) \(VerdictView.padded(severity, 8)) \(VerdictView.padded(Terminal.escaped(body.decision.uppercased()), 9)) \(VerdictView.padded(String(body.score), 4))"
        let subject = "\(body.subject.type):\(VerdictView.masked(body.subject.id))"
        let why = body.reasons.first?.text ?? body.shadow?.first?.text ?? ""
        let text =
            "\(head) \(Terminal.escaped(subject)) \(Terminal.escaped(rules.joined(separator: ", "))): \(Terminal.escaped(why))"
        return terminal.styled(text, Terminal.style(forSeverity: severity), on: .output)
    }

    /// First and last character: enough to follow one subject through a list, too little to look a person up.
    static func masked(_ identifier: String) -> String {
        guard identifier.count > 4, let first = identifier.first, let last = identifier.last else { return "***" }
        return "\(first)***\(last)"
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
