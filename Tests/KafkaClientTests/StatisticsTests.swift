import Testing

@testable import KafkaClient

@Suite struct StatisticsTests {
    private func read(_ json: String) -> KafkaStatistics? {
        Array(json.utf8).withUnsafeBytes { KafkaStatistics(json: $0) }
    }

    @Test func `what a consumer of librdkafka reports is read`() throws {
        let found = try #require(read(StatisticsSample.consumer))
        #expect(found.name == "weir-shop-0#consumer-3")
        #expect(!found.isProducer)
        #expect(found.messagesReceived == 1500)
        #expect(found.messagesSent == 0)
        #expect(found.roundTripSeconds == 0.0507)
        #expect(found.transactionState == nil)
        #expect(
            found.partitions == [
                .init(
                    topic: "orders",
                    partition: 0,
                    isAssigned: true,
                    end: 600,
                    stableEnd: 560,
                    taken: 310,
                    fetched: 500,
                    broker: 1
                ),
                .init(
                    topic: "orders",
                    partition: 1,
                    isAssigned: true,
                    end: 52,
                    stableEnd: 52,
                    taken: nil,
                    fetched: nil,
                    broker: 1
                ),
            ]
        )
        #expect(found.time == 1_795_273_795)
        #expect(
            found.brokers == [
                .init(id: 1, address: "127.0.0.1:9092", isConnected: true, isAwaited: true, silence: 0.025)
            ],
            "coordinators are no brokers of their own"
        )
    }

    @Test func `what a transactional producer of librdkafka reports is read`() throws {
        let found = try #require(read(StatisticsSample.producer))
        #expect(found.name == "weir-shop-0#producer-4")
        #expect(found.isProducer)
        #expect(found.messagesSent == 77)
        #expect(found.roundTripSeconds == 0.0009)
        #expect(found.transactionState == "Ready")
    }

    @Test func `what is missing, of another type or new does not hurt`() throws {
        #expect(read("{}") != nil)
        #expect(read("") == nil)
        #expect(read("[1]") == nil)
        #expect(read("null") == nil)
        let odd = try #require(
            read(
                #" { "name" : "a\"b", "txmsgs":"many", "rxmsgs": null, "brokers":[{}], "topics":{"t":7,"u":{"partitions":{"x":{},"3":{"consumer_lag":-1,"desired":1},"4":{"consumer_lag":9,"ls_offset":-1001},"5":{"desired":true},"6":{"desired":false}}}}, "new":[[{"a":[1,2,{"b":"}]"}]}]], "eos":{"txn_state":5}, "rtt":1e400 } "#
            )
        )
        #expect(odd.name == "a\"b")
        #expect(odd.messagesSent == 0)
        #expect(
            odd.partitions == [
                .init(topic: "u", partition: 3), .init(topic: "u", partition: 4),
                .init(topic: "u", partition: 5, isAssigned: true), .init(topic: "u", partition: 6),
            ]
        )
    }

    @Test func `no cut or changed byte does more than make it unreadable`() {
        let whole = Array(StatisticsSample.consumer.utf8)
        for end in stride(from: 0, to: whole.count, by: 3) {
            let cut = Array(whole[..<end]).withUnsafeBytes { KafkaStatistics(json: $0) }
            #expect(cut == nil, "the first \(end) bytes")
        }
        for place in stride(from: 0, to: whole.count, by: 5) {
            for byte in Array("\"{}[],:x-9\\".utf8) {
                var changed = whole
                changed[place] = byte
                _ = changed.withUnsafeBytes { KafkaStatistics(json: $0) }
            }
        }
        let deep = [UInt8](repeating: UInt8(ascii: "["), count: 1 << 20)
        let nested = Array("{\"a\":".utf8) + deep
        #expect(nested.withUnsafeBytes { KafkaStatistics(json: $0) } == nil)
    }
}
