import Detection
import Pipeline
import RuleLanguage

/// `weir init`: a first topology from a file of records.
enum InitCommand {
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let input = arguments.required("FILE")
        if let name = arguments.string("name"), !TopologyGuess.isName(name) {
            throw CommandFailure.usage("--name '\(name)' is no topology name", hint: "1 to 64 of a-z, 0-9 and -")
        }
        let started = ContinuousClock.now
        let guess = try TopologyGuess(path: input, name: arguments.string("name"), threads: 2)
        let folder = arguments.string("output") ?? guess.name
        try guess.write(to: folder)
        // What was written is read back: a topology that Weir itself refuses would help nobody.
        _ = try Deployment(folder: folder)
        let seconds = started.duration(to: .now).inSeconds
        if arguments.isSet("json") {
            terminal.json(json(guess, folder, seconds))
        } else {
            terminal.write(Terminal.escaped(text(guess, folder, input, seconds), keepingLines: true))
        }
        for doubt in guess.doubts { terminal.warn(doubt) }
        for fault in guess.trial.faults.prefix(5) {
            terminal.warn(
                "\(counted(fault.count, "record")) would be a dead letter: \(fault.code.name)"
                    + (fault.path.map { " at `\($0)`" } ?? "") + ", first in \(input):\(fault.line)"
            )
        }
        return .ok
    }

    private static func text(_ guess: TopologyGuess, _ folder: String, _ input: String, _ seconds: Double) -> String {
        var text = "\(folder): topology.yaml, rules/first.weir and README.md, from "
        text += "\(counted(guess.trial.records, "record")) in \(seconds.rounded(to: 2)) s"
        text += guess.isWhole ? "\n" : ", the beginning of the file\n"
        let width = guess.events.map(\.name.count).max() ?? 0
        for event in guess.events {
            let name = event.name + String(repeating: " ", count: width - event.name.count)
            text +=
                "  \(name)  \(counted(event.fieldCount, "field")), time \(event.timeField ?? "the record's number"), "
            text += event.idField.map { "id \($0), " } ?? ""
            text += "subject \(event.subjectField)\n"
        }
        text += "It is a guess: read it, then\n"
        text += "  weir check \(folder) --against \(input)\n"
        text += "  weir replay --topology \(folder) --input \(input) --output -\n"
        return text
    }

    private static func json(_ guess: TopologyGuess, _ folder: String, _ seconds: Double) -> String {
        let events = guess.events.map { event in
            "{\"event\":\(JSONText.quoted(event.name)),\"fields\":\(event.fieldCount),\"time\":\(JSONText.quoted(event.timeField)),"
                + "\"id\":\(JSONText.quoted(event.idField)),\"subject\":\(JSONText.quoted(event.subjectField))}"
        }
        return
            "{\"folder\":\(JSONText.quoted(folder)),\"topology\":\(JSONText.quoted(guess.name)),\"records\":\(guess.trial.records),"
            + "\"whole\":\(guess.isWhole),\"dead_letters\":\(guess.trial.dead),\"seconds\":\(seconds.rounded(to: 3)),"
            + "\"doubts\":\(JSONText.array(guess.doubts)),\"events\":[\(events.joined(separator: ","))]}"
    }
}

extension InitCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "init",
            summary: "write a first topology from a file of records",
            discussion: """
                Reads JSON Lines or CSV, plain, .gz or .zst, and guesses how it is written, which fields there are and of which type,
                what is the time of an event, its id, whom it is about and which fields name entities, by names and values. The
                decoder then tries the guess on the file, and what it does not take is learnt from, so that a replay of it has no
                dead letters. What could be read in two ways is said. Up to 256 MiB are read.

                Writes topology.yaml, rules/first.weir and README.md into a new folder; one that is there already is left as it is.
                With --json it prints one object with the keys folder, topology, records, whole, dead_letters, seconds, doubts and
                events.
                """,
            arguments: [ArgumentDefinition(name: "FILE", value: .file, help: "records to look at")],
            flags: [
                .option("name", "NAME", .text, "the topology's name (without it: the file's)"),
                .option("output", "DIR", .directory, "the folder to make (without it: the topology's name)"),
                .json("what was guessed as JSON"),
            ],
            examples: [
                .init(line: "weir init orders.jsonl.gz", effect: "a folder orders, from what the shop sends"),
                .init(
                    line: "weir init export.csv --name payments --output topologies/payments",
                    effect: "from a table, under a name of its own"
                ),
            ],
            exitCodes: [.failure, .invalid]
        )
    }
}
