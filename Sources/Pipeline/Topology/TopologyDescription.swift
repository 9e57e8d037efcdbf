public import Detection
public import RuleLanguage

/// A place in `topology.yaml`, kept for every name that can only be judged later (a feature that a model asks for, a key file that
/// cannot be read); ``TopologyDescription/diagnostic(at:message:suggestion:)`` turns it into a message.
public struct SourceMark: Sendable, Equatable {
    /// From 1.
    public var line: Int
    /// From 1, in Unicode scalars.
    public var column: Int
    /// Unicode scalars to underline, at least 1.
    public var length: Int

    public init(line: Int, column: Int, length: Int = 1) {
        self.line = line
        self.column = column
        self.length = length
    }
}

/// How event time is bounded and when it advances (`time:`).
public struct TimeSettings: Sendable, Equatable {
    /// Length of a tick: what is learnt in one becomes visible in the next.
    public var tickMilliseconds: Int64 = 1000
    /// How far behind the highest time seen an event may be before it counts as late.
    public var latenessMilliseconds: Int64 = 300_000
    /// Late events are kept for people instead of judged at the watermark.
    public var setsLateAside = false
    /// How far ahead of the time at which the log took it an event may be; further, it is judged at that time.
    public var futureMilliseconds: Int64 = 3_600_000
    /// Event times outside `earliest...latest` (milliseconds since 1970, both included) are dead letters.
    public var earliest: Int64 = 946_684_800_000
    public var latest: Int64 = 4_102_444_800_000
    /// A partition without events for this long holds the watermark back no more.
    public var idleMilliseconds: Int64 = 30_000

    public init() {}
}

/// The bounds of a deployment (`limits:`): each has a behaviour when reached, so no input can exhaust the memory.
public struct LimitSettings: Sendable, Equatable {
    /// Keys of one kind (account; ip; device and item; …) with window state: each kind may have as many.
    ///
    /// A 64th of them in each of the engine's slots, and 16 there at least, so never fewer than 1,024. A new key beyond it takes
    /// the place of one that has done little.
    public var keys: Int = 2_000_000
    /// Entries that one key keeps in one window, 2^20 at most; a new one beyond it takes the place of the oldest.
    public var entriesPerKey: Int = 1_048_576
    /// Ids that are remembered of an event type with `dedupe`: each such type has as many.
    ///
    /// A 64th of them in each of the engine's slots, and 16 there at least. When a slot is full the eldest eighth is forgotten.
    public var dedupeIds: Int = 10_000_000
    /// Longest text of a field in bytes, whatever its `max_length` says; a header of an output record holds at most 65,535.
    public var textBytes: Int = 65_535
    /// Longest record in bytes; a longer one is a dead letter.
    public var recordBytes: Int = 1_048_576
    /// Events that one record may hold.
    public var eventsPerRecord: Int = 10_000
    /// Longest window that a rule may ask for.
    public var windowMilliseconds: Int64 = 90 * 86_400_000

    public init() {}
}

/// What a topology folder says, checked as far as it can be without compiling its rules: plain values, safe to pass anywhere.
///
/// The folder holds `topology.yaml`, the rule files it names, and for people `README.md` and `samples/`. Every mistake in it is a
/// ``Diagnostic`` with the place, the reason and what to write instead; all mistakes of a file are reported together.
public struct TopologyDescription: Sendable {
    public var name: String
    public var version: Int
    public var summary: String
    /// Of what is drawn: the trees of models, where a detector's windows begin, rings' ids.
    ///
    /// Without `seed:` it follows from the name, the same on every machine. No secret, unlike ``Deployment/hashKey``.
    public var seed: UInt64
    public var time: TimeSettings
    /// Files are sorted by event time before they are replayed, for inputs that are not in time order.
    public var sortsReplay: Bool
    public var limits: LimitSettings
    /// The path of the file with the key of pseudonyms, the folder in front of it unless it was written from the root; set whenever
    /// a field is pseudonymised.
    public var identifierKeyFile: String?
    public var identifierKeyFileMark: SourceMark?
    public var events: [EventSchema]
    /// Source topics by name; an event's `topic` number is its index here, so that equal times are ordered by the topic's name.
    public var topics: [String]
    /// Of topics whose records are not read as they are, by name (`topics:`).
    public var readings: [String: TopicReading]
    /// What could stand under `detectors:` and `models:`.
    let kinds: SignalKinds
    var detectors: [any DetectorSettings]
    var models: [any ModelSettings]
    /// The CloudEvents `source` of verdicts.
    public var verdictSource: String
    /// Rule files with their text, sorted by path; paths are shown as the user named the folder.
    public var rules: [RuleSource]
    /// The folder as the user named it, without a trailing slash.
    public var folder: String
    /// Everything above that can change an output, the rules and the inputs of models apart (see ``Release``), in one fixed form
    /// that no folder, comment or layout changes: what a digest of the topology is taken over.
    public var canonicalText: String
    /// The path of `topology.yaml`, as diagnostics show it.
    public var path: String
    var lines: SourceLines

    /// A diagnostic about a place in `topology.yaml`, for checks that need more than the file.
    public func diagnostic(at mark: SourceMark, message: String, suggestion: String? = nil) -> Diagnostic {
        lines.diagnostic(path: path, mark: mark, message: message, suggestion: suggestion)
    }
}

extension TopologyDescription {
    /// What its detectors and models say of an event, by name.
    public var signals: SignalLayout { SignalLayout(detectors: detectors.map(\.name), models: models.map(\.name)) }

    /// Largest `topology.yaml` and largest rule file in bytes.
    public static let maximumFileBytes = 1 << 20
    /// Most rule files of one topology.
    public static let maximumRuleFiles = 1000

    /// Reads a topology folder.
    ///
    /// Cost: one pass over the files, some milliseconds; called at start and by `weir check`. Throws every mistake found, in the
    /// order of the file; the list is never empty.
    public static func load(folder: String) throws(DiagnosticError) -> TopologyDescription {
        try load(folder: folder, kinds: .standard)
    }

    static func load(folder: String, kinds: SignalKinds) throws(DiagnosticError) -> TopologyDescription {
        var folder = folder
        while folder.utf8.count > 1, folder.utf8.last == UInt8(ascii: "/") { folder.removeLast() }
        if folder.isEmpty { folder = "." }
        let path = "\(folder)/topology.yaml"
        let bytes: [UInt8]
        switch FileText.read(path, limit: maximumFileBytes) {
        case .success(let content): bytes = content
        case .failure(let problem):
            throw DiagnosticError([folderDiagnostic(folder: folder, path: path, problem: problem)])
        }
        return try read(bytes: bytes, path: path, folder: folder, files: FolderFiles(folder: folder), kinds: kinds)
    }

    /// Reads the bytes of a `topology.yaml` whose rule files come from `files`.
    static func read(
        bytes: [UInt8],
        path: String,
        folder: String,
        files: some RuleFiles,
        kinds: SignalKinds = .standard,
        zones: TimeZoneFiles = TimeZoneFiles()
    ) throws(DiagnosticError) -> TopologyDescription {
        let document = try YAMLDocument(bytes: bytes, path: path)
        var reader = TopologyReader(document: document, path: path, folder: folder, kinds: kinds, zones: zones)
        return try reader.read(files: files)
    }

    /// The message for a folder without a readable `topology.yaml`: it says which of the usual reasons it is.
    private static func folderDiagnostic(folder: String, path: String, problem: FileProblem) -> Diagnostic {
        var shown = path
        var suggestion: String?
        var message = "the topology cannot be read: \(problem.reason)"
        switch problem.kind {
        case .absent:
            switch FileText.kind(of: folder) {
            case .absent:
                shown = folder
                message = "there is no folder '\(folder)'"
                suggestion = "name the folder that holds topology.yaml, such as topologies/quickstart"
            case .file:
                shown = folder
                message = "'\(folder)' is a file, not a topology folder"
                suggestion =
                    folder.hasSuffix("topology.yaml")
                    ? "name the folder it lies in" : "name the folder that holds topology.yaml"
            case .folder:
                message = "the folder '\(folder)' holds no topology.yaml"
                suggestion = "copy one from topologies/quickstart, or name another folder"
            }
        case .forbidden:
            suggestion = "allow this user to read it (chmod +r)"
        case .tooLarge:
            message = "the file is larger than \(maximumFileBytes) bytes"
            suggestion = "a topology is some hundred lines; is this the right file?"
        case .other:
            break
        }
        return Diagnostic(path: shown, line: 1, column: 1, message: message, suggestion: suggestion)
    }
}
