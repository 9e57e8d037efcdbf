import Foundation
import Glibc
import Pipeline
import RuleLanguage
import Testing

@testable import weir

/// Where the hash key of a deployment is looked for.
@Suite struct HashKeyPlaceTests {
    private static func path(_ line: String, _ topology: String?, _ environment: [String: String]) throws -> String? {
        let words = line.split(separator: " ").map(String.init)
        let request = try ArgumentParser(definitions: CommandTable.definitions).parse(words)
        guard case .run(let parsed) = request else { return nil }
        return HashKeyPlace(parsed, topology: topology) { environment[$0] }?.file.path
    }

    @Test func `a flag counts more than the log, and the log more than the environment`() throws {
        let all = ["STATE_DIRECTORY": "/var/lib/weir:/other", "XDG_STATE_HOME": "/x", "HOME": "/h/a"]
        let log = "run --topology t --log shop.db"
        let kafka = "run --topology t --kafka k.properties"
        #expect(try Self.path(log + " --state /s --hash-key-file /k/key", "shop", all) == "/k/key")
        #expect(try Self.path(log + " --state /s", "shop", all) == "/s/hash-key")
        #expect(try Self.path(log, "shop", all) == "shop.db.hash-key")
        #expect(try Self.path(kafka + " --state /s", "shop", all) == "/s/hash-key")
        #expect(try Self.path(kafka, "shop", all) == "/var/lib/weir/shop/hash-key")
        var some = all
        some["STATE_DIRECTORY"] = ""
        #expect(try Self.path(kafka, "shop", some) == "/x/weir/shop/hash-key")
        some["XDG_STATE_HOME"] = nil
        #expect(try Self.path(kafka, "shop", some) == "/h/a/.local/state/weir/shop/hash-key")
        #expect(try Self.path(kafka, "shop", [:]) == nil)
        #expect(try Self.path("doctor --kafka k.properties", nil, all) == nil)
    }
}

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsHashKeyTests {
    /// Runs the topology on a log until it is ready and has judged what `write` appends, and returns what it said.
    private static func run(
        _ log: String,
        _ flags: [String] = [],
        verdicts wanted: Int,
        write: (EmbeddedLog) throws -> Void = { _ in }
    ) throws -> String {
        let running = try RunningProgram(
            try #require(WeirProgram.path),
            ["run", "--topology", Commands.topology("quickstart"), "--log", log] + flags
        )
        try #require(running.wait { $0.errors.contains("msg=ready") }, "\(running.errors)")
        let reader = try EmbeddedLog(path: log)
        defer { reader.close() }
        try write(reader)
        let isJudged = running.wait { _ in
            (try? Commands.records(reader, OutputTopics.verdicts))?.count ?? 0 >= wanted
        }
        #expect(isJudged, "\(running.errors)")
        running.send(SIGTERM)
        #expect(try running.wait().code == 143)
        return running.errors
    }

    @Test func `the key is made at the first start, named by its fingerprint, and refused when others may read it`()
        throws
    {
        let folder = try Commands.Folder()
        let log = folder.path("shop.db")
        let samples = try String(
            contentsOfFile: Commands.topology("quickstart") + "/samples/orders.jsonl",
            encoding: .utf8
        )
        let before = try Commands.weir(
            "doctor",
            "--topology",
            Commands.topology("quickstart"),
            "--log",
            log,
            "--state",
            folder.path("nowhere")
        )
        #expect(before.output.contains("none yet: weir run makes"), "\(before)")
        let first = try Self.run(log, verdicts: 1) { reader in
            for line in samples.split(separator: "\n") {
                try Commands.append(reader, "orders", key: nil, value: Array(line.utf8))
            }
        }
        let secret = try folder.text("shop.db.hash-key").trimmingCharacters(in: .newlines)
        let fingerprint = try HashKeyFile(path: log + ".hash-key").read().fingerprint
        #expect(secret.count == 32 && fingerprint.count == 16 && !secret.contains(fingerprint))
        let mode = try FileManager.default.attributesOfItem(atPath: log + ".hash-key")[.posixPermissions] as? Int
        #expect(mode == 0o600)
        #expect(first.contains("made the hash key") && first.contains("hash_key=\(fingerprint)"), "\(first)")
        #expect(!first.contains(secret))
        let reader = try EmbeddedLog(path: log, opening: .reading)
        let journal = try Commands.records(reader, OutputTopics.journal)
        reader.close()
        #expect(!journal.isEmpty)
        for record in journal {
            let text = String(decoding: record.value ?? [], as: UTF8.self)
            #expect(text.contains(#""key":"\#(fingerprint)""#) && !text.contains(secret), "\(text)")
        }

        let doctor = try Commands.weir("doctor", "--topology", Commands.topology("quickstart"), "--log", log)
        #expect(doctor.code == 0 && doctor.output.contains("\(fingerprint) in \(log).hash-key"), "\(doctor)")
        #expect(!doctor.output.contains(secret))
        let audit = try Commands.weir("audit", "--topology", Commands.topology("quickstart"), "--log", log)
        #expect(audit.code == 0 && !audit.errors.contains("hash key"), "\(audit)")

        // Another key: told, and nothing else.
        let other = try folder.write("other", "00112233445566778899aabbccddeeff\n")
        chmod(other, 0o400)
        let second = try Self.run(log, ["--hash-key-file", other], verdicts: 1)
        #expect(
            second.contains("the hash key is not that of the last epoch") && second.contains(fingerprint),
            "\(second)"
        )
        let differing = try Commands.weir(
            "doctor",
            "--topology",
            Commands.topology("quickstart"),
            "--log",
            log,
            "--hash-key-file",
            other
        )
        #expect(differing.code == 0 && differing.output.contains("judged under another key"), "\(differing)")

        let elsewhere = try Commands.weir(
            "audit",
            "--topology",
            Commands.topology("quickstart"),
            "--log",
            log,
            "--hash-key-file",
            other
        )
        #expect(elsewhere.code == 0 && elsewhere.errors.contains("were judged under another hash key (\(fingerprint))"))

        chmod(log + ".hash-key", 0o640)
        for command in ["run", "doctor", "audit"] {
            let refused = try Commands.weir(command, "--topology", Commands.topology("quickstart"), "--log", log)
            #expect(refused.code == 3, "\(refused)")
            #expect((refused.output + refused.errors).contains("chmod 600 \(log).hash-key"), "\(refused)")
        }
    }

    @Test func `a replay under a key of one's own writes the same bytes`() throws {
        let folder = try Commands.Folder()
        let key = try folder.write("key", "00112233445566778899aabbccddeeff\n")
        chmod(key, 0o600)
        let input = Commands.topology("marketplace") + "/samples/coupon_ring.jsonl"
        var outputs: [String] = []
        for flags in [[], ["--hash-key-file", key]] {
            let name = "verdicts-\(outputs.count)"
            let result = try WeirProgram.run(
                try #require(WeirProgram.path),
                [
                    "replay", "--topology", Commands.topology("marketplace"), "--input", input, "--output",
                    folder.path(name),
                ]
                    + flags
            )
            #expect(result.code == 0, "\(result)")
            outputs.append(try folder.text(name))
        }
        #expect(outputs[0].count > 1000 && outputs[0] == outputs[1])
        let absent = try Commands.weir(
            "replay",
            "--topology",
            Commands.topology("marketplace"),
            "--input",
            input,
            "--hash-key-file",
            folder.path("absent")
        )
        #expect(absent.code == 3 && absent.errors.contains("the hash key cannot be read"), "\(absent)")
    }
}
