import Detection
import Pipeline
import RuleLanguage

/// `weir check`: everything that can be said about a topology without running it.
enum CheckCommand {
    /// The command's body.
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let folder = arguments.required("DIR")
        let isJSON = arguments.isSet("json")
        let deployment: Deployment
        do throws(DiagnosticError) {
            deployment = try Deployment(folder: folder)
            for diagnostic in deployment.release.rules.warnings + deployment.release.rules.notices {
                show(diagnostic, isJSON, terminal)
            }
            let summary = CheckSummary(deployment)
            if isJSON { terminal.json(summary.json) } else { terminal.write(summary.table) }
        } catch {
            for diagnostic in error.diagnostics { show(diagnostic, isJSON, terminal) }
            let errors = error.diagnostics.count { $0.severity == .error }
            if isJSON {
                terminal.line("{\"summary\":{\"valid\":false,\"errors\":\(errors)}}")
            } else {
                let text =
                    "\(counted(errors, "error")) in \(Terminal.escaped(folder)); weir runs no topology with errors"
                terminal.note(text, style: .red)
            }
            return .invalid
        }
        guard let input = arguments.string("against") else { return .ok }
        // A topic that a pattern means is named by the input.
        let bound = try FileReplay.bound(deployment, to: [input])
        let found = CheckComparison(comparison: try SampleComparison(bound, input: input))
        if isJSON { terminal.json(found.json) } else { terminal.write(found.text) }
        for objection in found.objections { terminal.fail(objection, hint: nil) }
        return found.comparison.fits ? .ok : .invalid
    }

    private static func show(_ diagnostic: Diagnostic, _ isJSON: Bool, _ terminal: Terminal) {
        guard isJSON else { return terminal.show(diagnostic) }
        terminal.json(
            "{\"severity\":\"\(diagnostic.severity.rawValue)\",\"path\":\(JSONText.quoted(diagnostic.path)),"
                + "\"line\":\(diagnostic.line),\"column\":\(diagnostic.column),\"message\":\(JSONText.quoted(diagnostic.message)),"
                + "\"suggestion\":\(JSONText.quoted(diagnostic.suggestion))}"
        )
    }
}

/// What `weir check` says about a topology without mistakes.
private struct CheckSummary {
    struct RuleLine {
        var rule: Rule
        var events: [String]
        var windows: [String]
        /// What its conditions depend on: fields as `EVENT.FIELD`, and signals.
        var reads: [String]
        /// Fixed bytes per key and bytes per event in the windows, shared ones counted once.
        var bytesPerKey = 0
        var bytesPerEvent = 0
    }

    let deployment: Deployment
    var rules: [RuleLine] = []
    var bytesPerKey = 0
    var bytesPerEvent = 0
    /// Most keys of one kind, and the kinds.
    let keysMax: Int
    let keyKinds: [String]

    init(_ deployment: Deployment) {
        self.deployment = deployment
        let set = deployment.release.rules
        let description = deployment.description
        let plan = WindowPlan(
            features: set.features,
            events: description.events,
            rowWidth: max(1, set.featureRowWidth),
            hash: TextHash(key: deployment.hashKey)
        )
        keysMax = Engine.keysKept(limit: description.limits.keys)
        keyKinds = plan.keyKinds
        (_, bytesPerKey, bytesPerEvent) = CheckSummary.sum(set.features, plan)
        for rule in set.rules {
            let features = rule.features.map { set.features[$0] }
            var line = RuleLine(
                rule: rule,
                events: rule.events.map { description.events[$0].name },
                windows: features.map(\.canonical),
                reads: rule.reads.map {
                    "\(description.events[$0.event].name).\(description.events[$0.event].fields[$0.field].name)"
                } + rule.signals.map { description.signals.declarations[$0].name }
            )
            (_, line.bytesPerKey, line.bytesPerEvent) = CheckSummary.sum(features, plan)
            rules.append(line)
        }
    }

    private static func sum(_ features: [Feature], _ plan: WindowPlan) -> (streams: Int, perKey: Int, perEvent: Int) {
        let costs = Set(features.compactMap { plan.cost(of: $0) })
        return (costs.count, costs.reduce(0) { $0 + $1.bytesPerKey }, costs.reduce(0) { $0 + $1.bytesPerEvent })
    }

    var table: String {
        let description = deployment.description
        var text = "\(description.name) version \(description.version): "
        text += "\(counted(description.events.count, "event type")) on \(counted(description.topics.count, "topic")), "
        text +=
            "\(counted(rules.count, "rule")), \(counted(deployment.release.rules.features.count, "window")), no mistakes"
        let warnings = deployment.release.rules.warnings.count
        text += warnings == 0 ? "\n" : ", \(counted(warnings, "warning"))\n"
        let width = rules.map(\.rule.id.count).max() ?? 0
        for line in rules {
            let name = line.rule.id + String(repeating: " ", count: width - line.rule.id.count)
            text +=
                "  \(name)  \(line.rule.mode.rawValue), \(line.rule.severity.rawValue), on \(line.events.joined(separator: ", "))"
            text += ": \(counted(line.windows.count, "window"))"
            if line.bytesPerEvent > 0 { text += ", \(line.bytesPerKey) bytes a key and \(line.bytesPerEvent) an event" }
            text += "\n"
            if !line.rule.undeterminedBy.isEmpty {
                text += "    can be undetermined by: \(line.rule.undeterminedBy.joined(separator: ", "))\n"
            }
            if !line.rule.undecidedBy.isEmpty {
                text +=
                    "    fires though an exception is undecided by: \(line.rule.undecidedBy.joined(separator: ", "))\n"
            }
        }
        if !keyKinds.isEmpty {
            text +=
                "keys    at most \(ProgressReport.grouped(keysMax)) of each kind: \(keyKinds.joined(separator: "; "))\n"
        }
        text +=
            "state   \(bytesPerKey) bytes a key and \(bytesPerEvent) bytes an event inside the windows, all rules together\n"
        text +=
            "digest  topology \(deployment.topologyDigest.prefix(16)), release \(deployment.release.shortDigest)\n"
        return Terminal.escaped(text, keepingLines: true)
    }

    var json: String {
        let description = deployment.description
        let each = rules.map { line in
            "{\"rule\":\(JSONText.quoted(line.rule.id)),\"version\":\(JSONText.quoted(line.rule.version)),"
                + "\"mode\":\"\(line.rule.mode.rawValue)\",\"severity\":\"\(line.rule.severity.rawValue)\","
                + "\"events\":\(JSONText.array(line.events)),\"windows\":\(JSONText.array(line.windows)),"
                + "\"reads\":\(JSONText.array(line.reads)),\"undetermined_by\":\(JSONText.array(line.rule.undeterminedBy)),"
                + "\"undecided_by\":\(JSONText.array(line.rule.undecidedBy)),"
                + "\"bytes_per_key\":\(line.bytesPerKey),\"bytes_per_event\":\(line.bytesPerEvent)}"
        }
        return
            "{\"summary\":{\"valid\":true,\"topology\":\(JSONText.quoted(description.name)),\"version\":\(description.version),"
            + "\"events\":\(JSONText.array(description.events.map(\.name))),\"topics\":\(JSONText.array(description.topics)),"
            + "\"windows\":\(deployment.release.rules.features.count),\"warnings\":\(deployment.release.rules.warnings.count),"
            + "\"keys_max\":\(keysMax),\"key_kinds\":\(JSONText.array(keyKinds)),\"bytes_per_key\":\(bytesPerKey),\"bytes_per_event\":\(bytesPerEvent),"
            + "\"topology_digest\":\"\(deployment.topologyDigest)\",\"release_digest\":\"\(deployment.release.digest)\","
            + "\"rules\":[\(each.joined(separator: ","))]}}"
    }
}

extension CheckCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "check",
            summary: "check a topology and its rules without running them",
            discussion: """
                Reads topology.yaml and every rule, resolves names and types, and compiles the programs.
                Prints every mistake with file, line, caret, reason and suggestion; of a topology without mistakes what each rule
                costs, and what may be missing so that the rule or one of its exceptions cannot be decided.

                With --against it also reads the first thousand records of a file and tells which declared fields they have, how
                often and as what, which no record has, which paths nobody declared, with lines to paste, and what would be a dead
                letter. Examples are masked. It ends with exit code 3 when the file cannot be read, or no record has a required
                field; --json adds one object "against".
                """,
            arguments: [ArgumentDefinition(name: "DIR", value: .directory, help: "the topology's folder")],
            flags: [
                .option(
                    "against",
                    "FILE",
                    .file,
                    "records to hold the topology against; - is standard input, and TOPIC=FILE says which topic's records a file holds"
                ),
                .json("findings and summary as JSON Lines"),
            ],
            examples: [
                .init(
                    line: "weir check topologies/marketplace",
                    effect: "in a commit hook: exit 0 and what each rule costs, or the mistakes and exit 3"
                ),
                .init(
                    line: "weir check topologies/quickstart --against orders.jsonl.gz",
                    effect: "does what the shop sends have the fields that the rules read?"
                ),
            ],
            exitCodes: [.invalid]
        )
    }
}
