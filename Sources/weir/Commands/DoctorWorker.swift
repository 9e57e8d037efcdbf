import Pipeline

/// What `weir doctor` finds out about the worker of a log, from the log alone; `weir status` tells the same in full.
extension Examination {
    /// Whether a worker commits what waits, partitions that none reads, and verdicts that have expired.
    ///
    /// A worker that does not run is a warning, no failure: whoever looks may be about to start it.
    mutating func worker(_ log: any EventLog, of topics: [String], _ taken: [TopicPartition: JournalChain.Taken]) throws
    {
        let ends = taken.mapValues(\.to)
        guard let (before, standing) = try StatusCommand.twoLooks(log, topics, taken: ends, secondsApart: 3) else {
            return
        }
        for source in standing.unread {
            fail(
                "inputs",
                "\(source) holds records, and no epoch has taken any",
                "start weir run, if it does not run: it reads partitions that are added within half a minute, from their "
                    + "beginning",
                .failure
            )
        }
        let lag = "\(ProgressReport.grouped(Int(standing.lag))) records wait"
        let wait = standing.oldestWait.map { ", the oldest for \(span(Double($0) / 1000))" } ?? ""
        switch standing.state(since: before) {
        case .stopped, .unclear:
            warn(
                "worker",
                "\(lag)\(wait), and none was committed while this looked: no worker runs, or one still recovers or hangs",
                "start weir run, or look at its log; weir status tells more"
            )
        case .behind:
            let growth = standing.lag - before.lag
            warn(
                "worker",
                "it commits, and \(lag)\(wait)\(growth > 0 ? "; \(ProgressReport.grouped(Int(growth))) more than some seconds before" : "")",
                "weir status tells which topic; a worker that has just started catches up"
            )
        case .idle: ok("worker", "all is judged; whether one runs cannot be told from the log")
        case .judging: ok("worker", standing.isWaiting ? "it commits, and \(lag)\(wait)" : "all is judged")
        // Told by what was found above, or of the journal and the retention.
        case .unread, .neverRan, .lost: break
        }
        let expired = try StatusReport.expired(log)
        if !expired.isEmpty { ok("verdicts", StatusReport.expiry(expired)) }
    }
}
