import Glibc
import RuleLanguage
import Testing

@testable import Detection

/// Decoding of the flat event of 322 bytes and 13 fields, timed: `WEIR_BENCH=1 swift test -c release -Xswiftc -enable-testing --filter EventsBenchmark`.
@Suite(.enabled(if: getenv("WEIR_BENCH") != nil, "set WEIR_BENCH=1 to measure")) struct EventsBenchmark {
    @Test func `a flat event of 322 bytes decodes within its budget`() throws {
        let plan = try DecodePlan(schemas: [flatEvent], topics: ["events"], hash: TextHash(seed: 7))
        let records = flatRecords(4_096)
        var decoder = EventDecoder(plan: plan)
        var batch = EventBatch()
        var best = Double.infinity
        var check: Int64 = 0
        for _ in 0..<60 {
            batch.removeAll()
            let start = threadNanoseconds()
            var offset: Int64 = 0
            for record in records {
                record.withUnsafeBytes { bytes in
                    _ = decoder.decode(topic: 0, partition: 0, offset: offset, value: bytes, into: &batch)
                }
                offset += 1
            }
            best = min(best, Double(threadNanoseconds() - start) / Double(records.count))
            check = (0..<batch.count).reduce(0) { $0 + batch.event($1).fields[8].int }
        }
        #expect(batch.count == records.count)
        #expect(check == (0..<4_096).reduce(0) { $0 + Int64(1_000 + $1) })
        print("decode: \(best) ns/event, \(records[0].count) bytes, \(1e3 / best) M events/s and core")
    }
}

/// Thirteen fields, all at the top level.
let flatEvent: EventSchema = {
    let texts = ["id", "type", "account", "device", "ip", "item", "seller", "coupon", "country", "user_agent"]
    var fields = [
        FieldSchema(name: "id", path: ["id"], type: .string), FieldSchema(name: "type", path: ["type"], type: .string),
    ]
    fields.append(FieldSchema(name: "ts", path: ["ts"], type: .timestamp, isRequired: true))
    fields += texts[2..<7].map {
        FieldSchema(name: $0, path: [$0], type: .string, isRequired: $0 == "account", entity: $0)
    }
    fields.append(FieldSchema(name: "amount", path: ["amount"], type: .int))
    fields.append(FieldSchema(name: "price", path: ["price"], type: .double))
    fields += texts[7...].map { FieldSchema(name: $0, path: [$0], type: .string) }
    return EventSchema(name: "order", topic: "events", fields: fields, timeField: 2, idField: 0, subjectField: 3)
}()

/// Records of exactly 322 bytes.
func flatRecords(_ count: Int) -> [[UInt8]] {
    (0..<count).map { i in
        let head =
            #"{"id":"ord-\#(10_000_000 + i)","type":"order","ts":\#(1_760_000_000_000 + i),"account":"acc-\#(1_000_000 + i * 7)","#
            + #""device":"d3b07384d1\#(100_000 + i)","ip":"203.0.113.\#(i % 256)","item":"sku-\#(500_000 + i)","seller":"seller-\#(4_200 + i % 90)","#
            + #""amount":\#(1_000 + i),"price":\#(10 + i % 80).99,"coupon":"SPRING25","country":"DE","user_agent":"#
        let agent = "ShopApp/8.41.2 (Android 14; SM-S918B) okhttp/4.12 (build 20260105; release; arm64)"
        let room = 322 - head.utf8.count - 3
        return Array((head + "\"" + agent.padding(to: room) + "\"}").utf8)
    }
}

extension String {
    fileprivate func padding(to length: Int) -> String {
        utf8.count >= length ? String(prefix(length)) : self + String(repeating: "x", count: length - utf8.count)
    }
}

func threadNanoseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
}
