import Pipeline
import RuleLanguage
import Telemetry

/// What is known of a worker from its log, as people and as scripts read it.
struct StatusReport {
    let standing: LogStanding
    /// The look before; the same where one was enough.
    let before: LogStanding
    let state: LogStanding.State
    let deployment: Deployment
    /// The newest snapshot's epoch and its age in seconds; nil: there is none, or nobody knows where they are.
    let snapshot: (epoch: Int64, age: Double)?
    let snapshotFolder: String?
    /// By topic, after how many milliseconds records are deleted; those that stay or do not say are absent.
    let kept: [String: Int64]
    /// Where the verdicts begin that are not expired, by partition, if some are.
    let expired: [SourcePosition]

    init(
        _ standing: LogStanding,
        since before: LogStanding,
        limit: Int64,
        _ deployment: Deployment,
        _ log: any EventLog,
        snapshotFolder: String?
    ) throws(LogError) {
        self.standing = standing
        self.before = before
        self.deployment = deployment
        self.snapshotFolder = snapshotFolder
        state = standing.state(since: before, limit: limit)
        let entries = snapshotFolder.flatMap { try? SnapshotShelf(folder: $0).entries() } ?? []
        snapshot = entries.filter { !$0.isAside }.max { $0.epoch < $1.epoch }.map {
            ($0.epoch, max(0, Double(standing.milliseconds) / 1000 - Double($0.savedAt)))
        }
        var kept: [String: Int64] = [:]
        for topic in deployment.description.topics {
            // Who may not ask for settings is told by weir doctor.
            guard let values = try? log.settings(of: topic)?.values, let policy = values["cleanup.policy"] else {
                continue
            }
            let time = values["retention.ms"].flatMap { Int64($0) } ?? -1
            if policy.contains("delete"), time >= 0 { kept[topic] = time }
        }
        self.kept = kept
        expired = try StatusReport.expired(log)
    }

    /// Where the partitions of the verdicts begin, of those that have lost some.
    static func expired(_ log: any EventLog) throws(LogError) -> [SourcePosition] {
        var expired: [SourcePosition] = []
        for partition in try log.partitions(of: OutputTopics.verdicts) ?? [] {
            let source = TopicPartition(OutputTopics.verdicts, partition)
            let start = try log.bounds(of: source).start
            if start > 0 { expired.append(SourcePosition(source: source, next: start)) }
        }
        return expired
    }

    /// What a script does about it.
    var code: ExitCode {
        switch state {
        case .judging: .ok
        case .behind, .unread: .thresholdMissed
        case .stopped, .neverRan: .notRunning
        case .idle, .unclear: .undetermined
        case .lost: .stateCorrupt
        }
    }

    /// Whether a worker has committed between the looks or, where nothing waits, within the last minute; nil: the log does not say.
    var isRunning: Bool? {
        switch state {
        case .judging, .behind: true
        case .stopped, .neverRan: false
        case .idle, .unclear, .lost: nil
        case .unread: standing == before ? nil : true
        }
    }

    /// The state in a sentence.
    var sentence: String {
        let since = committedAge.map { "nothing was committed for \(span($0))" } ?? "nothing was committed"
        switch state {
        case .judging:
            let last = committedAge.map { " \(span($0)) ago" } ?? ""
            return standing.isWaiting ? "a worker runs and keeps up" : "all is judged; a worker committed last\(last)"
        case .idle: return "all is judged; whether a worker runs cannot be told, as \(since)"
        case .behind: return "a worker runs and is behind"
        case .unread: return "\(counted(standing.unread.count, "partition")) of the inputs is read by nobody"
        case .stopped: return "no worker judges what waits: none runs, or one still recovers or hangs; \(since)"
        case .unclear: return "records wait for a few seconds, and \(since): look again"
        case .neverRan: return "nothing was ever judged on this log"
        case .lost: return "records were deleted before they were judged"
        }
    }

    private var committedAge: Double? { standing.committed.map { Double(max(0, standing.milliseconds - $0)) / 1000 } }
    private var watermarkAge: Double? {
        standing.newest?.watermark.map { Double(standing.milliseconds - $0) / 1000 }
    }
    private var oldestAge: Double? { standing.oldestWait.map { Double($0) / 1000 } }
    private var lookSeconds: Double { Double(standing.milliseconds - before.milliseconds) / 1000 }

    /// One input topic's partitions taken together.
    private struct Topic {
        var name: String
        var partitions = 0
        var lag: Int64 = 0
        var change: Int64 = 0
        var held: Int64 = 0
        var lost: Int64 = 0
        var unread: [Int32] = []
        /// How long the oldest record waits, milliseconds.
        var oldest: Int64?
        /// Until retention deletes it, seconds; below 0: any moment.
        var deletedIn: Double?
    }

    private var topics: [Topic] {
        var lags: [TopicPartition: Int64] = [:]
        for input in before.inputs { lags[input.source] = input.lag }
        let unread = Set(standing.unread)
        return deployment.description.topics.map { name in
            var topic = Topic(name: name)
            for input in standing.inputs where input.source.topic == name {
                topic.partitions += 1
                topic.lag += input.lag
                topic.change += input.lag - (lags[input.source] ?? 0)
                topic.held += input.held
                topic.lost += input.lost
                if unread.contains(input.source) { topic.unread.append(input.source.partition) }
                if input.waits, let time = input.oldest {
                    topic.oldest = max(topic.oldest ?? 0, standing.milliseconds - time)
                }
            }
            if let oldest = topic.oldest, let kept = kept[name] { topic.deletedIn = Double(kept - oldest) / 1000 }
            return topic
        }
    }

    /// What somebody should do something about, and what.
    var notes: [(text: String, remedy: String?)] {
        var notes: [(text: String, remedy: String?)] = []
        for topic in topics {
            if topic.lost > 0 {
                notes.append(
                    (
                        "\(topic.name): \(ProgressReport.grouped(Int(topic.lost))) offsets were deleted before they were judged",
                        "restore them, or start anew (weir run --start-anew) with an empty journal"
                    )
                )
            } else if let left = topic.deletedIn {
                notes.append(
                    (
                        left > 0
                            ? "\(topic.name): retention deletes what waits from in \(span(left)) on"
                            : "\(topic.name): retention may delete what waits at any moment",
                        "a worker must judge it before; raise the topic's retention.ms until then"
                    )
                )
            }
        }
        for source in standing.unread {
            notes.append(
                (
                    "\(source) holds records, and no epoch has taken any",
                    "a worker that runs takes in partitions that are added within half a minute, from their beginning"
                )
            )
        }
        for input in standing.held(since: before) where standing != before {
            notes.append(
                (
                    "\(input.source): a transaction that is still open holds back \(ProgressReport.grouped(Int(input.held))) offsets from \(input.heldFrom ?? 0) on",
                    "weir doctor tells how to find its producer"
                )
            )
        }
        return notes
    }

    // MARK: For people

    func text(_ terminal: Terminal) -> String {
        var lines: [(String, String)] = [("state", sentence)]
        if let newest = standing.newest {
            let at = standing.committed.map { ", committed \(Log.timestamp(milliseconds: $0))" } ?? ""
            let age = committedAge.map { " (\(span($0)) ago)" } ?? ""
            lines.append(("epoch", "\(newest.epoch) of topology '\(newest.topologyName)'\(at)\(age)"))
            let isOurs = newest.releaseDigest == deployment.release.digest
            lines.append(
                (
                    "release",
                    "\(newest.releaseDigest.prefix(16)), \(isOurs ? "the folder's" : "not the folder's, which is \(deployment.release.shortDigest)")"
                )
            )
            lines.append(("engine", newest.proof.map { "weir \($0.engine)" } ?? "unknown"))
            if let watermark = newest.watermark, let age = watermarkAge {
                let distance = age < 0 ? "\(span(-age)) ahead of" : "\(span(age)) behind"
                lines.append(("watermark", "\(Log.timestamp(milliseconds: watermark)), \(distance) the clock"))
            } else {
                lines.append(("watermark", "none yet"))
            }
        }
        let change = standing.lag - before.lag
        let growth = change > 0 ? "grows" : change < 0 ? "shrinks" : "does not change"
        let rate = lookSeconds > 0 ? " by \(ProgressReport.grouped(Int(change.magnitude))) in \(span(lookSeconds))" : ""
        let movement = standing == before ? "" : ", \(growth)\(change == 0 ? "" : rate)"
        let oldest = oldestAge.map { ", the oldest for \(span($0))" } ?? ""
        lines.append(("lag", "\(ProgressReport.grouped(Int(standing.lag))) records wait\(movement)\(oldest)"))
        for topic in topics {
            var text = "\(counted(topic.partitions, "partition")), \(ProgressReport.grouped(Int(topic.lag))) records"
            if topic.change != 0 {
                text += " (\(topic.change > 0 ? "+" : "")\(ProgressReport.grouped(Int(topic.change))))"
            }
            if let oldest = topic.oldest { text += ", the oldest for \(span(Double(oldest) / 1000))" }
            if topic.held > 0 { text += ", \(ProgressReport.grouped(Int(topic.held))) offsets held back" }
            lines.append(("", "\(topic.name)  \(topic.partitions == 0 ? "does not exist" : text)"))
        }
        lines.append(("verdicts", Self.expiry(expired)))
        if let snapshot {
            lines.append(("snapshot", "of epoch \(snapshot.epoch), \(span(snapshot.age)) old"))
        } else {
            lines.append(("snapshot", snapshotFolder.map { "none in \($0)" } ?? "--state DIR says where they are"))
        }
        var text = ""
        for (name, value) in lines {
            let isState = name == "state"
            let styled =
                isState ? terminal.styled(Terminal.escaped(value), style, on: .output) : Terminal.escaped(value)
            text += name + String(repeating: " ", count: max(1, 11 - name.count)) + styled + "\n"
        }
        for note in notes {
            text += "\(terminal.styled("note", .yellow, on: .output))       \(Terminal.escaped(note.text))\n"
            if let remedy = note.remedy { text += String(repeating: " ", count: 11) + Terminal.escaped(remedy) + "\n" }
        }
        return text
    }

    private var style: Terminal.Style {
        switch code {
        case .ok: .green
        case .undetermined: .yellow
        default: .red
        }
    }

    /// How much of the verdicts is expired.
    static func expiry(_ expired: [SourcePosition]) -> String {
        if expired.isEmpty { return "none has expired" }
        let shown = expired.prefix(3).map { "\($0.source.partition) from offset \($0.next)" }.joined(separator: ", ")
        let more = expired.count > 3 ? " and \(expired.count - 3) more" : ""
        return "the oldest have expired: partition \(shown)\(more) on is there"
    }

    // MARK: For scripts

    var json: String {
        func number(_ value: Double?) -> String { value.map { String($0.rounded(to: 3)) } ?? "null" }
        func time(_ value: Int64?) -> String { value.map { "\"\(Log.timestamp(milliseconds: $0))\"" } ?? "null" }
        let newest = standing.newest
        var text =
            "{\"state\":\"\(state.rawValue)\",\"running\":\(isRunning.map { "\($0)" } ?? "null"),\"exit_code\":\(code.rawValue),"
        text +=
            "\"topology\":\(JSONText.quoted(deployment.description.name)),\"epoch\":\(newest.map { "\($0.epoch)" } ?? "null"),"
        text += "\"committed_at\":\(time(standing.committed)),\"committed_age_seconds\":\(number(committedAge)),"
        text += "\"release\":\(JSONText.quoted(newest?.releaseDigest)),"
        text += "\"is_folders_release\":\(newest.map { "\($0.releaseDigest == deployment.release.digest)" } ?? "null"),"
        text += "\"engine\":\(JSONText.quoted(newest?.proof?.engine)),"
        text += "\"watermark\":\(time(newest?.watermark)),\"watermark_age_seconds\":\(number(watermarkAge)),"
        text +=
            "\"lag\":\(standing.lag),\"lag_change\":\(standing.lag - before.lag),\"look_seconds\":\(number(lookSeconds)),"
        text += "\"oldest_uncommitted_seconds\":\(number(oldestAge)),\"topics\":["
        text += topics.map { topic in
            "{\"topic\":\(JSONText.quoted(topic.name)),\"partitions\":\(topic.partitions),\"lag\":\(topic.lag),\"lag_change\":\(topic.change),"
                + "\"oldest_seconds\":\(number(topic.oldest.map { Double($0) / 1000 })),\"held_back\":\(topic.held),\"lost\":\(topic.lost),"
                + "\"unread_partitions\":[\(topic.unread.map(String.init).joined(separator: ","))],"
                + "\"deleted_in_seconds\":\(number(topic.deletedIn))}"
        }.joined(separator: ",")
        text += "],\"expired_verdicts\":["
        text += expired.map { "{\"partition\":\($0.source.partition),\"first_offset\":\($0.next)}" }.joined(
            separator: ","
        )
        text += "],\"snapshot\":"
        text += snapshot.map { "{\"epoch\":\($0.epoch),\"age_seconds\":\(number($0.age))}" } ?? "null"
        text += ",\"notes\":["
        text += notes.map { "{\"text\":\(JSONText.quoted($0.text)),\"remedy\":\(JSONText.quoted($0.remedy))}" }
            .joined(separator: ",")
        return text + "]}"
    }
}
