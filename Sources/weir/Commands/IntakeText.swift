import Detection
import Pipeline
import RuleLanguage

/// An ``IntakeReport`` in words and as JSON.
struct IntakeText {
    let report: IntakeReport

    /// Lines shown of fields and of dead letters; the rest is counted.
    private static let linesMax = 40

    /// Blocks `fields` and `dead letters by reason`, as far as there is something to tell.
    func lines(savesDeadLetters: Bool) -> [String] {
        var lines: [String] = []
        let odd = report.oddFields
        if !odd.isEmpty {
            lines.append("fields")
            let names = odd.map { report.name($0) }
            let width = names.map(\.count).max() ?? 0
            for (line, name) in zip(odd, names).prefix(IntakeText.linesMax) {
                lines.append("  \(padded(name, width))  \(states(line))")
            }
            if odd.count > IntakeText.linesMax {
                lines.append("  and \(odd.count - IntakeText.linesMax) more; --json has all")
            }
        }
        if !report.dead.isEmpty {
            lines.append("dead letters by reason")
            let dead = report.dead.sorted { $0.count > $1.count }
            for line in dead.prefix(IntakeText.linesMax) {
                var text = "  \(line.code.name) \(grouped(line.count))"
                if let path = line.path { text += ", \(path)" }
                text += ", first in \(line.first)"
                if !line.example.isEmpty { text += ": '\(line.example)'" }
                lines.append(text)
            }
            if dead.count > IntakeText.linesMax {
                lines.append("  and \(dead.count - IntakeText.linesMax) more; --json has all")
            }
            if !savesDeadLetters { lines.append("  --dead-letters FILE writes them whole, each with its reason") }
        }
        return lines.map { Terminal.escaped($0) }
    }

    /// Of a field, such as `missing 12, unknown word 3, such as 'pos'`.
    private func states(_ line: IntakeReport.FieldLine) -> String {
        let counts = EventCensus.State.allCases.filter { line[$0] > 0 }.map { state in
            let such = state == .unknownWord ? line.unknownWord.map { ", such as '\($0)'" } ?? "" : ""
            return "\(state.name.replacing("_", with: " ")) \(grouped(line[state]))\(such)"
        }
        return counts.joined(separator: ", ")
    }

    /// Of a rule, such as `3 in shadow, excepted 2, undetermined 5 (device_os 5)`.
    func outcome(of rule: Rule, _ index: Int) -> String {
        let line = report.rules[index]
        var text = "\(line.fired)\(rule.mode == .shadow ? " in shadow" : "")"
        if line.excepted > 0 { text += ", excepted \(line.excepted)" }
        let rest = undecided(line)
        return rest.isEmpty ? text : "\(text), \(rest)"
    }

    /// The members `fields`, `dead` and `rules`.
    var json: String {
        var events: [(name: String, fields: [String])] = []
        for line in report.oddFields {
            let (event, field) = report.names(line)
            if events.last?.name != event { events.append((event, [])) }
            let states = EventCensus.State.allCases.filter { line[$0] > 0 }.map { "\"\($0.name)\":\(line[$0])" }
            events[events.count - 1].fields.append("\(JSONText.quoted(field)):{\(states.joined(separator: ","))}")
        }
        let fields = events.map { "\(JSONText.quoted($0.name)):{\($0.fields.joined(separator: ","))}" }
        let dead = report.dead.map { line in
            "{\"code\":\"\(line.code.name)\",\"field\":\(JSONText.quoted(line.path)),\"count\":\(line.count),"
                + "\"first\":\(JSONText.quoted(line.first)),\"example\":\(JSONText.quoted(line.example))}"
        }
        let rules = zip(report.ruleNames, report.rules).map { name, line in
            func counts(_ lacks: [String: Int]) -> String {
                lacks.sorted { $0.key < $1.key }.map { "\(JSONText.quoted($0.key)):\($0.value)" }.joined(separator: ",")
            }
            return
                "\(JSONText.quoted(name)):{\"fired\":\(line.fired),\"excepted\":\(line.excepted),\"undetermined\":\(line.undetermined),"
                + "\"undecided\":\(line.undecided),\"cut\":\(line.cut),\"lacks\":{\(counts(line.lacks))},\"exception_lacks\":{\(counts(line.exceptionLacks))}}"
        }
        return
            "\"fields\":{\(fields.joined(separator: ","))},\"dead\":[\(dead.joined(separator: ","))],\"rules\":{\(rules.joined(separator: ","))}"
    }

    /// Nothing was judged, and something could not be read.
    var isAllDead: Bool { report.judged.allSatisfy { $0 == 0 } && !report.dead.isEmpty }

    /// For a log line: what is to be told of fields, dead letters and rules; nil where there is nothing.
    var logTexts: (fields: String, dead: String, rules: String)? {
        let fields = report.oddFields.prefix(IntakeText.linesMax).map { "\(report.name($0)): \(states($0))" }
        let dead = report.dead.prefix(IntakeText.linesMax).map { line in
            let place = line.path.map { " at \($0)" } ?? ""
            return "\(line.code.name) \(line.count)\(place), first \(line.first)"
        }
        let rules = zip(report.ruleNames, report.rules).compactMap { name, line in
            line.undetermined + line.undecided + line.cut > 0 ? "\(name): \(undecided(line))" : nil
        }
        if fields.isEmpty, dead.isEmpty, rules.isEmpty { return nil }
        func joined(_ texts: [String]) -> String { texts.isEmpty ? "none" : texts.joined(separator: "; ") }
        return (joined(fields), joined(dead), joined(rules))
    }

    private func undecided(_ line: IntakeReport.RuleLine) -> String {
        var parts: [String] = []
        if line.undetermined > 0 { parts.append("undetermined \(line.undetermined)\(lacked(line.lacks))") }
        if line.undecided > 0 {
            parts.append("with an undecided exception \(line.undecided)\(lacked(line.exceptionLacks))")
        }
        if line.cut > 0 { parts.append("cut by its budget \(line.cut)") }
        return parts.joined(separator: ", ")
    }

    private func lacked(_ lacks: [String: Int]) -> String {
        let lacks = lacks.sorted { ($0.value, $1.key) > ($1.value, $0.key) }.map { "\($0.key) \($0.value)" }
        return lacks.isEmpty ? "" : " (lacked \(lacks.joined(separator: ", ")))"
    }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: width - text.count)
    }
    private func grouped(_ number: Int) -> String { ProgressReport.grouped(number) }
}
