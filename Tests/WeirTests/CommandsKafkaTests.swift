import Foundation
import Glibc
import Testing
import Waiting

/// The commands together on a real broker; few, because each takes seconds.
@Suite(.enabled(if: CommandsBroker.program != nil, CommandsBroker.absence), .serialized)
struct CommandsKafkaTests {
    @Test func `simulate, run, tail, audit and doctor work together, through a kill`() throws {
        let folder = try Commands.Folder()
        let file = try folder.write(
            "k.properties",
            "bootstrap.servers=\(try CommandsBroker.plain.get())\nweir.connect.ms=20000\n"
        )
        let weir = try #require(WeirProgram.path)
        let marketplace = Commands.topology("marketplace")
        // The broker is all tests', with topics of theirs.
        let first = try Commands.weir("simulate", "--events", "20000", "--seed", "3", "--yes", "--kafka", file)
        #expect(first.code == 0, "\(first.errors)")
        let tail = try RunningProgram(weir, ["tail", "--kafka", file, "--json"])
        let run = ["run", "--topology", marketplace, "--kafka", file]
        let killed = try RunningProgram(weir, run)
        #expect(killed.wait { _ in tail.output.split(separator: "\n").count > 20 }, "\(killed.errors)")
        killed.send(SIGKILL)
        _ = try killed.wait()

        let again = try RunningProgram(weir, run)
        #expect(again.wait { $0.errors.contains("msg=ready") }, "\(again.errors)")
        let paced = try Commands.weir(
            "simulate",
            "--events",
            "3000",
            "--seed",
            "4",
            "--rate",
            "3000",
            "--yes",
            "--kafka",
            file,
            "--truth",
            folder.path("t.jsonl")
        )
        #expect(paced.code == 0)
        #expect(try folder.text("t.jsonl").split(separator: "\n").count == 3000)
        // The audit may run beside the pipeline.
        struct Answer: Decodable {
            var inputs: Int
            var verdicts: Int
            var missing: Int
        }
        func audit() throws -> Answer {
            let result = try Commands.weir("audit", "--topology", marketplace, "--kafka", file, "--json")
            #expect(result.code == 0, "\(result.output) \(result.errors)")
            return try JSONDecoder().decode(Answer.self, from: Data(result.output.utf8))
        }
        try Waiting.until { try audit().inputs == 23_000 }
        func status() throws -> WeirProgram.Result {
            try Commands.weir("status", "--topology", marketplace, "--kafka", file, "--json")
        }
        let running = try status()
        #expect(running.code == 0 && running.output.contains(#""running":true"#), "\(running)")
        #expect(running.output.contains(#""lag":0"#) && running.output.contains(#""unread_partitions":[]"#))
        again.send(SIGTERM)
        #expect(try again.wait().code == 143)

        let answer = try audit()
        #expect(answer.inputs == 23_000 && answer.verdicts > 100)
        #expect(tail.wait { $0.output.split(separator: "\n").count >= answer.verdicts })
        tail.send(SIGINT)
        let seen = try tail.wait()
        #expect(seen.code == 130 && Set(seen.output.split(separator: "\n")).count == answer.verdicts)

        let late = try RunningProgram(weir, ["tail", "--kafka", file, "--since", "1h", "--json"])
        #expect(late.wait { $0.output.split(separator: "\n").count >= answer.verdicts })
        late.send(SIGINT)
        #expect(try late.wait().output.split(separator: "\n").count == answer.verdicts)

        let doctor = try Commands.weir("doctor", "--topology", marketplace, "--kafka", file)
        #expect(doctor.code == 0 && !doctor.output.contains("\nfail"), "\(doctor.output)")
        #expect(doctor.output.contains("positions") && doctor.output.contains("without a gap"))
        // What Weir makes for input is kept for ever.
        #expect(doctor.output.contains("ok    retention"), "\(doctor.output)")

        // Nobody judges what comes now: for some seconds that cannot be told from a worker that is slow.
        let more = try Commands.weir("simulate", "--events", "100", "--seed", "5", "--yes", "--kafka", file)
        #expect(more.code == 0, "\(more.errors)")
        var stopped = try status()
        #expect([10, 11].contains(stopped.code), "\(stopped)")
        try Waiting.until {
            stopped = try status()
            return stopped.code == 10
        }
        #expect(stopped.output.contains(#""state":"stopped","running":false"#), "\(stopped)")
        #expect(
            stopped.output.contains(#""lag":100,"#) && !stopped.output.contains("\"oldest_uncommitted_seconds\":null")
        )
    }

    @Test func `run says how to make a missing input topic, and doctor which ones do not keep their records`() throws {
        let folder = try Commands.Folder()
        let servers = try CommandsBroker.plain.get()
        let file = try folder.write(
            "k.properties",
            "bootstrap.servers=\(servers)\nweir.connect.ms=20000\nisolation.level=read_uncommitted\n"
        )
        try FileManager.default.copyItem(atPath: Commands.topology("quickstart"), toPath: folder.path("shop"))
        let topology = folder.path("shop/topology.yaml")
        let text = try String(contentsOfFile: topology, encoding: .utf8)
        let topic = "kept-briefly-\(UUID().uuidString.prefix(8).lowercased())"
        try Data(
            text.replacing("topic: orders", with: "topic: \(topic)").replacing("quickstart", with: "marketplace").utf8
        )
        .write(to: URL(fileURLWithPath: topology))
        let absent = try Commands.weir("run", "--topology", folder.path("shop"), "--kafka", file)
        #expect(absent.code == 3 && absent.errors.contains("'\(topic)' does not exist on \(servers)"), "\(absent)")
        #expect(
            absent.errors.contains(
                "kafka-topics.sh --bootstrap-server \(servers) --create --topic \(topic) --partitions 4 "
                    + "--config retention.ms=-1 --config retention.bytes=-1 --config message.timestamp.type=LogAppendTime\n"
            ),
            "\(absent.errors)"
        )
        // Said before that, and once, although there are several clients.
        let replaced = absent.errors.split(separator: "\n").filter { $0.contains("property=isolation.level") }
        #expect(replaced.count == 1, "\(absent.errors)")

        func doctor() throws -> String {
            try Commands.weir("doctor", "--topology", folder.path("shop"), "--kafka", file).output
        }
        try CommandsBroker.create(topic, settings: ["retention.ms": "604800000", "retention.bytes": "1073741824"])
        let found = try doctor()
        #expect(
            found.contains("warn  retention   \(topic) deletes each 7 days after the time its producer gave it"),
            "\(found)"
        )
        #expect(found.contains("(retention.bytes=1073741824)") && !found.contains("ok    retention"), "\(found)")
        #expect(
            found.contains(
                "kafka-configs.sh --bootstrap-server \(servers) --alter --entity-type topics --entity-name \(topic) "
                    + "--add-config retention.bytes=-1,retention.ms=-1\n"
            ),
            "\(found)"
        )
        #expect(found.contains("warn  properties  isolation.level is not used"), "\(found)")
        #expect(
            found.contains("warn  time        \(topic) keeps its producers' times (message.timestamp.type=CreateTime)"),
            "\(found)"
        )
    }

    @Test func `a wrong password ends with 6 and says where to look`() throws {
        let folder = try Commands.Folder()
        let file = try folder.write(
            "k.properties",
            """
            bootstrap.servers=\(try CommandsBroker.guarded.get())
            security.protocol=SASL_PLAINTEXT
            sasl.mechanisms=PLAIN
            sasl.username=weir
            sasl.password=hunter2
            weir.connect.ms=8000

            """
        )
        let marketplace = Commands.topology("marketplace")
        for command in [
            ["run", "--topology", marketplace], ["audit", "--topology", marketplace], ["tail"],
            ["simulate", "--events", "10"], ["doctor"],
        ] {
            let result = try WeirProgram.run(try #require(WeirProgram.path), command + ["--kafka", file])
            #expect(result.code == 6, "\(command) \(result.output) \(result.errors)")
            #expect(
                (result.errors + result.output).contains("sasl.password"),
                "\(command) \(result.output) \(result.errors)"
            )
            #expect(!(result.errors + result.output).contains("hunter2"))
        }
    }

    @Test func `SCRAM with an old librdkafka is named as such`() throws {
        let folder = try Commands.Folder()
        let file = try folder.write(
            "k.properties",
            "bootstrap.servers=127.0.0.1:1\nsecurity.protocol=SASL_SSL\nsasl.mechanisms=SCRAM-SHA-256\nweir.connect.ms=300\n"
                + "sasl.username=weir\nsasl.password=x\n"
        )
        let result = try Commands.weir("tail", "--kafka", file)
        // From 2.6.1 on the mechanism works, and it is the broker that is not there.
        #expect(result.code == 8 && result.errors.contains("SCRAM") || result.code == 5, "\(result.errors)")
    }
}
