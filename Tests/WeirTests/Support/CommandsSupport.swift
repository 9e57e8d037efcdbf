import Foundation
import Pipeline
import Testing
import Waiting

/// What the tests of commands share: the program, the shipped topologies, a log with a past.
enum Commands {
    /// Why the suites are skipped.
    static let absence: Comment = "no weir program beside the tests and no WEIR_BINARY"

    /// The package's root.
    static let root: URL = {
        var url = URL(fileURLWithPath: #filePath)
        while url.path != "/", !FileManager.default.fileExists(atPath: url.appendingPathComponent("Package.swift").path)
        {
            url.deleteLastPathComponent()
        }
        return url
    }()

    static func topology(_ name: String) -> String { root.appendingPathComponent("topologies/\(name)").path }

    static func weir(_ arguments: String...) throws -> WeirProgram.Result {
        try WeirProgram.run(try #require(WeirProgram.path), arguments)
    }

    /// A folder that is gone when the test lets go of it.
    final class Folder {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("weir-commands-\(UUID().uuidString)")
        init() throws { try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(at: url) }

        func path(_ name: String) -> String { url.appendingPathComponent(name).path }
        func write(_ name: String, _ text: String) throws -> String {
            let target = url.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: target.deletingLastPathComponent(),
                withIntermediateDirectories: true
            )
            try Data(text.utf8).write(to: target)
            return target.path
        }
        /// Bytes written so far to an output that gets its name at the end.
        func gathered(_ name: String) -> Int {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: url.path)) ?? []
            return names.filter { $0.hasPrefix(name) && $0.hasSuffix(".tmp") }.reduce(0) { sum, name in
                let attributes = try? FileManager.default.attributesOfItem(atPath: path(name))
                return sum + (attributes?[.size] as? Int ?? 0)
            }
        }
        func text(_ name: String) throws -> String {
            String(decoding: try Data(contentsOf: url.appendingPathComponent(name)), as: UTF8.self)
        }
    }

    /// Judges everything in an embedded log with a topology, as `weir run` does, and stops.
    ///
    /// It is told to stop when all is committed: a stop that comes before drains for some seconds only.
    @discardableResult
    static func judge(_ path: String, with topology: String) throws -> EpochCounts {
        let deployment = try Deployment(folder: topology)
        let log = try EmbeddedLog(path: path, application: "weir-\(deployment.description.name)")
        defer { log.close() }
        let worker = Worker(deployment, log: log, threads: 2)
        // The log itself is the worker's while it runs.
        let reader = try EmbeddedLog(path: path, application: log.application, opening: .reading)
        defer { reader.close() }
        let sources = deployment.description.topics.map { TopicPartition($0, 0) }
        let end = ContinuousClock.now + .seconds(Waiting.limit)
        var isDone = false
        try worker.run {
            isDone = (try? isJudged(reader, sources)) ?? false
            return isDone || ContinuousClock.now > end
        }
        try #require(isDone, "\(path) is not judged to its end: \(worker.counts)")
        return worker.counts
    }

    /// Whether the log's application has committed positions at the end of every source.
    private static func isJudged(_ log: EmbeddedLog, _ sources: [TopicPartition]) throws -> Bool {
        let present = try sources.filter { try log.partitions(of: $0.topic) != nil }
        let positions = try log.committedPositions(of: present)
        return try present.allSatisfy { source in
            let (start, end) = try log.bounds(of: source)
            return end == start || positions.contains { $0.source == source && $0.next == end }
        }
    }

    /// A log with simulated traffic that the marketplace topology has judged.
    static func judgedLog(_ folder: Folder, events: Int = 20_000) throws -> String {
        let path = folder.path("shop.db")
        let made = try weir("simulate", "--events", "\(events)", "--seed", "3", "--log", path)
        try #require(made.code == 0, "\(made.errors)")
        try judge(path, with: topology("marketplace"))
        return path
    }

    /// Writes marks to the verdict topic until a program that follows it shows one: from then on it misses nothing.
    static func mark(_ log: EmbeddedLog, until running: RunningProgram) throws {
        let sees = running.wait {
            if $0.output.contains("mark") { return true }
            try? append(log, OutputTopics.verdicts, key: nil, value: Array("\"mark\"".utf8))
            return false
        }
        try #require(sees, "\(running.errors)")
    }

    /// All records of a topic: partition, key, value, headers.
    struct Stored {
        var source: TopicPartition
        var offset: Int64
        var key: [UInt8]?
        var value: [UInt8]?
        var headers: [(String, [UInt8])]
    }

    static func records(_ log: EmbeddedLog, _ topic: String) throws -> [Stored] {
        var all: [Stored] = []
        for partition in try log.partitions(of: topic) ?? [] {
            let source = TopicPartition(topic, partition)
            let (start, end) = try log.bounds(of: source)
            try log.read(source, from: start, to: end) { record, headers in
                all.append(
                    Stored(
                        source: source,
                        offset: record.offset,
                        key: record.key.map { [UInt8]($0) },
                        value: record.value.map { [UInt8]($0) },
                        headers: headers.map { ($0.0, [UInt8]($0.1)) }
                    )
                )
                return true
            }
        }
        return all
    }

    static func append(
        _ log: EmbeddedLog,
        _ topic: String,
        partition: Int32 = 0,
        key: [UInt8]?,
        value: [UInt8],
        headers: [(String, [UInt8])] = []
    ) throws {
        _ = try value.withUnsafeBytes { value in
            try (key ?? []).withUnsafeBytes {
                try log.append(
                    topic: topic,
                    partition: partition,
                    key: key == nil ? nil : $0,
                    value: value,
                    headers: headers
                )
            }
        }
    }
}
