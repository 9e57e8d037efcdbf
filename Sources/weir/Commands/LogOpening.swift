import KafkaClient
import Pipeline
import RuleLanguage
import Telemetry

/// A log that a command has opened, and how to become its one writer.
struct OpenedLog {
    /// The log itself.
    let log: any EventLog
    /// Fences a former self; only a pipeline calls it.
    let takeOwnership: () throws(LogError) -> Void
    /// Appends records without a transaction of a pipeline, for traffic generators; returns when they are safe, or on Kafka without
    /// `flushing` when they are queued.
    let append: (_ batch: borrowing OutputBatch, _ flushing: Bool) throws(LogError) -> Void
    /// The same log where it is the embedded one.
    let embedded: EmbeddedLog?
    /// The same log where it is Kafka.
    let kafka: KafkaLog?
    /// What was read from the properties file, for further clients; nil on the embedded log.
    let configuration: KafkaConfiguration?
    /// How people call it: the file, or the brokers.
    let name: String

    /// Ends reading and writing.
    func close() { log.close() }
}

/// Opens what `--kafka` or `--log` names.
enum LogOpening {
    /// What a command wants with the log.
    enum Role {
        /// Judges and commits: makes the file where it is missing.
        case pipeline
        /// Only looks: owns nothing, writes nothing, makes no file, and needs no right to write one.
        case reader
        /// Appends input records: makes the file where it is missing.
        case producer
    }

    /// Our own settings in the properties file; everything else there belongs to librdkafka.
    static let connectSetting = "weir.connect.ms"
    static let settings = [connectSetting]

    /// librdkafka's properties that Weir sets itself whatever the file says, and what it sets.
    static let replacedProperties: KeyValuePairs<String, String> = [
        "group.id": "the group is weir-TOPOLOGY",
        "group.instance.id": "partitions are assigned, and nobody joins the group",
        "transactional.id": "the ids are weir-TOPOLOGY-0-0 and weir-TOPOLOGY-0-1",
        "transaction.timeout.ms": "a transaction lives as long as a commit is tried",
        "isolation.level": "only committed records are read",
        "auto.offset.reset": "the journal says where to go on, and what is gone ends with exit 7",
        "enable.auto.commit": "positions are committed in the transaction",
        "enable.auto.offset.store": "positions are committed in the transaction",
        "enable.partition.eof": "set by who reads",
        "enable.idempotence": "always on",
        "delivery.report.only.error": "every delivery is reported",
        "log.queue": "librdkafka's lines go into Weir's own log",
    ]

    /// Those that a properties file sets in vain.
    static func replacedProperties(in configuration: KafkaConfiguration) -> [(name: String, value: String)] {
        replacedProperties.filter { configuration[$0.key] != nil }.map { ($0.key, $0.value) }
    }

    /// The name that commits and positions of a topology go by.
    static func application(_ topology: String) -> String { "weir-\(topology)" }

    /// Opens the log; nil when the command was given none.
    ///
    /// Kafka is connected to with the first question, not here.
    ///
    /// - Parameters:
    ///   - application: the name that owns commits and positions; readers without a topology take `weir-reader`.
    ///   - telemetry: hears librdkafka's own warnings.
    ///   - metrics: hears librdkafka's statistics; nil: there are none, unless the properties ask for them.
    static func open(
        _ arguments: ParsedArguments, _ role: Role, application: String, _ terminal: Terminal, telemetry: Log = .silent,
        metrics: KafkaMetrics? = nil
    ) throws -> OpenedLog? {
        if let path = arguments.string("kafka") {
            return try openKafka(path, role, application: application, terminal, telemetry, metrics)
        }
        guard let path = arguments.string("log") else { return nil }
        let log = try EmbeddedLog(path: path, opening: role == .reader ? .reading : .createIfMissing)
        return OpenedLog(
            log: log, takeOwnership: { () throws(LogError) in try log.takeOwnership(application: application) },
            append: { (batch: borrowing OutputBatch, _) throws(LogError) in try log.append(batch) }, embedded: log,
            kafka: nil,
            configuration: nil, name: path)
    }

    /// The same for commands whose table says that a log is required.
    static func require(
        _ arguments: ParsedArguments, _ role: Role, application: String, _ terminal: Terminal, telemetry: Log = .silent,
        metrics: KafkaMetrics? = nil
    ) throws -> OpenedLog {
        guard
            let opened = try open(
                arguments, role, application: application, terminal, telemetry: telemetry, metrics: metrics)
        else {
            throw CommandFailure.usage("no log given", hint: "--kafka FILE or --log FILE.db names it")
        }
        return opened
    }

    private static func openKafka(
        _ path: String, _ role: Role, application: String, _ terminal: Terminal, _ telemetry: Log,
        _ metrics: KafkaMetrics?
    ) throws -> OpenedLog {
        let configuration = try properties(path)
        var options = KafkaLog.Options(application: application)
        options.connectMilliseconds = try connectMilliseconds(configuration, path)
        if role == .reader { options.prefetchBytes = 64 << 20 }
        options.observer = KafkaObserver(
            log: { line in
                guard line.level <= 4 else { return }
                telemetry.warn(
                    "librdkafka", ["facility": .string(line.facility), "text": .string(line.text)])
            }, statistics: { json in metrics?.observe(json) })
        if metrics != nil { options.statisticsMilliseconds = 5000 }
        let log = try KafkaLog(configuration: configuration, options: options)
        if let warning = libraryWarning(role) { terminal.warn(warning) }
        if role == .pipeline {
            for (name, value) in replacedProperties(in: configuration) {
                telemetry.warn(
                    "a property of the file is not used: Weir sets it itself",
                    ["property": .string(name), "why": .string(value), "file": .string(path)])
            }
        }
        return OpenedLog(
            log: log, takeOwnership: { () throws(LogError) in try log.takeOwnership() },
            append: { (batch: borrowing OutputBatch, flushing) throws(LogError) in
                try log.append(batch, flushing: flushing)
            }, embedded: nil,
            kafka: log,
            configuration: configuration, name: configuration.bootstrapServers)
    }

    /// Reads the properties file; what is wrong with it ends with exit 3.
    static func properties(_ path: String) throws(CommandFailure) -> KafkaConfiguration {
        do {
            let configuration = try KafkaConfiguration(contentsOf: path)
            try configuration.validate()
            for (name, _) in configuration.properties where name.hasPrefix("weir.") && !settings.contains(name) {
                let near = Diagnostic.nearest(to: name, among: settings)
                throw CommandFailure(
                    .invalid, "\(path): unknown setting '\(name)'",
                    hint: near.map { "did you mean \($0)?" } ?? "there are: \(settings.joined(separator: ", "))")
            }
            return configuration
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            let text = (error as? KafkaError)?.text ?? String(describing: error)
            throw CommandFailure(
                .invalid, "\(path): \(text)",
                hint:
                    "--kafka takes a file of librdkafka properties, one name=value a line; bootstrap.servers=host:port is the least"
            )
        }
    }

    private static func connectMilliseconds(_ configuration: KafkaConfiguration, _ path: String) throws(CommandFailure)
        -> Int
    {
        guard let text = configuration[connectSetting] else { return 30_000 }
        guard let value = Int(text), (100...600_000).contains(value) else {
            throw CommandFailure(
                .invalid, "\(path): \(connectSetting)=\(text) is not a time",
                hint: "how long to wait for a broker, in milliseconds, 100 to 600000")
        }
        return value
    }

    /// What a person should know about this librdkafka, in one line; nil when nothing.
    ///
    /// All faults are named where they count, at the start of a pipeline; elsewhere a pointer is enough.
    static func libraryWarning(_ role: Role) -> String? {
        let all = KafkaLibrary.warnings()
        guard !all.isEmpty else { return nil }
        if role == .pipeline { return all.joined(separator: " ") }
        return "librdkafka \(KafkaLibrary.version) has known faults; weir doctor names them"
    }
}
