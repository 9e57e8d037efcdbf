public import Detection
public import RuleLanguage

/// A topology ready to run: description, digest, what engine and decoders are made from, and the release that its folder holds.
public struct Deployment: Sendable {
    public let description: TopologyDescription
    public let decodePlan: DecodePlan
    /// SHA-256, hex: everything but the release that can change an output.
    public let topologyDigest: String
    /// What the folder's rules and models say.
    public let release: Release
    /// Under which texts and keys are hashed; decides no result.
    public let hashKey: HashKey
    /// ``HashKey/fingerprint`` of it.
    public let keyFingerprint: String
    private let pseudonymKey: HMACSHA256?

    /// The version of this build, by semantic versioning, as verdicts and the journal name it; `CHANGELOG.md` says what it holds.
    ///
    /// It is another one whenever the same inputs, topology and release may be judged otherwise: recovery and audit then expect
    /// that they are.
    public static let engineVersion = "0.1.0"

    /// Reads, checks and compiles a topology folder; throws every mistake found.
    ///
    /// - Parameter hashKey: the deployment's secret; the fixed one where nobody who chooses identifiers has something to win.
    public init(folder: String, hashKey: HashKey = .fixed) throws(DiagnosticError) {
        try self.init(folder: folder, kinds: .standard, hashKey: hashKey)
    }

    init(folder: String, kinds: SignalKinds, hashKey: HashKey = .fixed) throws(DiagnosticError) {
        var description = try TopologyDescription.load(folder: folder, kinds: kinds)
        let key = try Deployment.pseudonymKey(description)
        // Pseudonyms stand in verdicts, so the key is a part of the topology; its fingerprint tells keys apart and gives nothing of
        // them away.
        if let key { description.canonicalText += "pseudonyms \(key.hex(of: Array("weir topology digest".utf8)))\n" }
        try self.init(description, pseudonyms: key, hashKey: hashKey)
    }

    /// The same under another key, of the text that was read: compiled again, for what is compared is kept as its hash.
    public func keyed(by hashKey: HashKey) throws(DiagnosticError) -> Deployment {
        try Deployment(description, pseudonyms: pseudonymKey, hashKey: hashKey)
    }

    /// The same with the topics that its patterns mean among these; itself where it has none.
    ///
    /// A pattern that means none of them stays a topic of that name, which no log has.
    public func bound(to topics: [String]) throws(DiagnosticError) -> Deployment {
        if description.topicPatterns.isEmpty { return self }
        return try Deployment(description.bound(to: topics), pseudonyms: pseudonymKey, hashKey: hashKey)
    }

    private init(
        _ description: TopologyDescription,
        pseudonyms key: HMACSHA256?,
        hashKey: HashKey
    ) throws(DiagnosticError) {
        self.description = description
        self.hashKey = hashKey
        keyFingerprint = hashKey.fingerprint
        pseudonymKey = key
        let hash = TextHash(key: hashKey)
        let environment = RuleEnvironment(
            events: description.events,
            signals: description.signals.declarations,
            maximumWindowMilliseconds: description.limits.windowMilliseconds,
            hash: hash
        )
        let rules = try RuleSet.compile(description.rules, in: environment)
        let problems = description.featureDiagnostics(compiled: rules.features)
        if !problems.isEmpty { throw DiagnosticError(problems) }
        var limits = DecodeLimits()
        limits.recordBytes = description.limits.recordBytes
        limits.textBytes = description.limits.textBytes
        limits.eventsPerRecord = description.limits.eventsPerRecord
        limits.earliest = description.time.earliest
        limits.latest = description.time.latest
        limits.futureMilliseconds = description.time.futureMilliseconds
        do throws(DecodePlanError) {
            decodePlan = try DecodePlan(
                schemas: description.events,
                topics: description.topics,
                readings: description.readings,
                limits: limits,
                hash: hash,
                pseudonymise: Deployment.pseudonymiser(key)
            )
        } catch {
            throw DiagnosticError([Diagnostic(path: description.path, line: 1, column: 1, message: error.description)])
        }
        topologyDigest = SHA256.hex(of: Array(description.canonicalText.utf8))
        release = Release(rules: rules, models: description.models)
    }

    /// What the engine is told.
    ///
    /// - Parameter release: in force at the start; nil: the folder's.
    public func engineConfiguration(of release: Release? = nil, writesFeatures: Bool = false) -> EngineConfiguration {
        let uuid = UUIDv5(namespace: UUIDv5.url)
        return EngineConfiguration(
            topology: description.name,
            events: description.events,
            topics: description.topics,
            hash: TextHash(key: hashKey),
            ticks: TickClock(
                tick: description.time.tickMilliseconds,
                lateness: description.time.latenessMilliseconds
            ),
            entriesPerKey: description.limits.entriesPerKey,
            keysPerTable: description.limits.keys,
            idsPerEvent: description.limits.dedupeIds,
            detectors: description.detectors.map {
                $0.configuration(schemas: description.events, seed: description.seed)
            },
            release: engineRelease(release ?? self.release),
            verdictIdentifier: { name, into in
                uuid.write(name: name, to: UnsafeMutableRawBufferPointer(start: into, count: UUIDv5.textLength))
            },
            writesFeatures: writesFeatures
        )
    }

    /// What the engine is told of a release of this topology.
    public func engineRelease(_ release: Release) -> EngineRelease {
        // Digests are long; sixteen digits tell releases apart.
        EngineRelease(
            rules: release.rules,
            models: models(release),
            versions: "{\"engine\":\"\(Deployment.engineVersion)\",\"topology\":\"\(topologyDigest.prefix(16))\","
                + "\"release\":\"\(release.shortDigest)\"}"
        )
    }
}

extension Deployment {
    /// The models with their inputs' names resolved: the scored event's own field, else the declared feature.
    ///
    /// ``init(folder:hashKey:)`` has checked that every name means a number in every event.
    private func models(_ release: Release) -> [any ModelConfiguration] {
        zip(description.models, release.modelInputs).map { model, inputs in
            model.configuration(
                inputs.map { name in
                    let declared = release.rules.features.first { $0.isDeclared && $0.name == name }
                    return AnomalyFeature(
                        name: name,
                        sources: model.inputs.events.compactMap { event -> AnomalyFeature.Source? in
                            let schema = description.events[event]
                            if let index = schema.field(named: name) {
                                return .field(index: index, type: schema.fields[index].type)
                            }
                            return declared.map { .feature(column: $0.column, type: $0.resultType) }
                        },
                        meaning: declared?.canonical ?? ""
                    )
                },
                seed: description.seed
            )
        }
    }

    private static func pseudonymiser(_ key: HMACSHA256?) -> Pseudonymiser? {
        guard let key else { return nil }
        return { identifier, hex in key.write(identifier, to: hex) }
    }

    /// The keyed hash of identifiers, when the topology names a key.
    private static func pseudonymKey(_ description: TopologyDescription) throws(DiagnosticError) -> HMACSHA256? {
        guard let path = description.identifierKeyFile else { return nil }
        func refused(_ message: String, _ suggestion: String) -> DiagnosticError {
            DiagnosticError([
                description.diagnostic(
                    at: description.identifierKeyFileMark ?? SourceMark(line: 1, column: 1),
                    message: message,
                    suggestion: suggestion
                )
            ])
        }
        switch FileText.read(path, limit: 4096) {
        case .failure(let problem):
            throw refused(
                "the key of the pseudonyms cannot be read: \(path): \(problem.reason)",
                "openssl rand -hex 32 > \(path) makes one"
            )
        case .success(var key):
            while let last = key.last, last == 0x0A || last == 0x0D || last == 0x20 { key.removeLast() }
            guard key.count >= 16 else {
                throw refused(
                    "the key of the pseudonyms has fewer than 16 bytes: \(path)",
                    "openssl rand -hex 32 > \(path) makes one"
                )
            }
            return HMACSHA256(key: key)
        }
    }
}
