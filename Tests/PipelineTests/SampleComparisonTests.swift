import Detection
import RuleLanguage
import Testing

@testable import Pipeline

@Suite struct SampleComparisonTests {
    private let folder = TemporaryFolder()

    private func compared(_ topology: String, _ text: String, input: String? = nil) throws -> SampleComparison {
        folder.makeFolder("t")
        folder.write(topology + "rules: [all.weir]\n", "t/topology.yaml")
        folder.write("", "t/all.weir")
        folder.write(text, "in.jsonl")
        return try SampleComparison(Deployment(folder: folder.file("t")), input: input ?? folder.file("in.jsonl"))
    }

    private let order = """
        topology: shop
        events:
          order:
            topic: orders
            time: ts
            subject: account
            fields:
              ts: timestamp
              account: { type: string, entity: account }
              amount: { type: money, path: amuont }
              old: string

        """

    @Test func `declared, absent and undeclared paths are told, with lines to paste`() throws {
        let records = (0..<20).map { n in
            "{\"ts\":\(1_767_571_200_000 + n),\"account\":\"a\",\"amount\":1.5\(n < 5 ? ",\"net\":{\"ip\":\"10.0.0.1\"},\"l\":[{\"x\":1}]" : ""),\"old\":7}\n"
        }
        let found = try compared(order, records.joined())
        let event = try #require(found.events.first)
        #expect(event.records == 20 && found.strangers == 0)
        #expect(event.declared.map(\.present) == [20, 20, 0, 20])
        #expect(event.undeclared.map(\.facts.path.text) == ["amount", "net.ip", "l", "l[].x"])
        #expect(
            event.undeclared.map(\.line) == [
                "amount_2: { type: money, path: amount, scale: 2 }",
                "net.ip: { type: string, entity: ip, personal: true }", nil,
                "l.x: { type: int, path: \"l[0].x\" }  # no array on the way had more elements in the sample",
            ]
        )
        // Wrong types are for the decoder to tell.
        let faults = found.trial.faults + found.trial.damaged
        #expect(faults.map(\.code) == [.wrongType] && faults.map(\.count) == [20])
    }

    @Test func `a required path that no record has makes the file unfit, an optional one does not`() throws {
        let good = "{\"ts\":1767571200000,\"account\":\"a\"}\n"
        #expect(try compared(order, good).fits)
        let renamed = try compared(order, "{\"ts\":1767571200000,\"acount\":\"a\"}\n")
        #expect(!renamed.fits && renamed.events[0].neverThere.map(\.field.name) == ["account"])
        #expect(try compared(order, good + "{\"ts\":1767571200000}\n").fits, "once is enough")
    }

    @Test func `paths are looked for inside envelopes and in elements, and told as they are declared`() throws {
        let change = """
            topology: shop
            events:
              order:
                topic: orders
                envelope: debezium
                when: { "@source.table": orders }
                time: ts
                subject: account
                fields:
                  ts: { type: timestamp, path: "@ts_ms" }
                  account: { type: string, entity: account }

            """
        let record =
            "\"after\":{\"account\":\"a\",\"note\":\"x\"},\"source\":{\"table\":\"orders\"},\"op\":\"c\",\"ts_ms\":1767571200000}"
        for text in ["{\(record)\n", "{\"schema\":{\"type\":\"struct\"},\"payload\":{\(record)}\n"] {
            let found = try compared(change, text)
            #expect(found.fits && found.strangers == 0 && found.events[0].declared.map(\.present) == [1, 1])
            #expect(found.events[0].undeclared.map(\.line) == ["note: string"])
            #expect(found.events[0].undeclared.map(\.facts.path.text) == ["note"])
        }
        let lines = order.replacing("    time: ts\n", with: "    time: ts\n    each: lines\n")
            .replacing("path: amuont", with: "path: \"lines[].price\"")
        let found = try compared(
            lines,
            "{\"ts\":1767571200000,\"account\":\"a\",\"old\":\"x\",\"lines\":[{\"price\":1,\"sku\":\"a\"},{\"price\":2,\"sku\":\"b\"}]}\n"
        )
        #expect(
            found.events[0].undeclared.compactMap(\.line) == [
                "sku: { type: string, path: \"lines[].sku\", entity: item }"
            ]
        )
        #expect(found.fits && found.trial.events == 2 && found.events[0].declared.map(\.present) == [1, 1, 1, 1])
    }

    @Test func `no more than a thousand records are looked at`() throws {
        let good = "{\"ts\":1767571200000,\"account\":\"a\"}\n"
        let found = try compared(order, String(repeating: good, count: 1000) + "{\"late\":1}\n")
        #expect(found.trial.records == 1000 && found.trial.faults.isEmpty && found.events[0].undeclared.isEmpty)
    }

    @Test func `records are held against the event type that they are of`() throws {
        let two = """
            topology: shop
            events:
              order: { topic: orders, when: { type: order }, time: ts, subject: who, fields: { ts: timestamp, who: { type: string, entity: account }, a: int } }
              click: { topic: orders, when: { type: click }, time: ts, subject: who, fields: { ts: timestamp, who: { type: string, entity: account }, b: int } }

            """
        let line = "\"ts\":1767571200000,\"who\":\"x\",\"a\":1}\n"
        let found = try compared(
            two,
            "{\"type\":\"order\",\(line){\"type\":\"click\",\(line){\"type\":\"other\",\(line)"
        )
        #expect(found.events.map(\.records) == [1, 1] && found.strangers == 1)
        #expect(found.events.map { $0.undeclared.map(\.facts.path.text) } == [[], ["a"]])
    }

    @Test func `a file that cannot be read is refused`() throws {
        for (text, input) in [("", nil), ("x", folder.file("absent")), ("PAR1xxxxxxxxxxxxxxxx", nil)]
            as [(String, String?)]
        {
            #expect(throws: LogError.self) { _ = try compared(order, text, input: input) }
        }
    }

    @Test func `an input that names a topic nobody reads is told which there are`() {
        do {
            _ = try compared(order, "", input: "ordrs=absent.jsonl")
            Issue.record("there is no such topic")
        } catch {
            #expect(
                "\(error)".contains("reads no topic 'ordrs', as ordrs=absent.jsonl names; did you mean '"),
                "\(error)"
            )
        }
    }
}
