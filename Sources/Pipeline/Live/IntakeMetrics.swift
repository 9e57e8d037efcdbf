import Detection
import RuleLanguage
import Synchronization
import Telemetry

/// What came odd, as metrics whose series begin with the first such value, and as what happened since somebody last asked.
///
/// Any thread may ask; the worker waits for none of them longer than it takes to add up a report.
final class IntakeMetrics: Sendable {
    private struct State {
        var total: IntakeReport
        /// What was told already.
        var told: IntakeReport
    }

    private let registry: MetricsRegistry
    private let plan: DecodePlan
    private let state: Mutex<State>
    private let excepted: [Counter]
    private let cut: [Counter]

    init(_ registry: MetricsRegistry, _ deployment: Deployment) {
        self.registry = registry
        plan = deployment.decodePlan
        let empty = IntakeReport(deployment)
        state = Mutex(State(total: empty, told: empty))
        excepted = deployment.release.rules.rules.map {
            registry.counter(
                "weir_rule_excepted_total",
                help: "How often an exception kept a rule from firing.",
                labels: ["rule": $0.id]
            )
        }
        cut = deployment.release.rules.rules.map {
            registry.counter(
                "weir_rule_cut_total",
                help: "How often a rule met its budget of work.",
                labels: ["rule": $0.id]
            )
        }
    }

    /// An epoch was judged; its outputs and its block are still there.
    func judged(_ engine: Engine, _ block: DecodedBlock, sources: [TopicPartition]) {
        state.withLock { state in
            engine.forEachOutput { state.total.add($0) }
            for rejected in block.rejected {
                let source = sources[Int(rejected.record.source)]
                state.total.add(
                    rejected.letter,
                    plan,
                    topic: source.topic,
                    isCSV: false,
                    value: block.value(of: rejected)
                ) {
                    "\(source.topic)/\(source.partition)/\(rejected.record.offset)"
                }
            }
        }
    }

    /// Brings the series up to date.
    func refresh() {
        let report = state.withLock { $0.total }
        for line in report.oddFields {
            let (event, field) = report.names(line)
            for state in EventCensus.State.allCases where line[state] > 0 {
                registry.counter(
                    "weir_field_values_total",
                    help: "Values of fields that were missing, damaged, cut, coerced or an unknown word.",
                    labels: ["event": event, "field": field, "state": state.name]
                ).raise(to: line[state])
            }
        }
        var dead: [[String]: Int] = [:]
        for line in report.dead { dead[[line.topic ?? "", line.code.name], default: 0] += line.count }
        for (labels, count) in dead {
            registry.counter(
                "weir_dlq_records_total",
                help: "Records that could not be read, by reason.",
                labels: ["topic": labels[0], "code": labels[1]]
            ).raise(to: count)
        }
        for (index, line) in report.rules.enumerated() {
            excepted[index].raise(to: line.excepted)
            cut[index].raise(to: line.cut)
            for (lacks, count) in line.lacks {
                registry.counter(
                    "weir_rule_undetermined_total",
                    help: "How often a rule could not be decided, by what it lacked.",
                    labels: ["rule": report.ruleNames[index], "lacks": lacks]
                ).raise(to: count)
            }
        }
    }

    /// What happened since the last call.
    func takeNew() -> IntakeReport {
        state.withLock { state in
            let new = state.total.since(state.told)
            state.told = state.total
            return new
        }
    }
}
