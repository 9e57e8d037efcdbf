import Glibc
import RuleLanguage

extension TopologyGuess {
    /// The text of `topology.yaml`.
    public var yaml: String {
        var lines = [
            "# A first guess, made from a file of \(events.count == 1 ? "records" : "records of \(events.count) types"): read it line by line before you rely on it."
        ]
        lines += doubts.map { "# - \($0)" }
        lines += ["topology: \(YAMLText.scalar(name))", "version: 1"]
        if beginsEarly { lines.append("time: { earliest: 1970-01-01 }") }
        if sortsReplay { lines.append("replay: { sort: true }        # the file is not in order of time") }
        lines.append("events:")
        let csv = form.csv.map(\.keys)
        for event in events { lines += event.lines(topic: topic, csv: csv) }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The most frequent event type, which the first rule is about.
    private var firstEvent: EventDraft? { events.max { $0.records < $1.records } }

    /// The text of `rules/first.weir`.
    public var rules: String {
        guard let event = firstEvent else { return "" }
        let subject = event.fields[event.subject].name
        let names = Set(event.fields.map(\.name) + event.fields.compactMap(\.entity))
        let count = ["n", "hourly", "events_in_hour"].first { !names.contains($0) } ?? "n_of_\(event.fields.count)"
        return """
            // A first rule, in shadow: it reports and decides nothing. Remove `mode shadow` when you trust it.
            rule busy_\(subject.map { $0.isLetter || $0.isNumber ? String($0) : "_" }.joined().prefix(40)) "Many events of one \(event.fields[event.subject].entity ?? "subject") within an hour" {
              mode shadow
              on \(event.name)
              let \(count) = count() of \(event.name) by \(subject) over 1h
              when \(count) >= 20
              then review, score +20
              because "{\(count)} events of {\(subject)} in an hour"
            }

            """
    }

    /// The text of `README.md`.
    public var readme: String {
        let input = YAMLText.scalar(path.split(separator: "/").last.map(String.init) ?? path)
        var text = """
            # \(name)

            A first topology, guessed by `weir init` from \(trial.records) records of `\(input)`\(isWhole ? "" : ", its beginning"). What to look at before you rely on it:


            """
        for event in events {
            func named(_ index: Int) -> String { "`\(event.fields[index].name)`" }
            text +=
                "- `\(event.name)`: the time of the event is \(event.time.map(named) ?? "the record's number"), it is about \(named(event.subject))"
            text += event.id.map { ", its own id is \(named($0)).\n" } ?? ", and it has no id of its own.\n"
        }
        text += doubts.map { "- Doubtful: \($0).\n" }.joined()
        text += """
            - Only time and subject are required: without them a record is a dead letter. Say `required: true` for what no rule can do without.
            - `entity` says what a value identifies. Windows `by account` find the field in every event type.
            - Amounts are `money` where their name says so; rules see minor units: 12.99 is 1299.

            ```sh
            weir check .
            weir check . --against \(input)
            weir replay --topology . --input \(input) --output -
            ```

            The pages of Weir say what every key and clause means: topologies/README.md and topologies/RULES.md.

            """
        return text
    }

    /// Makes a folder and writes the topology into it.
    ///
    /// - Throws: an error of the kind `.refused` where there is something of that name already, or it cannot be written.
    public func write(to folder: String) throws(LogError) {
        guard FileText.kind(of: folder) == .absent else {
            throw LogError(
                .refused,
                "'\(folder)' exists already; it is left as it is. Name another folder with --output."
            )
        }
        for path in [folder, "\(folder)/rules"] where mkdir(path, 0o777) != 0 {
            throw LogError(.refused, "cannot make the folder \(path): \(systemText(errno)).")
        }
        for (file, text) in [("topology.yaml", yaml), ("rules/first.weir", rules), ("README.md", readme)] {
            let writer = try LineWriter(path: "\(folder)/\(file)")
            var failure: LogError?
            Array(text.utf8).withUnsafeBytes { bytes in
                do throws(LogError) { try writer.write(bytes) } catch { failure = error }
            }
            if let failure { throw failure }
            try writer.close()
        }
    }
}
