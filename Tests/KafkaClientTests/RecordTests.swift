import Foundation
import KafkaClient
import KafkaTestBroker
import Testing
import Waiting

@Suite(.serialized, .enabled(if: TestBroker.isAvailable, "\(TestBroker.absence)"))
struct RecordTests {
    @Test func `records come back with key, headers and timestamp, and a tombstone is not an empty value`() throws {
        let topic = try TestBroker.topic("records", settings: ["message.timestamp.type": "LogAppendTime"])
        let producer = try Producer(TestBroker.configuration())
        let index = producer.topic(named: topic)
        try "k".lend { key in
            try "v".lend { value in
                try producer.produce(topic: index, key: key, value: value) { headers in
                    headers.add("ce_id", "1")
                    headers.add("empty", "")
                    "null".lend { headers.add($0, nil) }
                }
            }
            try producer.produce(topic: index, key: key, value: nil)
            try producer.produce(topic: index, key: key, value: UnsafeRawBufferPointer(start: nil, count: 0))
        }
        try "no key".lend { try producer.produce(topic: index, key: nil, value: $0) }
        try producer.flush()
        #expect(producer.delivered == 4)
        producer.close()

        var seen: [String] = []
        let consumer = try Consumer(TestBroker.configuration())
        try consumer.assign([KafkaOffset(KafkaPartition(topic, 0), 0)])
        let deadline = Date().addingTimeInterval(Waiting.limit)
        while seen.count < 4, Date() < deadline {
            try consumer.wait(milliseconds: 100)
            try consumer.poll(0, limit: 10) { record in
                var line = "\(record.offset) key=\(record.key.map { String(decoding: $0, as: UTF8.self) } ?? "nil")"
                line += " value=\(record.value.map { "'\(String(decoding: $0, as: UTF8.self))'" } ?? "nil")"
                record.forEachHeader {
                    line += " \($0)=\($1.map { "'\(String(decoding: $0, as: UTF8.self))'" } ?? "nil")"
                }
                #expect(record.timestampType == .logAppendTime)
                #expect(abs(Double(record.timestamp) / 1000 - Date().timeIntervalSince1970) < 60)
                seen.append(line)
                return true
            }
        }
        #expect(
            seen == [
                "0 key=k value='v' ce_id='1' empty='' null=nil", "1 key=k value=nil", "2 key=k value=''",
                "3 key=nil value='no key'",
            ]
        )
        #expect(try consumer.position(0) == 4)
        consumer.close()
    }

    @Test func `a poll that stops early goes on with the next record, and records behind a limit stay`() throws {
        let topic = try TestBroker.topic("stops")
        let producer = try Producer(TestBroker.configuration())
        let index = producer.topic(named: topic)
        for number in 0..<3000 { try "\(number)".lend { try producer.produce(topic: index, key: nil, value: $0) } }
        try producer.flush()
        producer.close()
        let consumer = try Consumer(TestBroker.configuration())
        defer { consumer.close() }
        try consumer.assign([KafkaOffset(KafkaPartition(topic, 0), 5)])
        var seen: [Int] = []
        let deadline = Date().addingTimeInterval(Waiting.limit)
        func drain(until: Int64, stopAt: Int? = nil) throws {
            var stopped = false
            while !stopped, try !consumer.isBehind(0, until), Date() < deadline {
                try consumer.wait(milliseconds: 50)
                try consumer.poll(0, limit: 100, until: until) { record in
                    let number = Int(record.value.map { String(decoding: $0, as: UTF8.self) } ?? "") ?? -1
                    seen.append(number)
                    stopped = number == stopAt
                    return !stopped
                }
            }
        }
        try drain(until: 1000, stopAt: 17)
        #expect(seen == Array(5...17))
        try drain(until: 1000)
        #expect(seen == Array(5..<1000))
        #expect(consumer.next(0) == 1000)
        try drain(until: 3000)
        #expect(seen == Array(5..<3000))
    }

    @Test func `ranges read in any order over many re-assignments are complete and exact`() throws {
        let topic = try TestBroker.topic("ranges", partitions: 2)
        let producer = try Producer(TestBroker.configuration())
        let index = producer.topic(named: topic)
        for number in 0..<4000 {
            try "\(number / 2)".lend {
                try producer.produce(topic: index, partition: Int32(number % 2), key: nil, value: $0)
            }
        }
        try producer.flush()
        producer.close()
        var options = Consumer.Options()
        options.partitionEnd = true
        options.fetchWaitMilliseconds = 10
        let consumer = try Consumer(TestBroker.configuration(), options: options)
        defer { consumer.close() }
        var random = SystemRandomNumberGenerator()
        for _ in 0..<60 {
            let partition = Int32.random(in: 0...1, using: &random)
            let from = Int.random(in: 0..<1900, using: &random)
            let to = from + Int.random(in: 1..<100, using: &random)
            let source = try consumer.add(KafkaOffset(KafkaPartition(topic, partition), Int64(from)))
            var seen: [Int] = []
            let deadline = Date().addingTimeInterval(Waiting.limit)
            while try !consumer.isBehind(source, Int64(to)), Date() < deadline {
                try consumer.poll(source, limit: 1000, until: Int64(to)) { record in
                    seen.append(Int(record.value.map { String(decoding: $0, as: UTF8.self) } ?? "") ?? -1)
                    return true
                }
                try consumer.wait(milliseconds: 10)
            }
            #expect(seen == Array(from..<to), "partition \(partition)")
        }
    }

    @Test func `a range that was deleted is out of range, not skipped`() throws {
        let topic = try TestBroker.topic("deleted")
        let producer = try Producer(TestBroker.configuration())
        let index = producer.topic(named: topic)
        for number in 0..<10 { try "\(number)".lend { try producer.produce(topic: index, key: nil, value: $0) } }
        try producer.flush()
        producer.close()
        let admin = try AdminClient(TestBroker.configuration())
        defer { admin.close() }
        try admin.deleteRecords(before: [KafkaOffset(KafkaPartition(topic, 0), 6)])
        #expect(try admin.watermarks(of: KafkaPartition(topic, 0)) == (6, 10))
        let consumer = try Consumer(TestBroker.configuration())
        defer { consumer.close() }
        try consumer.assign([KafkaOffset(KafkaPartition(topic, 0), 2)])
        let error = #expect(throws: KafkaError.self) {
            let deadline = Date().addingTimeInterval(Waiting.limit)
            while Date() < deadline {
                try consumer.wait(milliseconds: 100)
                try consumer.poll(0, limit: 10) { _ in true }
            }
        }
        #expect(error?.kind == .outOfRange)
        #expect(error?.disposition == .stop)
    }

    @Test func `keys land where Java's producers put them`() throws {
        // murmur2("foo") etc. as in Kafka's own UtilsTest: -790332482, -985981536 ("a-little-bit-long-string").
        let topic = try TestBroker.topic("murmur", partitions: 5)
        let producer = try Producer(TestBroker.configuration())
        let index = producer.topic(named: topic)
        let keys = [
            "a-little-bit-long-string": -985_981_536, "a-little-bit-longer-string": -1_486_304_829, "21": -973_932_308,
        ]
        for key in keys.keys { try key.lend { try producer.produce(topic: index, key: $0, value: $0) } }
        try producer.flush()
        producer.close()
        for (key, hash) in keys {
            let partition = Int32((hash & 0x7fff_ffff) % 5)
            #expect(
                try TestBroker.values(topic, partition: partition).contains(key),
                "\(key) belongs to partition \(partition)"
            )
        }
    }

    @Test func `a group gives its partitions to a second member and back`() throws {
        let topic = try TestBroker.topic("group", partitions: 4)
        let configuration = try TestBroker.configuration(["group.id": TestBroker.unique("group")])
        let first = try Consumer(configuration)
        try first.subscribe(to: [topic])
        var seen: [Consumer.GroupEvent] = []
        let deadline = Date().addingTimeInterval(Waiting.limit)
        while first.assignment.count < 4, Date() < deadline {
            try first.wait(milliseconds: 50)
            seen += try first.serve()
        }
        #expect(first.assignment.count == 4)
        let second = try Consumer(configuration)
        try second.subscribe(to: [topic])
        while first.assignment.count != 2 || second.assignment.count != 2, Date() < deadline {
            try first.wait(milliseconds: 20)
            try second.wait(milliseconds: 20)
            seen += try first.serve()
        }
        #expect(first.assignment.count == 2)
        #expect(Set(first.assignment).isDisjoint(with: second.assignment))
        second.close()
        while first.assignment.count < 4, Date() < deadline {
            try first.wait(milliseconds: 50)
            seen += try first.serve()
        }
        #expect(first.assignment.count == 4)
        #expect(seen.contains { if case .revoked(_, lost: false) = $0 { true } else { false } })
        first.close()
    }
}
