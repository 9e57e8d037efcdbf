import Detection
import Models
import RuleLanguage
import Testing

@testable import Pipeline

/// Journals that several releases have written: recovery and audit judge each epoch by the one that the journal names.
@Suite struct ReleaseHistoryTests {
    /// Folders of one topology, as they follow each other in a year.
    enum Folder: CaseIterable {
        case first
        /// Another threshold and other words: the same windows.
        case reworded
        /// One window more, and a model that reads other numbers.
        case wider
        /// The windows of ``wider`` under another threshold.
        case widerReworded
        /// The first one's windows, of which one is read by one more type of event.
        case readElsewhere

        func deployment() throws -> Deployment {
            let (text, rules) = (WorkerTopology.text, WorkerTopology.rules)
            let wider = rules.replacing(
                "  when spent > 20000 && clicks_5m >= 1",
                with: """
                      let largest = max(amount) of order by account over 10m
                      when spent > 15000 || largest > 8900
                    """
            ).replacing("{spent} cents", with: "{spent} cents, {largest} at once,")
            let fewerInputs = text.replacing("features: [orders_5m, clicks_5m, amount]", with: "features: [orders_5m]")
            return switch self {
            case .first: try WorkerTopology.load()
            case .reworded:
                try WorkerTopology.load(
                    rules: rules.replacing("clicks >= 3", with: "clicks >= 2").replacing("cents after", with: "c after")
                )
            case .wider: try WorkerTopology.load(fewerInputs, rules: wider)
            case .widerReworded:
                try WorkerTopology.load(fewerInputs, rules: wider.replacing("spent > 15000", with: "spent > 10000"))
            case .readElsewhere:
                try WorkerTopology.load(
                    rules: rules.replacing(
                        "  when coupon_ring",
                        with: "  let spent = sum(amount) of order by account over 2m\n  when coupon_ring"
                    ).replacing("{coupons} coupons", with: "{coupons} coupons, {spent} spent")
                )
            }
        }
    }

    static let folders = Result { try Folder.allCases.map { try $0.deployment() } }

    private static func folder(_ folder: Folder) throws -> Deployment {
        try folders.get()[Folder.allCases.firstIndex(of: folder) ?? 0]
    }

    @Test func `the folders are one topology with three shapes of state`() throws {
        let all = try Self.folders.get()
        #expect(Set(all.map(\.topologyDigest)).count == 1)
        #expect(Set(all.map(\.release.digest)).count == all.count)
        #expect(Set(all.map(\.release.stateShape)).count == 3)
    }

    private static func follower(of world: WorkerWorld) throws -> Follower {
        try Follower(
            EpochProcessor(world.deployment, team: ThreadTeam(lanes: 1)),
            log: SimulatedLog(world.store),
            sources: world.sources,
            snapshots: nil,
            releases: FolderReleases(world.deployment, former: world.former),
            clock: world.clock
        )
    }

    // MARK: Recovery and audit

    @Test func `whatever releases follow each other, replay and audit find every byte, and recovery goes on from it`()
        throws
    {
        let all = try Self.folders.get()
        var runs = 0
        for seed in UInt64(0)..<12 {
            let world = try WorkerWorld(seed: seed, markers: seed % 2 == 1)
            var random = SplitMix64(seed: seed ^ 0x5E1E)
            for _ in 0..<5 {
                world.deployment = all[random.below(all.count)]
                // What recovery finds of the others makes no difference.
                world.former = random.chance(50) ? all : []
                try world.produce(60 + random.below(100))
                var faults = SimulatedFaults(seed: random.next())
                if random.chance(30) { faults.crash = .init(.afterCommit, visit: 1 + random.below(3)) }
                let error = try world.run(faults).error
                #expect(error.map(SimulatedLog.isCrash) != false, "seed \(seed): \(error?.message ?? "")")
                runs += 1
            }
            #expect(try world.run().error == nil)
            world.former = all
            #expect(try world.findings(threads: [1, 2]).isEmpty, "seed \(seed)")
            #expect(try Set(world.journal().map(\.releaseDigest)).count > 1, "seed \(seed)")
            #expect(world.seen.verdicts > 100)
        }
    }

    @Test func `a release that goes and comes back finds its windows and its model as if it had never gone`() throws {
        let world = try WorkerWorld(seed: 41)
        world.former = try Self.folders.get()
        for folder in [Folder.first, .wider, .first, .widerReworded, .reworded] {
            world.deployment = try Self.folder(folder)
            try world.produce(200)
            #expect(try world.run().error == nil)
        }
        #expect(try world.findings(threads: [1, 3]).isEmpty)
    }

    @Test func `a worker with other rules judges as one that had them from the first event on`() throws {
        /// The verdicts that were committed after the first part, with their epochs.
        func verdicts(first: Folder, then second: Folder, isFound: Bool) throws -> [WorkerWorld.Output] {
            let world = try WorkerWorld(seed: 42)
            world.deployment = try Self.folder(first)
            try world.produce(400)
            #expect(try world.run().error == nil)
            let before = world.outputs()[OutputTopics.verdicts, default: []]
            world.deployment = try Self.folder(second)
            if isFound { world.former = [try Self.folder(first)] }
            try world.produce(400)
            #expect(try world.run().error == nil)
            world.former = [try Self.folder(first)]
            #expect(try world.findings().isEmpty)
            return world.outputs()[OutputTopics.verdicts, default: []].filter { !before.contains($0) }.sorted()
        }
        for (first, second) in [(Folder.first, Folder.wider), (.wider, .reworded), (.first, .reworded)] {
            let reference = try verdicts(first: second, then: second, isFound: true)
            #expect(reference.count > 100)
            #expect(try verdicts(first: first, then: second, isFound: true) == reference, "\(first) to \(second)")
            #expect(try verdicts(first: first, then: second, isFound: false) == reference, "\(first) to \(second)")
        }
    }

    /// Where tables are full, which key goes hangs on all windows of its kind: those of another release may have no part in it.
    @Test func `tables at their bounds are those of the release alone`() throws {
        func rule(_ lets: String, _ words: String) -> String {
            """
            rule many "Orders" {
              owner "test"  severity low
              on order
              let n = count() of order by account over 1h
              \(lets)
              when n >= 1
              then review
              because "\(words)"
            }

            """
        }
        let text = String(
            WorkerTopology.text.prefix(upTo: try #require(WorkerTopology.text.firstRange(of: "models:")).lowerBound)
        )
        .replacing("record_bytes: 2048", with: "record_bytes: 2048, keys: 1024, entries_per_key: 2")
        let large = "let large = sum(amount) of order where amount > 50.00 by account over 2h"
        let plain = try WorkerTopology.load(text, rules: rule("", "{n}"))
        let both = try WorkerTopology.load(text, rules: rule(large, "{n}, {large}"))
        let largeOnly = try WorkerTopology.load(
            text,
            rules: rule(large, "{large}").replacing("let n = count() of order by account over 1h\n", with: "")
                .replacing("n >= 1", with: "large >= 0")
        )
        let world = try WorkerWorld(seed: 43, deployment: plain)
        world.former = [plain, both, largeOnly]
        var time = WorkerWorld.start
        for deployment in [plain, both, largeOnly, plain, both] {
            world.deployment = deployment
            for _ in 0..<1500 {
                time += 50
                world.store.append(
                    world.sources[0],
                    key: nil,
                    value: bytes(
                        "{\"id\":\"o\",\"ts\":\(time),\"account\":\"u\(world.random.below(1600))\",\"amount\":\(world.random.below(99)).00}"
                    )
                )
            }
            #expect(try world.run().error == nil)
        }
        #expect(try world.findings().isEmpty)
        let follower = try Self.follower(of: world)
        defer { follower.processor.team.stop() }
        try follower.advance { _ in true }
        #expect(follower.processor.engine.windowCounters.evictedKeys > 1000, "the tables are full")
    }

    // MARK: What is not found

    @Test
    func `an audit without a release names it, its epochs and the places, and without any it ends as incompatible`()
        throws
    {
        let world = try WorkerWorld(seed: 44)
        let (first, wider) = (try Self.folder(.first), try Self.folder(.wider))
        var borders: [Int64] = []
        for deployment in [first, wider, first] {
            world.deployment = deployment
            try world.produce(150)
            #expect(try world.run().error == nil)
            borders.append(try #require(world.journal().last?.epoch))
        }
        func audit(_ deployment: Deployment, _ former: [Deployment]) throws(LogError) -> JournalAudit.Result {
            try JournalAudit(
                deployment,
                log: SimulatedLog(world.store, application: "audit"),
                releases: FolderReleases(deployment, former: former),
                threads: 1
            ).run { _ in true }
        }
        let part = try audit(wider, [])
        #expect(part.isClean && part.epochs == borders[2] + 1)
        #expect(part.otherReleaseEpochs == borders[0] + 1 + borders[2] - borders[1])
        #expect(part.verdicts > 30 && part.notCompared > 30)
        for words in [
            "epochs 0 to \(borders[0]) and \(borders[1] + 1) to \(borders[2])", "release \(first.release.shortDigest)",
            "Looked in: \(wider.description.folder)",
        ] { #expect(part.otherReleases.contains(words), "\(words) in: \(part.otherReleases)") }
        let rest = try audit(first, [])
        #expect(rest.otherReleases.contains("\(wider.release.shortDigest)") && rest.notCompared == part.verdicts)
        let error = logError { _ = try audit(Self.folder(.reworded), []) }
        #expect(error?.kind == .incompatible)
        let message = error?.message ?? ""
        #expect(message.contains("\(first.release.shortDigest)") && message.contains("--release"), "\(message)")
        for (deployment, former) in [(first, wider), (wider, first)] {
            let result = try audit(deployment, [former])
            #expect(result.isClean && result.epochs == borders[2] + 1 && result.verdicts > 100, "\(result)")
        }
    }

    @Test func `recovery without a release says which epochs it does not judge again, and with it says nothing`() throws
    {
        let world = try WorkerWorld(seed: 45)
        try world.produce(150)
        #expect(try world.run().error == nil)
        let last = try #require(world.journal().last?.epoch)
        let first = world.deployment
        world.deployment = try Self.folder(.wider)
        func survey(_ former: [Deployment]) throws -> [JournalSurvey.Entry] {
            world.former = former
            let follower = try Self.follower(of: world)
            defer { follower.processor.team.stop() }
            return try follower.survey()
        }
        #expect(try survey([first]).isEmpty)
        #expect(
            try survey([]) == [
                JournalSurvey.Entry(
                    topologyDigest: first.topologyDigest,
                    releaseDigest: first.release.digest,
                    epochs: [0...last]
                )
            ]
        )
    }

    @Test func `who asks while a journal is replayed sees the state of the release that runs`() throws {
        let world = try WorkerWorld(seed: 47)
        world.deployment = try Self.folder(.wider)
        try world.produce(200)
        #expect(try world.run().error == nil)
        world.former = [world.deployment]
        world.deployment = try Self.folder(.first)
        let alone = try WorkerWorld(seed: 47)
        try alone.produce(200)
        #expect(try alone.run().error == nil)
        var seen: [(bytes: Int, judging: Bool)] = []
        for world in [world, alone] {
            let follower = try Self.follower(of: world)
            defer { follower.processor.team.stop() }
            try follower.advance { _ in true }
            seen.append((follower.engine.stateBytes, follower.engine === follower.processor.engine))
        }
        #expect(seen[0].bytes == seen[1].bytes)
        #expect(!seen[0].judging && seen[1].judging)
    }

    // MARK: That the checks can fail

    /// Gives one release under the digest of another.
    private struct Liar: ReleaseSource {
        let digest: String
        let lie: Release
        let places = "nowhere"
        func release(digest: String) -> Release? { digest == self.digest ? lie : nil }
    }

    @Test func `a verdict that another release gave under the name of the first is found`() throws {
        let world = try WorkerWorld(seed: 46)
        try world.produce(600)
        #expect(try world.run().error == nil)
        let first = world.deployment
        world.deployment = try Self.folder(.wider)
        try world.produce(100)
        #expect(try world.run().error == nil)
        func audit(_ lie: Deployment) throws(LogError) -> JournalAudit.Result {
            try JournalAudit(
                world.deployment,
                log: SimulatedLog(world.store, application: "audit"),
                releases: Liar(digest: first.release.digest, lie: lie.release),
                threads: 1
            ).run { _ in true }
        }
        #expect(try audit(first).isClean)
        // The same verdicts with other words: bytes differ.
        let words = try WorkerTopology.load(rules: WorkerTopology.rules.replacing(" orders\"", with: " o\""))
        let result = try audit(words)
        #expect(result.different > 0 && result.missing == 0 && result.repeated == 0, "\(result)")
        // Others: the journal knows how many there were.
        let fewer = try WorkerTopology.load(rules: WorkerTopology.rules.replacing("clicks >= 3", with: "clicks >= 4"))
        #expect(logError { _ = try audit(fewer) }?.kind == .corrupt)
    }

    @Test func `former folders are compiled under the key of the one that runs`() throws {
        let key = HashKey(7, 11)
        /// A rule that compares a text.
        func folder(_ score: Int) -> TemporaryFolder {
            let folder = TemporaryFolder()
            folder.write(WorkerTopology.text, "topology.yaml")
            folder.makeFolder("rules")
            folder.write(
                WorkerTopology.rules.replacing("coupons >= 3", with: "coupon == \"c1\"")
                    .replacing("score +20", with: "score +\(score)"),
                "rules/all.weir"
            )
            return folder
        }
        let (former, now) = (folder(20), folder(21))
        let world = try WorkerWorld(seed: 48, deployment: Deployment(folder: former.path, hashKey: key))
        try world.produce(400)
        #expect(try world.run().error == nil)
        let running = try Deployment(folder: now.path, hashKey: key)
        world.deployment = running
        try world.produce(100)
        #expect(try world.run().error == nil)
        let result = try JournalAudit(
            running,
            log: SimulatedLog(world.store, application: "audit"),
            releases: FolderReleases(running, former: [former.path]),
            threads: 1
        ).run { _ in true }
        #expect(result.isClean, "\(result)")
        let spoke = world.outputs()[OutputTopics.verdicts, default: []].count {
            String(decoding: $0.value, as: UTF8.self).contains("\"rule\":\"coupons\"")
        }
        #expect(spoke > 10)
    }

    // MARK: Values

    @Test func `a survey tells who judged which epochs`() {
        var survey = JournalSurvey(after: 3)
        for (epoch, release) in [(2, "a"), (4, "a"), (5, "a"), (6, "b"), (7, "a"), (8, "c"), (9, "c")] {
            var record = JournalRecord(stub: Int64(epoch))
            record.releaseDigest = release
            survey.note(record)
        }
        #expect(survey.entries.map(\.releaseDigest) == ["a", "b", "c"])
        #expect(survey.entries.map(\.epochs) == [[4...5, 7...7], [6...6], [8...9]])
        #expect(survey.entries.map(\.text) == ["epochs 4 to 5 and 7", "epoch 6", "epochs 8 to 9"])
        let many = JournalSurvey.Entry(
            topologyDigest: "t",
            releaseDigest: "r",
            epochs: (0..<9).map { Int64($0) * 10...(Int64($0) * 10 + 1) }
        )
        #expect(many.text == "epochs 0 to 1, 10 to 11, 20 to 21, 30 to 31 and 5 more times")
    }

    @Test func `folders give their releases by digest, and one of another topology is refused`() throws {
        let former = TemporaryFolder()
        former.write(WorkerTopology.text, "topology.yaml")
        former.makeFolder("rules")
        former.write(WorkerTopology.rules, "rules/all.weir")
        let wider = try Self.folder(.wider)
        let releases = try FolderReleases(wider, former: [former.path])
        for deployment in [wider, try Self.folder(.first)] {
            #expect(releases.release(digest: deployment.release.digest)?.digest == deployment.release.digest)
        }
        #expect(releases.release(digest: try Self.folder(.reworded).release.digest) == nil)
        #expect(releases.places == "\(wider.description.folder), \(former.path)")
        former.write(WorkerTopology.text.replacing("window: 1h", with: "window: 2h"), "topology.yaml")
        #expect {
            _ = try FolderReleases(wider, former: [former.path])
        } throws: { error in
            (error as? DiagnosticError)?.diagnostics.first?.message.contains("is not the topology of") == true
        }
    }
}
