import Foundation
import Models
import Testing

@testable import Pipeline

/// What a replay makes of its files, whatever is among their events and in whatever order they are named.
@Suite struct ReplayTests {
    private let folder = TemporaryFolder()

    private func file(_ name: String, _ records: some Sequence<String>) -> String {
        folder.write(records.joined(separator: "\n") + "\n", name)
        return folder.file(name)
    }

    // MARK: Epochs

    /// Every twentieth record comes so late that what it counts for depends on where epochs end.
    private static let disordered: [String] = {
        var records = TickWorld.records(14_000, seed: 3)
        for n in stride(from: 13_000, to: 400, by: -20) {
            let record = records.remove(at: n)
            records.insert(record, at: n + 600 + n % 300)
        }
        return records
    }()

    private static func late(_ replayed: Replayed) -> Int64 {
        replayed.summary.counts.late + replayed.summary.counts.setAside
    }

    /// The records with many that are no events among them.
    private static func poisoned(_ records: [String], _ kind: String) -> [String] {
        switch kind {
        case "one in two": TickWorld.withDeadLetters(records, seed: 9)
        case "a flood": records[..<2000] + (0..<20_000).map { "no event \($0)" } + records[2000...]
        case "few good ones for long":
            records[..<600].flatMap { record in (0..<40).map { "no event \($0)" } + [record] } + records[600...]
        default: ["no event"] + records
        }
    }

    @Test(arguments: ["one at the start", "one in two", "a flood", "few good ones for long"])
    func `dead letters move no epoch, so they change nothing that is said of events out of order`(kind: String) throws {
        let deployment = try TickWorld.deployment()
        let poisoned = Self.poisoned(Self.disordered, kind)
        let clean = try Replayed(deployment, [file("clean", Self.disordered)])
        let dirty = try Replayed(deployment, [file("dirty", poisoned)], threads: 2)
        #expect(dirty.said.difference(from: clean.said) == nil)
        let bad = Int64(poisoned.count - Self.disordered.count)
        #expect(dirty.summary.counts.deadLetters == bad && clean.summary.counts.deadLetters == 0)
        #expect(Self.late(dirty) == Self.late(clean) && Self.late(clean) > 20)
        // The same of several files, of which one has them.
        func parts(_ records: [String], _ name: String, poison: String?) -> [String] {
            (0..<3).map { part in
                let own = records.enumerated().filter { ($0.offset / 500) % 3 == part }.map(\.element)
                return file("\(name)\(part)", poison.flatMap { part == 1 ? Self.poisoned(own, $0) : nil } ?? own)
            }
        }
        let apart = try Replayed(deployment, parts(Self.disordered, "clean", poison: nil))
        let mixed = try Replayed(deployment, parts(Self.disordered, "dirty", poison: kind), threads: 2)
        #expect(mixed.said.difference(from: apart.said) == nil)
        #expect(Self.late(mixed) == Self.late(apart))
    }

    @Test func `where epochs end does change it, so that the comparison can fail`() throws {
        let deployment = try TickWorld.deployment()
        let clean = try Replayed(deployment, [file("clean", Self.disordered)])
        let others = try [100, 300, 700].map {
            Self.late(try Replayed(deployment, [file("shifted", Self.disordered.dropFirst($0))]))
        }
        #expect(others.contains { $0 != Self.late(clean) }, "\(others)")
    }

    @Test func `an epoch has 4096 events, or fewer where their records are long`() throws {
        let deployment = try TickWorld.deployment()
        func epochs(_ records: [String]) throws -> Int64 {
            try Replayed(deployment, [file("in", records)]).summary.epochs
        }
        let records = Array(Self.disordered[..<9000])
        #expect(try epochs(Array(records[..<4096])) == 1)
        #expect(try epochs(Array(records[..<4097])) == 2)
        #expect(try epochs(Self.poisoned(Array(records[..<8192]), "one in two")) == 2)
        #expect(try epochs(records) == 3)
        let long = records[..<80].map {
            String($0.dropLast()) + ",\"x\":\"\(String(repeating: "x", count: 1_000_000))\"}"
        }
        // 16 MiB are reached with the seventeenth.
        #expect(try epochs(long) == 5)
    }

    // MARK: Files

    @Test func `in whatever order files are named, every byte is the same`() throws {
        let deployment = try TickWorld.deployment()
        let records = TickWorld.withDeadLetters(TickWorld.records(3000, seed: 4), seed: 4)
        let paths = ["d", "b", "a", "c"].enumerated().map { part, name in
            file(name, records.enumerated().filter { ($0.offset / 7) % 4 == part }.map(\.element))
        }
        var first: Replayed?
        for order in Self.permutations(paths) {
            let replayed = try Replayed(deployment, order)
            guard let wanted = first else {
                first = replayed
                continue
            }
            #expect(replayed.verdicts == wanted.verdicts)
            #expect(replayed.features == wanted.features)
            #expect(replayed.rings == wanted.rings)
            let (letters, others) = (replayed.deadLetters, wanted.deadLetters)
            #expect(Self.sorted(letters) == Self.sorted(others) && letters.contains("\"line\""))
        }
        #expect(first.map { $0.summary.counts.verdicts } == 3000)
        // Another file under the same name is another partition's, and so are its ids.
        let renamed = try Replayed(deployment, [paths[0]])
        #expect(first?.verdicts.contains(renamed.verdicts.prefix(51)) == false)
    }

    private static func permutations(_ items: [String]) -> [[String]] {
        if items.count < 2 { return [items] }
        return items.indices.flatMap { n in
            var rest = items
            let item = rest.remove(at: n)
            return permutations(rest).map { [item] + $0 }
        }
    }

    private static func sorted(_ lines: String) -> [Substring] { lines.split(separator: "\n").sorted() }

    private static let twoTopics = """
        topology: world
        events:
          order:
            topic: orders
            when: { kind: order }
            time: ts
            subject: account
            fields: { ts: { type: timestamp, format: ms }, account: { type: string, entity: account } }
          click:
            topic: clicks
            when: { kind: click }
            time: ts
            subject: account
            fields: { ts: { type: timestamp, format: ms }, account: { type: string, entity: account } }

        """

    @Test func `a file is the partition of its rank among those of its topic`() throws {
        let deployment = try WorkerTopology.load(Self.twoTopics, rules: "")
        #expect(InputFile.partitions(of: ["z"], deployment) == [0])
        #expect(
            InputFile.partitions(of: ["orders=b", "clicks=a", "m", "orders=a", "l", "-"], deployment)
                == [1, 0, 4, 0, 3, 2]
        )
        #expect(InputFile.partitions(of: ["b", "a", "a"], try TickWorld.deployment()) == [2, 0, 1])
    }

    @Test func `a dead letter names its topic, and the file and line apart`() throws {
        let lines = ["", "no event", "{\"kind\":\"order\",\"ts\":1767600000000}", "", "{\"kind\":\"other\"}"]
        let path = file("in.jsonl", lines)
        let deployment = try WorkerTopology.load(Self.twoTopics, rules: "")
        func said(_ input: String) throws -> [String] {
            try Replayed(deployment, [input]).deadLetters.split(separator: "\n").map { line in
                let letter = try #require(
                    try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
                )
                #expect(letter["file"] as? String == path)
                #expect(letter["partition"] as? Int == 0)
                let topic = letter["topic"] is NSNull ? "null" : letter["topic"] as? String ?? "?"
                return "\(topic) \(letter["code"] ?? "") \(letter["offset"] ?? "") line \(letter["line"] ?? "")"
            }
        }
        #expect(
            try said("orders=" + path) == [
                "orders invalid_json 0 line 2", "orders missing_field 1 line 3", "orders unknown_event_type 2 line 5",
            ]
        )
        #expect(
            try said(path) == [
                "null invalid_json 0 line 2", "null missing_field 1 line 3", "null unknown_event_type 2 line 5",
            ]
        )
    }

    // MARK: Rings and signals

    @Test func `rings are written as a live run writes them, the last tick's too`() throws {
        let records = TickWorld.records(5000, seed: 1)
        let replayed = try Replayed(TickWorld.deployment(), [file("in", records)])
        let live = try #require(
            try TickWorld.embedded(records, TickWorld.deployment(), seed: 1, threads: 1).rings
        )
        let rings = try #require(replayed.said.rings)
        #expect(live.count > 20 && rings.count >= live.count)
        #expect(Array(rings[..<live.count]) == live)
        #expect(replayed.summary.ringsOpened == rings.count { $0.contains("\"status\":\"opened\"") })
        // No event ends the tick in which the ring shows.
        let last = (0..<12).map {
            "{\"id\":\"e\($0)\",\"ts\":1767600000000,\"kind\":\"coupon\",\"account\":\"u\($0 % 4)\",\"coupon\":\"c\($0 / 4)\"}"
        }
        #expect(try Replayed(TickWorld.deployment(), [file("last", last)]).summary.ringsOpened == 1)
    }

    @Test func `rows of features hold what detectors and models say, as the verdicts have it`() throws {
        let replayed = try Replayed(TickWorld.deployment(), [file("in", TickWorld.records(4000, seed: 1))])
        func objects(_ text: String) throws -> [[String: Any]] {
            try text.split(separator: "\n").map {
                try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
            }
        }
        let rows = Dictionary(
            uniqueKeysWithValues: try objects(replayed.features).map { ($0["id"] as? String ?? "", $0) }
        )
        let names = [
            "orders_5m", "visits_5m", "coupon_ring.score", "coupon_ring.size", "coupon_ring.id", "visit_ring.score",
            "visit_ring.size", "visit_ring.id", "spending.score", "visiting.score",
        ]
        let first = try #require(replayed.features.split(separator: "\n").first)
        let places = names.map { first.firstRange(of: "\"\($0)\":")?.lowerBound }
        #expect(places.allSatisfy { $0 != nil } && places.compactMap { $0 } == places.compactMap { $0 }.sorted())
        var (ringed, scored) = (0, 0)
        for verdict in try objects(replayed.verdicts) {
            let event = try #require(verdict["event"] as? [String: Any])
            let row = try #require(rows[event["id"] as? String ?? ""])
            let rings = verdict["rings"] as? [[String: Any]] ?? []
            for detector in ["coupon_ring", "visit_ring"] {
                let ring = rings.first { $0["detector"] as? String == detector }
                #expect(row["\(detector).size"] as? Int == ring?["size"] as? Int ?? 0)
                #expect(row["\(detector).score"] as? Double == ring?["score"] as? Double ?? 0)
                #expect(row["\(detector).id"] as? String == ring?["id"] as? String ?? "")
                ringed += ring == nil ? 0 : 1
            }
            let scores = verdict["scores"] as? [String: Double] ?? [:]
            for model in ["spending", "visiting"] {
                #expect(row["\(model).score"] as? Double == scores[model] ?? 0)
                scored += scores[model] == nil ? 0 : 1
            }
        }
        #expect(rows.count == 4000 && ringed > 300 && scored > 1000)
    }
}
