import Telemetry

/// When a leader last looked after its inputs, and what it found.
struct InputWatch {
    /// When silent sources were last asked whether they are still there, and which of them then seemed not to be.
    var silentAt: Duration
    var suspected: Set<Int> = []
    /// When a topic was last asked for its partitions, and how many times one was: they take turns.
    var discoveredAt: Duration
    var discoveries = 0

    init(from now: Duration) {
        silentAt = now
        discoveredAt = now
    }
}

// How a leader looks after its inputs: those that fall silent, those whose reading fails, those that are added.
extension Leader {
    /// Once a round.
    func lookAfterInputs() throws(LogError) {
        try lookAfterSilent()
        try discover()
    }

    /// Takes in partitions that were added to the input topics.
    ///
    /// Topics take turns, so that each is asked once an interval. A partition is read from its beginning. Its events are judged at
    /// their own time, whatever the watermark, until it has come as far as the others: see ``WatermarkTracker/addSource(isIdle:)``.
    /// The journal names it in the ranges and among the aligned of the epochs that take it, so that a replay needs no other
    /// decision. One that nobody can ask about yet, as it has no leader, is asked about again in its turn.
    private func discover() throws(LogError) {
        let topics = deployment.description.topics
        guard !facts.isStopAsked, stopEnds == nil, !topics.isEmpty,
            facts.now - watch.discoveredAt >= log.discoveryInterval / topics.count
        else { return }
        watch.discoveredAt = facts.now
        let topic = topics[watch.discoveries % topics.count]
        watch.discoveries += 1
        for partition in log.askPartitions(of: topic) ?? [] {
            let source = TopicPartition(topic, partition)
            if sources.contains(source) { continue }
            guard case .at = log.askEnds([source]).first else { continue }
            let bounds: (start: Int64, end: Int64)
            do throws(LogError) { bounds = try log.bounds(of: source) } catch { continue }
            try add(source, bounds)
            telemetry.info(
                "a partition that was added to an input topic is read from here on",
                [
                    "partition": .string(source.description), "records": .int(Int(bounds.end - bounds.start)),
                    "epoch": .int(Int(epoch)),
                ]
            )
        }
    }

    /// Looks after sources that have given no event for long: that nothing comes may mean that there is nothing to come any more.
    ///
    /// A client does not always say that a topic was deleted or an offset is out of range; it goes on trying.
    ///
    /// - Throws: ``LogError`` when a source is not sound by two looks, one ``watchInterval`` after the other.
    private func lookAfterSilent() throws(LogError) {
        guard facts.now - watch.silentAt >= Leader.watchInterval else { return }
        watch.silentAt = facts.now
        let silent = sources.indices.filter { facts.now - lastEvent[$0] >= Leader.watchInterval }
        if silent.isEmpty { return watch.suspected.removeAll() }
        var doubted: Set<Int> = []
        for (s, end) in zip(silent, log.askEnds(silent.map { sources[$0] })) {
            let next = intake.next[s]
            // An end that is ahead is no fault, but what lies before it should have come.
            if end == .unknown || end == .at(next) { continue }
            doubted.insert(s)
            guard watch.suspected.contains(s) else { continue }
            let state = try InputState.look(at: sources[s], next: next, taken: next, in: log)
            if let error = state.error(sources[s], next: next, taken: next) { throw error }
        }
        watch.suspected = doubted
    }

    private static let watchInterval = Duration.seconds(10)

    /// What became of an input by which reading failed; else the error itself.
    func cause(of error: LogError) -> LogError {
        guard error.kind == .outOfRange || error.kind == .refused else { return error }
        for (s, source) in sources.enumerated() {
            let next = intake.next[s]
            do throws(LogError) {
                let state = try InputState.look(at: source, next: next, taken: next, last: block.lastTaken[s], in: log)
                if let cause = state.error(source, next: next, taken: next) { return cause }
            } catch { continue }
        }
        return error
    }
}
