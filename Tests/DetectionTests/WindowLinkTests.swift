import Models
import RuleLanguage
import Testing

@testable import Detection

/// A state whose entries link wrongly is refused when it is read, though every checksum is right: later moves follow the links.
@Suite struct WindowLinkTests {
    private static let rules = """
        rule places "P" {
          owner "me"  severity medium
          on order
          let places = distinct(country) of order by account over 1h
          let amounts = distinct(amount) of order by account over 10m
          when places > 1 && amounts > 1
          then review
          because "{places}"
        }

        """
    private static let start: Int64 = 1_700_000_000_000

    /// One account's orders, a minute apart: of ten places in turn and of seven amounts, the newest of a place and an amount of its
    /// own.
    private static func orders(_ count: Int) -> [EngineBench.Order] {
        (0..<count).map { n in
            let isLast = n == count - 1
            return EngineBench.Order(
                time: start + Int64(n) * 60_000,
                account: "a",
                amount: isLast ? 99 : Int64(n * n % 7),
                country: isLast ? "nowhere" : "c\(n * 3 % 10)"
            )
        }
    }

    private static func read(_ bytes: [UInt8], like engine: Engine) throws -> Engine {
        try bytes.withUnsafeBytes { try Engine(engine.configuration, lanes: 1, from: StateReader($0)) }
    }

    /// Lends each distinct column of each stream.
    private static func forEachColumn(
        _ engine: Engine,
        _ body: (WindowStream, WindowPlan.DistinctColumn, DistinctMap?) throws -> Void
    ) rethrows {
        let group = engine.aggregate.groups[0]
        let program = group.program
        for s in group.slots.indices {
            for t in group.slots[s].tables.indices {
                let table = program.tables[t]
                for at in 0...group.slots[s].tables[t].mask where group.slots[s].tables[t].buckets[at].key != 0 {
                    for index in 0..<table.streamCount {
                        let record = group.slots[s].tables[t].buckets[at].ref
                        let state = group.slots[s].state(table, record, index)
                        let stream = WindowStream(program.streams + table.streams[index], state, group.slots[s].arena)
                        for d in 0..<stream.program.pointee.distinctCount {
                            let column = stream.program.pointee.distinct[d]
                            let map: DistinctMap? =
                                stream.hasMap(column)
                                ? DistinctMap(
                                    stream.map(column),
                                    group.slots[s].arena,
                                    group.slots[s].hash,
                                    isHashed: column.isHashed
                                ) : nil
                            try body(stream, column, map)
                        }
                    }
                }
            }
        }
    }

    /// Up to 16 entries are scanned, more have a map.
    @Test(arguments: [12, 40]) func `a link that leads elsewhere is refused`(count: Int) throws {
        let bench = try EngineBench(Self.rules)
        _ = bench.judge(Self.orders(count))
        let engine = bench.engine
        let digest = engine.digest
        #expect(try Self.read(bench.state(), like: engine).digest == digest)
        var refused = 0
        Self.forEachColumn(engine) { stream, column, map in
            #expect((map != nil) == (count > Int(WindowStream.scanLimit)))
            for position in stream.base..<stream.tail {
                let link = WindowStream.link(column, stream.entry(position))
                let right = link.pointee
                for wrong in [right ^ WindowStream.repeated] + (0..<6).map({ right ^ 1 << $0 }) {
                    // Beyond the ring a distance leads nowhere, whatever it is.
                    let distances = [right, wrong].map { $0 & ~WindowStream.repeated }
                    if right ^ wrong != WindowStream.repeated,
                        !distances.contains(where: { $0 != 0 && $0 <= position - stream.base })
                    {
                        continue
                    }
                    link.pointee = wrong
                    #expect(throws: StateError.self, "entry \(position): \(right) became \(wrong)") {
                        try Self.read(bench.state(), like: engine)
                    }
                    refused += 1
                }
                link.pointee = right
            }
        }
        #expect(refused > 8 * count, "\(refused) wrong links")
        #expect(try Self.read(bench.state(), like: engine).digest == digest)
    }

    @Test func `an entry that calls itself repeated, whose value is nowhere else, is refused`() throws {
        let bench = try EngineBench(Self.rules)
        _ = bench.judge(Self.orders(40))
        var columns = 0
        try Self.forEachColumn(bench.engine) { stream, column, map in
            let newest = stream.entry(stream.tail - 1)
            try #require(map).erase(WindowStream.value(column, newest))
            WindowStream.link(column, newest).pointee |= WindowStream.repeated
            columns += 1
        }
        #expect(columns == 2)
        // Read without a word, it would end the process with the first event that comes in before it.
        #expect(throws: StateError.self) {
            let next = try Self.read(bench.state(), like: bench.engine)
            let late = EngineBench(next)
            _ = late.judge([EngineBench.Order(time: Self.start + 38 * 60_000 + 1, account: "a", country: "late")])
        }
    }

    @Test func `a column without a map has few entries`() throws {
        let bench = try EngineBench(Self.rules)
        _ = bench.judge(Self.orders(40))
        var columns = 0
        Self.forEachColumn(bench.engine) { stream, column, _ in
            stream.map(column).pointee = MapHeader()
            columns += 1
        }
        #expect(columns == 2)
        let error = #expect(throws: StateError.self) {
            try Self.read(bench.state(), like: bench.engine)
        }
        #expect("\(error.map { "\($0)" } ?? "")".contains("too many to be scanned"))
    }
}
