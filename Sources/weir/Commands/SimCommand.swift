import Pipeline
import RuleLanguage

/// `weir sim`: the worker under faults by seed, in one thread and in virtual time.
enum SimCommand {
    /// The command's body.
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        let seeds = try seeds(arguments.required("seeds"))
        let simulation = try FaultSimulation()
        StopSignal.install()
        var fired: [String: Int] = [:]
        var (worlds, events, deaths, cuts, refusals) = (0, 0, 0, 0, 0)
        var failed = 0
        func see(_ outcome: FaultSimulation.Outcome) -> Bool {
            worlds += 1
            events += outcome.events
            deaths += outcome.deaths
            cuts += outcome.cuts
            refusals += outcome.refusals
            for name in outcome.fired { fired[name, default: 0] += 1 }
            if !outcome.findings.isEmpty {
                failed += 1
                // More of them would hardly say more.
                if failed <= failuresShown { show(simulation, outcome, terminal) }
            }
            return StopSignal.received == nil
        }
        if arguments.isSet("crashes") {
            for point in FaultSimulation.pointNames where StopSignal.received == nil {
                simulation.run(seeds: seeds, crashingAt: point, goOn: see)
            }
        } else {
            simulation.run(seeds: seeds, goOn: see)
        }
        if arguments.isSet("trace"), seeds.count == 1, !arguments.isSet("crashes") {
            for line in simulation.run(seed: seeds.lowerBound, keepingTrace: true).trace { terminal.line(line) }
        }
        let names = FaultSimulation.faultNames
        if arguments.isSet("faults") { for name in names { terminal.line("\(fired[name, default: 0])\t\(name)") } }
        terminal.note(
            "\(worlds) worlds, \(events) events, \(deaths) workers that died, \(cuts) times inputs deleted, \(refusals) starts refused "
                + "for them, \(names.count { fired[$0] != nil }) of \(names.count) faults, \(failed) failed"
        )
        if let stopped = StopSignal.received { return stopped }
        return failed == 0 ? .ok : .stateCorrupt
    }

    private static let failuresShown = 3
    private static let seedsMax: UInt64 = 1_000_000_000

    private static func show(_ simulation: FaultSimulation, _ outcome: FaultSimulation.Outcome, _ terminal: Terminal) {
        terminal.line("seed \(outcome.seed) fails:")
        for finding in outcome.findings { terminal.line("  \(Terminal.escaped(finding))") }
        let again = simulation.again(outcome)
        terminal.line(
            again.digest == outcome.digest ? "  and again, by the same trace" : "  by ANOTHER trace the second time"
        )
        let least = simulation.shrink(outcome)
        terminal.line("with no more than \(least.plan.count) of its \(outcome.plan.count) faults:")
        for fault in least.plan { terminal.line("  \(fault)") }
        for finding in least.findings { terminal.line("  => \(Terminal.escaped(finding))") }
        terminal.line("trace:")
        for line in least.trace { terminal.line("  \(Terminal.escaped(line))") }
    }

    /// `A..B`, both included, or one seed.
    private static func seeds(_ text: String) throws(CommandFailure) -> ClosedRange<UInt64> {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        if parts.count == 1, let seed = UInt64(text) { return seed...seed }
        if parts.count == 3, parts[1].isEmpty, let from = UInt64(parts[0]), let to = UInt64(parts[2]), from <= to,
            to - from < seedsMax
        {
            return from...to
        }
        throw CommandFailure.usage(
            "--seeds takes A..B with A not above B and at most a billion seeds, or one seed",
            hint: "weir sim --seeds 0..1999"
        )
    }
}

extension SimCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "sim",
            summary: "put a worker under crashes and faults of its brokers and disk, by seed",
            discussion: """
                Each seed is a small world of its own, lived in one thread and in virtual time within milliseconds: inputs, workers
                that die, are held up or overtaken, brokers of a model of Kafka's transactions that lose, delay and repeat, and a
                disk that is full, slow, or gives other bytes back. The worker and all it decides by are the real ones. Afterwards
                every input must be judged once, the journal whole, each output there once and as a replay gives it, and nothing
                left open. Nothing outside the process is touched but folders in /tmp, for a moment each.

                A seed that fails is run again, its faults are taken away one by one as long as it still fails, and what is left
                is shown with its trace: every point that was reached, with the virtual time. The same seed gives the same trace in
                the same build. Exit 7 says that some seed failed. Known to fail are a few worlds in a thousand where a coordinator
                skips markers (skippedMarkers).
                """,
            flags: [
                .option("seeds", "A..B", .text, default: "0..1999", "which worlds; one number is one"),
                .toggle("trace", "print the trace of a single seed also where it does not fail"),
                .toggle("crashes", "instead of what the seeds draw, a crash at each point in all of the worlds"),
                .toggle("faults", "print how often each fault happened"),
            ],
            examples: [
                .init(
                    line: "weir sim --seeds 0..99999 --faults",
                    effect: "many worlds, and what happened in them"
                ),
                .init(line: "weir sim --seeds 0..199 --crashes", effect: "each point, 200 worlds"),
                .init(line: "weir sim --seeds 17 --trace", effect: "one world, step by step"),
            ],
            exitCodes: [.stateCorrupt] + ExitCode.ofStops
        )
    }
}
