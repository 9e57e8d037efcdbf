import Detection
import RuleLanguage

/// Turns the nodes of `topology.yaml` into a ``TopologyDescription`` and collects every mistake on the way.
///
/// Each function returns what it could read and notes what it could not, so that one run of `weir check` shows all mistakes. A
/// value that could not be read is replaced by its default only to go on looking: with any diagnostic the description is thrown
/// away.
struct TopologyReader {
    /// What the meaning of an event's paths hangs on.
    struct RecordShape {
        var hasEnvelope = false
        var each: FieldPath?
    }

    static let maximumEvents = 256

    let document: YAMLDocument
    let path: String
    let folder: String
    let kinds: SignalKinds
    private(set) var diagnostics: [Diagnostic] = []
    /// Every event name of the file, those too whose declaration could not be read: nothing that mentions them is blamed for that.
    var declaredEvents: Set<String> = []
    /// How the records of the event that is being read are made up.
    var shape = RecordShape()
    /// Fields of the event read last whose declaration could not be read.
    var unreadableFields: Set<String> = []
    /// Where each field is declared, by `EVENT FIELD`.
    var fieldMarks: [String: SourceMark] = [:]
    /// Where fields name their currency, of the event read last.
    var currencyMarks: [String: SourceMark] = [:]
    /// Where `on_error: missing` of a field stands, by the field's name.
    var toleranceMarks: [String: SourceMark] = [:]
    /// `values:` of the file, and of the event read last over it.
    var values = ValueSettings()
    var eventValues = ValueSettings()
    var zones: TimeZoneFiles
    /// Names of detectors and models.
    var takenNames: Set<String> = []
    /// Keys of the mapping read last that are there under a misspelt name: not reported as missing once more.
    private(set) var misspelt: Set<String> = []

    init(document: YAMLDocument, path: String, folder: String, kinds: SignalKinds, zones: TimeZoneFiles) {
        self.zones = zones
        self.kinds = kinds
        self.document = document
        self.path = path
        self.folder = folder
    }

    mutating func note(_ mark: SourceMark, _ message: String, _ suggestion: String? = nil) {
        diagnostics.append(document.lines.diagnostic(path: path, mark: mark, message: message, suggestion: suggestion))
    }

    mutating func read(files: some RuleFiles) throws(DiagnosticError) -> TopologyDescription {
        guard case .mapping = document.root.content else {
            note(
                document.root.mark,
                "a topology must be a mapping of keys to values, found \(describe(document.root))",
                "start with 'topology: NAME' and 'events:'"
            )
            throw DiagnosticError(diagnostics)
        }
        let top = object(document.root, of: "a topology", keys: TopologyKeys.topology)
        let hasNoEvents = top["events"] == nil && !misspelt.contains("events")
        let name = readName(top)
        let version = top["version"].flatMap { integer($0, "version", 1...Int64(Int32.max)) } ?? 1
        let summary = top["description"].flatMap { text($0, "description") } ?? ""
        let seed = readSeed(top) ?? TextHash(key: HashKey(0, 0))("weir.topology.\(name)")
        let time = readTime(top["time"])
        let replay = object(top["replay"], of: "'replay'", keys: TopologyKeys.replay)
        let sorts = replay["sort"].flatMap { boolean($0, "sort") } ?? false
        let limits = readLimits(top["limits"])
        let identifiers = object(top["identifiers"], of: "'identifiers'", keys: TopologyKeys.identifiers)
        let keyFile = identifiers["key_file"].flatMap { text($0, "key_file") }
        if hasNoEvents {
            note(
                startOfFile,
                "the topology has no events",
                "add 'events:' with an event type, its topic, time, subject and fields"
            )
        }
        values = readValues(top["values"], of: "'values'")
        let events = readEvents(top["events"], limits: limits, hasKeyFile: keyFile != nil)
        let readings = readTopics(top["topics"], events: events)
        let detectors = readDetectors(top["detectors"], events: events, limits: limits)
        let models = readModels(top["models"], events: events)
        checkSignals(SignalLayout(detectors: detectors.map(\.name), models: models.map(\.name)), events: events)
        let verdicts = object(top["verdicts"], of: "'verdicts'", keys: TopologyKeys.verdicts)
        let source = verdicts["source"].flatMap { readSource($0) } ?? "weir/\(name)"
        let rules = readRules(top["rules"], files: files)

        let topics = Set(events.flatMap(\.topics)).sorted()
        guard diagnostics.isEmpty else {
            throw DiagnosticError(
                diagnostics.enumerated().sorted { a, b in
                    (a.element.line, a.element.column, a.offset) < (b.element.line, b.element.column, b.offset)
                }.map(\.element)
            )
        }
        var description = TopologyDescription(
            name: name,
            version: Int(version),
            summary: summary,
            seed: seed,
            time: time,
            sortsReplay: sorts,
            limits: limits,
            identifierKeyFile: keyFile.map { $0.hasPrefix("/") ? $0 : "\(folder)/\($0)" },
            identifierKeyFileMark: identifiers["key_file"]?.mark,
            events: events,
            topics: topics,
            readings: readings,
            kinds: kinds,
            detectors: detectors,
            models: models,
            verdictSource: source,
            rules: rules,
            folder: folder,
            canonicalText: "",
            path: path,
            lines: document.lines
        )
        description.canonicalText = description.makeCanonicalText()
        return description
    }
}

// MARK: - The small sections

extension TopologyReader {
    private mutating func readName(_ top: [String: YAMLNode]) -> String {
        guard let node = top["topology"] else {
            if !misspelt.contains("topology") {
                note(startOfFile, "the topology has no name", "add 'topology: NAME' as the first line")
            }
            return ""
        }
        guard let name = text(node, "topology") else { return "" }
        let isPlain = name.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || byte == UInt8(ascii: "-")
        }
        if !isPlain || !(1...64).contains(name.utf8.count) {
            note(node.mark, "a topology's name is 1 to 64 of a-z, 0-9 and '-'", "for example 'my-shop'")
        }
        return name
    }

    private mutating func readSeed(_ top: [String: YAMLNode]) -> UInt64? {
        guard let node = top["seed"] else { return nil }
        guard case .scalar(let text, false) = node.content, let value = UInt64(text) else {
            note(node.mark, "'seed' must be a whole number from 0 to \(UInt64.max)")
            return nil
        }
        return value
    }

    private mutating func readTime(_ node: YAMLNode?) -> TimeSettings {
        var time = TimeSettings()
        let keys = object(node, of: "'time'", keys: TopologyKeys.time)
        let day: Int64 = 86_400_000
        if let tick = keys["tick"].flatMap({ duration($0, "tick", 10...3_600_000) }) { time.tickMilliseconds = tick }
        if let lateness = keys["lateness"].flatMap({ duration($0, "lateness", 0...(366 * day)) }) {
            time.latenessMilliseconds = lateness
        }
        if let late = keys["late"].flatMap({ word($0, "late", among: ["judge", "set_aside"]) }) {
            time.setsLateAside = late == "set_aside"
        }
        if let future = keys["future"].flatMap({ duration($0, "future", 0...(36_600 * day)) }) {
            time.futureMilliseconds = future
        }
        if let idle = keys["idle"].flatMap({ duration($0, "idle", 1...(366 * day)) }) { time.idleMilliseconds = idle }
        if let earliest = keys["earliest"].flatMap({ date($0, "earliest") }) { time.earliest = earliest }
        if let latest = keys["latest"].flatMap({ date($0, "latest") }) { time.latest = latest }
        if time.earliest >= time.latest, let mark = (keys["latest"] ?? keys["earliest"])?.mark {
            note(mark, "'latest' must be after 'earliest'")
        }
        return time
    }

    private mutating func readLimits(_ node: YAMLNode?) -> LimitSettings {
        var limits = LimitSettings()
        let keys = object(node, of: "'limits'", keys: TopologyKeys.limits)
        func set(_ name: String, _ range: ClosedRange<Int64>, _ target: inout Int, _ reader: inout TopologyReader) {
            if let value = keys[name].flatMap({ reader.integer($0, name, range) }) { target = Int(value) }
        }
        set("keys", 1...(1 << 31), &limits.keys, &self)
        set("entries_per_key", 1...Int64(Engine.entriesPerKeyMax), &limits.entriesPerKey, &self)
        set("dedupe_ids", 1...(1 << 31), &limits.dedupeIds, &self)
        // A string slot counts its bytes in 24 bits; the decoder's own bound is lower still.
        set("text_bytes", 1...65_535, &limits.textBytes, &self)
        set("record_bytes", 64...(64 << 20), &limits.recordBytes, &self)
        set("events_per_record", 1...65_536, &limits.eventsPerRecord, &self)
        if let window = keys["window"].flatMap({ duration($0, "window", 1...(3660 * 86_400_000)) }) {
            limits.windowMilliseconds = window
        }
        return limits
    }

    private mutating func readSource(_ node: YAMLNode) -> String? {
        guard let source = text(node, "source") else { return nil }
        let isReference =
            source.utf8.count <= 256 && source.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\"") }
        guard isReference else {
            note(node.mark, "'source' must be a URI reference: ASCII without blanks", "for example 'weir/my-shop'")
            return nil
        }
        return source
    }

    private mutating func readRules(_ node: YAMLNode?, files: some RuleFiles) -> [RuleSource] {
        var patterns: [(text: String, mark: SourceMark)] = [("rules/*.weir", startOfFile)]
        if let node {
            patterns = list(node, "rules", example: "rules: [rules/*.weir]").compactMap { item in
                text(item, "rules").map { ($0, item.mark) }
            }
        }
        var found: [String: SourceMark] = [:]
        for pattern in patterns {
            let matches = files.matches(pattern.text)
            // Without 'rules:' a topology may have none yet; a pattern that somebody wrote down means something.
            if matches.isEmpty, node != nil {
                note(
                    pattern.mark,
                    "no rule file matches '\(pattern.text)'",
                    "patterns start in \(folder)/ and use '*' in the last part only"
                )
            }
            for match in matches where found[match] == nil { found[match] = pattern.mark }
        }
        let sorted = found.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
        if sorted.count > TopologyDescription.maximumRuleFiles {
            note(sorted[0].value, "\(sorted.count) rule files, more than \(TopologyDescription.maximumRuleFiles)")
            return []
        }
        var rules: [RuleSource] = []
        for (relative, _) in sorted {
            let shown = relative.hasPrefix("/") ? relative : "\(folder)/\(relative)"
            switch files.text(relative) {
            case .failure(let problem):
                diagnostics.append(
                    Diagnostic(
                        path: shown,
                        line: 1,
                        column: 1,
                        message: "the rule file cannot be read: \(problem.reason)",
                        suggestion: problem.kind == .tooLarge
                            ? "split it into several files" : "make it readable or remove it"
                    )
                )
            case .success(let bytes):
                guard let text = String(validating: bytes, as: UTF8.self) else {
                    let place = YAMLDocument.place(ofInvalidByteIn: bytes)
                    let isWide = bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
                    diagnostics.append(
                        Diagnostic(
                            path: shown,
                            line: place.line,
                            column: place.column,
                            message: isWide ? "the file is UTF-16, not UTF-8" : "the file is not valid UTF-8",
                            suggestion: "save the file as UTF-8"
                        )
                    )
                    continue
                }
                rules.append(RuleSource(path: shown, text: text))
            }
        }
        return rules
    }
}

// MARK: - Values of one kind

extension TopologyReader {
    var startOfFile: SourceMark { SourceMark(line: 1, column: 1) }

    /// The entries of a mapping by key; unknown keys are noted with the one that was probably meant.
    ///
    /// - Parameter of: what the mapping is, as in "unknown key 'x' in …".
    mutating func object(_ node: YAMLNode?, of what: String, keys: [String]) -> [String: YAMLNode] {
        misspelt = []
        guard let node, let entries = mapping(node, what) else { return [:] }
        var values: [String: YAMLNode] = [:]
        for entry in entries {
            if keys.contains(entry.key) {
                values[entry.key] = entry.value
            } else {
                if let near = nearest(entry.key, among: keys) { misspelt.insert(near) }
                note(
                    entry.mark,
                    "unknown key '\(entry.key)' in \(what)",
                    meant(entry.key, among: keys, "known keys")
                )
            }
        }
        return values
    }

    /// The entries of a mapping in the order of the file.
    mutating func mapping(_ node: YAMLNode, _ what: String) -> [YAMLEntry]? {
        guard case .mapping(let entries) = node.content else {
            note(node.mark, "\(what) must be a mapping of keys to values, found \(describe(node))")
            return nil
        }
        return entries
    }

    /// A non-empty list; a single value stands for a list of one.
    mutating func list(_ node: YAMLNode, _ key: String, example: String) -> [YAMLNode] {
        switch node.content {
        case .sequence(let items):
            if items.isEmpty { note(node.mark, "'\(key)' is an empty list", "for example '\(example)'") }
            return items
        case .scalar where !node.isEmpty: return [node]
        default:
            note(node.mark, "'\(key)' must be a list, found \(describe(node))", "for example '\(example)'")
            return []
        }
    }

    mutating func text(_ node: YAMLNode, _ key: String) -> String? {
        guard case .scalar(let text, let isQuoted) = node.content, isQuoted || !node.isEmpty, !text.isEmpty else {
            note(node.mark, "'\(key)' must be text, found \(describe(node))")
            return nil
        }
        return text
    }

    mutating func integer(_ node: YAMLNode, _ key: String, _ range: ClosedRange<Int64>) -> Int64? {
        guard case .scalar(let text, false) = node.content, let value = Int64(text) else {
            note(node.mark, "'\(key)' must be a whole number, found \(describe(node))")
            return nil
        }
        guard range.contains(value) else {
            note(node.mark, "'\(key)' must be from \(range.lowerBound) to \(range.upperBound), found \(value)")
            return nil
        }
        return value
    }

    mutating func number(_ node: YAMLNode, _ key: String) -> Double? {
        guard case .scalar(let text, false) = node.content, !text.contains(where: { $0 == "x" || $0 == "X" }),
            let value = Double(text), value.isFinite
        else {
            note(node.mark, "'\(key)' must be a number, found \(describe(node))")
            return nil
        }
        return value
    }

    mutating func boolean(_ node: YAMLNode, _ key: String) -> Bool? {
        switch node.content {
        case .scalar("true", false): return true
        case .scalar("false", false): return false
        case .scalar(let text, _):
            let isYes = ["yes", "on", "y", "1", "true"].contains(text.lowercased())
            let isNo = ["no", "off", "n", "0", "false"].contains(text.lowercased())
            note(
                node.mark,
                "'\(key)' must be true or false, found \(describe(node))",
                isYes ? "write 'true'" : isNo ? "write 'false'" : nil
            )
        default: note(node.mark, "'\(key)' must be true or false, found \(describe(node))")
        }
        return nil
    }

    mutating func duration(_ node: YAMLNode, _ key: String, _ range: ClosedRange<Int64>) -> Int64? {
        guard case .scalar(let text, _) = node.content, let value = DurationText.milliseconds(text) else {
            var suggestion = "write a whole number and ms, s, m, h, d or w, such as '5m'"
            if case .scalar(let text, _) = node.content, let number = Int64(text), number >= 0 {
                suggestion = "add a unit: '\(number)s' for seconds, '\(number)ms' for milliseconds"
            }
            note(node.mark, "'\(key)' must be a duration, found \(describe(node))", suggestion)
            return nil
        }
        guard range.contains(value) else {
            note(
                node.mark,
                "'\(key)' must be from \(DurationText.text(milliseconds: range.lowerBound)) to "
                    + "\(DurationText.text(milliseconds: range.upperBound)), found \(text)"
            )
            return nil
        }
        return value
    }

    mutating func date(_ node: YAMLNode, _ key: String) -> Int64? {
        guard case .scalar(let text, _) = node.content, let value = DateText.milliseconds(text) else {
            note(node.mark, "'\(key)' must be a day, found \(describe(node))", "write YYYY-MM-DD, such as '2000-01-01'")
            return nil
        }
        return value
    }

    /// One of a few words.
    mutating func word(_ node: YAMLNode, _ key: String, among words: [String]) -> String? {
        guard let word = text(node, key) else { return nil }
        guard words.contains(word) else {
            note(node.mark, "unknown \(key) '\(word)'", meant(word, among: words, "known"))
            return nil
        }
        return word
    }

    /// "did you mean …", or all the words when none is near.
    func meant(_ word: String, among known: [String], _ title: String) -> String? {
        if known.isEmpty { return nil }
        if let near = nearest(word, among: known) { return "did you mean '\(near)'?" }
        let shown = known.prefix(16).joined(separator: ", ")
        return "\(title): \(shown)\(known.count > 16 ? ", …" : "")"
    }

    /// Words beyond any name's length are not compared: the distance costs the product of the lengths.
    private func nearest(_ word: String, among known: [String]) -> String? {
        word.utf8.count <= 64 ? Diagnostic.nearest(to: word.lowercased(), among: known) : nil
    }

    /// What stands there, for "found …".
    func describe(_ node: YAMLNode) -> String {
        switch node.content {
        case .mapping: return "a mapping"
        case .sequence: return "a list"
        case .scalar(let text, let isQuoted):
            if node.isEmpty || text.isEmpty { return "nothing" }
            let short = text.count > 40 ? "\(text.prefix(40))…" : text
            return isQuoted ? "the text '\(short)'" : "'\(short)'"
        }
    }
}
