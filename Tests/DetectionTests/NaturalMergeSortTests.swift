import Models
import Testing

@testable import Detection

private struct Card: BitwiseCopyable, Equatable {
    var key: UInt32
    var number: UInt32
}

@Test(arguments: [0, 1, 2, 11, 12, 13, 64, 1000])
func `whatever its runs, the sort agrees with the standard library's, which is stable`(_ count: Int) {
    var random = SplitMix64(seed: UInt64(count))
    var sorter = NaturalMergeSort<Card>()
    for round in 0..<60 {
        // Few keys: many equal ones. Runs from one element to the whole.
        let run = max(1, count >> (round % 11))
        var cards = (0..<count).map { Card(key: UInt32(random.next() % 50), number: UInt32($0)) }
        for start in stride(from: 0, to: count, by: run) {
            let end = min(start + run, count)
            cards[start..<end].sort { ($0.key, $0.number) < ($1.key, $1.number) }
            for place in start..<end { cards[place].number = UInt32(place) }
        }
        if round % 7 == 6 { cards.reverse() }
        let expected = cards.enumerated().sorted { ($0.element.key, $0.offset) < ($1.element.key, $1.offset) }
        cards.withUnsafeMutableBufferPointer { sorter.sort($0) { $0.key < $1.key } }
        #expect(cards == expected.map(\.element))
    }
}
