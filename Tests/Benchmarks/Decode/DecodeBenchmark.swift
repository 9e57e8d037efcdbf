import Detection
import Glibc
import RuleLanguage

/// Thirteen fields, all at the top level.
let schema: EventSchema = {
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
    return EventSchema(name: "order", topic: "events", fields: fields, time: .field(2), idField: 0, subjectField: 3)
}()

/// One record of exactly 322 bytes.
func record(_ i: Int) -> [UInt8] {
    let head =
        #"{"id":"ord-\#(10_000_000 + i)","type":"order","ts":\#(1_760_000_000_000 + i),"account":"acc-\#(1_000_000 + i * 7)","#
        + #""device":"d3b07384d1\#(100_000 + i)","ip":"203.0.113.\#(i % 256)","item":"sku-\#(500_000 + i)","seller":"seller-\#(4_200 + i % 90)","#
        + #""amount":\#(1_000 + i),"price":\#(10 + i % 80).99,"coupon":"SPRING25","country":"DE","user_agent":"#
    let agent = "ShopApp/8.41.2 (Android 14; SM-S918B) okhttp/4.12 (build 20260105; release; arm64)"
    let room = 322 - head.utf8.count - 3
    let padding = String(repeating: "x", count: max(0, room - agent.utf8.count))
    return Array((head + "\"" + agent.prefix(room) + padding + "\"}").utf8)
}

func threadNanoseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Allocations of this thread so far; nil without the interposer.
func allocations() -> Int? {
    guard let symbol = dlsym(nil, "weir_allocation_count") else { return nil }
    return unsafeBitCast(symbol, to: (@convention(c) () -> Int).self)()
}

/// Decoding of the flat event of 322 bytes and 13 fields, alone on one core: nanoseconds per event, and allocations where
/// `count-allocations.c` is preloaded.
///
/// The sum over a field checks that the events were really decoded.
@main enum DecodeBenchmark {
    static func main() throws {
        let plan = try DecodePlan(schemas: [schema], topics: ["events"], hash: TextHash(key: .fixed))
        let records = (0..<4_096).map(record)
        let rounds = 100
        var decoder = EventDecoder(plan: plan)
        var batch = EventBatch()
        var best = Int.max
        var check: Int64 = 0
        var before = 0
        for round in 0..<rounds {
            // The first rounds let the batch grow.
            if round == 2 { before = allocations() ?? 0 }
            batch.removeAll()
            let start = threadNanoseconds()
            var offset: Int64 = 0
            for record in records {
                record.withUnsafeBytes { bytes in
                    _ = decoder.decode(topic: 0, partition: 0, offset: offset, value: bytes, into: &batch)
                }
                offset += 1
            }
            best = min(best, threadNanoseconds() - start)
            check = (0..<batch.count).reduce(0) { $0 + batch.event($1).fields[8].int }
        }
        let allocated = allocations().map { $0 - before }
        guard batch.count == records.count, check == (0..<4_096).reduce(0, { $0 + Int64(1_000 + $1) }) else {
            print("error: the decoded events are not those that were written")
            exit(1)
        }
        let nanoseconds = Double(best) / Double(records.count)
        let tenths = Int((nanoseconds * 10).rounded())
        let memory = allocated.map { "\($0)" } ?? "null"
        print(
            "{\"bytes\":\(records[0].count),\"events\":\(records.count * (rounds - 2)),\"nanoseconds\":\(tenths / 10).\(tenths % 10),\"allocations\":\(memory)}"
        )
    }
}
