import Foundation
import Testing

@testable import Pipeline

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsAuditTests {
    private struct Answer: Decodable, Equatable {
        var epochs: Int64
        var inputs: Int64
        var verdicts: Int64
        var revisions: Int64
        var missing: Int64
        var repeated: Int64
        var different: Int64
        var expired: Int64
        var otherKeyEpochs: Int64
        var otherKeyDifferences: Int64
        var otherEngineEpochs: Int64
        var otherEngineDifferences: Int64
        var otherReleaseEpochs: Int64
        var notCompared: Int64
        var unprovenEpochs: Int64
        var otherwiseJudgedEpochs: Int64
    }

    private func audit(
        _ path: String,
        topology: String = Commands.topology("marketplace"),
        releases: [String] = [],
        flags: [String] = []
    ) throws -> (result: WeirProgram.Result, answer: Answer?) {
        let result = try WeirProgram.run(
            try #require(WeirProgram.path),
            ["audit", "--topology", topology, "--log", path, "--json"] + releases.flatMap { ["--release", $0] } + flags
        )
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return (result, try? decoder.decode(Answer.self, from: Data(result.output.utf8)))
    }

    @Test func `what a pipeline wrote is what the replay gives`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder)
        let (result, answer) = try audit(path)
        #expect(result.code == 0, "\(result.errors)")
        let found = try #require(answer)
        #expect(found.epochs > 1 && found.inputs == 20_000 && found.verdicts > 50)
        #expect(found.missing == 0 && found.repeated == 0 && found.different == 0)

        // The pipeline goes on after a restart; the audit does not mind.
        _ = try Commands.weir("simulate", "--events", "3000", "--seed", "4", "--log", path)
        try Commands.judge(path, with: Commands.topology("marketplace"))
        let later = try audit(path)
        #expect(later.result.code == 0, "\(later.result.errors)")
        #expect(later.answer?.inputs == 23_000)
    }

    @Test func `each kind of wrong verdict is counted, named and ends with 7`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder)
        let clean = try #require(try audit(path).answer)
        do {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            let verdicts = try Commands.records(log, OutputTopics.verdicts)
            let first = verdicts[0]
            let second = verdicts.first { $0.source != first.source } ?? verdicts[1]
            // The one at the beginning of a partition is gone.
            try log.deleteRecords(of: first.source, before: first.offset + 1)
            // One is there twice, one stands at the end, one is about an event that gave no verdict, one is no verdict at all.
            try Commands.append(
                log,
                OutputTopics.verdicts,
                key: second.key,
                value: second.value ?? [],
                headers: second.headers
            )
            try Commands.append(log, OutputTopics.verdicts, key: nil, value: Array("hello".utf8))
            var stranger = String(decoding: second.value ?? [], as: UTF8.self)
            stranger = stranger.replacingOccurrences(
                of: "{\"verdict_id\":\"",
                with: "{\"verdict_id\":\"00000000-0000-0000-0000-000000000000"
            )
            let id = stranger.index(stranger.startIndex, offsetBy: 51)
            stranger.removeSubrange(id..<stranger.index(id, offsetBy: 36))
            try Commands.append(
                log,
                OutputTopics.verdicts,
                key: second.key,
                value: Array(stranger.utf8),
                headers: second.headers
            )
            // The same one again, as if a later epoch had given it.
            try Commands.append(
                log,
                OutputTopics.verdicts,
                key: second.key,
                value: second.value ?? [],
                headers: second.headers.map {
                    $0.0 == "ce_epoch" ? ($0.0, Array((clean.epochs - 1).description.utf8)) : $0
                }
            )
            try Commands.append(
                log,
                OutputTopics.verdicts,
                key: first.key,
                value: first.value ?? [],
                headers: first.headers
            )
        }
        let (result, answer) = try audit(path)
        #expect(result.code == 7)
        #expect(
            answer
                == Answer(
                    epochs: clean.epochs,
                    inputs: clean.inputs,
                    verdicts: clean.verdicts + 4,
                    revisions: 0,
                    missing: 0,
                    repeated: 1,
                    different: 3,
                    expired: 0,
                    otherKeyEpochs: 0,
                    otherKeyDifferences: 0,
                    otherEngineEpochs: 0,
                    otherEngineDifferences: 0,
                    otherReleaseEpochs: 0,
                    notCompared: 0,
                    unprovenEpochs: 0,
                    otherwiseJudgedEpochs: 0
                )
        )
        #expect(result.errors.contains("00000000-0000-0000-0000-000000000000"))
        #expect(result.errors.contains("under epoch \(clean.epochs - 1), the replay gives it in epoch "))
        #expect(result.errors.contains("is no verdict"))
        #expect(result.errors.contains("deleted by retention"))
    }

    @Test func `a tombstone that ends what a broker left open is no difference, any other is one`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder)
        func append(tombstone key: String) throws {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            _ = try Array(key.utf8).withUnsafeBytes {
                try log.append(topic: OutputTopics.verdicts, key: $0, value: nil)
            }
        }
        let clean = try #require(try audit(path).answer)
        try append(tombstone: "settle")
        let settled = try audit(path)
        #expect(settled.result.code == 0 && settled.answer == clean, "\(settled.result)")
        try append(tombstone: "a-customer")
        let (result, answer) = try audit(path)
        #expect(result.code == 7 && answer?.different == 1 && answer?.verdicts == clean.verdicts + 1, "\(result)")
    }

    @Test func `under another hash key than the run's what full tables forgot is no corruption`() throws {
        let folder = try Commands.Folder()
        let topology = folder.path("crowd")
        try FileManager.default.createDirectory(atPath: topology + "/rules", withIntermediateDirectories: true)
        _ = try folder.write(
            "crowd/topology.yaml",
            """
            topology: crowd
            limits: { keys: 1024 }
            events:
              order:
                topic: orders
                time: ts
                subject: account
                fields:
                  ts: { type: timestamp, format: ms }
                  account: { type: string, entity: account, required: true }
            """
        )
        _ = try folder.write(
            "crowd/rules/again.weir",
            """
            rule again "Came again" {
              owner "test"  severity low
              on order
              let orders = count() of order by account over 1h
              when orders >= 2
              then tag "again"
              because "{orders} orders"
            }
            """
        )
        let path = folder.path("shop.db")
        var keys: [String] = []
        for (name, digit) in [("ours", "1"), ("theirs", "2")] {
            keys.append(try folder.write(name, String(repeating: digit, count: 32) + "\n"))
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: keys[keys.count - 1])
        }
        do {
            let log = try EmbeddedLog(path: path, application: "weir-crowd")
            defer { log.close() }
            try log.create([TopicRequirement(name: "orders", partitions: 1)])
            var batch = OutputBatch(topics: ["orders"])
            for n in 0..<4000 {
                batch.append(
                    topic: 0,
                    key: nil,
                    value: { $0 += Array("{\"ts\":\(1_767_600_000_000 + n),\"account\":\"a\(n % 1500)\"}".utf8) }
                )
            }
            try log.append(batch)
            let key = try HashKeyFile(path: keys[0]).read()
            let worker = Worker(try Deployment(folder: topology, hashKey: key), log: log, threads: 1)
            try worker.run { worker.isReady }
        }
        let same = try audit(path, topology: topology, flags: ["--hash-key-file", keys[0]])
        #expect(same.result.code == 0 && same.answer?.otherKeyEpochs == 0, "\(same.result)")
        let (result, answer) = try audit(path, topology: topology, flags: ["--hash-key-file", keys[1]])
        let found = try #require(answer, "\(result)")
        #expect(result.code == 8 && found.otherKeyEpochs == found.epochs && found.missing > 0)
        #expect(found.otherKeyDifferences == found.missing + found.different)
        #expect(result.errors.contains("audit again with the run's key file") && !result.errors.contains("who else"))

        // With a difference that no key explains it is what it always was.
        do {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            try Commands.append(log, OutputTopics.verdicts, key: nil, value: Array("hello".utf8))
        }
        let damaged = try audit(path, topology: topology, flags: ["--hash-key-file", keys[1]])
        #expect(damaged.result.code == 7 && damaged.result.errors.contains("find out who else"), "\(damaged.result)")
    }

    @Test func `missing, changed and expired verdicts are told apart`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder)
        do {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            let verdicts = try Commands.records(log, OutputTopics.verdicts)
            let ones = verdicts.filter { $0.source == verdicts[0].source }
            // All are written again, but the first, which retention took, and the fourth.
            try log.deleteRecords(of: ones[0].source, before: try log.bounds(of: ones[0].source).end)
            for (n, one) in ones.enumerated() where n != 0 && n != 3 {
                var headers = one.headers
                if n == 1 {
                    for i in headers.indices where headers[i].0 == "ce_source" {
                        headers[i].1 = Array("somebody else".utf8)
                    }
                }
                try Commands.append(
                    log,
                    OutputTopics.verdicts,
                    partition: one.source.partition,
                    key: one.key,
                    value: one.value ?? [],
                    headers: headers
                )
            }
        }
        let (result, answer) = try audit(path)
        #expect(
            result.code == 7 && answer?.missing == 1 && answer?.different == 1 && answer?.repeated == 0
                && answer?.expired == 1,
            "\(result)"
        )
    }

    @Test func `what retention took of the verdicts is no fault`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder)
        let clean = try #require(try audit(path).answer)
        var gone: Int64 = 0
        do {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            for partition in try log.partitions(of: OutputTopics.verdicts) ?? [] {
                let source = TopicPartition(OutputTopics.verdicts, partition)
                let (start, end) = try log.bounds(of: source)
                // Half of each, and one to its end.
                let kept = partition == 0 ? end : start + (end - start) / 2
                try log.deleteRecords(of: source, before: kept)
                gone += kept - start
            }
        }
        let (result, answer) = try audit(path)
        #expect(result.code == 0, "\(result)")
        #expect(answer?.expired == gone && answer?.missing == 0 && answer?.verdicts == clean.verdicts - gone)
        #expect(result.errors.contains("deleted by retention"))
    }

    @Test func `of many missing verdicts every run names the same ones`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder)
        var gone: [String] = []
        do {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            var first: [TopicPartition: Commands.Stored] = [:]
            for record in try Commands.records(log, OutputTopics.verdicts) {
                if first[record.source] == nil {
                    first[record.source] = record
                    continue
                }
                // {"verdict_id":"…36 characters…"
                gone.append(String(decoding: (record.value ?? []).dropFirst(15).prefix(36), as: UTF8.self))
            }
            // The first of each partition is written again: what came behind it did not expire.
            for (source, record) in first {
                try log.deleteRecords(of: source, before: try log.bounds(of: source).end)
                try Commands.append(
                    log,
                    OutputTopics.verdicts,
                    partition: source.partition,
                    key: record.key,
                    value: record.value ?? [],
                    headers: record.headers
                )
            }
        }
        let (result, answer) = try audit(path)
        #expect(result.code == 7 && answer?.missing == Int64(gone.count) && gone.count > 100)
        let named = result.errors.split(separator: "\n").filter { $0.contains("missing: the replay") }.map {
            String($0.trimmingPrefix("  ").prefix(36))
        }
        #expect(named == Array(gone.sorted().prefix(20)))
        #expect(result.errors.contains("… and \(gone.count - 20) more"))
    }

    /// A copy of the marketplace with another text in one of its rules' files.
    private func changed(_ folder: Commands.Folder, _ name: String, _ old: String, _ new: String) throws -> String {
        let copy = folder.path(name)
        try FileManager.default.copyItem(atPath: Commands.topology("marketplace"), toPath: copy)
        let rule = "\(copy)/rules/account_integrity.weir"
        let text = try String(contentsOfFile: rule, encoding: .utf8)
        try #require(text.contains(old))
        try Data(text.replacingOccurrences(of: old, with: new).utf8).write(to: URL(fileURLWithPath: rule))
        return copy
    }

    @Test func `other rules than the journal's end with 8 and the digest that is wanted`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder, events: 2000)
        let copy = try changed(folder, "changed", "severity high", "severity low")
        let (result, _) = try audit(path, topology: copy)
        let deployment = try Deployment(folder: Commands.topology("marketplace"))
        #expect(result.code == 8 && result.output.isEmpty)
        #expect(result.errors.contains("release \(deployment.release.shortDigest)"), "\(result.errors)")
    }

    @Test func `rules that changed on the way are audited with the folders as they were`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder, events: 6000)
        let first = Commands.topology("marketplace")
        let second = try changed(folder, "second", "by device over 48h", "by device over 24h")
        let third = try changed(folder, "third", "score +400", "score +410")
        var events: Int64 = 6000
        for (seed, topology) in [("4", second), ("5", third), ("6", first)] {
            let made = try Commands.weir("simulate", "--events", "4000", "--seed", seed, "--log", path)
            try #require(made.code == 0, "\(made.errors)")
            try Commands.judge(path, with: topology)
            events += 4000
        }
        for (topology, releases) in [(first, [second, third]), (third, [first, second])] {
            let (result, answer) = try audit(path, topology: topology, releases: releases)
            #expect(result.code == 0 && answer?.inputs == events, "\(result.errors)")
            #expect(answer?.verdicts ?? 0 > 50)
        }
        let digests = try [second, third].map { try Deployment(folder: $0).release.shortDigest }
        let without = try audit(path, releases: [second]).result
        #expect(without.code == 0)
        #expect(
            without.errors.contains("release \(digests[1])") && !without.errors.contains(digests[0])
                && without.errors.contains("Looked in: \(first), \(second)."),
            "\(without.errors)"
        )
        let other = try audit(path, releases: [Commands.topology("quickstart")]).result
        #expect(other.code == 3 && other.errors.contains("is not the topology of"), "\(other.errors)")

        // A worker that is told of no former folder says so, and its state is the same.
        func run(_ releases: String...) throws -> WeirProgram.Result {
            let running = try RunningProgram(
                try #require(WeirProgram.path),
                ["run", "--topology", first, "--log", path] + releases.flatMap { ["--release", $0] }
            )
            #expect(running.wait { $0.errors.contains("msg=ready") }, "\(running.errors)")
            running.send(SIGTERM)
            return try running.wait()
        }
        let silent = try run(second, third)
        #expect(silent.code == 143 && !silent.errors.contains("not to be found"), "\(silent.errors)")
        // Its clean end has left a snapshot, which needs no release of the epochs that it stands for.
        let warm = try run(third)
        #expect(warm.code == 143 && !warm.errors.contains("not to be found"), "\(warm.errors)")
        #expect(warm.errors.contains("going on from a snapshot"), "\(warm.errors)")
        try FileManager.default.removeItem(atPath: path + ".snapshots")
        let warned = try run(third)
        #expect(
            warned.code == 143 && warned.errors.contains("not to be found") && warned.errors.contains(digests[0])
                && warned.errors.contains("releases=1"),
            "\(warned.errors)"
        )

        // Changed under a former release: found all the same. The last run made a key, and no epoch was judged under it.
        try FileManager.default.removeItem(atPath: path + ".hash-key")
        do {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            let verdict = try #require(try Commands.records(log, OutputTopics.verdicts).first)
            try log.deleteRecords(of: verdict.source, before: verdict.offset + 1)
            let headers = verdict.headers.map { ($0.0, $0.0 == "ce_source" ? Array("somebody else".utf8) : $0.1) }
            try Commands.append(
                log,
                OutputTopics.verdicts,
                key: verdict.key,
                value: verdict.value ?? [],
                headers: headers
            )
        }
        let (result, answer) = try audit(path, releases: [second, third])
        #expect(result.code == 7 && answer?.different == 1 && answer?.missing == 0, "\(result)")
    }

    @Test func `a journal without its beginning, and a log without one, are named`() throws {
        let folder = try Commands.Folder()
        let path = try Commands.judgedLog(folder, events: 20_000)
        do {
            let log = try EmbeddedLog(path: path)
            defer { log.close() }
            try log.deleteRecords(of: TopicPartition(OutputTopics.journal, 0), before: 1)
        }
        let cut = try audit(path).result
        #expect(cut.code == 7 && cut.errors.contains("begins with epoch 1"), "\(cut.errors)")
        let fresh = folder.path("fresh.db")
        _ = try Commands.weir("simulate", "--events", "10", "--log", fresh)
        let empty = try audit(fresh).result
        #expect(empty.code == 3 && empty.errors.contains("weir.journal"), "\(empty.errors)")
        let absent = try audit(folder.path("absent.db")).result
        #expect(absent.code == 5 && !FileManager.default.fileExists(atPath: folder.path("absent.db")))
    }
}
