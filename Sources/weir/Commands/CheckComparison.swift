import Detection
import Pipeline
import RuleLanguage

/// What `weir check --against FILE` says of a topology and a file of records.
struct CheckComparison {
    let comparison: SampleComparison

    /// Why the topology cannot read the file; empty where it can.
    var objections: [String] {
        var objections = comparison.events.flatMap { event in
            event.neverThere.map { item in
                "\(comparison.path): field '\(item.field.name)' (path '\(path(item.field))') of event '\(event.schema.name)' is required and in no record"
            }
        }
        if comparison.trial.events == 0, objections.isEmpty {
            objections.append("\(comparison.path): every record would be a dead letter")
        }
        return objections
    }

    var text: String {
        var text = "\(comparison.path): \(counted(comparison.trial.records, "record")) looked at"
        text += comparison.isCSV ? ", rows of columns\n" : ", JSON\n"
        if comparison.strangers > 0 {
            text += "  \(counted(comparison.strangers, "record")) of no declared event type\n"
        }
        for event in comparison.events where event.records > 0 || comparison.events.count == 1 {
            text += section(event)
        }
        let absent = comparison.events.filter { $0.records == 0 }.map(\.schema.name)
        if !absent.isEmpty, comparison.events.count > 1 {
            text += "no record is of: \(absent.joined(separator: ", "))\n"
        }
        if comparison.trial.faults.isEmpty {
            text += "dead letters  none\n"
        } else {
            text += "dead letters  \(comparison.trial.dead) of \(comparison.trial.records)\n"
            text += lines(comparison.trial.faults)
        }
        if !comparison.trial.damaged.isEmpty {
            text += "damaged values, which count as missing\n" + lines(comparison.trial.damaged)
        }
        return Terminal.escaped(text, keepingLines: true)
    }

    private func lines(_ faults: [SampleTrial.Fault]) -> String {
        faults.prefix(10).map { fault in
            let path = fault.path.map { ", \($0)" } ?? ""
            return "  \(fault.code.name) \(fault.count)\(path), first in \(comparison.path):\(fault.line)\n"
        }.joined()
    }

    private func section(_ event: SampleComparison.EventPart) -> String {
        var text = "event \(event.schema.name): \(counted(event.records, "record"))\n"
        var rows: [[String]] = []
        for item in event.declared where item.present > 0 {
            rows.append([
                item.field.name, item.field.type.rawValue, share(item.present, event.records), kinds(item.facts),
                item.facts?.example ?? "",
            ])
        }
        text += table(rows)
        let absent = event.declared.filter { $0.present == 0 }
        if !absent.isEmpty {
            text += "  in no record:\n"
            text += table(
                absent.map { item in
                    [
                        item.field.name, "path \(path(item.field))",
                        item.isRequired ? "required: all would be dead letters" : "",
                    ]
                }
            )
        }
        if event.undeclared.isEmpty { return text }
        text += "  not declared:\n"
        text += table(
            event.undeclared.map {
                [$0.facts.path.text, share($0.facts.present, event.records), kinds($0.facts), $0.facts.example]
            }
        )
        let lines = event.undeclared.compactMap(\.line)
        if !lines.isEmpty {
            text += "  to declare them, under 'fields:' of event '\(event.schema.name)':\n"
            text += lines.map { "      \($0)\n" }.joined()
        }
        return text
    }

    /// Columns beside each other, the last one as long as it is.
    private func table(_ rows: [[String]]) -> String {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            let cells = row.enumerated().map { index, cell in
                cell + String(repeating: " ", count: widths[index] - cell.count)
            }
            var line = "    " + cells.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line + "\n"
        }.joined()
    }

    private func path(_ field: FieldSchema) -> String { field.path.description }

    /// A share in hundredths, never rounded to all or nothing.
    private func share(_ count: Int, _ all: Int) -> String {
        if count >= all { return "100 %" }
        let percent = max(1, min(99, (count * 100 + all / 2) / max(1, all)))
        return String(repeating: " ", count: percent < 10 ? 2 : 1) + "\(percent) %"
    }

    private func kinds(_ facts: PathFacts?) -> String {
        let kinds = facts?.kinds ?? []
        let all = kinds.reduce(0) { $0 + $1.count }
        if kinds.count < 2 { return kinds.first?.name ?? "" }
        return kinds.map { "\($0.name) \(share($0.count, all).filter { $0 != " " })" }.joined(separator: ", ")
    }

    var json: String {
        func kinds(_ facts: PathFacts?) -> String {
            "{" + (facts?.kinds ?? []).map { "\"\($0.name)\":\($0.count)" }.joined(separator: ",") + "}"
        }
        let events = comparison.events.map { event in
            let declared = event.declared.map { item in
                "{\"field\":\(JSONText.quoted(item.field.name)),\"path\":\(JSONText.quoted(path(item.field))),"
                    + "\"type\":\(JSONText.quoted(item.field.type.rawValue)),\"required\":\(item.isRequired),"
                    + "\"records\":\(item.present),\"kinds\":\(kinds(item.facts)),\"example\":\(JSONText.quoted(item.facts?.example))}"
            }
            let undeclared = event.undeclared.map { item in
                "{\"path\":\(JSONText.quoted(item.facts.path.text)),\"records\":\(item.facts.present),"
                    + "\"kinds\":\(kinds(item.facts)),\"example\":\(JSONText.quoted(item.facts.example)),\"line\":\(JSONText.quoted(item.line))}"
            }
            return "{\"event\":\(JSONText.quoted(event.schema.name)),\"records\":\(event.records),"
                + "\"declared\":[\(declared.joined(separator: ","))],\"undeclared\":[\(undeclared.joined(separator: ","))]}"
        }
        func told(_ faults: [SampleTrial.Fault]) -> String {
            faults.map { fault in
                "{\"code\":\"\(fault.code.name)\",\"field\":\(JSONText.quoted(fault.path)),\"count\":\(fault.count),\"line\":\(fault.line)}"
            }.joined(separator: ",")
        }
        return "{\"against\":{\"file\":\(JSONText.quoted(comparison.path)),\"fits\":\(comparison.fits),"
            + "\"records\":\(comparison.trial.records),\"strangers\":\(comparison.strangers),"
            + "\"events\":[\(events.joined(separator: ","))],\"dead\":[\(told(comparison.trial.faults))],"
            + "\"damaged\":[\(told(comparison.trial.damaged))]}}"
    }
}
