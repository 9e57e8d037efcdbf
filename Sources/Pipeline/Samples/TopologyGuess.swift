import Detection
import RuleLanguage

/// A first topology for a file that nobody has described, tried on the file itself.
///
/// Looks at the first 20,000 records and ever fewer of the rest to guess, then lets the decoder read the file by the guess. Records
/// that it does not take as they are join those that are looked at; what it refuses all the same is declared more loosely, or left
/// out, until nothing changes. Both stop after 256 MiB of records. A guess is a start for somebody who knows the data: what could
/// be read in another way too stands among ``doubts``.
public struct TopologyGuess {
    public let name: String
    public let topic: String
    public private(set) var events: [EventDraft]
    private(set) var form: SampleForm
    /// What the decoder made of the file by this guess.
    public private(set) var trial: SampleTrial
    /// The file was read to its end.
    public let isWhole: Bool
    /// What was taken though little speaks for it.
    public var doubts: [String] { form.doubts + events.flatMap(\.doubts) }

    let path: String
    private var sample: SampleRecords
    /// Where the types of a file are told apart.
    private var discriminator: SamplePath?
    /// Paths that the decoder has refused, and what they may still be: nothing, where it refused that too.
    private var loosened: [SamplePath: FieldType?] = [:]
    private var longTexts: Set<SamplePath> = []
    private var excluded: Set<SamplePath> = []
    /// Those that cannot be time or subject in many records.
    private var banned: Set<SamplePath> = []
    /// Amounts that cannot be read in the currency beside them.
    private var withoutCurrency: Set<SamplePath> = []
    /// Times before 2000 are times of events here.
    private(set) var beginsEarly = false
    /// The file is not in order of time.
    private(set) var sortsReplay = false

    /// Guesses.
    ///
    /// - Throws: an error of the kind `.refused` where the file holds no records, no time or nothing that an event could be about.
    public init(path: String, name: String? = nil, threads: Int) throws(LogError) {
        guard path != "-" else {
            throw LogError(
                .refused,
                "the file is read several times, and standard input can be read once. Name a file."
            )
        }
        self.path = path
        let stem = TopologyGuess.stem(path)
        self.name = name ?? TopologyGuess.topologyName(stem)
        topic = TopologyGuess.topicName(stem)
        form = try SampleForm.guess(path: path)
        sample = try SampleRecords(RecordFile(path: path, splitter: form.splitter))
        isWhole = sample.isWhole
        events = []
        trial = SampleTrial()
        guard sample.count > 0 else { throw LogError(.refused, "\(path): the file holds no records.") }
        form.learn(sample)
        let team = ThreadTeam(lanes: threads)
        defer { team.stop() }
        var known: String?
        // Each turn has learnt more or declares something more loosely; what is declared has so many levels and no more.
        for _ in 0..<40 {
            try guess()
            if yaml == known {
                guard adapt() else { break }
                try guess()
                if yaml == known { break }
            }
            known = yaml
            trial = try tried(team)
            if trial.isClean, trial.late == 0 || sortsReplay { break }
            learn()
        }
    }

    /// Adds what the decoder did not take as it is to what the guess looks at.
    private mutating func learn() {
        let odd = trial.odd.sorted { $0.key < $1.key }
        for (place, record) in odd { sample.append(record, place: place) }
        form.learn(sample)
    }

    private mutating func guess() throws(LogError) {
        var whole = SampleProbe()
        sample.forEach { form.see($0, in: &whole) }
        if whole.unreadable == whole.records {
            throw LogError(.refused, "\(path): none of the first \(whole.records) records can be read.")
        }
        let stem = TopologyGuess.eventName(TopologyGuess.stem(path))
        discriminator = form.csv == nil && discriminator == nil && events.isEmpty ? typePath(whole) : discriminator
        var drafts: [EventDraft] = []
        if let discriminator {
            for value in whole[discriminator]?.examples ?? [] {
                var probe = SampleProbe()
                sample.forEach { record in
                    let found = JSONScan.scalar(discriminator.steps, in: record)
                    if found?.elementsEqual(value.utf8) == true { form.see(record, in: &probe) }
                }
                var draft = try self.draft(EventDraft.identifier(value), probe)
                draft.discriminator = (discriminator, value)
                drafts.append(draft)
            }
            // Two words may become one name.
            for index in drafts.indices where drafts[..<index].contains(where: { $0.name == drafts[index].name }) {
                drafts[index].name += "_\(index + 1)"
            }
        } else {
            let only = form.csv == nil ? typeFacts(whole).first { $0.examples.count == 1 }?.examples.first : nil
            drafts = [try draft(only.map { EventDraft.identifier($0) } ?? stem, whole)]
        }
        events = drafts
    }

    private func draft(_ name: String, _ probe: SampleProbe) throws(LogError) -> EventDraft {
        var draft: EventDraft
        do throws(EventObstacle) {
            draft = try EventDraft(
                name: name,
                probe,
                isCSV: form.csv != nil,
                namesAreInvented: form.namesAreInvented,
                excluded: excluded,
                banned: banned,
                withoutCurrency: withoutCurrency
            )
        } catch {
            let paths = probe.facts.filter { $0.objects < $0.values }.prefix(12).map { "`\($0.path.text)`" }
            let found = "its paths are \(paths.joined(separator: ", "))"
            switch error {
            case .time(let nearest, let present):
                throw LogError(
                    .refused,
                    "\(path): nothing that stands in every record of '\(name)' is a time: `\(nearest)` is one in \(present) of \(probe.records - probe.unreadable); \(found)."
                )
            case .subject:
                throw LogError(
                    .refused,
                    "\(path): nothing that stands in every record of '\(name)' could name whom it is about; \(found)."
                )
            }
        }
        loosen(&draft)
        return draft
    }

    /// What the decoder has refused before.
    private func loosen(_ draft: inout EventDraft) {
        for index in draft.fields.indices.reversed() {
            let path = draft.fields[index].path
            if longTexts.contains(path) { draft.fields[index].maximumLength = 65_535 }
            guard let type = loosened[path], ![draft.time, draft.subject, draft.id].contains(index) else { continue }
            if let type {
                draft.fields[index].loosen(to: type)
                continue
            }
            draft.leftOut.append((path, "its values are of several types"))
            draft.fields.remove(at: index)
            if draft.subject > index { draft.subject -= 1 }
            draft.time = draft.time.map { $0 > index ? $0 - 1 : $0 }
            draft.id = draft.id.map { $0 > index ? $0 - 1 : $0 }
        }
    }

    /// The path by which several types of events in one file are told apart: a few words, and what else a record holds depends on
    /// them.
    private func typePath(_ whole: SampleProbe) -> SamplePath? {
        for facts in typeFacts(whole) where facts.examples.count > 1 {
            let probes = facts.examples.map { value in
                var probe = SampleProbe()
                sample.forEach { record in
                    let found = JSONScan.scalar(facts.path.steps, in: record)
                    if found?.elementsEqual(value.utf8) == true { probe.see(json: record) }
                }
                return probe
            }
            let differs = whole.facts.contains { path in
                let shares = probes.map { Double($0[path.path]?.present ?? 0) / Double(max(1, $0.records)) }
                return shares.contains { $0 > 0.9 } && shares.contains(0)
            }
            if differs { return facts.path }
        }
        return nil
    }

    /// What may name the types of events: texts of a few words that stand in every record.
    private func typeFacts(_ whole: SampleProbe) -> [PathFacts] {
        let names: Set<String> = ["type", "event", "kind", "action", "name"]
        return whole.facts.filter { facts in
            facts.path.steps.count <= 2 && !facts.path.isInArray && facts.texts == whole.records - whole.unreadable
                && 1..<PathFacts.examplesMax ~= facts.examples.count && facts.longest <= 64
                && NameWords(facts.path).last.last.map { names.contains($0) } == true
                && !facts.examples.contains { $0.contains("\\") }
        }
    }

    // MARK: The trial

    private func tried(_ team: ThreadTeam) throws(LogError) -> SampleTrial {
        let description: TopologyDescription
        let plan: DecodePlan
        do {
            description = try TopologyDescription.read(
                bytes: Array(yaml.utf8),
                path: "topology.yaml",
                folder: ".",
                files: DraftedRules(rules: rules)
            )
            var limits = DecodeLimits()
            limits.recordBytes = description.limits.recordBytes
            limits.textBytes = description.limits.textBytes
            limits.earliest = description.time.earliest
            limits.latest = description.time.latest
            plan = try DecodePlan(
                schemas: description.events,
                topics: description.topics,
                limits: limits,
                hash: TextHash(key: .fixed)
            )
        } catch let error as DiagnosticError {
            let first = error.diagnostics.first.map { "\($0.message), in line \($0.line) of it" } ?? ""
            throw LogError(.refused, "\(path): the topology that would be made of it is none: \(first).")
        } catch { throw LogError(.refused, "\(path): no topology can be made of it: \(error)") }
        return try SampleTrial(
            RecordFile(path: path, splitter: form.splitter),
            plan,
            csv: form.csv == nil ? nil : (form.columns, Array(description.events.indices)),
            topic: 0,
            lateness: description.time.latenessMilliseconds,
            team: team,
            reach: Int64(SampleRecords.readBytesMax),
            keepsOdd: true
        )
    }

    /// Declares more loosely what the decoder refused; false where nothing of it can be.
    private mutating func adapt() -> Bool {
        var isChanged = false
        if trial.late > 0, !sortsReplay {
            sortsReplay = true
            isChanged = true
        }
        for fault in trial.faults + trial.damaged {
            switch fault.code {
            case .invalidUTF8:
                guard form.csv?.encoding == .utf8 else { continue }
                form.csv?.encoding = .windows1252
                isChanged = true
            case .unknownEventType:
                guard discriminator != nil else { continue }
                discriminator = nil
                isChanged = true
            case .timestampOutOfRange, .missingField, .wrongType, .invalidTimestamp, .numberOutOfRange,
                .tooManyDecimals, .unknownCurrency, .textTooLong, .tooManyElements, .duplicateField:
                if loosen(fault) { isChanged = true }
            default: continue
            }
        }
        return isChanged
    }

    private mutating func loosen(_ fault: SampleTrial.Fault) -> Bool {
        var isChanged = false
        for event in events {
            for (index, field) in event.fields.enumerated() where field.path.text == fault.path {
                if fault.code == .textTooLong {
                    if longTexts.insert(field.path).inserted { isChanged = true }
                } else if index == event.time, fault.code == .timestampOutOfRange, !beginsEarly {
                    beginsEarly = true
                    isChanged = true
                } else if [event.time, event.subject, event.id].contains(index) {
                    // A few records without it may be dead letters where nothing better is there, and no more.
                    let isRare = fault.count * 20 <= trial.records && fault.code != .timestampOutOfRange
                    if isRare ? excluded.insert(field.path).inserted : banned.insert(field.path).inserted {
                        isChanged = true
                    }
                } else if field.currency != nil {
                    if withoutCurrency.insert(field.path).inserted { isChanged = true }
                } else {
                    let next = TopologyGuess.looser(field.type, isCSV: form.csv != nil)
                    if loosened[field.path] != .some(next) {
                        loosened[field.path] = .some(next)
                        isChanged = true
                    }
                }
            }
        }
        return isChanged
    }

    /// What also reads values that a type refuses; nil: nothing does.
    private static func looser(_ type: FieldType, isCSV: Bool) -> FieldType? {
        switch type {
        case .money, .int: .double
        case .double, .bool, .timestamp, .stringList: isCSV ? .string : nil
        case .string: nil
        }
    }

    // MARK: Names

    /// A file's name without folder and endings.
    private static func stem(_ path: String) -> String {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        return name.split(separator: ".").first.map(String.init) ?? "events"
    }

    /// Whether a topology may be called so.
    public static func isName(_ name: String) -> Bool {
        1...64 ~= name.utf8.count
            && name.utf8.allSatisfy {
                UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 || UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0
                    || $0 == UInt8(ascii: "-")
            }
    }

    private static func topologyName(_ stem: String) -> String {
        let name = stem.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }.prefix(64)
        return String(name).allSatisfy { $0 == "-" } ? "first" : String(name)
    }

    private static func topicName(_ stem: String) -> String {
        let name = String(
            stem.map { $0.isASCII && ($0.isLetter || $0.isNumber) || "_-".contains($0) ? $0 : "-" }.prefix(200)
        )
        return name.isEmpty ? "events" : name
    }

    /// One of what a file's name has many of.
    private static func eventName(_ stem: String) -> String {
        let name = EventDraft.identifier(stem)
        return name.count > 3 && name.hasSuffix("s") && !name.hasSuffix("ss") ? String(name.dropLast()) : name
    }
}

extension SampleForm {
    var splitter: RecordSplitter { csv.map { .csv($0) } ?? .lines }
}

extension FieldDraft {
    /// What another type makes of it.
    fileprivate mutating func loosen(to type: FieldType) {
        self.type = type
        currency = nil
        zone = nil
        roundsDecimals = false
        coercions = coercions.intersection(type == .double || type == .int ? .numbers : type == .string ? .ids : [])
        if type != .string { entity = nil }
        if entity == nil { isPersonal = false }
    }
}

extension SampleTrial {
    /// Nothing was tried.
    init() {}

    /// Whether each record was taken as it is.
    fileprivate var isClean: Bool { faults.isEmpty && damaged.isEmpty }
}

/// A rule file that is not on disk yet.
private struct DraftedRules: RuleFiles {
    var rules: String
    func matches(_ pattern: String) -> [String] { ["rules/first.weir"] }
    func text(_ path: String) -> Result<[UInt8], FileProblem> { .success(Array(rules.utf8)) }
}
