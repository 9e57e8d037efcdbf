import Testing

@testable import Pipeline

/// What an audit says of a log's verdicts beside a replay's: one row per way in which they may disagree.
@Suite struct VerdictComparisonTests {
    /// A verdict: the epoch that gave it (nil: it does not say), a number for its id, and its content.
    struct Verdict: CustomStringConvertible {
        var epoch: Int64?
        var number: Int
        var content = "a"
        var subject = "ada"
        /// Where it lies in the log.
        var partition: Int32 = 0
        var engine = "2"
        var description: String { "\(epoch.map { "\($0)" } ?? "?")/\(number)\(content)" }

        var id: String {
            let digits = String(number)
            return "00000000-0000-5000-8000-" + String(repeating: "0", count: 12 - digits.count) + digits
        }
        var value: [UInt8] {
            Array("{\"verdict_id\":\"\(id)\",\"decision\":\"\(content)\",\"versions\":{\"engine\":\"\(engine)\"}}".utf8)
        }
        var headers: [(String, [UInt8])] {
            [("ce_id", Array(id.utf8))] + (epoch.map { [("ce_epoch", Array("\($0)".utf8))] } ?? [])
        }
    }

    static func v(_ epoch: Int64?, _ number: Int, _ content: String = "a") -> Verdict {
        Verdict(epoch: epoch, number: number, content: content)
    }

    /// Epochs 0 to 9 are replayed; those up to 12 are in the journal.
    private static func said(
        replay: [Verdict],
        log: [Verdict],
        standings: [Int64: VerdictComparison.Standing] = [:],
        partitions: Int = 1,
        shortened: Set<Int32> = [],
        findingsMax: Int = 20
    ) -> (counts: VerdictComparison.Counts, findings: [JournalAudit.Finding]) {
        var comparison = VerdictComparison(findingsMax: findingsMax, partitions: partitions)
        var begun: Int64 = -1
        func begin(to epoch: Int64) {
            while begun < epoch {
                begun += 1
                comparison.begin(epoch: begun, standings[begun] ?? [])
            }
        }
        for verdict in replay.sorted(by: { $0.epoch ?? -1 < $1.epoch ?? -1 }) {
            begin(to: verdict.epoch ?? -1)
            verdict.value.withUnsafeBytes { value in
                verdict.subject.utf8.withContiguousStorageIfAvailable { key in
                    comparison.expect(
                        key: UnsafeRawBufferPointer(key),
                        value: value
                    ) { digest in
                        for (name, header) in verdict.headers {
                            Array(name.utf8).withUnsafeBytes { name in
                                header.withUnsafeBytes { digest.addHeader(name, $0) }
                            }
                        }
                    }
                }
            }
        }
        begin(to: 9)
        for (n, verdict) in log.enumerated() {
            // All headers in one piece of memory, as a log lends them.
            let bytes = verdict.headers.flatMap(\.1)
            verdict.value.withUnsafeBytes { value in
                verdict.subject.utf8.withContiguousStorageIfAvailable { key in
                    bytes.withUnsafeBytes { bytes in
                        var at = 0
                        let headers = verdict.headers.map { name, header in
                            defer { at += header.count }
                            return (name, UnsafeRawBufferPointer(rebasing: bytes[at..<(at + header.count)]))
                        }
                        comparison.compare(
                            key: UnsafeRawBufferPointer(key),
                            value: value,
                            headers: headers,
                            in: verdict.partition,
                            at: "weir.verdicts/0/\(n)",
                            epochs: (9, 12)
                        )
                    }
                }
            }
        }
        comparison.finish(shortened: shortened)
        return (comparison.counts, comparison.findings)
    }

    /// What is said, as counts in the order verdicts, revisions, missing, repeated, different.
    @Test(arguments: [
        ("nothing at all", [], [], [0, 0, 0, 0, 0]),
        ("the same, in another order", [v(0, 1), v(0, 2), v(1, 3)], [v(1, 3), v(0, 1), v(0, 2)], [3, 0, 0, 0, 0]),
        ("one is gone", [v(0, 1), v(0, 2)], [v(0, 2)], [1, 0, 1, 0, 0]),
        ("one has other bytes", [v(0, 1)], [v(0, 1, "b")], [1, 0, 0, 0, 1]),
        ("one stands twice in its epoch", [v(0, 1)], [v(0, 1), v(0, 1)], [2, 0, 0, 1, 0]),
        ("a later epoch revises one", [v(0, 1), v(4, 1, "b")], [v(0, 1), v(4, 1, "b")], [2, 1, 0, 0, 0]),
        ("two later epochs do", [v(0, 1), v(4, 1), v(5, 1)], [v(4, 1), v(5, 1), v(0, 1)], [3, 2, 0, 0, 0]),
        ("a revision is gone", [v(0, 1), v(4, 1, "b")], [v(0, 1)], [1, 0, 1, 0, 0]),
        ("what it revises is gone", [v(0, 1), v(4, 1, "b")], [v(4, 1, "b")], [1, 1, 1, 0, 0]),
        ("a revision stands twice", [v(0, 1), v(4, 1)], [v(0, 1), v(4, 1), v(4, 1)], [3, 1, 0, 1, 0]),
        ("a revision has other bytes", [v(0, 1), v(4, 1, "b")], [v(0, 1), v(4, 1, "c")], [2, 1, 0, 0, 1]),
        ("a revision that nobody gave", [v(0, 1)], [v(0, 1), v(4, 1)], [2, 0, 0, 0, 1]),
        (
            "the contents of two epochs are swapped", [v(0, 1), v(4, 1, "b")], [v(0, 1, "b"), v(4, 1)], [2, 1, 0, 0, 2]
        ),
        ("one stands under another epoch", [v(3, 1)], [v(4, 1)], [1, 0, 1, 0, 1]),
        ("one says no epoch", [v(0, 1)], [v(nil, 1)], [1, 0, 1, 0, 1]),
        ("one that nobody gave", [], [v(0, 1)], [1, 0, 0, 0, 1]),
        ("one of an epoch that came meanwhile", [v(0, 1)], [v(0, 1), v(12, 1), v(10, 2)], [1, 0, 0, 0, 0]),
        ("one of an epoch that the journal does not know", [v(0, 1)], [v(0, 1), v(13, 2)], [2, 0, 0, 0, 1]),
    ])
    func `each way to disagree is counted as what it is`(
        _ name: String,
        _ replay: [Verdict],
        _ log: [Verdict],
        _ wanted: [Int64]
    ) {
        let counts = Self.said(replay: replay, log: log).counts
        #expect(
            [counts.verdicts, counts.revisions, counts.missing, counts.repeated, counts.different] == wanted,
            "\(name)"
        )
    }

    /// Epochs 2, 3 and 5 were judged under another hash key; how many of the missing and the different may be so for that.
    @Test(arguments: [
        ("the same", [v(2, 1), v(4, 2)], [v(2, 1), v(4, 2)], 0),
        ("missing in such an epoch", [v(2, 1)], [], 1),
        ("missing in another", [v(4, 1)], [], 0),
        ("other bytes in such an epoch", [v(3, 1)], [v(3, 1, "b")], 1),
        ("other bytes in another", [v(6, 1)], [v(6, 1, "b")], 0),
        ("one that nobody gave, in such an epoch", [], [v(5, 1)], 1),
        ("one that nobody gave, in another", [], [v(4, 1)], 0),
        ("one stands under such an epoch that is another's", [v(4, 1), v(4, 2)], [v(3, 1), v(4, 2)], 0),
        ("one stands twice in such an epoch", [v(2, 1)], [v(2, 1), v(2, 1)], 0),
        ("one says no epoch", [v(4, 1)], [v(4, 1), v(nil, 2)], 0),
    ])
    func `what may differ for the hash key alone is counted apart`(
        _ name: String,
        _ replay: [Verdict],
        _ log: [Verdict],
        _ wanted: Int64
    ) {
        let counts = Self.said(replay: replay, log: log, standings: [2: .otherKey, 3: .otherKey, 5: .otherKey]).counts
        #expect(counts.doubted == wanted, "\(name)")
        #expect(counts.doubted <= counts.missing + counts.different)
    }

    /// Epochs 2 and 3 were judged by another version: what it judged counts, and not its name.
    @Test func `what another version judged is compared without the versions, and counted apart`() {
        func said(_ epoch: Int64, _ content: String, _ engine: String) -> VerdictComparison.Counts {
            var verdict = Self.v(epoch, 1, content)
            verdict.engine = engine
            return Self.said(
                replay: [Self.v(epoch, 1)],
                log: [verdict],
                standings: [2: .otherEngine, 3: [.otherEngine, .otherKey]]
            )
            .counts
        }
        for epoch in 2...3 as ClosedRange<Int64> {
            #expect(said(epoch, "a", "1").different == 0)
            let counts = said(epoch, "b", "1")
            #expect(counts.different == 1 && counts.byEngine == 1 && counts.doubted == 0)
        }
        #expect(said(4, "a", "1").different == 1 && said(4, "a", "1").byEngine == 0)
        let gone = Self.said(replay: [Self.v(2, 1)], log: [], standings: [2: .otherEngine]).counts
        #expect(gone.missing == 1 && gone.byEngine == 1)
    }

    @Test func `verdicts of a release that is not there are neither right nor wrong`() {
        let counts = Self.said(
            replay: [Self.v(1, 1), Self.v(2, 2), Self.v(3, 3)],
            log: [Self.v(1, 1), Self.v(2, 7), Self.v(2, 8), Self.v(3, 3)],
            standings: [2: .otherRelease]
        ).counts
        #expect(counts.verdicts == 2 && counts.notCompared == 2 && counts.missing == 0 && counts.different == 0)
    }

    /// Of two partitions, by the subject: `ada` lies in 0, `bob` in 1.
    @Test(arguments: [
        ("a beginning that is gone", [1, 2], [0], 2, 0),
        ("what is gone behind the first that is kept", [1, 3], [0], 1, 1),
        ("all of a partition", [1, 2, 3], [0], 3, 0),
        ("of another partition", [1, 2], [1], 0, 2),
        ("the beginning of an epoch of several", [1], [0], 1, 0),
        ("nothing", [], [0], 0, 0),
        ("what no retention took", [1], [], 0, 1),
    ])
    func `what retention took is told from what is missing`(
        _ name: String,
        _ gone: [Int],
        _ shortened: [Int32],
        _ expired: Int64,
        _ missing: Int64
    ) {
        var all: [Verdict] = []
        for number in 1...3 {
            for (partition, subject) in [(Int32(0), Self.subject(of: 0)), (1, Self.subject(of: 1))] {
                var verdict = Self.v(Int64(number / 2), number + 10 * Int(partition))
                (verdict.subject, verdict.partition) = (subject, partition)
                all.append(verdict)
            }
        }
        let log = all.filter { !($0.partition == 0 && gone.contains($0.number)) }
        let counts = Self.said(replay: all, log: log, partitions: 2, shortened: Set(shortened)).counts
        #expect([counts.expired, counts.missing] == [expired, missing], "\(name)")
        #expect(counts.different == 0 && counts.repeated == 0)
    }

    @Test func `when the topic has grown, a verdict may have expired in any partition`() {
        var verdicts = [Self.v(0, 1), Self.v(1, 2), Self.v(2, 3)]
        for i in verdicts.indices { (verdicts[i].subject, verdicts[i].partition) = (Self.subject(of: 1), 0) }
        let counts = Self.said(replay: verdicts, log: [verdicts[1]], partitions: 2, shortened: [0]).counts
        #expect(counts.expired == 1 && counts.missing == 1)
    }

    /// A key that lies in a partition of two.
    private static func subject(of partition: Int) -> String {
        for n in 0..<100 {
            let name = "s\(n)"
            let found = Array(name.utf8).withUnsafeBytes { key in
                var partitioner = Partitioner()
                return partitioner.partition(key: key, of: 2)
            }
            if found == partition { return name }
        }
        preconditionFailure("one of a hundred keys lies in each of two partitions")
    }

    @Test func `the key may not differ`() {
        var other = Self.v(0, 1)
        other.subject = "bob"
        #expect(Self.said(replay: [Self.v(0, 1)], log: [other]).counts.different == 1)
    }

    @Test func `findings name the verdict, its place and its epochs, and are the same ones in every run`() {
        let replay = (0..<50).map { Self.v(Int64($0 / 10), $0) }
        let (counts, findings) = Self.said(replay: replay, log: [Self.v(7, 49), Self.v(0, 3), Self.v(0, 3)])
        #expect(counts.missing == 49 && findings.count == 20)
        #expect(
            findings.first { $0.verdict == replay[49].id }?.reason
                == "different: the log holds it at weir.verdicts/0/0 under epoch 7, the replay gives it in epoch 4"
        )
        #expect(
            findings.first { $0.verdict == replay[3].id }?.reason
                == "repeated: again at weir.verdicts/0/2 under epoch 0"
        )
        let missing = findings.filter { $0.reason.hasPrefix("missing") }.map(\.verdict)
        #expect(missing == replay.map(\.id).filter { $0 != replay[3].id }.prefix(18).map { $0 })
        #expect(findings.first?.reason == "missing: the replay gives it in epoch 0, the log does not hold it")
    }
}
