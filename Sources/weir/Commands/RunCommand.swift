import Pipeline
import RuleLanguage
import Telemetry

/// `weir run`: a topology on a log, until stopped.
enum RunCommand {
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let deployment = try Deployment(folder: arguments.required("topology"))
        for warning in deployment.release.rules.warnings { terminal.show(warning) }
        try InputTopics.requireJSON(deployment)
        var files = DistinctFiles()
        files.read("--kafka", arguments.string("kafka"))
        files.write("--log", arguments.string("log"))
        files.write("--metrics", arguments.string("metrics"))
        try files.check()
        let telemetry = terminal.log(level: .info, json: arguments.isSet("json"))
        let registry = MetricsRegistry()
        let metrics = WorkerMetrics(registry, deployment)
        let kafka =
            arguments.string("kafka") == nil ? nil : KafkaMetrics(registry, inputs: deployment.description.topics)
        let log = try LogOpening.require(
            arguments, .pipeline, application: LogOpening.application(deployment.description.name), terminal,
            telemetry: telemetry, metrics: kafka)
        defer { log.close() }
        StopSignal.install()
        try InputTopics.prepare(deployment, log, telemetry)
        let worker = Worker(deployment, log: log, threads: arguments.threads, telemetry: telemetry)
        worker.metrics = metrics
        let reporter = MetricsReporter(
            registry, metrics, kafka, file: arguments.string("metrics"), telemetry: telemetry)
        telemetry.info(
            "starting",
            [
                "topology": .string(deployment.description.name), "log": .string(log.name),
                "release": .string(String(deployment.release.shortDigest)), "threads": .int(arguments.threads),
            ])
        try reporter.start()
        defer { reporter.stop() }
        try worker.run { StopSignal.received != nil }
        return StopSignal.received ?? .ok
    }
}
