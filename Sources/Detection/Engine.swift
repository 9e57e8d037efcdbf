import RuleLanguage

/// Runs `body` once for each lane in `0..<lanes`, possibly in parallel, and returns when all have returned; where there are more
/// lanes than threads, each thread takes the next lane when it has done one.
public typealias Fork = (_ lanes: Int, _ body: (Int) -> Void) -> Void

/// The pure engine: state and one epoch of events in, verdicts and new state out.
///
/// Composes the stages AGGREGATE, RELATE, SCORE and DECIDE, which run one after the other over those events of the epoch that
/// repeat no other (``DuplicateStage``). State is split over ``Slots`` slots by the entity's keyed hash, work inside a stage over
/// lanes; what passes a stage border is an array of records tagged with the event's index, handled in that order. So results depend
/// on the events, the watermark and the state alone, never on the number of lanes.
///
/// No clock, no lock, no allocation per event once warm. One caller at a time.
public final class Engine {
    /// Most entries that a key keeps in a window, whatever ``EngineConfiguration/entriesPerKey`` says.
    ///
    /// No sum of so many integers leaves the bits it is kept in; see ``WindowSum``.
    public static let entriesPerKeyMax = 1 << 20

    /// Keys of one kind that are kept when ``EngineConfiguration/keysPerTable`` says `limit`: whole slots, 16 keys each at least.
    public static func keysKept(limit: Int) -> Int { max(limit / Slots.count, 16) * Slots.count }

    /// With the release in force.
    public private(set) var configuration: EngineConfiguration
    /// The most lanes that ``process(_:lanes:fork:)`` makes use of.
    public let laneCount: Int
    // Only the engine's own files touch these.
    var rows: EpochRows
    var clock: TickClock
    /// The event time at which the open tick ends if no event ends it before; nil when none is open.
    public var openTickEnd: Int64? { clock.openTickEnd }
    /// The running epoch's parts of ticks.
    private var parts: [TickPart] = []
    var duplicates: DuplicateStage
    var aggregate: AggregateStage
    var relate: RelateStage
    var score: ScoreStage
    private var decide: DecideStage

    /// - Parameter lanes: parts a stage's work is split into, one per thread; does not change any result.
    public init(_ configuration: EngineConfiguration, lanes: Int) {
        self.configuration = configuration
        laneCount = max(1, min(lanes, Slots.count))
        rows = EpochRows(
            featureWidth: configuration.release.featureWidth,
            signalWidth: configuration.signals.width
        )
        clock = configuration.ticks
        duplicates = DuplicateStage(configuration, lanes: laneCount)
        aggregate = AggregateStage(configuration, lanes: laneCount)
        relate = RelateStage(configuration)
        score = ScoreStage(configuration)
        decide = DecideStage(configuration, lanes: laneCount)
    }

    /// Puts another release in force, between two epochs: windows, rings and models that both ask for go on as they are.
    ///
    /// New windows begin empty. A model that reads other numbers begins anew; see ``ScoreModel/rebind(to:)``. The outputs of the
    /// last epoch are gone. Cost: some milliseconds, whatever the state.
    ///
    /// - Parameter release: compiled for this engine's topology.
    public func adopt(_ release: EngineRelease) {
        precondition(
            release.models.map(\.name) == configuration.release.models.map(\.name),
            "models are the topology's"
        )
        configuration.release = release
        aggregate.adopt(release.rules)
        rows.featureWidth = aggregate.featureWidth
        score.adopt(configuration)
        decide = DecideStage(configuration, lanes: laneCount)
    }

    /// Judges one epoch.
    ///
    /// AGGREGATE and DECIDE take it as a whole, RELATE and SCORE tick by tick; the tick that is open at its end goes on in the
    /// next.
    ///
    /// - Parameters:
    ///   - input: what it adds to the state.
    ///   - wanted: lanes the work is worth, at most ``laneCount``.
    ///   - fork: runs lanes; see ``Fork``.
    public func process(_ input: EpochInput, lanes wanted: Int, fork: Fork) {
        let lanes = max(1, min(wanted, laneCount))
        let judged = duplicates.isNeeded ? takeOutDuplicates(input, lanes, fork) : input.events
        let epoch = rows.lay(judged, watermark: input.watermark, lanes: lanes)
        parts.removeAll(keepingCapacity: true)
        clock.cut(EpochInput(triggers: input.triggers, events: judged, watermark: input.watermark), into: &parts)
        relate.begin()
        decide.begin()
        if !judged.isEmpty {
            fork(lanes) {
                aggregate.route(epoch, lane: $0)
                relate.clear(epoch, lane: $0)
            }
            fork(lanes) { aggregate.apply(epoch, lane: $0) }
        }
        runTicks(epoch, fork)
        relate.end()
        if !input.events.isEmpty { fork(lanes) { decide.run(epoch, duplicates.repeated, lane: $0) } }
    }

    /// The events of an epoch that repeat no other; see ``DuplicateStage``.
    private func takeOutDuplicates(_ input: EpochInput, _ lanes: Int, _ fork: Fork) -> UnsafeBufferPointer<Event> {
        duplicates.begin(input.events, watermark: input.watermark)
        if !input.events.isEmpty {
            fork(lanes) { duplicates.identify(input.events, lane: $0, of: lanes) }
            fork(lanes) { duplicates.find(input.events, lane: $0, of: lanes) }
        }
        return duplicates.end(input.events)
    }

    /// RELATE and SCORE, tick by tick.
    ///
    /// In a tick of few events there is nothing to share out, and most traffic is hundreds of thousands of such ticks: then each
    /// detector and each model goes through all of them on one thread, side by side with the others. A large part of a tick is
    /// shared out over slots and events.
    private func runTicks(_ epoch: EpochTable, _ fork: Fork) {
        var at = 0
        while at < parts.count {
            if isLarge(parts[at], epoch) {
                let part = parts[at]
                score.begin(part)
                fork(epoch.lanes) { lane in
                    relate.read(epoch, part, lane: lane)
                    score.run(epoch, part, lane: lane)
                }
                relate.learn(epoch, part, fork: fork)
                score.end(epoch, part, fork: fork)
                at += 1
                continue
            }
            let first = at
            while at < parts.count, !isLarge(parts[at], epoch) { at += 1 }
            let small = parts[first..<at]
            // Models first: they cost most, and what begins last should be short.
            let (models, units) = (score.count, score.count + relate.count)
            func run(_ unit: Int) {
                if unit < models {
                    score.take(epoch, small, model: unit)
                } else {
                    relate.take(epoch, small, detector: unit - models)
                }
            }
            let events = small.reduce(0) { $0 + $1.events.count }
            if epoch.lanes == 1 || events < Engine.largePart {
                for unit in 0..<units { run(unit) }
            } else {
                fork(units, run)
            }
        }
    }

    /// Events from which on a part of a tick, or records an epoch, are worth several threads.
    public static let largePart = 512

    private func isLarge(_ part: TickPart, _ epoch: EpochTable) -> Bool {
        epoch.lanes > 1 && part.events.count >= Engine.largePart
    }

    /// By event type: events of the last epoch that repeated another and were not judged.
    public var duplicateCounts: [Int] { duplicates.counts }

    /// Those of them on which there is a verdict.
    public var duplicatesTold: Int { duplicates.repeated.count }

    /// By event type: what remembering its ids takes; nil where nobody looks for repetitions.
    public var idCounters: [IdCounters?] { duplicates.counters }

    /// The verdicts, feature rows and counts of the last epoch, lane by lane: the lanes follow each other in the epoch's order.
    public func forEachOutput(_ body: (borrowing EpochOutput) -> Void) { decide.forEachOutput(body) }

    /// Lends the changes of rings in the last epoch, in a fixed order, each as a finished record.
    public func forEachRing(_ body: (RingRecord) -> Void) { relate.forEachRing(body) }

    /// Bytes of state: ids, keys, windows, rings and models.
    public var stateBytes: Int {
        duplicates.stateBytes + aggregate.stateBytes + relate.stateBytes + score.stateBytes
    }

    /// What the windows of all slots hold, expired and dropped so far.
    public var windowCounters: WindowCounters { aggregate.counters }

    /// What the ring detectors have forgotten and left out so far.
    public var detectorCounters: DetectorCounters { relate.counters }
}
