import Foundation
import Pipeline
import Testing

@testable import weir

/// `weir state` as who looks after a deployment uses it.
@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsStateTests {
    private let topology = Commands.topology("quickstart")

    /// A log whose worker has left snapshots of some epochs, and their epochs, the newest first.
    private func kept(_ folder: Commands.Folder) throws -> (log: String, epochs: [Int64]) {
        let log = folder.path("shop.db")
        let samples = try String(contentsOfFile: topology + "/samples/orders.jsonl", encoding: .utf8)
            .split(separator: "\n")
        for part in [0..<2, 2..<4, 4..<samples.count] {
            let running = try RunningProgram(
                try #require(WeirProgram.path),
                ["run", "--topology", topology, "--log", log]
            )
            try #require(running.wait { $0.errors.contains("msg=ready") }, "\(running.errors)")
            let reader = try EmbeddedLog(path: log)
            defer { reader.close() }
            for line in samples[part] { try Commands.append(reader, "orders", key: nil, value: Array(line.utf8)) }
            let source = TopicPartition("orders", 0)
            let end = try reader.bounds(of: source).end
            #expect(
                running.wait { _ in
                    (try? EmbeddedLog(path: log, application: "weir-quickstart", opening: .reading))
                        .flatMap { log in
                            defer { log.close() }
                            return try? log.committedPositions(of: [source]).contains { $0.next == end }
                        } ?? false
                },
                "\(running.errors)"
            )
            running.send(SIGTERM)
            #expect(try running.wait().code == 143)
        }
        return (log, try SnapshotShelf(folder: log + ".snapshots").entries().map(\.epoch))
    }

    private func state(_ words: String...) throws -> WeirProgram.Result {
        try WeirProgram.run(try #require(WeirProgram.path), ["state"] + words)
    }

    @Test func `snapshots are listed, proven by a replay, found damaged, and an older one is started from`() throws {
        let folder = try Commands.Folder()
        let (log, epochs) = try kept(folder)
        try #require(epochs.count == 3)
        let list = try state("ls", "--log", log)
        #expect(
            list.code == 0 && list.output.contains("epoch \(epochs[0])  ") && list.output.contains("whole"),
            "\(list)"
        )
        #expect(list.output.contains("orders/0 up to offset"), "\(list)")
        let lines = try state("ls", "--log", log, "--json").output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(lines.map { $0["epoch"] as? Int64 } == epochs)
        for line in lines {
            #expect(line["whole"] as? Bool == true && line["topology_name"] as? String == "quickstart", "\(line)")
            #expect((line["bytes"] as? Int ?? 0) > 1000 && line["aside"] as? Bool == false && line["reason"] is NSNull)
        }

        let whole = try state("verify", "--topology", topology, "--log", log)
        #expect(whole.code == 0, "\(whole)")
        #expect(
            whole.output.split(separator: "\n").count { $0.hasPrefix("ok ") && $0.contains("of this journal") } == 3
        )
        let digest = try state("digest", "--topology", topology, "--log", log, "--replay", "--json")
        #expect(digest.code == 0, "\(digest)")
        let proven = try #require(try JSONSerialization.jsonObject(with: Data(digest.output.utf8)) as? [String: Any])
        #expect(proven["digest"] as? String == proven["replayed"] as? String && proven["epoch"] as? Int64 == epochs[0])

        // The newest is damaged: named, and no proof of the others' fault.
        let newest = try #require(SnapshotShelf(folder: log + ".snapshots").entries().first).path
        let intact = try Data(contentsOf: URL(fileURLWithPath: newest))
        var damaged = intact
        damaged[intact.count / 2] ^= 1
        try damaged.write(to: URL(fileURLWithPath: newest))
        let found = try state("verify", "--log", log)
        #expect(
            found.code == 7 && found.output.contains(#/fail  epoch \d+  the state is (damaged|torn): section/#)
                && found.output.hasPrefix("fail  epoch \(epochs[0])"),
            "\(found)"
        )
        #expect(found.output.contains("ok    epoch \(epochs[1])"), "\(found)")
        #expect(try state("ls", "--log", log).output.contains("not whole"))
        #expect(try state("digest", "--topology", topology, "--log", log).code == 7)
        try intact.write(to: URL(fileURLWithPath: newest))

        let restored = try state("restore", "--topology", topology, "--log", log, "--epoch", "\(epochs[2])")
        #expect(restored.code == 0 && restored.output.contains("epoch \(epochs[0])  set aside"), "\(restored)")
        let running = try RunningProgram(try #require(WeirProgram.path), ["run", "--topology", topology, "--log", log])
        #expect(running.wait { $0.errors.contains("msg=ready") }, "\(running.errors)")
        running.send(SIGTERM)
        #expect(try running.wait().code == 143)
        #expect(running.errors.contains("going on from a snapshot\" epoch=\(epochs[2])"), "\(running.errors)")
        let back = try state(
            "restore",
            "--topology",
            topology,
            "--log",
            log,
            "--epoch",
            "\(epochs[1])",
            "--yes",
            "--json"
        )
        #expect(back.code == 0 && back.output.contains("\"deleted\":true"), "\(back)")
        #expect(try SnapshotShelf(folder: log + ".snapshots").entries().map(\.epoch) == [epochs[1], epochs[2]])
    }

    @Test func `what cannot be looked at is said with its exit code`() throws {
        let folder = try Commands.Folder()
        #expect(try state("ls").code == 2)
        #expect(try state("list", "--state", folder.path("x")).code == 2)
        let none = try state("ls", "--state", folder.path("x"))
        #expect(none.code == 0 && none.output.isEmpty && none.errors.contains("no snapshots in"), "\(none)")
        for action in ["verify", "digest", "restore"] {
            let empty = try state(action, "--state", folder.path("x"), "--topology", topology, "--epoch", "3")
            #expect(empty.code == 3 && empty.errors.contains("there is no snapshot of epoch 3"), "\(empty)")
        }
        #expect(try state("digest", "--state", folder.path("x")).code == 2)
        #expect(try state("restore", "--state", folder.path("x"), "--topology", topology).code == 2)
        _ = try folder.write("y/snapshots/0000000000000003.snapshot", "no snapshot at all")
        let other = try state("verify", "--state", folder.path("y"))
        #expect(other.code == 8 && other.output.contains("not a state that this version reads"), "\(other)")
        let file = try folder.write("z/snapshots", "no folder")
        let refused = try state("ls", "--state", folder.path("z"))
        #expect(refused.code == 1 && refused.errors.contains(file), "\(refused)")
    }
}
