import Foundation
import Models
import RuleLanguage
import Testing

@testable import Detection
@testable import Pipeline

/// Who sends events chooses identifiers.
///
/// With the hash before it was keyed each of these attacks was a second's work.
@Suite struct IdentityAttackTests {
    static let victim = "550e8400-e29b-41d4-a716-446655440000"

    /// What everybody could compute for a topology without a seed of its own.
    static func attacker(_ topology: String) -> CraftedKeys {
        CraftedKeys(seed: CraftedKeys(seed: 0)(Array("weir.topology.\(topology)".utf8)))
    }

    private struct Order {
        var account: String
        var device = "d1"
        var amount = "250.00"
    }

    private static let shop = """
        topology: quickstart
        events:
          order:
            topic: orders
            time: ts
            id: id
            subject: account
            fields:
              id: string
              ts: { type: timestamp, format: ms }
              account: { type: string, entity: account }
              device: { type: string, entity: device }
              amount: { type: money, scale: 2 }
        """

    /// Decisions in the orders' sequence as `account decision`; what nobody objects to is not among them.
    private static func judged(_ orders: [Order], _ rules: String) throws -> [String] {
        let store = SimulatedStore(clock: 1_767_600_000_000)
        let log = SimulatedLog(store)
        try log.create([TopicRequirement(name: "orders", partitions: 1)])
        for (n, order) in orders.enumerated() {
            let fields = ["id": "o\(n)", "account": order.account, "device": order.device, "amount": order.amount]
            var event: [String: Any] = fields
            event["ts"] = 1_767_600_000_000 + n
            store.append(
                TopicPartition("orders", 0),
                key: nil,
                value: Array(try JSONSerialization.data(withJSONObject: event))
            )
        }
        let worker = Worker(try WorkerTopology.load(shop, rules: rules), log: log, threads: 1)
        try worker.run { worker.isReady }
        let verdicts = try (Int32(0)..<4).flatMap { store.records(of: TopicPartition(OutputTopics.verdicts, $0)) }
            .map { try #require(try JSONSerialization.jsonObject(with: Data($0.value ?? [])) as? [String: Any]) }
        return verdicts.map { verdict in
            "\((verdict["subject"] as? [String: Any])?["id"] ?? "") \(verdict["decision"] ?? "")"
        }.sorted()
    }

    @Test func `the attacker of these tests made the pairs that were found in the field`() {
        let hash = Self.attacker("quickstart")
        let known = "rbhqqmxx]&#UHXW_d4-a716-446655440000"
        #expect(hash(Array(known.utf8)) == hash(Array(Self.victim.utf8)))
        let twins = hash.twins(of: Self.victim, count: 20)
        #expect(Set(twins + [Self.victim]).count == 21)
        #expect(twins.allSatisfy { hash(Array($0.utf8)) == hash(Array(Self.victim.utf8)) })
        let now = TextHash(key: .fixed)
        #expect(Set((twins + [Self.victim, known]).map { now($0) }).count == 22)
    }

    @Test func `orders under a crafted name do not frame anybody`() throws {
        let rule = """
            rule burst "B" {
              on order
              let orders = count() of order by account over 10m
              let spent = sum(amount) of order by account over 10m
              when orders >= 3 && spent > 30000
              then review
            }
            """
        let twin = try #require(Self.attacker("quickstart").twins(of: Self.victim, count: 1).first)
        let last = Order(account: Self.victim, amount: "5.00")
        #expect(try Self.judged([Order(account: twin), Order(account: twin), last], rule) == [])
        // The rule does speak of three orders by one.
        let own = Order(account: Self.victim)
        #expect(try Self.judged([own, own, last], rule) == ["\(Self.victim) review"])
    }

    @Test func `twenty accounts under crafted names are twenty`() throws {
        let rule = """
            rule device "D" {
              on order
              let accounts = distinct(account) of order by device over 10m
              when accounts >= 3
              then block
            }
            """
        let twins = Self.attacker("quickstart").twins(of: Self.victim, count: 20)
        let plain = (0..<20).map { "account-of-honest-length-\($0)" }
        #expect(try Self.judged(plain.map { Order(account: $0) }, rule).count == 18)
        #expect(try Self.judged(twins.map { Order(account: $0) }, rule).count == 18)
    }

    @Test func `a crafted name is no way through an exception`() throws {
        let rule = """
            rule watch "W" { on order when amount > 1.00 unless account == "internal-tester-0001" then review }
            rule listed "L" { on order when amount > 1.00 unless account in ["internal-tester-0001"] then block }
            """
        let crafted = try #require(Self.attacker("quickstart").twins(of: "internal-tester-0001", count: 1).first)
        #expect(try Self.judged([Order(account: "internal-tester-0001")], rule) == [])
        #expect(try Self.judged([Order(account: crafted)], rule) == ["\(crafted) block"])
    }

    // MARK: Flooding

    /// The tables whose keys who sends events can choose.
    enum Table: CaseIterable, Sendable {
        case keys, oldestFirst, distinctValues

        /// The lowest bit of a hash that chooses a key's home.
        var shift: UInt64 { self == .keys ? 12 : 0 }

        /// Buckets looked at when each of the keys is looked up once in a table of them.
        func probes(_ count: Int, key: (Int) -> UInt64) -> Int {
            switch self {
            case .keys:
                var table = KeyTable()
                for i in 0..<count {
                    let key = key(i)
                    if table.find(key) == 0 { table.insert(key, UInt32(i + 1)) }
                }
                return (0...table.mask).reduce(0) { probes, at in
                    let key = table.buckets[at].key
                    return key == 0 ? probes : probes + (at - table.home(key)) & table.mask + 1
                }
            case .oldestFirst:
                var table = OldestFirstTable<UInt64>(limit: count)
                for i in 0..<count {
                    let key = key(i)
                    if table.find(key) == OldestFirstTable<UInt64>.none { _ = table.insert(key, 0) }
                }
                return (0...table.mask).reduce(0) { probes, at in
                    guard table.cells[at] != 0 else { return probes }
                    let key = table.key(UInt32(truncatingIfNeeded: table.cells[at]) - 1)
                    return probes + (at - Int(truncatingIfNeeded: key)) & table.mask + 1
                }
            case .distinctValues: return IdentityAttackTests.distinctProbes(count, isHashed: true, value: key)
            }
        }
    }

    /// The same for the map of a window's distinct values, at its fullest.
    private static func distinctProbes(
        _ count: Int,
        isHashed: Bool,
        hash: WordHash = WordHash(TextHash(key: .fixed)),
        value: (Int) -> UInt64
    ) -> Int {
        var capacity = 64
        while count * 4 > capacity * 3 { capacity *= 2 }
        var arena = Arena()
        var header = MapHeader(cells: arena.allocate(MapCell(), count: capacity), capacity: UInt32(capacity), used: 0)
        return withUnsafeMutablePointer(to: &header) { header in
            let map = DistinctMap(header, arena, hash, isHashed: isHashed)
            for i in 0..<count { _ = map.exchange(value(i), UInt32(i)) }
            let cells: UnsafeMutablePointer<MapCell> = arena.cells(header.pointee.cells)
            return (0..<capacity).reduce(0) { probes, at in
                guard cells[at].isUsed != 0 else { return probes }
                return probes + (at - map.home(cells[at].value)) & (capacity - 1) + 1
            }
        }
    }

    private static func hash(_ text: (UInt64, UInt64), _ hash: TextHash) -> UInt64 {
        withUnsafeBytes(of: text) { hash($0.baseAddress.unsafelyUnwrapped, count: 16) }
    }

    @Test(arguments: Table.allCases)
    func `a table under a million crafted keys costs no more than under random ones`(table: Table) {
        let hash = TextHash(key: HashKey(0x0123_4567_89AB_CDEF, 42))
        let attacker = Self.attacker("quickstart")
        // The measure sees what the old hash suffered: 5,000 keys in one or two stretches of their table.
        let few = attacker.texts(count: 5000) { $0 >> table.shift & 0x1FFF < 0x100 }
        let oldProbes = table.probes(few.count) { attacker(CraftedKeys.bytes(few[$0].0, few[$0].1)) }
        let fewProbes = table.probes(few.count) { Self.hash(few[$0], hash) }
        #expect(oldProbes > 500 * fewProbes, "\(oldProbes) by the old hash, \(fewProbes)")

        let count = 1_000_000
        var random = SplitMix64(seed: 5)
        let randomProbes = table.probes(count) { _ in max(1, random.next()) }
        let limit = randomProbes + randomProbes / 2
        // All in an eighth of the table that the old hash would have filled.
        let many = attacker.texts(count: count) { $0 >> table.shift & 0x1F_FFFF < 0x4_0000 }
        #expect(table.probes(count) { Self.hash(many[$0], hash) } <= limit)
        // Numbers that somebody chose, in whatever bits they differ, and keys put together of them.
        let words = WordHash(hash)
        for shift in [0, 20, 44] as [UInt64] {
            #expect(table.probes(count) { words.number(UInt64($0) << shift) } <= limit)
            #expect(table.probes(count) { words.combine(UInt64($0) << shift, UInt64($0) << 40) } <= limit)
            #expect(table.probes(count) { words.combine(7, UInt64($0) << shift) } <= limit)
        }
        guard table == .distinctValues else { return }
        // Values that are numbers come to the map as they are.
        #expect(Self.distinctProbes(count, isHashed: false, hash: words) { UInt64($0) << 44 } <= limit)
        #expect(Self.distinctProbes(count, isHashed: false, hash: words) { UInt64($0) } <= limit)
        #expect(Self.distinctProbes(5000, isHashed: true) { UInt64($0) << 44 } > 500 * fewProbes)
    }

    @Test func `crafted keys spread over the slots`() {
        let attacker = Self.attacker("quickstart")
        let hash = TextHash(key: HashKey(7, 0x0123_4567_89AB_CDEF))
        // All of one slot by the old hash.
        let texts = attacker.texts(count: 64_000) { $0 >> 58 == 5 }
        var slots = [Int](repeating: 0, count: Slots.count)
        for text in texts { slots[Slots.of(Self.hash(text, hash))] += 1 }
        // A thousand each; six standard deviations.
        #expect(slots.allSatisfy { abs($0 - 1000) < 190 })
    }
}
