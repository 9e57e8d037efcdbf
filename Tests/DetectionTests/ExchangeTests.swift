import Models
import Testing

@testable import Detection

/// What passes a border between stages, against the plainest way to say it.
@Suite struct ExchangeTests {
    private struct Letter: ExchangeRecord {
        var order: UInt64
        var key: UInt64
        var text: ExchangeText
        var destination: Int { Slots.of(key) }
    }

    @Test func `every key has one slot, and all slots are used alike`() {
        var random = SplitMix64(seed: 1)
        var counts = [Int](repeating: 0, count: Slots.count)
        for _ in 0..<64_000 { counts[Slots.of(random.next())] += 1 }
        #expect(counts.allSatisfy { (800...1200).contains($0) })
        #expect(Slots.of(0) == 0 && Slots.of(.max) == Slots.count - 1)
    }

    @Test(arguments: 1...Slots.count) func `parts share the slots out, each to one`(_ parts: Int) {
        #expect((0..<parts).flatMap { Slots.share($0, of: parts) } == Array(0..<Slots.count))
    }

    @Test func `items are filed by slot in the order in which they came`() {
        var random = SplitMix64(seed: 2)
        let order = SlotOrder()
        for count in [0, 1, 5, 64, 1000] {
            let keys = (0..<count).map { _ in random.next() & 0xF3FF_FFFF_FFFF_FFFF }
            var filed = [UInt64](repeating: 0, count: count)
            order.clear()
            for key in keys { order.count(Slots.of(key)) }
            order.layOut()
            for key in keys { filed[order.place(Slots.of(key))] = key }
            for slot in 0..<Slots.count {
                #expect(Array(filed[order[slot]]) == keys.filter { Slots.of($0) == slot }, "\(count) items")
            }
        }
    }

    @Test func `records come to their slots in their order with their texts, whoever sent them`() {
        var exchange = Exchange<Letter>()
        for seed in 1...20 as ClosedRange<UInt64> {
            var random = SplitMix64(seed: seed)
            var outboxes = [Outbox<Letter>](repeating: Outbox(), count: 7)
            var sent: [(key: UInt64, text: [UInt8])] = []
            for order in 0..<random.next() % 300 {
                let text = [UInt8](repeating: UInt8(truncatingIfNeeded: order), count: Int(random.next() % 5))
                let letter = (key: random.next(), text: text)
                sent.append(letter)
                let number = Int(random.next() % 7)
                let kept = text.withUnsafeBufferPointer { outboxes[number].keep($0) }
                outboxes[number].records.append(Letter(order: order, key: letter.key, text: kept))
            }
            exchange.clear()
            for number in outboxes.indices {
                exchange.gather(outboxes[number])
                // What is under way needs no sender any more.
                outboxes[number].clear()
            }
            exchange.deliver()
            #expect(exchange.isEmpty == sent.isEmpty)
            for slot in 0..<Slots.count {
                var got: [(key: UInt64, text: [UInt8])] = []
                exchange.forEach(to: slot) { got.append(($0.key, Array($1))) }
                let wanted = sent.filter { Slots.of($0.key) == slot }
                #expect(got.elementsEqual(wanted) { $0 == $1 }, "seed \(seed), slot \(slot)")
            }
        }
    }
}
