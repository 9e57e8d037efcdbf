/// All rules of a topology, checked and compiled: immutable, shared by threads, named by the digest of its ``canonicalText``.
public struct RuleSet: Sendable {
    /// Every windowed aggregate the rules read, and every declared one; equal ones are one.
    public let features: [Feature]
    /// Slots of an event's feature row.
    public let featureRowWidth: Int
    public let rules: [Rule]
    /// Per event type the indices of the rules that are evaluated on it, in the order of ``rules``; those in mode `off` are left
    /// out.
    public let rulesByEvent: [[Int]]
    public let policy: Policy
    /// Every feature, rule and policy in a fixed form: equal texts decide alike on the same topology.
    public let canonicalText: String
    /// What the authors should know: unused lets and the like.
    public let warnings: [Diagnostic]
    /// What is read and has no effect in this version.
    public let notices: [Diagnostic]
    /// Tells rule sets apart within one process; see ``Program/stamp``.
    public var stamp: UInt64 { unit.stamp }
    let environment: RuleEnvironment
    let unit: CodeUnit
    let judgeTable: JudgeTable
    let sentences: SentenceTable

    init(
        environment: RuleEnvironment,
        features: [Feature],
        featureRowWidth: Int,
        rules: [Rule],
        bodies: [[RuleBody]],
        policy: Policy,
        canonicalText: String,
        warnings: [Diagnostic],
        notices: [Diagnostic],
        unit: CodeUnit
    ) {
        self.environment = environment
        self.features = features
        self.featureRowWidth = featureRowWidth
        self.rules = rules
        self.policy = policy
        self.canonicalText = canonicalText
        self.warnings = warnings
        self.notices = notices
        self.unit = unit
        rulesByEvent = environment.events.indices.map { event in
            rules.indices.filter { rules[$0].mode != .off && rules[$0].events.contains(event) }
        }
        sentences = SentenceTable(bodies, eventCount: environment.events.count)
        judgeTable = JudgeTable(
            rulesByEvent.enumerated().map { event, indices in
                indices.compactMap { rule in
                    guard let body = bodies[rule].first(where: { $0.event == event }) else { return nil }
                    return JudgeEntry(
                        rule: Int32(rule),
                        start: Int32(body.judgement.start),
                        constants: Int32(body.judgement.constants)
                    )
                }
            }
        )
    }

    /// Reads, checks and compiles rule files.
    ///
    /// Throws every mistake found, at most twenty, each with its place and, where one is known, a remedy. Linear in the size of the
    /// text but for suggestions. A file has at most 1 MiB.
    public static func compile(
        _ sources: [RuleSource],
        in environment: RuleEnvironment
    ) throws(DiagnosticError) -> RuleSet {
        let sink = DiagnosticSink()
        var blocks = BlockSyntax()
        for file in sources {
            let source = SourceText(path: file.path, text: file.text)
            guard source.bytes.count <= RuleLimits.fileBytes else {
                sink.error(source, Span(start: 0, end: 0), "a rule file has at most 1 MiB", suggestion: "split it")
                continue
            }
            var parser = Parser(source, sink)
            parser.file(into: &blocks)
        }
        var compiler = RuleCompiler(environment, sink)
        guard let result = compiler.compile(blocks), sink.errors.isEmpty else {
            throw DiagnosticError(sink.errors + sink.warnings)
        }
        return result
    }
}
