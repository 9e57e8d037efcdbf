import RuleLanguage
import Testing

@testable import Pipeline

@Suite struct TopologyGuessTests {
    private let folder = TemporaryFolder()

    private func guess(_ text: String, _ name: String = "orders.jsonl") throws -> TopologyGuess {
        folder.write(text, name)
        return try TopologyGuess(path: folder.file(name), threads: 1)
    }

    private func refusal(_ text: String, _ name: String = "orders.jsonl") -> String {
        do {
            return "no refusal: \(try guess(text, name).yaml)"
        } catch let error as LogError { return error.message } catch { return "\(error)" }
    }

    @Test func `a file of JSON becomes one event type with its time, id and subject`() throws {
        let records = (0..<50).map { n in
            """
            {"id":"o\(n)","ts":\(1_767_571_200_000 + n * 1000),"buyer":{"id":"a\(n % 7)","age_days":\(n)},"amount":\(n).5\(n % 2),\
            "net":{"ip":"10.0.0.\(n)"},"tags":["x"],"ok":true,"ratio":0.12345,"when":"2026-01-05T08:00:00Z","items":[{"sku":"s"}],"odd":[1],"no":\(n)}

            """
        }
        let guess = try guess(records.joined())
        #expect(
            guess.yaml == """
                # A first guess, made from a file of records: read it line by line before you rely on it.
                topology: orders
                version: 1
                events:
                  order:
                    topic: orders
                    time: ts
                    id: id
                    subject: buyer
                    fields:
                      id: string
                      ts: timestamp
                      buyer: { type: string, path: buyer.id, entity: account, personal: true }
                      buyer.age_days: int
                      amount: { type: money, scale: 2 }
                      net.ip: { type: string, entity: ip, personal: true }
                      tags: list<string>
                      ok: bool
                      ratio: double
                      when: { type: timestamp, format: rfc3339 }
                      items.sku: { type: string, path: "items[0].sku", entity: item }  # no array on the way had more elements in the sample
                      odd: { type: list<string>, coerce: [ids] }
                      "no": int

                """
        )
        #expect(guess.trial.events == 50 && guess.trial.faults.isEmpty && guess.doubts.isEmpty)
    }

    @Test func `several types in one file become event types that are told apart`() throws {
        let records = (0..<40).map { n in
            n % 4 == 0
                ? "{\"type\":\"order.placed\",\"ts\":\(1_767_571_200_000 + n),\"user_id\":\"u\(n)\",\"total\":1.5}\n"
                : "{\"type\":\"click\",\"ts\":\(1_767_571_200_000 + n),\"user_id\":\"u\(n)\",\"page\":\"p\"}\n"
        }
        let guess = try guess(records.joined(), "mixed.jsonl")
        #expect(guess.events.map(\.name).sorted() == ["click", "order_placed"])
        #expect(guess.yaml.contains("when: { type: \"order.placed\" }") && guess.trial.faults.isEmpty)
        #expect(guess.rules.contains("on click"), "the rule is about the most frequent type")
        // Types that hold the same are one.
        let alike = (0..<40).map {
            "{\"type\":\"\($0 % 2 == 0 ? "a" : "b")\",\"ts\":\(1_767_571_200_000 + $0),\"user_id\":\"u\"}\n"
        }
        #expect(try self.guess(alike.joined(), "alike.jsonl").events.count == 1)
    }

    /// A file's text, and lines of the topology it must become.
    private static let tables: [(name: String, text: String, lines: [String])] = [
        (
            "plain", "user,when,amount\nu1,2026-01-05 08:00:00,1.50\nu2,2026-01-05 08:00:01,2\n",
            ["    format: csv", "    time: when", "    subject: user", "      amount: { type: money, scale: 2 }"]
        ),
        (
            "semicolons",
            "Kunde_ID;user;Zeit;time;amount\n1;u1;x;2026-01-05T08:00:00Z;1.234,50\n2;u2;y;2026-01-05T08:00:01Z;2,5\n",
            [
                "    csv: { delimiter: \";\", decimal: \",\", thousands: \".\" }",
                "      amount: { type: money, scale: 2 }",
                "      Kunde_ID: { type: string, entity: account, personal: true }", "    subject: Kunde_ID",
            ]
        ),
        (
            "headless",
            "6,2,4,1289241911.72836\n6,5,2,1289241941.53378\n1,15,1,1289243140.39049\n4,3,7,1289245277.36975\n",
            [
                "    csv: { header: [\"c1\", \"c2\", \"c3\", \"c4\"] }", "    time: c4",
                "      c4: { type: timestamp, format: s }",
            ]
        ),
        (
            "edgelist",
            "% user, art, rate, time\n% 27980, 24071, 4211\n1,1,5,1314057600\n2,1,5,1328659200\n3,2,1,1328659201\n",
            [
                "    csv: { header: [\"user\", \"art\", \"rate\", \"time\"], comment: \"%\" }", "    subject: user",
                "      rate: int",
            ]
        ),
        (
            "blanks", "u1  1767571200  5\nu2  1767571201  6\nu1  1767571202  7\n",
            ["    csv: { delimiter: blanks, header: [\"c1\", \"c2\", \"c3\"] }", "    time: c2", "    subject: c1"]
        ),
        (
            "padded", "user, ts, qty\nu1, 1767571200000, 5\nu2, 1767571201000, 6\n",
            ["    csv: { trim: true }", "      ts: timestamp", "      qty: int"]
        ),
        (
            "early", "user,ts\nu1,29.0\nu2,1228.0\n",
            ["time: { earliest: 1970-01-01 }", "      ts: { type: timestamp, format: s }"]
        ),
        (
            "odd names", "user id,event time,on\nu1,2026-01-05 08:00:00,1\nu2,2026-01-05 08:00:01,0\n",
            [
                "    subject: user_id",
                "      user_id: { type: string, path: \"user id\", entity: account, personal: true }",
                "      \"on\": int",
            ]
        ),
    ]

    @Test func `tables are read as they are written`() throws {
        for (name, text, lines) in TopologyGuessTests.tables {
            let guess = try guess(text, "\(name).csv")
            let yaml = guess.yaml.split(separator: "\n").map(String.init)
            for line in lines { #expect(yaml.contains(line), "\(name): \(line) in\n\(guess.yaml)") }
            #expect(guess.trial.faults.isEmpty && guess.trial.events > 1, "\(name): \(guess.trial.faults)")
        }
    }

    @Test func `bytes of another encoding are found wherever they stand`() throws {
        var bytes = Array("user,ts,name\n".utf8)
        for n in 0..<900 {
            bytes += Array("u\(n),\(1_767_571_200_000 + n),".utf8) + (n == 800 ? [0xe9, 0x80] : [0x65]) + [0x0a]
        }
        folder.write("", "latin.csv", bytes: bytes)
        let guess = try TopologyGuess(path: folder.file("latin.csv"), threads: 1)
        #expect(guess.yaml.contains("csv: { encoding: windows-1252 }") && guess.trial.faults.isEmpty)
    }

    @Test func `what the beginning of a file does not tell the decoder finds`() throws {
        var text = ""
        for n in 0..<21_000 {
            let isOdd = n == 20_555
            text +=
                "{\"ts\":\(1_767_571_200_000 + n),\"user\":\"u\(n % 9)\",\"amount\":\(isOdd ? "1.23456789" : "1.5"),\"size\":\(isOdd ? "\"x\"" : "1")}\n"
        }
        let guess = try guess(text)
        #expect(
            guess.yaml.contains("      amount: double")
                && guess.yaml.contains("# size: its values are of several types"),
            "\(guess.yaml)"
        )
        #expect(guess.trial.records == 21_000 && guess.trial.faults.isEmpty)
    }

    @Test func `what is always there is required, and nothing else`() throws {
        // The account is missing in one record, and so the device is whom the events are about.
        let records = (0..<30).map { n in
            "{\"ts\":\(1_767_571_200_000 + n),\(n == 7 ? "" : "\"account\":\"a\",")\"device\":\"d\(n % 3)\"}\n"
        }
        let guess = try guess(records.joined())
        #expect(guess.events[0].subjectField == "device" && guess.trial.faults.isEmpty)
    }

    @Test func `files without a time, a subject or a record are refused, with what they are`() {
        #expect(refusal("").hasSuffix("orders.jsonl: the file is empty."))
        #expect(
            refusal("{\"user\":\"a\"}\n{\"user\":\"a\",\"ts\":1767571200000}\n").contains(
                "nothing that stands in every record of 'order' is a time: `ts` is one in 1 of 2; its paths are `user`, `ts`."
            )
        )
        #expect(refusal("{\"ts\":1767571200000,\"ok\":true}\n").contains("could name whom it is about"))
        #expect(refusal("{\n\"a\":1\n}\n").contains("go over several lines"))
        #expect(refusal("{]\n{]\n").contains("can be read"))
        #expect(refusal("a,a,ts\nx,y,1767571200000\n", "twice.csv").hasSuffix("the header names the column `a` twice."))
        #expect(refusal("PAR1xxxxxxxxxxxxxxxxxx").contains("Parquet"))
        do {
            _ = try TopologyGuess(path: "-", threads: 1)
            Issue.record("standard input cannot be read twice")
        } catch { #expect(error.message.contains("Name a file")) }
    }

    @Test func `a folder is written whole, checks, and is never written over`() throws {
        let guess = try guess("{\"ts\":1767571200000,\"user\":\"a\"}\n{\"ts\":1767571200001,\"user\":\"b\"}\n")
        try guess.write(to: folder.file("made"))
        let deployment = try Deployment(folder: folder.file("made"))
        #expect(deployment.release.rules.rules.count == 1 && deployment.release.rules.warnings.isEmpty)
        let before = FileText.names(in: folder.file("made"))
        do {
            try guess.write(to: folder.file("made"))
            Issue.record("a folder was written over")
        } catch { #expect(error.message.contains("exists already")) }
        #expect(before == ["README.md", "rules", "topology.yaml"] && FileText.names(in: folder.file("made")) == before)
    }

    @Test func `every sample of the topologies becomes a topology that reads it`() throws {
        var count = 0
        for name in FileText.names(in: "\(PackageFolder.root)/topologies") ?? [] {
            let samples = "\(PackageFolder.root)/topologies/\(name)/samples"
            for file in FileText.names(in: samples) ?? [] where !file.contains("expected") && file != "features.jsonl" {
                let guess = try TopologyGuess(path: "\(samples)/\(file)", threads: 1)
                let made = folder.file("\(name)-\(count)")
                try guess.write(to: made)
                let summary = try FileReplay(
                    Deployment(folder: made),
                    inputs: ["\(samples)/\(file)"],
                    outputs: ReplayOutputs(),
                    threads: 1
                ).run()
                #expect(summary.counts.deadLetters == 0 && summary.counts.late == 0, "\(file)\n\(guess.yaml)")
                #expect(
                    summary.counts.silent + summary.counts.verdicts == Int64(guess.trial.records)
                        && guess.trial.records > 0
                )
                count += 1
            }
        }
        #expect(count >= 8)
    }
}
