import Glibc
import Testing

@testable import Pipeline

/// What a disk can do to an embedded log: nothing that was committed is lost, and nothing that was not is seen.
@Suite struct LogsEmbeddedDiskTests {
    private let folder = TemporaryFolder()
    private var path: String { folder.file("weir.db") }
    private static let events = TopicPartition("events", 0)
    private static let input = TopicPartition("in", 0)

    private func content(of path: String) -> [UInt8] {
        let descriptor = open(path, O_RDONLY)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while case let got = read(descriptor, &chunk, chunk.count), got > 0 { all += chunk.prefix(got) }
        return all
    }

    private func write(_ bytes: [UInt8], to path: String) {
        let output = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        defer { close(output) }
        #expect(Glibc.write(output, bytes, bytes.count) == bytes.count)
    }

    private static func batch(_ range: Range<Int>) -> OutputBatch {
        var batch = OutputBatch(topics: ["events"])
        for i in range { batch.add(0, key: nil, value: "record \(i) " + String(repeating: "x", count: 400)) }
        return batch
    }

    private static func position(_ next: Int) -> [SourcePosition] { [SourcePosition(source: input, next: Int64(next))] }

    /// What a log holds, which must be whole commits.
    private static func count(_ log: EmbeddedLog) throws -> Int {
        let records = try readAll(log, events)
        #expect(records.map(\.offset) == (0..<Int64(records.count)).map { $0 })
        let texts = records.map { String(decoding: ($0.value ?? []).prefix(12), as: UTF8.self) }
        #expect(texts == records.indices.map { String("record \($0) xxxxxxxx".prefix(12)) })
        #expect(try log.committedPositions(of: [input]) == position(records.count))
        return records.count
    }

    @Test func `power that fails at any page of a checkpoint loses no commit`() throws {
        let log = try EmbeddedLog(path: path, application: "shop")
        try log.create([TopicRequirement(name: "events", partitions: 1)])
        let writer = try log.takeOwnership()
        for i in 0..<20 { try writer.commit(Self.batch(i * 20..<i * 20 + 20), positions: Self.position(i * 20 + 20)) }
        let (before, ahead) = (content(of: path), content(of: path + "-wal"))
        // The last one to close moves everything into the file.
        log.close()
        let after = content(of: path)
        #expect(after.count > before.count && ahead.count > 16384)
        let copy = folder.file("copy.db")
        var torn = 0
        for at in stride(from: 0, through: after.count, by: 8192) {
            write(Array(after.prefix(at)) + before.dropFirst(at), to: copy)
            write(ahead, to: copy + "-wal")
            unlink(copy + "-shm")
            let found = try EmbeddedLog(path: copy, application: "shop")
            #expect(try Self.count(found) == 400, "\(at) of \(after.count)")
            // And work goes on.
            try found.takeOwnership().commit(Self.batch(400..<401), positions: Self.position(401))
            #expect(try Self.count(found) == 401)
            found.close()
            torn += 1
        }
        #expect(torn > 20, "\(torn)")
    }

    @Test
    func
        `a disk that is full at any page of a commit leaves nothing of it, and the same batch is taken when there is room`()
        throws
    {
        let log = try EmbeddedLog(path: path, application: "shop")
        try log.create([TopicRequirement(name: "events", partitions: 1)])
        let writer = try #require(try log.takeOwnership() as? EmbeddedWriter)
        var done = 0
        var refused = 0
        func pages() throws -> Int64 { try writer.file.open().integer("PRAGMA page_count") }
        for _ in 0..<6 {
            var room: Int64 = 0
            while true {
                try writer.file.open().execute("PRAGMA max_page_count = \(try pages() + room)")
                let error = logError {
                    try writer.commit(Self.batch(done..<done + 120), positions: Self.position(done + 120))
                }
                guard let error else { break }
                #expect(error.kind == .transient && error.message.contains("full"), "\(error)")
                if done > 0 { #expect(try Self.count(log) == done) }
                refused += 1
                room += 1
            }
            done += 120
            #expect(try Self.count(log) == done)
        }
        #expect(refused > 6, "\(refused)")
    }

    /// An operator who copies the one file, or removes what lies beside it.
    @Test func `a lost write-ahead log takes inputs, journal and verdicts back together, and work goes on`() throws {
        let deployment = try WorkerTopology.standard.get()
        var sent = 0
        func send(_ log: EmbeddedLog, _ count: Int) throws {
            for _ in 0..<count {
                sent += 1
                let time = 1_767_600_000_000 + Int64(sent) * 1000
                var value = bytes("{\"id\":\"o\(sent)\",\"ts\":\(time),\"account\":\"a\(sent % 7)\",\"amount\":3.50}")
                try value.withUnsafeMutableBufferPointer { buffer in
                    _ = try log.append(topic: "orders", key: nil, value: UnsafeRawBufferPointer(buffer))
                }
            }
        }
        func run(_ log: EmbeddedLog) throws {
            var options = WorkerOptions()
            options.epochRecords = 20
            let worker = Worker(deployment, log: log, threads: 1, options: options)
            try worker.run { worker.isReady }
        }
        func ends(_ log: EmbeddedLog) throws -> [Int64] {
            try
                (["orders", OutputTopics.journal].map { TopicPartition($0, 0) }
                + (0..<4).map { TopicPartition(OutputTopics.verdicts, $0) }).map { try log.bounds(of: $0).end }
        }
        let log = try EmbeddedLog(path: path, application: "weir-world")
        try log.create(WorkerWorld.topics.map { TopicRequirement(name: $0, partitions: 1) })
        try send(log, 100)
        try run(log)
        log.close()
        let second = try EmbeddedLog(path: path, application: "weir-world")
        let before = try ends(second)
        try send(second, 100)
        try run(second)
        #expect(try zip(ends(second), before).allSatisfy { $0 >= $1 } && ends(second) != before)
        let copy = folder.file("copy.db")
        write(content(of: path), to: copy)
        second.close()

        let left = try EmbeddedLog(path: copy, application: "weir-world")
        #expect(try ends(left) == before, "what was moved into the file, and nothing of what was not")
        try send(left, 30)
        try run(left)
        let audit = try JournalAudit(deployment, log: left, threads: 1).run { _ in true }
        #expect(audit.isClean && audit.inputs == 130 && audit.verdicts == 130, "\(audit)")
        left.close()
    }
}
