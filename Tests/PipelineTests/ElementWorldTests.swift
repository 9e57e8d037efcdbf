import Detection
import Models
import Testing

@testable import Pipeline

/// Orders whose lines are events, as files and logs bring them, whole and cut into a record for each line.
private struct ElementWorld {
    /// - Parameter isFlat: a record is one line, beside which the order's own fields stand.
    static func deployment(isFlat: Bool = false) throws -> Deployment {
        let path = isFlat ? "line" : "lines[]"
        return try WorkerTopology.load(
            """
            topology: world
            time: { lateness: 1m, idle: 1d }
            topics: { shop: { ignore: [other_types, tombstones] } }
            events:
              line:
                topic: shop
                when: { kind: order }
                \(isFlat ? "" : "each: lines")
                time: ts
                id: id
                subject: who
                emit: all
                context: [sku, price, marks]
                dedupe: { by: [order, sku], over: 1h }
                fields:
                  id: string
                  ts: { type: timestamp, format: ms }
                  who: { type: string, entity: account }
                  order: { type: string, coerce: [ids] }
                  currency: string
                  sku: { type: string, path: "\(path).sku", entity: item, required: true }
                  price: { type: money, path: "\(path).price", currency: currency, coerce: [numbers] }
                  marks: { type: list<string>, path: "\(path).marks[].text" }
              visit:
                topic: shop
                when: { kind: visit }
                time: ts
                id: id
                subject: who
                emit: all
                fields:
                  id: string
                  ts: { type: timestamp, format: ms }
                  who: { type: string, entity: account }

            """,
            rules: """
                rule lines "Lines" {
                  owner "test"  severity low
                  on line, visit
                  let lines = count() of line by account over 1h
                  let spent = sum(price) of line by account over 10m
                  when lines >= 1
                  then review
                  because "{lines} lines, {spent}"
                }

                """
        )
    }

    /// What stands in the topic; and the same with a record for each line, by ids that each line would have.
    static func records(_ count: Int, seed: UInt64) -> (whole: [String], flat: [String]) {
        var random = SplitMix64(seed: seed)
        var now: Int64 = 1_767_600_000_000
        var (whole, flat): ([String], [String]) = ([], [])
        for n in 0..<count {
            now += Int64([0, 0, 40, 300, 900, 4000][random.below(6)])
            let who = "who\(random.below(7))"
            if random.chance(20) {
                let other = [
                    "{\"kind\":\"visit\",\"id\":\"e\(n)\",\"ts\":\(now),\"who\":\"\(who)\"}", "{\"kind\":\"x\"}", "7",
                ]
                whole.append(other[random.below(3)])
                flat.append(whole[whole.count - 1])
                continue
            }
            let lines = (0..<random.below(5)).map { _ in
                // Some without an article, some with a price that is none, and marks of all kinds.
                let sku = random.chance(8) ? "" : "\"sku\":\"s\\u0031\(random.below(4))\","
                let price = ["1.5", "\"2.25\"", "\"x\"", "7", "null"][random.below(5)]
                let marks = ["[]", "[{\"text\":\"a\"},{\"text\":\"\\u0062\"}]", "[{\"sku\":\"c\"}]", "{}"][
                    random.below(4)
                ]
                return "{\(sku)\"gift\":{\"sku\":\"no\"},\"price\":\(price), \"marks\" : \(marks)}"
            }
            // Some orders come again under another id.
            let head = "{\"kind\":\"order\",\"order\":\(n - random.below(3)),\"ts\":\(now),\"who\":\"\(who)\""
            let tail = ["\"currency\":\"EUR\"", "\"currency\":\"JPY\"", "\"note\":\"\""][random.below(3)]
            whole.append("\(head),\"id\":\"e\(n)\",\"lines\":[\(lines.joined(separator: " , "))],\(tail)}")
            for (part, line) in lines.enumerated() {
                flat.append("\(head),\"id\":\"e\(n)#\(part)\",\"line\":\(line),\(tail)}")
            }
        }
        return (whole, flat)
    }

    static func replayed(_ records: [String], _ deployment: Deployment, threads: Int = 1) throws -> Replayed {
        let folder = TemporaryFolder()
        return try withExtendedLifetime(folder) {
            folder.write(records.joined(separator: "\n") + "\n", "in.jsonl")
            return try Replayed(deployment, [folder.file("in.jsonl")], threads: threads)
        }
    }

    /// Dead letters without what tells of the file.
    static func letters(_ text: some Sequence<String>) -> [String] {
        text.map { letter in
            guard let from = letter.firstRange(of: ",\"file\":"), let to = letter.firstRange(of: ",\"line\":") else {
                return letter
            }
            return String(letter[..<from.lowerBound] + letter[to.upperBound...].drop { $0 != "," })
        }.sorted()
    }
}

@Suite struct ElementWorldTests {
    @Test(arguments: [1, 2, 4]) func `lines of orders are judged as records of one line each are`(threads: Int) throws {
        let (whole, flat) = ElementWorld.records(6000, seed: UInt64(threads))
        let together = try ElementWorld.replayed(whole, ElementWorld.deployment(), threads: threads)
        let apart = try ElementWorld.replayed(flat, ElementWorld.deployment(isFlat: true))
        #expect(together.said.difference(from: apart.said, but: ",\"versions\":") == nil)
        let (a, b) = (together.summary.counts, apart.summary.counts)
        #expect(a.events == b.events && a.deadLetters == b.deadLetters && a.duplicates == b.duplicates, "\(a) \(b)")
        #expect(a.verdicts == b.verdicts && a.records == whole.count && b.records == flat.count)
        #expect(a.ignored > b.ignored && b.ignored > 100 && a.duplicates > 1000 && a.deadLetters > 300)
        #expect(together.verdicts.contains("\"damaged\":[{\"field\":\"price\",\"code\":\"unknown_currency\"}]"))
    }

    @Test func `a record of more lines than an epoch holds is judged whole`() throws {
        var (whole, flat): ([String], [String]) = ([], [])
        for (n, count) in [3, 9000, 0, 5000, 2].enumerated() {
            let head = "{\"kind\":\"order\",\"order\":\(n),\"ts\":\(1_767_600_000_000 + n),\"who\":\"a\""
            let lines = (0..<count).map { "{\"sku\":\"s\($0)\",\"price\":1}" }
            whole.append("\(head),\"id\":\"e\(n)\",\"currency\":\"EUR\",\"lines\":[\(lines.joined(separator: ","))]}")
            for (part, line) in lines.enumerated() {
                flat.append("\(head),\"id\":\"e\(n)#\(part)\",\"currency\":\"EUR\",\"line\":\(line)}")
            }
        }
        let together = try ElementWorld.replayed(whole, ElementWorld.deployment())
        let apart = try ElementWorld.replayed(flat, ElementWorld.deployment(isFlat: true))
        #expect(together.said.difference(from: apart.said, but: ",\"versions\":") == nil)
        #expect(together.summary.counts.records == 5 && together.summary.counts.events == 14_005)
        #expect(together.summary.counts.ignored == 1 && together.summary.epochs == apart.summary.epochs)
    }

    @Test func `a worker that comes and goes on an embedded log says what a replay of the file says`() throws {
        let (whole, _) = ElementWorld.records(2500, seed: 11)
        let deployment = try ElementWorld.deployment()
        let replayed = try ElementWorld.replayed(whole, deployment)
        let run = try TickWorld.embedded(whole, deployment, seed: 3, threads: 2)
        #expect(run.verdicts.count > 3000 && run.difference(from: replayed.said) == nil)
    }

    @Test func `crashes in the middle change no verdict, no dead letter and no count, and audit finds every byte`()
        throws
    {
        for seed in UInt64(1)...5 {
            let (whole, _) = ElementWorld.records(600, seed: seed)
            let deployment = try ElementWorld.deployment()
            let replayed = try ElementWorld.replayed(whole, deployment)
            var random = SplitMix64(seed: seed)
            let store = SimulatedStore(clock: 1_767_600_000_000)
            try SimulatedLog(store).create([TopicRequirement(name: "shop", partitions: 1)])
            for record in whole { store.append(TopicPartition("shop", 0), key: nil, value: Array(record.utf8)) }
            var crashes = 0
            for session in 0..<12 {
                var faults = SimulatedFaults(seed: random.next())
                let points: [SimulatedFaults.CrashPoint] = [.afterCommit, .amidProduce, .beforeCommit, .afterPositions]
                if session < 11 { faults.crash = .init(points[random.below(4)], visit: 1 + random.below(4)) }
                var options = WorkerOptions()
                options.epochRecords = 1 + random.below(30)
                options.lingerMilliseconds = 0
                options.transactionRecords = 1 + random.below(60)
                let log = SimulatedLog(store, faults: faults)
                let worker = Worker(deployment, log: log, threads: 1 + random.below(3), options: options)
                do throws(LogError) { try worker.run { worker.isReady } } catch {
                    #expect(SimulatedLog.isCrash(error), "\(error.message)")
                    crashes += 1
                }
            }
            #expect(crashes > 3)
            func texts(_ topic: String) -> [String] {
                (Int32(0)..<8).flatMap { store.records(of: TopicPartition(topic, $0)) }.map {
                    String(decoding: $0.value ?? [], as: UTF8.self)
                }
            }
            let lines = replayed.verdicts.split(separator: "\n").map(String.init)
            #expect(texts(OutputTopics.verdicts).sorted() == lines.sorted(), "seed \(seed)")
            #expect(
                ElementWorld.letters(texts(OutputTopics.deadLetters))
                    == ElementWorld.letters(replayed.deadLetters.split(separator: "\n").map(String.init))
            )
            var counts = EpochCounts()
            for text in texts(OutputTopics.journal) {
                counts += try Array(text.utf8).withUnsafeBytes { bytes throws(LogError) in
                    try JournalRecord(parsing: bytes).counts
                }
            }
            let said = replayed.summary.counts
            #expect(counts.records == 600 && counts.records == said.records && counts.events == said.events)
            #expect(counts.ignored == said.ignored && counts.deadLetters == said.deadLetters)
            #expect(counts.duplicates == said.duplicates && counts.ignored > 50 && counts.deadLetters > 20)
            let audit = try JournalAudit(deployment, log: SimulatedLog(store, application: "audit"), threads: 1)
                .run { _ in true }
            #expect(audit.isClean && audit.verdicts == said.verdicts && audit.inputs == 600, "\(audit)")
        }
    }

    @Test func `a line that is late is set aside once for its record, with the number of each`() throws {
        let deployment = try WorkerTopology.load(
            """
            topology: world
            time: { lateness: 1s, late: set_aside, idle: 1d }
            events:
              line:
                topic: shop
                each: lines
                time: ts
                subject: who
                fields:
                  who: { type: string, entity: account }
                  ts: { type: timestamp, format: ms, path: "lines[].ts" }

            """,
            rules: ""
        )
        let team = ThreadTeam(lanes: 1)
        defer { team.stop() }
        let processor = EpochProcessor(deployment, team: team)
        let block = DecodedBlock(deployment, sources: [TopicPartition("shop", 0)], lanes: 1)
        let times = [0, 9000, 1000, 8000, 500].map { "{\"ts\":\(1_767_600_000_000 + $0)}" }.joined(separator: ",")
        for offset in 0..<2 {
            Array("{\"who\":\"a\",\"lines\":[\(times)]}".utf8).withUnsafeBytes {
                block.stage(source: 0, offset: Int64(offset), appendTime: nil, value: $0, fullLength: $0.count)
            }
        }
        block.decode(team)
        processor.process(block.events, records: 2, rejected: 0, watermark: 1_767_600_005_000)
        #expect(processor.counts.events == 4 && processor.counts.setAside == 6)
        var batch = OutputBatch(topics: OutputTopics.all)
        OutputAssembler(deployment).appendLate(processor.setAside, watermark: 1_767_600_005_000, to: &batch)
        var said: [String] = []
        try batch.withParts { (record, key, _, _) throws(LogError) in
            var parts = ""
            batch.forEachHeader(record) { name, value in
                if String(decoding: name, as: UTF8.self) == "weir_parts" {
                    parts = String(decoding: value, as: UTF8.self)
                }
            }
            said.append(String(decoding: key.map { [UInt8]($0) } ?? [], as: UTF8.self) + " " + parts)
        }
        #expect(said == ["shop/0/0 0,2,4", "shop/0/1 0,2,4"])
    }
}
