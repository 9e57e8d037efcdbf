import Glibc
import Testing

@testable import Pipeline

@Suite struct LogsEmbedded {
    private let folder = TemporaryFolder()
    private var path: String { folder.file("weir.db") }

    private func copy(_ from: String, to: String) throws {
        let input = open(from, O_RDONLY)
        guard input >= 0 else { return }
        let output = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        defer {
            close(input)
            close(output)
        }
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let got = read(input, &chunk, chunk.count)
            if got <= 0 { return }
            #expect(Glibc.write(output, chunk, got) == got)
        }
    }

    private func write(_ bytes: [UInt8], to path: String, at offset: off_t? = nil) {
        let output = open(path, O_WRONLY | O_CREAT | (offset == nil ? O_TRUNC : 0), 0o644)
        defer { close(output) }
        if let offset { lseek(output, offset, SEEK_SET) }
        _ = Glibc.write(output, bytes, bytes.count)
    }

    private func size(of path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    /// A log with one committed batch of a thousand records in `events`, still open.
    private func filled() throws -> EmbeddedLog {
        let log = try EmbeddedLog(path: path, application: "shop")
        try log.create([TopicRequirement(name: "events", partitions: 1)])
        try log.takeOwnership().commit(
            batch(0..<1000),
            positions: [SourcePosition(source: TopicPartition("in", 0), next: 1000)]
        )
        return log
    }

    private func batch(_ range: Range<Int>) -> OutputBatch {
        var batch = OutputBatch(topics: ["events"])
        for i in range { batch.add(0, key: nil, value: "record \(i) " + String(repeating: "x", count: 200)) }
        return batch
    }

    @Test func `a new log and the files beside it are their owner's alone, and one that was shared stays so`() throws {
        func modes() -> [String: mode_t] {
            var found: [String: mode_t] = [:]
            for suffix in ["", "-wal", "-shm", "-turn"] {
                var status = stat()
                if stat(path + suffix, &status) == 0 { found[suffix] = status.st_mode & 0o777 }
            }
            return found
        }
        do {
            let log = try filled()
            defer { log.close() }
            #expect(modes() == ["": 0o600, "-wal": 0o600, "-shm": 0o600, "-turn": 0o600])
        }
        for name in modes().keys where !name.isEmpty { unlink(path + name) }
        chmod(path, 0o640)
        let log = try EmbeddedLog(path: path, application: "shop")
        defer { log.close() }
        try log.create([TopicRequirement(name: "more", partitions: 1)])
        #expect(modes()[""] == 0o640 && modes()["-wal"] == 0o640)
    }

    @Test func `a copy taken in the middle of a transaction holds the last commit and nothing of the open one`() throws
    {
        let log = try filled()
        let copyPath = folder.file("copy.db")
        try log.transaction { () throws(LogError) in
            // Far more than the page cache holds, so that pages of the open transaction are in the write-ahead log already.
            for i in 0..<100_000 {
                var value = bytes("open \(i) " + String(repeating: "y", count: 280))
                try value.withUnsafeMutableBufferPointer { (buffer) throws(LogError) in
                    _ = try log.append(topic: "events", key: nil, value: UnsafeRawBufferPointer(buffer))
                }
            }
            try? copy(path, to: copyPath)
            try? copy(path + "-wal", to: copyPath + "-wal")
        }
        #expect(size(of: copyPath + "-wal") > 8 << 20, "the open transaction had reached the disk")
        let crashed = try EmbeddedLog(path: copyPath, application: "shop")
        #expect(try crashed.bounds(of: TopicPartition("events", 0)).end == 1000)
        #expect(try readAll(crashed, TopicPartition("events", 0)).count == 1000)
        #expect(
            try crashed.committedPositions(of: [TopicPartition("in", 0)])
                == [SourcePosition(source: TopicPartition("in", 0), next: 1000)]
        )
        // Work goes on in the copy as after a restart.
        try crashed.takeOwnership().commit(batch(1000..<1010), positions: [])
        #expect(try readAll(crashed, TopicPartition("events", 0)).map(\.offset) == (0..<1010).map { Int64($0) })
        #expect(try log.bounds(of: TopicPartition("events", 0)).end == 101_000)
    }

    @Test func `a write-ahead log torn at any byte opens with whole commits only`() throws {
        let log = try EmbeddedLog(path: path, application: "shop")
        try log.create([TopicRequirement(name: "events", partitions: 1)])
        let writer = try log.takeOwnership()
        for i in 0..<20 {
            try writer.commit(
                batch((i * 10)..<(i * 10 + 10)),
                positions: [SourcePosition(source: TopicPartition("in", 0), next: Int64(i * 10 + 10))]
            )
        }
        let whole = size(of: path + "-wal")
        let copyPath = folder.file("copy.db")
        var ends: Set<Int64> = []
        for cut in stride(from: 0, to: whole, by: 7919) {
            try copy(path, to: copyPath)
            unlink(copyPath + "-shm")
            try copy(path + "-wal", to: copyPath + "-wal")
            #expect(truncate(copyPath + "-wal", off_t(cut)) == 0)
            let torn = try EmbeddedLog(path: copyPath, application: "shop")
            guard try torn.partitions(of: "events") != nil else { continue }
            let end = try torn.bounds(of: TopicPartition("events", 0)).end
            #expect(end % 10 == 0)
            #expect(try readAll(torn, TopicPartition("events", 0)).count == Int(end))
            let position =
                try torn.committedPositions(of: [TopicPartition("in", 0)]).first?.next ?? 0
            #expect(position == end, "outputs and positions belong to the same commit")
            ends.insert(end)
            torn.close()
        }
        #expect(ends.count > 5)
    }

    @Test func `a reader in another handle sees a producer's records as they are committed`() throws {
        let producer = try EmbeddedLog(path: path)
        try producer.create([TopicRequirement(name: "events", partitions: 1)])
        let reader = try EmbeddedLog(path: path, opening: .reading)
        try reader.assign([SourcePosition(source: TopicPartition("events", 0), next: 0)])
        #expect(try drainOnce(reader) == 0)
        try producer.append(batch(0..<5))
        try reader.wait(milliseconds: 1000)
        #expect(try drainOnce(reader) == 5)
        try reader.wait(milliseconds: 5)
        #expect(try drainOnce(reader) == 0)
        // Who only reads writes nothing, though the file would let it.
        #expect(logError { try reader.append(batch(5..<7)) }?.kind == .notAuthorised)
        #expect(logError { _ = try reader.takeOwnership() }?.kind == .notAuthorised)
        // A pipeline may both append to a topic and read it.
        try producer.assign([SourcePosition(source: TopicPartition("events", 0), next: 5)])
        try producer.append(batch(5..<7))
        try producer.wait(milliseconds: 1000)
        #expect(try drainOnce(producer) == 2)
        #expect(try drainOnce(reader) == 2)
    }

    private func drainOnce(_ log: EmbeddedLog) throws -> Int {
        var count = 0
        _ = try log.poll(source: 0, limit: 100) { _ in
            count += 1
            return true
        }
        return count
    }

    @Test func `writers in two handles take turns and offsets stay consecutive`() throws {
        let one = try EmbeddedLog(path: path)
        let two = try EmbeddedLog(path: path)
        try one.create([TopicRequirement(name: "events", partitions: 1)])
        for i in 0..<20 { try (i % 2 == 0 ? one : two).append(batch(i..<(i + 3))) }
        #expect(try readAll(two, TopicPartition("events", 0)).map(\.offset) == (0..<60).map { Int64($0) })
    }

    @Test func `a writer that waits too long for another says so`() throws {
        let one = try filled()
        let two = try EmbeddedLog(path: path, patience: 50)
        var error: LogError?
        try one.transaction { () throws(LogError) in
            error = logError { try two.append(batch(0..<1)) }
        }
        #expect(error?.kind == .unreachable)
        #expect(error?.message.contains("another process") == true)
        // Who commits tries again.
        let committing = try EmbeddedLog(path: path, patience: 50).takeOwnership()
        try one.transaction { () throws(LogError) in
            error = logError { try committing.commit(batch(0..<1), positions: []) }
        }
        #expect(error?.kind == .transient)
        try two.append(batch(0..<1))
    }

    @Test func `a topic made in a transaction that failed does not exist`() throws {
        let log = try filled()
        let error = logError {
            try log.create([
                TopicRequirement(name: "made", partitions: 2), TopicRequirement(name: "bad", partitions: 0),
            ])
        }
        #expect(error?.kind == .refused)
        #expect(try log.partitions(of: "made") == nil)
        try log.create([TopicRequirement(name: "made", partitions: 3)])
        #expect(try log.partitions(of: "made") == [0, 1, 2])
    }

    @Test func `deleted records are out of range, and what is left keeps its offsets`() throws {
        let log = try filled()
        let source = TopicPartition("events", 0)
        try log.assign([SourcePosition(source: source, next: 10)])
        try log.deleteRecords(of: source, before: 400)
        #expect(try log.bounds(of: source) == (400, 1000))
        #expect(logError { _ = try log.poll(source: 0, limit: 5) { _ in true } }?.kind == .outOfRange)
        #expect(logError { try log.read(source, from: 399, to: 500) { _, _ in true } }?.kind == .outOfRange)
        try log.deleteRecords(of: source, before: 5000)
        #expect(try log.bounds(of: source) == (1000, 1000))
        try log.append(batch(0..<1))
        #expect(try readAll(log, source).map(\.offset) == [1000])
    }

    @Test func `a path that cannot be opened is told with the system's reason`() throws {
        let absent = logError { _ = try EmbeddedLog(path: folder.file("no/such/folder.db")) }
        #expect(absent?.kind == .unreachable)
        #expect(absent?.message.contains("No such file or directory") == true)
        for opening in [EmbeddedLog.Opening.createIfMissing, .reading] {
            let directory = logError { _ = try EmbeddedLog(path: folder.path, opening: opening) }
            #expect(directory?.kind == .unreachable)
            #expect(directory?.message.contains("directory") == true)
        }
        let missing = logError { _ = try EmbeddedLog(path: path, opening: .reading) }
        #expect(missing?.kind == .unreachable)
        #expect(access(path, F_OK) != 0, "a reader does not make the file")
    }

    @Test(.enabled(if: geteuid() != 0, "root may write anywhere"))
    func `a folder nobody may write in is refused`() throws {
        chmod(folder.path, 0o555)
        defer { chmod(folder.path, 0o755) }
        #expect(logError { _ = try EmbeddedLog(path: path) }?.kind == .notAuthorised)
    }

    @Test func `a file that is no database is corrupt and stays as it was`() throws {
        write(bytes(String(repeating: "not a database, just text. ", count: 100)), to: path)
        let error = logError { _ = try EmbeddedLog(path: path) }
        #expect(error?.kind == .corrupt)
        #expect(error?.message.contains(path) == true)
        #expect(size(of: path) == 2700)
    }

    @Test func `damaged pages are told as corruption, not as missing records`() throws {
        let log = try filled()
        log.close()
        for page in 6..<12 { write([UInt8](repeating: 0xff, count: 16384), to: path, at: off_t(page * 16384)) }
        let error = logError {
            let damaged = try EmbeddedLog(path: path)
            _ = try readAll(damaged, TopicPartition("events", 0))
        }
        #expect(error?.kind == .corrupt)
    }

    @Test func `a file of a newer layout is incompatible`() throws {
        let log = try filled()
        log.close()
        // user_version lies at byte 60 of the file's header, big-endian.
        write([0, 0, 0, 99], to: path, at: 60)
        let error = logError { _ = try EmbeddedLog(path: path) }
        #expect(error?.kind == .incompatible)
        #expect(error?.message.contains("layout 99") == true)
    }

    @Test func `another program's database is refused and not touched`() throws {
        let log = try filled()
        log.close()
        // application_id lies at byte 68.
        write([1, 2, 3, 4], to: path, at: 68)
        #expect(logError { _ = try EmbeddedLog(path: path) }?.kind == .refused)
    }

    @Test func `each owner of an application has a generation above all before, and fences them`() throws {
        let log = try EmbeddedLog(path: path, application: "shop")
        try log.create([TopicRequirement(name: "events", partitions: 1)])
        let first = try #require(try log.takeOwnership() as? EmbeddedWriter)
        let second = try #require(try log.takeOwnership() as? EmbeddedWriter)
        let other = try #require(
            try EmbeddedLog(path: path, application: "other").takeOwnership() as? EmbeddedWriter
        )
        #expect([first.generation, second.generation, other.generation] == [1, 2, 1])
        #expect(logError { try first.commit(batch(0..<1), positions: []) }?.kind == .fenced)
        try other.commit(batch(0..<1), positions: [])
        try second.commit(batch(1..<2), positions: [])
        #expect(try log.bounds(of: TopicPartition("events", 0)).end == 2)
    }

    @Test func `a writer commits on its own thread while the log goes on reading`() throws {
        let log = try filled()
        let source = TopicPartition("events", 0)
        try log.assign([SourcePosition(source: source, next: 0)])
        // Handed over whole: this thread does not touch it again.
        nonisolated(unsafe) let writer = try log.takeOwnership()
        let committing = Thread {
            for i in 0..<100 {
                var one = OutputBatch(topics: ["events"])
                one.add(0, key: nil, value: "committed \(i)")
                try? writer.commit(one, positions: [SourcePosition(source: source, next: Int64(i))])
            }
        }
        var seen: [Int64] = []
        while seen.count < 1100 {
            _ = try log.poll(source: 0, limit: 100) {
                seen.append($0.offset)
                return true
            }
            #expect(try log.bounds(of: source).end >= Int64(seen.count))
            try log.wait(milliseconds: 10)
        }
        committing.join()
        #expect(seen == (0..<1100).map { Int64($0) })
    }

    @Test func `the write-ahead log stays small while writers keep writing`() throws {
        let logs = [try filled(), try EmbeddedLog(path: path)]
        let value = [UInt8](repeating: 0x61, count: 5 << 20)
        for i in 0..<40 {
            var batch = OutputBatch(topics: ["events"])
            batch.append(topic: 0, key: nil, value: { $0 += value })
            try logs[i % 2].append(batch)
            #expect(size(of: path + "-wal") < 80 << 20)
        }
        #expect(size(of: path) > 120 << 20, "most of it has moved into the file")
        #expect(try logs[0].bounds(of: TopicPartition("events", 0)).end == 1040)
    }

    @Test func `a message of 10 MB comes back whole`() throws {
        let log = try filled()
        let big = (0..<(10 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        var batch = OutputBatch(topics: ["events"])
        batch.append(topic: 0, key: nil, value: { $0 += big })
        try log.append(batch)
        try log.assign([SourcePosition(source: TopicPartition("events", 0), next: 1000)])
        var isSame = false
        let next = try log.poll(source: 0, limit: 10) {
            isSame = $0.value.map { $0.elementsEqual(big) } ?? false
            return true
        }
        #expect(next == 1001)
        #expect(isSame)
    }

    @Test func `a pipeline takes its turn beside a producer that never rests`() throws {
        let log = try filled()
        let source = TopicPartition("events", 0)
        // The producer's transactions follow one another without a pause; ten commits must still come through.
        let path = path
        let producer = Thread {
            guard let log = try? EmbeddedLog(path: path) else { return }
            var batch = OutputBatch(topics: ["events"])
            for i in 0..<100 { batch.add(0, key: nil, value: "produced \(i)") }
            for _ in 0..<200 { try? log.append(batch) }
        }
        let writer = try log.takeOwnership()
        for i in 0..<10 {
            try writer.commit(batch(i..<(i + 1)), positions: [SourcePosition(source: source, next: Int64(i))])
        }
        producer.join()
        #expect(try log.bounds(of: source).end == 1000 + 20_000 + 10)
        #expect(try readAll(log, source).map(\.offset) == (0..<21_010).map { Int64($0) })
    }

    @Test func `one append gives its offset, partition and headers back`() throws {
        let log = try EmbeddedLog(path: path)
        try log.create([TopicRequirement(name: "events", partitions: 2)])
        let value = bytes("v")
        try value.withUnsafeBufferPointer { (buffer) throws(LogError) in
            let value = UnsafeRawBufferPointer(buffer)
            let first = try log.append(
                topic: "events",
                partition: 1,
                key: nil,
                value: value,
                headers: [("h", bytes("1"))]
            )
            let second = try log.append(topic: "events", partition: 1, key: value, value: nil)
            #expect([first, second] == [0, 1])
        }
        let copies = try readAll(log, TopicPartition("events", 1))
        #expect(copies.map(\.headers) == [["h=1"], []])
        #expect(copies.map(\.value) == [bytes("v"), nil])
        #expect(logError { try log.append(topic: "none", key: nil, value: nil) }?.kind == .refused)
    }
}

/// A thread that is joined; the test needs real simultaneity, not cooperation.
private final class Thread {
    private var handle = pthread_t()

    init(_ body: @escaping @Sendable () -> Void) {
        final class Box: Sendable {
            let body: @Sendable () -> Void
            init(_ body: @escaping @Sendable () -> Void) { self.body = body }
        }
        // The thread takes over the retained box and releases it.
        let context = Unmanaged.passRetained(Box(body)).toOpaque()
        pthread_create(
            &handle,
            nil,
            { context in
                guard let context else { return nil }
                Unmanaged<Box>.fromOpaque(context).takeRetainedValue().body()
                return nil
            },
            context
        )
    }

    func join() { pthread_join(handle, nil) }
}
