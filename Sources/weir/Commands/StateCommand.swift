import Glibc
import Pipeline
import RuleLanguage

/// `weir state`: the snapshots that `weir run` keeps, for who looks at them, proves them or chooses one.
enum StateCommand {
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let action = arguments.required("ACTION")
        let looking = try StateLooking(arguments, terminal)
        defer { looking.close() }
        switch action {
        case "ls": return try looking.list()
        case "verify": return try looking.verify()
        case "digest": return try looking.digest()
        default: return try looking.restore()
        }
    }
}

/// One call of `weir state`: where the snapshots are, and what they are held against.
private struct StateLooking {
    private let arguments: ParsedArguments
    private let terminal: Terminal
    private let shelf: SnapshotShelf
    private let isJSON: Bool
    /// Under its own hash key; nil: no topology was given.
    private let deployment: Deployment?
    /// Nil: none was given.
    private let log: (any EventLog)?

    init(_ arguments: ParsedArguments, _ terminal: Terminal) throws {
        self.arguments = arguments
        self.terminal = terminal
        isJSON = arguments.isSet("json")
        var found = try arguments.string("topology").map { try Deployment(folder: $0) }
        let name = found?.description.name
        guard let place = StatePlace(arguments, topology: name) else {
            throw CommandFailure.usage(
                "it is not said whose snapshots",
                hint: "--topology DIR, --log FILE.db or --state DIR names their place"
            )
        }
        shelf = SnapshotShelf(folder: place.snapshots)
        if let deployment = found, let key = try HashKeyPlace(arguments, topology: name)?.readIfThere() {
            found = try deployment.keyed(by: key)
        }
        log = try LogOpening.open(
            arguments,
            .reader,
            application: found.map { LogOpening.application($0.description.name) } ?? "weir-reader",
            terminal
        )
        if let log, let unbound = found { found = try InputTopics.bound(unbound, to: log) }
        deployment = found
    }

    func close() { log?.close() }

    // MARK: What is there

    func list() throws -> ExitCode {
        let entries = try shelf.entries()
        if entries.isEmpty { terminal.note("no snapshots in \(Terminal.escaped(shelf.folder))") }
        let now = Int64(time(nil))
        for entry in entries {
            let age = max(0, now - entry.savedAt)
            do throws(LogError) {
                let summary = try shelf.summary(of: entry)
                terminal.write(isJSON ? json(entry, age, summary, nil) : text(entry, age, summary))
            } catch {
                terminal.write(isJSON ? json(entry, age, nil, error) : text(entry, age, error))
            }
        }
        return .ok
    }

    private func text(_ entry: SnapshotShelf.Entry, _ age: Int64, _ summary: SnapshotShelf.Summary) -> String {
        let proof = summary.record.proof
        var lines = [
            heading(entry, age) + "  \(terminal.styled("whole", .green, on: .output))",
            "  weir \(proof?.engine ?? "?"), topology \(summary.topologyDigest.prefix(16)), "
                + "release \(summary.record.releaseDigest.prefix(16)), hash key \(summary.keyFingerprint)",
        ]
        for position in summary.positions { lines.append("  \(position.source) up to offset \(position.next)") }
        return lines.map { Terminal.escaped($0, keepingLines: false) + "\n" }.joined()
    }

    private func text(_ entry: SnapshotShelf.Entry, _ age: Int64, _ error: LogError) -> String {
        heading(entry, age) + "  \(terminal.styled("not whole", .red, on: .output))\n"
            + "  \(Terminal.escaped(error.message))\n"
    }

    private func heading(_ entry: SnapshotShelf.Entry, _ age: Int64) -> String {
        "epoch \(entry.epoch)  \(StateLooking.age(age)) old  \(StateLooking.size(entry.bytes))"
            + (entry.isAside ? "  set aside" : "")
    }

    private func json(
        _ entry: SnapshotShelf.Entry,
        _ age: Int64,
        _ summary: SnapshotShelf.Summary?,
        _ error: LogError?
    ) -> String {
        var text =
            "{\"epoch\":\(entry.epoch),\"file\":\(JSONText.quoted(entry.path)),\"bytes\":\(entry.bytes),\"saved\":\(entry.savedAt),"
            + "\"age_seconds\":\(age),\"aside\":\(entry.isAside),\"whole\":\(error == nil),\"reason\":\(JSONText.quoted(error?.message))"
        if let summary {
            let positions = summary.positions.map {
                "[\(JSONText.quoted($0.source.topic)),\($0.source.partition),\($0.next)]"
            }
            text +=
                ",\"engine\":\(JSONText.quoted(summary.record.proof?.engine)),\"topology\":\(JSONText.quoted(summary.topologyDigest)),"
                + "\"topology_name\":\(JSONText.quoted(summary.record.topologyName)),\"release\":\(JSONText.quoted(summary.record.releaseDigest)),"
                + "\"hash_key\":\(JSONText.quoted(summary.keyFingerprint)),\"watermark\":\(summary.watermark.map { "\($0)" } ?? "null"),"
                + "\"positions\":[\(positions.joined(separator: ","))]"
        }
        return text + "}\n"
    }

    private static func age(_ seconds: Int64) -> String {
        seconds < 120
            ? "\(seconds) s"
            : seconds < 7200
                ? "\(seconds / 60) min" : seconds < 172_800 ? "\(seconds / 3600) h" : "\(seconds / 86_400) days"
    }

    private static func size(_ bytes: Int) -> String {
        bytes < 1 << 20 ? "\((bytes + 1023) >> 10) KiB" : "\((Double(bytes) / 1_048_576).rounded(to: 1)) MiB"
    }

    // MARK: Whether it is of use

    func verify() throws -> ExitCode {
        var worst = ExitCode.ok
        for entry in try chosen(orAll: true) {
            var failure: LogError?
            do throws(LogError) { try check(entry) } catch {
                // That the log cannot be asked says nothing of the snapshot.
                if [.unreachable, .notAuthorised].contains(error.kind) { throw error }
                failure = error
            }
            if let failure, worst == .ok { worst = ExitCode(failure.kind) }
            if isJSON {
                terminal.line(
                    "{\"epoch\":\(entry.epoch),\"file\":\(JSONText.quoted(entry.path)),\"ok\":\(failure == nil),"
                        + "\"reason\":\(JSONText.quoted(failure?.message))}"
                )
            } else if let failure {
                let mark = terminal.styled("fail", .red, on: .output)
                terminal.line("\(mark)  epoch \(entry.epoch)  \(Terminal.escaped(failure.message))")
            } else {
                terminal.line("\(terminal.styled("ok  ", .green, on: .output))  epoch \(entry.epoch)  \(checked)")
            }
        }
        return worst
    }

    /// What a check has looked at, in words.
    private var checked: String {
        "every section is whole" + (deployment == nil ? "" : ", the topology can go on from it")
            + (log == nil ? "" : ", it is of this journal, and the inputs behind it are there")
    }

    private func check(_ entry: SnapshotShelf.Entry) throws(LogError) {
        let summary = try shelf.summary(of: entry)
        if let deployment { _ = try shelf.load(entry, for: deployment) }
        if let log { try SnapshotShelf.requireFit(of: summary, to: log) }
    }

    func digest() throws -> ExitCode {
        let deployment = try topology()
        guard let entry = try chosen(orAll: false).first else { return .ok }
        let loaded = try load(entry, deployment)
        var rebuilt: UInt64?
        if arguments.isSet("replay") {
            guard let log else {
                throw CommandFailure.usage("--replay needs the log", hint: "--kafka FILE or --log FILE.db names it")
            }
            StopSignal.install()
            var progress = ProgressReport(terminal, unit: "epochs", total: nil)
            rebuilt = try SnapshotShelf.rebuiltDigest(
                of: entry.epoch,
                deployment,
                log: log,
                releases: FolderReleases(deployment),
                threads: arguments.threads
            ) { epochs in
                progress.update(Int(epochs))
                return StopSignal.received == nil
            }
            guard rebuilt != nil else { return StopSignal.received ?? .ok }
        }
        let digest = StateLooking.hex(loaded.digest)
        if isJSON {
            terminal.line(
                "{\"epoch\":\(entry.epoch),\"digest\":\"\(digest)\",\"state_bytes\":\(loaded.stateBytes),"
                    + "\"replayed\":\(JSONText.quoted(rebuilt.map(StateLooking.hex)))}"
            )
        } else {
            terminal.line("\(digest)  epoch \(entry.epoch)")
        }
        guard let rebuilt, rebuilt != loaded.digest else { return .ok }
        terminal.fail(
            "journal and inputs give another state: \(StateLooking.hex(rebuilt))",
            hint:
                "where another release, version or hash key judged epochs before it that may be for that alone; otherwise keep both, and start from an older one (weir state restore)"
        )
        return .stateCorrupt
    }

    private static func hex(_ digest: UInt64) -> String {
        let digits = String(digest, radix: 16)
        return String(repeating: "0", count: 16 - digits.utf8.count) + digits
    }

    // MARK: Choosing one

    func restore() throws -> ExitCode {
        let deployment = try topology()
        guard let epoch = arguments.int("epoch") else {
            throw CommandFailure.usage("--epoch N says which one", hint: "weir state ls shows what is there")
        }
        guard let entry = try chosen(orAll: false).first else { return .ok }
        let began = ContinuousClock.now
        let loaded = try load(entry, deployment)
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        if let log { try SnapshotShelf.requireFit(of: try shelf.summary(of: entry), to: log) }
        let deletes = arguments.isSet("yes")
        let newer = try shelf.choose(entry, deletesNewer: deletes)
        if isJSON {
            terminal.line(
                "{\"epoch\":\(epoch),\"digest\":\"\(StateLooking.hex(loaded.digest))\",\"state_bytes\":\(loaded.stateBytes),"
                    + "\"newer\":[\(newer.map { "\($0.epoch)" }.joined(separator: ","))],\"deleted\":\(deletes)}"
            )
            return .ok
        }
        terminal.line(
            "epoch \(epoch)  \(StateLooking.size(loaded.stateBytes)) of state loaded in \(seconds.rounded(to: 3)) s  "
                + "digest \(StateLooking.hex(loaded.digest))"
        )
        for other in newer { terminal.line("epoch \(other.epoch)  \(deletes ? "deleted" : "set aside")") }
        terminal.note("the next weir run goes on from epoch \(epoch) and judges what came later again, muted")
        return .ok
    }

    // MARK: What was named

    private func topology() throws -> Deployment {
        if let deployment { return deployment }
        throw CommandFailure.usage(
            "a state is loaded into a topology, and none was given",
            hint: "--topology DIR names it"
        )
    }

    private func load(_ entry: SnapshotShelf.Entry, _ deployment: Deployment) throws -> SnapshotShelf.Loaded {
        do throws(LogError) { return try shelf.load(entry, for: deployment) } catch {
            throw CommandFailure(
                ExitCode(error.kind),
                "the snapshot of epoch \(entry.epoch) is of no use: \(error.message)",
                hint: error.kind == .incompatible
                    ? "weir state ls shows whose it is; --topology, --state and --hash-key-file name folder and key"
                    : nil
            )
        }
    }

    /// The one that `--epoch` names; without it all that are not set aside, or the newest of them.
    private func chosen(orAll isAll: Bool) throws -> [SnapshotShelf.Entry] {
        let entries = try shelf.entries()
        guard let epoch = arguments.int("epoch") else {
            let found = entries.filter { !$0.isAside }
            if found.isEmpty {
                throw CommandFailure(
                    .invalid,
                    "there are no snapshots in \(shelf.folder)",
                    hint: "weir run makes them; --state DIR, --log FILE.db or --topology DIR names their place"
                )
            }
            return isAll ? found : Array(found.prefix(1))
        }
        guard let found = entries.first(where: { $0.epoch == Int64(epoch) }) else {
            throw CommandFailure(
                .invalid,
                "there is no snapshot of epoch \(epoch) in \(shelf.folder)",
                hint: entries.isEmpty
                    ? "it is empty" : "there are: \(entries.map { "\($0.epoch)" }.joined(separator: ", "))"
            )
        }
        return [found]
    }
}

extension StateCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "state",
            summary: "look at the snapshots of a state, prove them, or choose where to start",
            discussion: """
                ACTION is one of four. ls shows what is there, the newest first: epoch, age, size, who wrote it, and up to where its
                inputs went in. verify checks each one (or that of --epoch): every section's checksum; with --topology also that the
                folder, its rules and its hash key can go on from it; with a log also that the journal is the one it was taken from
                and that the inputs behind it are there. The first section that is not whole is named, and the exit code says that
                one is of no use (7: not what was written, or not of this log; 8: of another topology, windows, hash key or
                version). digest prints the digest of the newest state, or of that of --epoch: equal digests are equal states. With
                --replay the state is rebuilt from the log's journal and inputs too, and another one is exit 7.

                restore makes the snapshot of --epoch the one that the next start goes on from. It is loaded first, and held against
                the log where one is given. Newer ones are renamed to NAME.aside, where no start looks, and restore brings each
                back; with --yes they are deleted instead. Do it while weir run stands still: a running one goes on keeping its own.
                No verdict changes by it: a start judges again, muted, what came after its snapshot.

                The place is that of weir run: snapshots in --state DIR, or FILE.db.snapshots beside the embedded log, or in the
                folder for state of the service or user under the topology's name. A running weir run is not disturbed by ls, verify
                and digest.
                """,
            arguments: [
                ArgumentDefinition(
                    name: "ACTION",
                    value: .choice(["ls", "verify", "digest", "restore"]),
                    help: "ls, verify, digest or restore"
                )
            ],
            flags: [
                .option("topology", "DIR", .directory, "topology whose state it is")
            ] + FlagDefinition.logs + [
                .state, .hashKeyFile,
                .option("epoch", "N", .integer(0...Int.max), "the snapshot of this epoch"),
                .toggle("replay", "digest: rebuild the state from the log too, and compare"),
                .toggle("yes", "restore: delete newer snapshots instead of setting them aside"),
                .threads, .json("JSON, one object a line"),
            ],
            alternatives: [.log(required: false, "which log the state is of")],
            examples: [
                .init(line: "weir state ls --log shop.db", effect: "what could a start go on from?"),
                .init(
                    line: "weir state verify --topology topologies/marketplace --kafka kafka.properties",
                    effect: "would a start succeed from each of them?"
                ),
                .init(
                    line: "weir state restore --topology topologies/marketplace --log shop.db --epoch 42",
                    effect: "start from an older one"
                ),
            ],
            exitCodes: [.invalid] + ExitCode.ofLogs + ExitCode.ofStops
        )
    }
}
