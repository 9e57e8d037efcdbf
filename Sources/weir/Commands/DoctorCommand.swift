import Glibc
import KafkaClient
import Pipeline
import RuleLanguage

/// `weir doctor`: looks at machine, libraries, log and topology, and says what to repair.
///
/// It changes nothing.
enum DoctorCommand {
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        var examination = Examination()
        examination.machine()
        examination.libraries(usesKafka: arguments.isSet("kafka"))
        let deployment = arguments.string("topology").flatMap { examination.topology($0) }
        examination.hashKey(arguments, deployment)
        let application = deployment.map { LogOpening.application($0.description.name) } ?? "weir-reader"
        do {
            // Its own findings name the library's faults; a warning beside them would say it twice.
            if let log = try LogOpening.open(
                arguments,
                .reader,
                application: application,
                Terminal(capturingAsTerminal: false)
            ) {
                defer { log.close() }
                examination.log(log, deployment, application: application)
            }
        } catch let failure as CommandFailure {
            examination.fail("log", failure.message, failure.hint, failure.code)
        } catch let error as LogError {
            examination.fail("log", error.message, nil, ExitCode(error.kind))
        }
        if arguments.isSet("json") {
            terminal.json(examination.json)
        } else {
            for finding in examination.findings { terminal.write(finding.text(terminal)) }
        }
        return examination.worst
    }
}

/// One thing that was looked at.
struct DoctorFinding {
    enum State: String { case ok, warn, fail }
    var state: State
    var subject: String
    /// What is so.
    var message: String
    /// What to do; nil when nothing.
    var remedy: String?

    func text(_ terminal: Terminal) -> String {
        let style: Terminal.Style = state == .ok ? .green : state == .warn ? .yellow : .red
        let mark = state == .ok ? "ok  " : state.rawValue
        let padding = String(repeating: " ", count: max(0, 11 - subject.count))
        var text = "\(terminal.styled(mark, style, on: .output))  \(subject)\(padding) \(Terminal.escaped(message))\n"
        if let remedy { text += String(repeating: " ", count: 18) + Terminal.escaped(remedy) + "\n" }
        return text
    }

    var json: String {
        "{\"state\":\"\(state.rawValue)\",\"subject\":\(JSONText.quoted(subject)),\"message\":\(JSONText.quoted(message)),"
            + "\"remedy\":\(JSONText.quoted(remedy))}"
    }
}

/// Gathers findings.
struct Examination {
    private(set) var findings: [DoctorFinding] = []
    /// Some input topic does not keep its records for ever.
    var losesInputs = false
    /// Of the hash key, where it can be read.
    private var key: HashKey?
    private var snapshotFolder: String?
    private var failure: ExitCode?

    /// The code of the first failure; warnings are no failure.
    var worst: ExitCode { failure ?? .ok }

    var json: String {
        let state = failure != nil ? "fail" : findings.contains { $0.state == .warn } ? "warn" : "ok"
        return "{\"state\":\"\(state)\",\"findings\":[\(findings.map(\.json).joined(separator: ","))]}"
    }

    mutating func ok(_ subject: String, _ message: String) {
        findings.append(DoctorFinding(state: .ok, subject: subject, message: message))
    }

    mutating func warn(_ subject: String, _ message: String, _ remedy: String?) {
        findings.append(DoctorFinding(state: .warn, subject: subject, message: message, remedy: remedy))
    }

    mutating func fail(_ subject: String, _ message: String, _ remedy: String?, _ code: ExitCode) {
        findings.append(DoctorFinding(state: .fail, subject: subject, message: message, remedy: remedy))
        if failure == nil { failure = code }
    }

    fileprivate mutating func fail(_ subject: String, _ error: any Error) {
        switch error {
        case let error as LogError: fail(subject, error.message, nil, ExitCode(error.kind))
        case let error as KafkaError:
            fail(
                subject,
                "\(error)",
                nil,
                error.kind == .unreachable ? .unreachable : error.kind == .authorisation ? .notAuthorised : .failure
            )
        default: fail(subject, String(describing: error), nil, .failure)
        }
    }

    // MARK: Machine and libraries

    mutating func machine() {
        let memory = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        ok("machine", "\(counted(Cores.available, "core")) for this process, \(memory >> 20) MiB of memory")
    }

    mutating func libraries(usesKafka: Bool) {
        let faults = KafkaLibrary.warnings()
        if KafkaLibrary.version < KafkaLibrary.oldestForTransactions {
            let text = "librdkafka \(KafkaLibrary.version) is too old for transactions"
            let remedy = "install \(KafkaLibrary.oldestForTransactions) or newer, best \(KafkaLibrary.recommended)"
            if usesKafka { fail("librdkafka", text, remedy, .incompatible) } else { warn("librdkafka", text, remedy) }
        } else if faults.isEmpty {
            ok("librdkafka", "\(KafkaLibrary.version)")
        }
        for fault in faults { warn("librdkafka", fault, nil) }
        let version = EmbeddedLog.libraryVersion
        let parts = version.split(separator: ".").compactMap { Int($0) }
        if parts.count >= 2, (parts[0], parts[1]) < (3, 37) {
            fail(
                "sqlite",
                "\(version) is older than 3.37, which the embedded log needs",
                "install a newer libsqlite3",
                .incompatible
            )
        } else {
            ok("sqlite", version)
        }
    }

    // MARK: Topology

    mutating func topology(_ folder: String) -> Deployment? {
        do {
            let deployment = try Deployment(folder: folder)
            let warnings = deployment.release.rules.warnings.count
            let text =
                "\(deployment.description.name): \(counted(deployment.release.rules.rules.count, "rule")) without mistakes"
            if warnings == 0 {
                ok("topology", text)
            } else {
                warn("topology", "\(text), \(counted(warnings, "warning"))", "weir check \(folder) shows them")
            }
            return deployment
        } catch {
            let first = error.diagnostics.first
            fail(
                "topology",
                first.map { "\($0.path):\($0.line):\($0.column): \($0.message)" } ?? "it does not load",
                "weir check \(folder) shows all mistakes",
                .invalid
            )
            return nil
        }
    }

    // MARK: Hash key

    /// Tells where the key is and its fingerprint, never the key.
    mutating func hashKey(_ arguments: ParsedArguments, _ deployment: Deployment?) {
        snapshotFolder = StatePlace(arguments, topology: deployment?.description.name)?.snapshots
        guard let place = HashKeyPlace(arguments, topology: deployment?.description.name) else { return }
        do throws(HashKeyError) {
            let found = try place.file.read()
            key = found
            ok("hash key", "\(found.fingerprint) in \(place.file.path)")
        } catch {
            switch error.kind {
            case .absent where !place.isGiven:
                ok("hash key", "none yet: weir run makes \(place.file.path) at its first start")
            // Whoever looks need not be whoever runs.
            case .forbidden: warn("hash key", error.message, "look as the user who runs weir run")
            default: fail("hash key", error.message, error.remedy, .invalid)
            }
        }
    }

    // MARK: Log

    mutating func log(_ log: any EventLog, _ deployment: Deployment?, application: String) {
        for (name, reason) in log.unusedProperties {
            warn("properties", "\(name) is not used: \(reason)", "remove it from the Kafka properties")
        }
        do {
            _ = try log.partitions(of: OutputTopics.journal)
            ok("log", "\(log.name) answers")
        } catch {
            return fail("log", error)
        }
        do {
            if let records = try log.examineRecords() { tell(of: records) }
            try ownTopics(log)
            let bound = try deployment.flatMap { try bind($0, to: log) }
            if let bound { try inputs(log, bound) }
            try journal(log, bound ?? deployment, application)
        } catch {
            fail("log", error)
        }
    }

    /// The deployment with the log's topics; nil where one of its patterns means none, which is told.
    private mutating func bind(_ deployment: Deployment, to log: any EventLog) throws -> Deployment? {
        do { return try InputTopics.bound(deployment, to: log) } catch let failure as CommandFailure {
            fail("inputs", failure.message, failure.hint, failure.code)
            return nil
        }
    }

    private mutating func tell(of records: (count: Int64, faults: [String])) {
        for fault in records.faults {
            fail(
                "records",
                fault,
                "somebody else wrote to the file: restore a copy, or start anew with an empty log",
                .stateCorrupt
            )
        }
        if records.faults.isEmpty { ok("records", "\(counted(Int(records.count), "record")), without a gap") }
    }

    private mutating func ownTopics(_ log: any EventLog) throws {
        var missing: [String] = []
        for wanted in OutputTopics.requirements(partitions: 4) {
            guard let partitions = try log.partitions(of: wanted.name) else {
                missing.append(wanted.name)
                continue
            }
            if wanted.name == OutputTopics.journal, partitions.count != 1 {
                fail(
                    "topics",
                    "\(wanted.name) has \(partitions.count) partitions; the order of epochs needs one",
                    "stop weir run, delete the topic and start anew",
                    .stateCorrupt
                )
            }
            settings(of: wanted, log)
        }
        if missing.isEmpty {
            ok("topics", "all topics of weir exist")
        } else if missing.count == OutputTopics.requirements(partitions: 4).count {
            warn("topics", "nothing ran on this log yet", "weir run makes its topics at its first start")
        } else {
            warn("topics", "missing: \(missing.joined(separator: ", "))", "weir run makes them at its next start")
        }
    }

    private mutating func inputs(_ log: any EventLog, _ deployment: Deployment) throws {
        if let reason = InputTopics.reasonAgainstLog(deployment) {
            fail("inputs", reason, "weir replay runs it over files", .invalid)
            return
        }
        let topics = deployment.description.topics
        let missing = try InputTopics.missing(topics, in: log)
        do throws(LogError) {
            for refusal in try InputTopics.withoutAppendTime(deployment, log, but: missing) {
                fail("inputs", refusal.reason, refusal.remedy, .invalid)
            }
        } catch {
            // Without an answer `weir run` does not start either; what else there is can be looked at all the same.
            fail("inputs", error)
        }
        retention(of: topics.filter { !missing.contains($0) }, log)
        producersTimes(of: deployment, log, but: missing)
        openTransactions(of: topics.filter { !missing.contains($0) }, log)
        var partitions = 0
        for topic in topics { partitions += try log.partitions(of: topic)?.count ?? 0 }
        if missing.isEmpty {
            ok("inputs", "\(counted(topics.count, "topic")), \(counted(partitions, "partition"))")
            return
        }
        let lines = missing.compactMap { log.commandToCreate($0) }
        if !lines.isEmpty {
            fail(
                "inputs",
                "missing: \(missing.joined(separator: ", "))",
                "create them, or correct `topic:` in \(deployment.description.path): \(lines.joined(separator: "; "))",
                .invalid
            )
        } else {
            warn("inputs", "missing: \(missing.joined(separator: ", "))", "weir run makes them at its next start")
        }
    }

    private mutating func journal(
        _ log: any EventLog,
        _ deployment: Deployment?,
        _ application: String
    ) throws {
        let journal = Journal(in: log)
        guard try journal.exists() else { return }
        var chain = JournalChain(topology: deployment?.description.name, after: nil)
        do throws(LogError) {
            try journal.forEachRecord { (record) throws(LogError) in
                try chain.accept(record)
                return true
            }
        } catch {
            guard [.refused, .corrupt, .incompatible].contains(error.kind) else { throw error }
            return fail(
                "journal",
                error.message,
                error.kind == .refused
                    ? "weir run and weir audit refuse this log for the same reason"
                    : "keep the log as it is, and start anew (weir run --start-anew) with an empty journal",
                ExitCode(error.kind)
            )
        }
        guard let first = chain.first, let last = chain.last else {
            return try emptyJournal(log, deployment)
        }
        if first.epoch == 0 {
            ok("journal", "epochs 0 to \(last.epoch) of topology '\(last.topologyName)', without a gap")
        } else {
            fail(
                "journal",
                "it begins with epoch \(first.epoch): its beginning was deleted",
                "set retention.ms=-1 on \(OutputTopics.journal); state cannot be rebuilt, start anew (weir run --start-anew) with an empty journal",
                .stateCorrupt
            )
        }
        if deployment == nil { retention(of: Set(chain.taken.keys.map(\.topic)).sorted(), log) }
        try retention(log, chain.taken, snapshot(of: deployment, log))
        if let deployment { try worker(log, of: deployment.description.topics, chain.taken) }
        try positions(log, chain.taken, deployment, application)
        if let ours = key?.fingerprint, let theirs = last.keyFingerprint, ours != theirs {
            warn(
                "hash key",
                "the last epoch was judged under another key, \(theirs)",
                "only what full tables forget follows from it: weir run rebuilds the state under its own"
            )
        }
        if let deployment, last.releaseDigest != deployment.release.digest {
            warn(
                "release",
                "the last epoch was judged by release \(last.releaseDigest.prefix(16)), the folder has "
                    + "\(deployment.release.shortDigest)",
                "weir run goes on with the folder's; weir audit needs the folder as it was then too, with --release"
            )
        }
    }

    /// Whether an empty journal is a first one.
    private mutating func emptyJournal(_ log: any EventLog, _ deployment: Deployment?) throws {
        var sources: [TopicPartition] = []
        for topic in deployment?.description.topics ?? [] {
            for partition in try log.partitions(of: topic) ?? [] { sources.append(TopicPartition(topic, partition)) }
        }
        do throws(LogError) {
            try StartChecks(log: log).requireFirstStart(try log.committedPositions(of: sources))
            ok("journal", "empty")
        } catch {
            guard error.kind == .corrupt else { throw error }
            fail("journal", error.message, "weir run refuses to start for the same reason", .stateCorrupt)
        }
    }

    private func snapshot(of deployment: Deployment?, _ log: any EventLog) throws -> KeptSnapshot? {
        guard let deployment, let key, let snapshotFolder else { return nil }
        return try KeptSnapshot.newest(in: snapshotFolder, of: deployment.keyed(by: key), on: log)
    }

    /// All that the journal names behind the snapshot must be there to rebuild the state; without one, all that it names.
    private mutating func retention(
        _ log: any EventLog,
        _ taken: [TopicPartition: JournalChain.Taken],
        _ snapshot: KeptSnapshot?
    ) throws {
        var isWhole = true
        for source in taken.keys.sorted() {
            guard let (from, next) = taken[source].map({ ($0.from, $0.to) }) else { continue }
            let first = snapshot?.positions.first { $0.source == source }?.next ?? from
            guard let partitions = try log.partitions(of: source.topic), partitions.contains(source.partition)
            else {
                isWhole = false
                fail(
                    "retention",
                    "\(source) is in the journal and does not exist",
                    "restore the topic, or start anew (weir run --start-anew) with an empty journal",
                    .stateCorrupt
                )
                continue
            }
            let (start, end) = try log.bounds(of: source)
            if start > first {
                isWhole = false
                fail(
                    "retention",
                    "\(source) begins at offset \(start), and the journal needs it from \(first)",
                    "raise the topic's retention.ms and retention.bytes; restore the records, or start anew (weir run --start-anew) with an empty journal",
                    .stateCorrupt
                )
            } else if end < next {
                isWhole = false
                fail(
                    "retention",
                    "\(source) ends at offset \(end), and the journal took it up to \(next)",
                    "the topic was deleted and made anew, or lost its end: restore it, or start anew (weir run --start-anew) with an empty journal",
                    .stateCorrupt
                )
            }
        }
        if isWhole, let snapshot {
            ok(
                "retention",
                "the inputs reach back to the snapshot of epoch \(snapshot.epoch), which the next start goes on from"
            )
        } else if isWhole, !losesInputs {
            ok("retention", "the inputs reach back to the journal's first epoch")
        }
    }

    private mutating func positions(
        _ log: any EventLog,
        _ taken: [TopicPartition: JournalChain.Taken],
        _ deployment: Deployment?,
        _ application: String
    ) throws {
        guard deployment != nil else { return }
        let sources = taken.keys.sorted()
        let committed = try log.committedPositions(of: sources)
        var differing: [String] = []
        for position in committed {
            if let next = taken[position.source]?.to, next != position.next {
                differing.append("\(position.source) at \(position.next), journal \(next)")
            }
        }
        if committed.isEmpty {
            warn(
                "positions",
                "none committed by '\(application)'",
                "the journal counts; brokers forget positions that nobody renews (offsets.retention.minutes)"
            )
        } else if differing.isEmpty {
            ok("positions", "equal to the journal")
        } else {
            warn(
                "positions",
                differing.joined(separator: "; "),
                "the journal counts; ahead of it while nothing runs, they mean that it lost its end, and weir run refuses to start"
            )
        }
    }
}

extension DoctorCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "doctor",
            summary: "look at libraries, broker, topics and settings, and say what to repair",
            discussion: """
                Without flags it looks at the machine and the libraries. With a log it also looks at what is stored there; with a
                topology, whether the two fit together. It changes nothing.
                """,
            flags: [
                .option("topology", "DIR", .directory, "also check this topology against the log")
            ] + FlagDefinition.logs + [.state, .hashKeyFile, .json("findings as JSON")],
            alternatives: [.log(required: false, "which log to look at")],
            examples: [
                .init(line: "weir doctor", effect: "is this machine ready?"),
                .init(line: "weir doctor --kafka kafka.properties", effect: "and is the broker?"),
            ],
            exitCodes: [.invalid] + ExitCode.ofLogs
        )
    }
}
