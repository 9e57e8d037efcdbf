import Testing

@testable import Pipeline

@Suite struct LogStandingTests {
    private static let source = TopicPartition("orders", 0)
    private static let now: Int64 = 1_000_000_000

    private static func record(_ epoch: Int64) -> JournalRecord {
        JournalRecord(
            epoch: epoch,
            topologyName: "t",
            watermark: nil,
            ranges: [],
            counts: EpochCounts(),
            topologyDigest: "",
            releaseDigest: ""
        )
    }

    /// A look; `waited` seconds ago came the oldest record that waits.
    private static func look(
        epoch: Int64? = 5,
        committed: Int64 = 0,
        judged: Int64? = 100,
        end: Int64 = 100,
        start: Int64 = 0,
        waited: Int64? = nil,
        marksOnly: Bool = false
    ) -> LogStanding {
        let input = LogStanding.Input(
            source,
            start: start,
            end: end,
            judged: judged,
            waits: end > max(judged ?? start, start) && !marksOnly,
            oldest: waited.map { now - $0 * 1000 }
        )
        return LogStanding(
            milliseconds: now,
            newest: epoch.map(record),
            committed: epoch == nil ? nil : now - committed * 1000,
            inputs: [input]
        )
    }

    @Test func `two looks tell a worker that works from one that does not, and what cannot be told`() {
        typealias Case = (before: LogStanding, standing: LogStanding, state: LogStanding.State, why: String)
        let cases: [Case] = [
            (Self.look(), Self.look(committed: 3), .judging, "all judged a moment ago"),
            (Self.look(), Self.look(committed: 60), .judging, "all judged a minute ago"),
            (Self.look(), Self.look(committed: 61), .idle, "all judged, and nothing since"),
            (
                Self.look(), Self.look(committed: 61, end: 102, marksOnly: true), .idle,
                "only a transaction's marks wait"
            ),
            (Self.look(epoch: nil, judged: nil), Self.look(epoch: nil, judged: nil), .neverRan, "no epoch"),
            (
                Self.look(end: 150), Self.look(committed: 90, end: 150, waited: 15), .stopped,
                "nothing moves, and 15 s waited"
            ),
            (
                Self.look(end: 150), Self.look(committed: 90, end: 150, waited: 14), .unclear,
                "nothing moves, 14 s waited"
            ),
            (
                Self.look(end: 150), Self.look(committed: 90, end: 150), .stopped,
                "nothing moves, and nobody knows since when"
            ),
            (Self.look(end: 150), Self.look(epoch: 6, judged: 120, end: 160, waited: 1), .judging, "it catches up"),
            (Self.look(end: 150), Self.look(epoch: 6, judged: 120, end: 171, waited: 1), .behind, "the lag grows"),
            (
                Self.look(end: 150), Self.look(epoch: 6, judged: 120, end: 160, waited: 61), .behind,
                "a minute is too long"
            ),
            (Self.look(end: 150), Self.look(judged: 120, end: 160, waited: 60), .judging, "positions alone move"),
            (Self.look(judged: nil, end: 9), Self.look(judged: nil, end: 9, waited: 1), .unread, "nobody reads it"),
            (Self.look(), Self.look(start: 101), .lost, "deleted before it was judged"),
        ]
        for (before, standing, state, why) in cases { #expect(standing.state(since: before) == state, "\(why)") }
        #expect(Set(cases.map(\.state)) == Set(LogStanding.State.allCases), "every state is shown")
        // A second look costs seconds: it is taken where the first says too little.
        #expect(!Self.look().isOpen && !Self.look(end: 102, marksOnly: true).isOpen && Self.look(end: 150).isOpen)
        let patient = Self.look(epoch: 6, judged: 120, end: 160, waited: 61)
        #expect(patient.state(since: Self.look(end: 150), limit: 120_000) == .judging)
    }

    @Test func `a partition that is not read hides no other one that stands still`() {
        func both(_ epoch: Int64) -> LogStanding {
            var look = Self.look(epoch: epoch, end: 150, waited: 20)
            look.inputs.append(
                LogStanding.Input(TopicPartition("orders", 1), start: 0, end: 9, judged: nil, waits: true)
            )
            return look
        }
        #expect(both(5).state(since: both(5)) == .stopped)
        #expect(both(6).state(since: both(5)) == .unread)
        #expect(both(5).unread == [TopicPartition("orders", 1)] && both(5).lag == 59)
    }

    @Test func `a look at a log finds what waits, since when, and what nobody reads`() throws {
        let folder = TemporaryFolder()
        let log = try EmbeddedLog(path: folder.file("log.db"), application: "weir-t")
        defer { log.close() }
        try log.create(OutputTopics.requirements(partitions: 1) + [TopicRequirement(name: "orders", partitions: 2)])
        func append(_ topic: String, _ partition: Int32, _ text: String) throws {
            var text = text
            _ = try text.withUTF8 {
                try log.append(topic: topic, partition: partition, key: nil, value: UnsafeRawBufferPointer($0))
            }
        }
        func look() throws -> LogStanding { try LogStanding.look(at: log, topics: ["orders", "gone"], now: Self.now) }
        var found = try look()
        #expect(found.newest == nil && found.inputs.count == 2 && !found.isWaiting)
        for _ in 0..<3 { try append("orders", 0, "{}") }
        var record = Self.record(0)
        record.ranges = [.init(source: Self.source, from: 0, to: 2)]
        var bytes: [UInt8] = []
        record.write(to: &bytes)
        try append(OutputTopics.journal, 0, String(decoding: bytes, as: UTF8.self))
        found = try look()
        // No positions are committed, so the journal counts.
        #expect(found.newest?.epoch == 0 && found.committed != nil)
        #expect(found.inputs.map(\.judged) == [2, nil] && found.inputs.map(\.lag) == [1, 0])
        #expect(found.inputs[0].oldest != nil && found.unread.isEmpty)
        try append("orders", 1, "{}")
        #expect(try look().unread == [TopicPartition("orders", 1)])
        try log.deleteRecords(of: Self.source, before: 3)
        #expect(try look().inputs[0].lost == 1)
    }
}
