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

@Test(arguments: [1, 3, 10])
func `events that came a little late cost what came meanwhile, not the epoch`(_ late: Int) {
    var random = SplitMix64(seed: UInt64(late))
    var sorter = NaturalMergeSort<Card>()
    let ordered = (0..<4_096).map { Card(key: UInt32($0), number: UInt32($0)) }
    var cards = ordered
    for _ in 0..<late {
        let from = 1_000 + Int(random.next() % 3_000)
        cards.insert(cards.remove(at: from), at: from - Int(1 + random.next() % 100))
    }
    var comparisons = 0
    cards.withUnsafeMutableBufferPointer {
        sorter.sort($0) {
            comparisons += 1
            return $0.key < $1.key
        }
    }
    #expect(cards == ordered)
    // A pass to find the runs; then each late one's neighbours, and the searches for where they begin and end.
    #expect(comparisons < 4_096 + late * 400)
}
