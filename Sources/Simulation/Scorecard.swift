public import RuleLanguage

/// Compares decisions with the truth of simulated traffic, for the summary of `weir demo`.
///
/// Memory: one entry per account to blame and per honest account with a decision against it.
public struct Scorecard: Sendable {
    /// What became of one kind of attack.
    public struct Tally: Sendable {
        public var events = 0
        /// Events with a decision above `allow`.
        public var flagged = 0
        /// Events challenged or blocked.
        public var stopped = 0
        public var accounts = 0
        public var accountsCaught = 0
        public var rings = 0
        public var ringsCaught = 0
        /// Milliseconds from a ring's, or a lone account's, first event to the first decision against it, one entry for each one
        /// caught.
        public var delays: [Int64] = []

        /// The middle of ``delays``, or nil where nothing was caught.
        public var medianDelay: Int64? {
            if delays.isEmpty { return nil }
            return delays.sorted()[delays.count / 2]
        }
    }

    private struct Culprit: Sendable {
        var attack: SimulatedAttack
        var firstEvent: Int64
        /// A ring's own account, not one that has an honest owner.
        var isHired: Bool
        var isCaught = false
    }

    private(set) var tallies = [Tally](repeating: Tally(), count: SimulatedAttack.allCases.count)
    public private(set) var honestEvents = 0
    /// Honest events with a decision above `allow`, and those challenged or blocked.
    public private(set) var falseFlags = 0
    public private(set) var falseStops = 0
    /// Events without an attack by a ring's accounts; counted nowhere else.
    public private(set) var coverEvents = 0
    public private(set) var ringsReported = 0
    private var culprits: [String: Culprit] = [:]
    private var groups: [String: Culprit] = [:]
    private var wronged: Set<String> = []
    /// Honest accounts with a decision against one of their events.
    public var falseAccounts: Int { wronged.count }

    /// Nothing counted.
    public init() {}

    private static func index(of attack: SimulatedAttack) -> Int {
        SimulatedAttack.allCases.firstIndex(of: attack) ?? 0
    }

    /// What became of one kind of attack.
    public func tally(of attack: SimulatedAttack) -> Tally { tallies[Scorecard.index(of: attack)] }

    /// Counts one event and the decision about it.
    ///
    /// Events come in the order of time; each comes once.
    public mutating func record(truth: SimulatedEvent, decision: Decision) {
        guard let attack = truth.attack else {
            // What a culprit does for cover is neither a catch nor an error.
            if let culprit = culprits[truth.key], culprit.isHired {
                coverEvents += 1
                return
            }
            honestEvents += 1
            if decision > .allow {
                falseFlags += 1
                wronged.insert(truth.key)
            }
            if decision >= .challenge { falseStops += 1 }
            return
        }
        let index = Scorecard.index(of: attack)
        tallies[index].events += 1
        if decision > .allow { tallies[index].flagged += 1 }
        if decision >= .challenge { tallies[index].stopped += 1 }
        for account in truth.accounts {
            var culprit =
                culprits[account]
                ?? {
                    tallies[index].accounts += 1
                    return Culprit(attack: attack, firstEvent: truth.time, isHired: truth.ring != nil)
                }()
            if decision > .allow && !culprit.isCaught {
                culprit.isCaught = true
                tallies[Scorecard.index(of: culprit.attack)].accountsCaught += 1
                if truth.ring == nil { tallies[index].delays.append(truth.time - culprit.firstEvent) }
            }
            culprits[account] = culprit
        }
        if let ring = truth.ring {
            var group =
                groups[ring]
                ?? {
                    tallies[index].rings += 1
                    return Culprit(attack: attack, firstEvent: truth.time, isHired: truth.ring != nil)
                }()
            if decision > .allow && !group.isCaught {
                group.isCaught = true
                tallies[index].ringsCaught += 1
                tallies[index].delays.append(truth.time - group.firstEvent)
            }
            groups[ring] = group
        }
    }

    /// Counts a ring that a detector reported.
    public mutating func recordRing() { ringsReported += 1 }

    /// The summary as a table of fixed columns, each line ended by a newline.
    public var rendered: String {
        var text = Scorecard.line([
            "attack", "events", "caught", "missed", "stopped", "accounts", "caught", "first alert",
        ])
        for attack in SimulatedAttack.allCases {
            let tally = tally(of: attack)
            if tally.events == 0 { continue }
            text += Scorecard.line([
                attack.rawValue, "\(tally.events)", Scorecard.percent(tally.flagged, of: tally.events),
                "\(tally.events - tally.flagged)", Scorecard.percent(tally.stopped, of: tally.events),
                "\(tally.accounts)", Scorecard.percent(tally.accountsCaught, of: tally.accounts),
                tally.medianDelay.map(Scorecard.duration) ?? "never",
            ])
        }
        let rings = tallies.reduce(into: (known: 0, caught: 0)) {
            $0.known += $1.rings
            $0.caught += $1.ringsCaught
        }
        text += "rings: \(rings.caught) of \(rings.known) caught; the detectors reported \(ringsReported)\n"
        text += "honest: \(honestEvents) events, \(falseFlags) flagged in error "
        text += "(\(Scorecard.percent(falseFlags, of: honestEvents))), \(falseStops) of them stopped, "
        text += "\(falseAccounts) accounts\n"
        return text
    }

    /// The same as members of a JSON object, without its braces: `attacks` has an entry for each kind of attack that took place.
    public var jsonMembers: String {
        let attacks = SimulatedAttack.allCases.compactMap { attack -> String? in
            let tally = tally(of: attack)
            if tally.events == 0 { return nil }
            return
                "{\"attack\":\"\(attack.rawValue)\",\"events\":\(tally.events),\"caught\":\(tally.flagged),"
                + "\"missed\":\(tally.events - tally.flagged),\"stopped\":\(tally.stopped),"
                + "\"accounts\":\(tally.accounts),\"accounts_caught\":\(tally.accountsCaught),"
                + "\"rings\":\(tally.rings),\"rings_caught\":\(tally.ringsCaught),"
                + "\"first_alert_ms\":\(tally.medianDelay.map { "\($0)" } ?? "null")}"
        }
        return
            "\"attacks\":[\(attacks.joined(separator: ","))],\"honest\":{\"events\":\(honestEvents),\"false\":\(falseFlags),"
            + "\"stopped\":\(falseStops),\"accounts\":\(falseAccounts)},\"cover_events\":\(coverEvents)"
    }

    private static func line(_ cells: [String]) -> String {
        var text = ""
        for (index, cell) in cells.enumerated() {
            let width = index == 0 ? 18 : index == 7 ? 13 : 10
            let fill = String(repeating: " ", count: max(1, width - cell.count))
            text += index == 0 ? cell + fill : fill + cell
        }
        return text + "\n"
    }

    /// With one decimal, or two below one per cent; `-` where there is nothing to divide by.
    private static func percent(_ part: Int, of whole: Int) -> String {
        if whole == 0 { return "-" }
        let hundredths = (part * 10_000 + whole / 2) / whole
        if hundredths > 0 && hundredths < 100 { return "0.\(hundredths < 10 ? "0" : "")\(hundredths) %" }
        return "\(hundredths / 100).\(hundredths % 100 / 10) %"
    }

    private static func duration(_ milliseconds: Int64) -> String {
        let seconds = milliseconds / 1_000
        if seconds < 120 { return "\(seconds) s" }
        if seconds < 7_200 { return "\(seconds / 60) min" }
        return "\(seconds / 3_600) h"
    }
}
