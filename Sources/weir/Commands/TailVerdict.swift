import FoundationEssentials
import Glibc
import RuleLanguage

/// What a line of `weir tail` shows of a verdict.
struct TailVerdict {
    private struct Body: Decodable {
        struct Subject: Decodable {
            var type: String
            var id: String
        }
        struct Event: Decodable { var time: String }
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
    /// The highest among its rules, in shadow or live; nil when none fired.
    let severity: RuleSeverity?

    /// Reads a verdict's JSON; nil when it is none.
    init?(_ bytes: [UInt8]) {
        guard let body = try? JSONDecoder().decode(Body.self, from: Data(bytes)) else { return nil }
        self.body = body
        severity = (body.reasons + (body.shadow ?? [])).compactMap { RuleSeverity(rawValue: $0.severity) }.max()
    }

    /// Time, severity, decision, score, subject, rules, reason; coloured where stdout shows colour.
    ///
    /// The subject is masked: identifiers of people are not for every screen. `--json` gives them whole.
    func line(_ terminal: Terminal) -> String {
        let level = severity?.rawValue ?? "-"
        let shadow = (body.shadow ?? []).map { "\($0.rule) (shadow)" }
        let rules = (body.reasons.map(\.rule) + shadow).joined(separator: ",")
        let text = (body.reasons + (body.shadow ?? [])).first { !$0.text.isEmpty }?.text ?? ""
        let parts = [
            TailVerdict.localTime(body.event.time) ?? body.event.time,
            terminal.styled(TailVerdict.padded(level, 8), Terminal.style(forSeverity: level), on: .output),
            terminal.styled(
                TailVerdict.padded(Terminal.escaped(body.decision).uppercased(), 9),
                Terminal.style(forDecision: body.decision), on: .output),
            String(repeating: " ", count: max(0, 4 - String(body.score).count)) + String(body.score),
            TailVerdict.padded(Terminal.escaped("\(body.subject.type):\(TailVerdict.masked(body.subject.id))"), 16),
            Terminal.escaped(rules.isEmpty ? "-" : rules),
            Terminal.escaped(text),
        ]
        return parts.joined(separator: " ")
    }

    /// First and last character with `***` between; of fewer than four characters nothing is shown, as in reason texts.
    static func masked(_ text: String) -> String {
        let scalars = text.unicodeScalars
        guard scalars.count >= 4, let first = scalars.first, let last = scalars.last else { return "***" }
        return "\(first)***\(last)"
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    /// `2026-01-05T08:00:00.250Z` as wall time here, to the second; nil when it is no time.
    static func localTime(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        guard bytes.count >= 20, bytes.last == UInt8(ascii: "Z") else { return nil }
        func number(_ range: Range<Int>) -> Int32? { Int32(String(decoding: bytes[range], as: UTF8.self)) }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
            let minute = number(14..<16), let second = number(17..<19)
        else { return nil }
        var universal = tm()
        universal.tm_year = year - 1900
        universal.tm_mon = month - 1
        universal.tm_mday = day
        universal.tm_hour = hour
        universal.tm_min = minute
        universal.tm_sec = second
        var time = timegm(&universal)
        var local = tm()
        guard localtime_r(&time, &local) != nil else { return nil }
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return
            "\(local.tm_year + 1900)-\(two(local.tm_mon + 1))-\(two(local.tm_mday)) \(two(local.tm_hour)):\(two(local.tm_min)):\(two(local.tm_sec))"
    }
}
