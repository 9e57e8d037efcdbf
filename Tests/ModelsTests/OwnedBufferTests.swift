import Models
import Testing

@Suite struct OwnedBufferTests {
    /// Counts those that are made and not yet destroyed.
    private final class Census {
        var alive = 0
    }

    private struct Member: ~Copyable {
        let number: Int
        private let census: Census

        init(_ number: Int, _ census: Census) {
            self.number = number
            self.census = census
            census.alive += 1
        }

        deinit { census.alive -= 1 }
    }

    private struct Refusal: Error, Equatable {
        let number: Int
    }

    @Test func `elements are made in order and destroyed once with their owner`() {
        let census = Census()
        do {
            let buffer = OwnedBuffer(count: 5) { Member($0 * 10, census) }
            #expect(census.alive == 5)
            #expect(buffer.indices.map { buffer[$0].number } == [0, 10, 20, 30, 40])
            buffer[2] = Member(7, census)
            #expect(census.alive == 5 && buffer[2].number == 7)
        }
        #expect(census.alive == 0)
    }

    @Test(arguments: 0..<4)
    func `where an element cannot be made, those before it are destroyed`(refused: Int) {
        let census = Census()
        #expect(throws: Refusal(number: refused)) {
            _ = try OwnedBuffer(count: 4) { number throws(Refusal) in
                if number == refused { throw Refusal(number: number) }
                return Member(number, census)
            }
        }
        #expect(census.alive == 0)
    }

    @Test func `a buffer that is replaced or moved on is given back once`() {
        let census = Census()
        var buffer = OwnedBuffer(count: 3) { Member($0, census) }
        buffer = OwnedBuffer(count: 2) { Member($0, census) }
        #expect(census.alive == 2)
        let moved = buffer
        #expect(census.alive == 2 && moved.count == 2)
    }

    @Test func `content survives every change of size as far as it fits`() {
        var buffer = OwnedBuffer<UInt64>(undefined: 0)
        var kept = 0
        // Through sizes that the heap serves from its lists and such that it maps.
        for size in [1, 3, 1000, 200_000, 1_000_000, 5000, 5, 0, 7, 300_000] {
            buffer.resize(to: size)
            #expect(buffer.count == size)
            let same = (0..<min(kept, size)).allSatisfy { buffer[$0] == UInt64($0) &* 0x9E37_79B9 }
            #expect(same, "\(size)")
            for i in 0..<size { buffer[i] = UInt64(i) &* 0x9E37_79B9 }
            kept = size
        }
        buffer.grow(to: 10)
        #expect(buffer.count == 300_000)
        buffer.grow(to: 300_001)
        #expect(buffer.count == 300_001 && buffer[299_999] == 299_999 * 0x9E37_79B9)
    }

    @Test func `a buffer begins as it was asked for`() {
        // Memory that somebody else has written before.
        do { _ = OwnedBuffer<UInt32>(repeating: .max, count: 4096) }
        let zeroed = OwnedBuffer<UInt32>(zeroed: 4096)
        #expect(zeroed.indices.allSatisfy { zeroed[$0] == 0 })
        let equal = OwnedBuffer<Int16>(repeating: -3, count: 100)
        #expect(equal.indices.allSatisfy { equal[$0] == -3 })
        let copied = OwnedBuffer(["a", "b"])
        #expect(copied.count == 2 && copied[0] == "a" && copied[1] == "b")
        #expect(OwnedBuffer<String>([]).count == 0)
    }
}
