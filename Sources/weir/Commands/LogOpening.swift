import Glibc
import KafkaClient
import Pipeline
import RuleLanguage
import Telemetry

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
        _ arguments: ParsedArguments,
        _ role: Role,
        application: String,
        _ terminal: Terminal,
        telemetry: Log = .silent,
        metrics: KafkaMetrics? = nil
    ) throws -> (any EventLog)? {
        if let path = arguments.string("kafka") {
            return try openKafka(path, role, application: application, terminal, telemetry, metrics)
        }
        guard let path = arguments.string("log") else { return nil }
        return try EmbeddedLog(
            path: path,
            application: application,
            opening: role == .reader ? .reading : .createIfMissing
        )
    }

    /// The same for commands whose table says that a log is required.
    static func require(
        _ arguments: ParsedArguments,
        _ role: Role,
        application: String,
        _ terminal: Terminal,
        telemetry: Log = .silent,
        metrics: KafkaMetrics? = nil
    ) throws -> any EventLog {
        guard
            let log = try open(
                arguments,
                role,
                application: application,
                terminal,
                telemetry: telemetry,
                metrics: metrics
            )
        else {
            throw CommandFailure.usage("no log given", hint: "--kafka FILE or --log FILE.db names it")
        }
        return log
    }

    private static func openKafka(
        _ path: String,
        _ role: Role,
        application: String,
        _ terminal: Terminal,
        _ telemetry: Log,
        _ metrics: KafkaMetrics?
    ) throws -> any EventLog {
        var configuration = try properties(path)
        var options = KafkaLog.Options(application: application)
        options.connectMilliseconds = try connectMilliseconds(configuration, path)
        if role == .reader { options.prefetchBytes = 64 << 20 }
        options.observer = KafkaObserver(
            log: { line in
                guard line.level <= 4 else { return }
                telemetry.warn(
                    "librdkafka",
                    [
                        "facility": .string(line.facility), "syslog_level": .int(line.level),
                        "text": .string(line.text),
                    ]
                )
            },
            statistics: { json in metrics?.observe(json) },
            isEndWanted: { StopSignal.isEndDue }
        )
        if metrics != nil {
            options.statisticsMilliseconds = KafkaMetrics.reportMilliseconds
            // Without them, or with older ones, nobody could tell whether a broker answers.
            if let text = configuration["statistics.interval.ms"],
                !(1...KafkaMetrics.reportMilliseconds).contains(Int(text) ?? 0)
            {
                configuration["statistics.interval.ms"] = nil
                telemetry.warn(
                    "statistics.interval.ms is not used: metrics and readiness rest on statistics every 5 s or more often",
                    ["given": .string(text), "file": .string(path)]
                )
            }
        }
        let log = try KafkaLog(configuration: configuration, options: options)
        if role != .pipeline {
            if let warning = libraryWarning(role) { terminal.warn(warning) }
            for weakness in weaknesses(of: configuration, at: path) { terminal.warn("\(path): \(weakness)") }
        } else {
            // A pipeline's lines go where its log goes, in its form.
            if let warning = libraryWarning(role) {
                telemetry.warn("the library has known faults", ["faults": .string(warning)])
            }
            for weakness in weaknesses(of: configuration, at: path) {
                telemetry.warn("a setting is unsafe", ["file": .string(path), "weakness": .string(weakness)])
            }
            for (name, reason) in log.unusedProperties {
                telemetry.warn(
                    "a property of the file is not used: Weir sets it itself",
                    ["property": .string(name), "why": .string(reason), "file": .string(path)]
                )
            }
        }
        return log
    }

    /// Reads the properties file; what is wrong with it ends with exit 3.
    static func properties(_ path: String) throws(CommandFailure) -> KafkaConfiguration {
        do {
            let configuration = try KafkaConfiguration(contentsOf: path)
            try configuration.validate()
            for (name, _) in configuration.properties where name.hasPrefix("weir.") && !settings.contains(name) {
                let near = Diagnostic.nearest(to: name, among: settings)
                throw CommandFailure(
                    .invalid,
                    "\(path): unknown setting '\(name)'",
                    hint: near.map { "did you mean \($0)?" } ?? "there are: \(settings.joined(separator: ", "))"
                )
            }
            return configuration
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            let text = (error as? KafkaError)?.text ?? String(describing: error)
            throw CommandFailure(
                .invalid,
                "\(path): \(text)",
                hint:
                    "--kafka takes a file of librdkafka properties, one name=value a line; bootstrap.servers=host:port is the least"
            )
        }
    }

    /// What a person should know about the safety of these settings, one sentence each.
    static func weaknesses(of configuration: KafkaConfiguration, at path: String) -> [String] {
        var found = configuration.weaknesses
        var status = stat()
        if configuration.holdsSecrets, stat(path, &status) == 0, status.st_mode & 0o077 != 0 {
            let mode = String(status.st_mode & 0o777, radix: 8)
            found.append("it holds a secret, and others may read or change it (mode \(mode)): chmod 600 \(path)")
        }
        return found
    }

    private static func connectMilliseconds(_ configuration: KafkaConfiguration, _ path: String) throws(CommandFailure)
        -> Int
    {
        guard let text = configuration[connectSetting] else { return 30_000 }
        guard let value = Int(text), (100...600_000).contains(value) else {
            throw CommandFailure(
                .invalid,
                "\(path): \(connectSetting)=\(text) is not a time",
                hint: "how long to wait for a broker, in milliseconds, 100 to 600000"
            )
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
