import Models
import Testing

@testable import Detection
@testable import RuleLanguage

@Suite struct EventCensusTests {
    private struct Key: Hashable {
        var event: Int
        var field: Int
        var state: EventCensus.State
    }

    private static let widths = [3, 96, 1, 0, 65]

    /// Events of random types with random marks, and what a naive count of them says.
    private func round(_ random: inout SplitMix64, _ census: borrowing EventCensus, events: Int) -> [Key: Int] {
        var expected: [Key: Int] = [:]
        for _ in 0..<events {
            let type = random.below(Self.widths.count)
            let width = Self.widths[type]
            let row = (0..<max(1, width)).map { _ in random.below(3) == 0 ? Slot.missing : Slot(Int64(random.below(9)))
            }
            var slots = row
            var marks: [EventMark] = []
            func note(_ field: Int, _ state: EventCensus.State) {
                expected[Key(event: type, field: field, state: state), default: 0] += 1
            }
            for field in 0..<width {
                switch random.below(12) {
                case 0:
                    marks.append(EventMark(damaged: field, .wrongType))
                    slots[field] = .missing
                    note(field, .damaged)
                case 1:
                    marks.append(EventMark(.cut, field: field))
                    note(field, .cut)
                case 2:
                    marks.append(EventMark(.unknownWord, field: field))
                    note(field, .unknownWord)
                default: break
                }
                let isDamaged = marks.last == EventMark(damaged: field, .wrongType)
                if slots[field].isMissing, !isDamaged { note(field, .missing) }
            }
            if random.below(2) == 0 {
                let (low, high) = (random.next(), UInt32(truncatingIfNeeded: random.next()))
                marks.append(EventMark(coerced: low, high))
                for field in 0..<width
                where field < 64 ? low >> UInt64(field) & 1 == 1 : high >> UInt32(field - 64) & 1 == 1 {
                    note(field, .coerced)
                }
            }
            let lists = marks.map(\.slot) + [Slot.missing]
            slots.withUnsafeBufferPointer { slots in
                lists.withUnsafeBufferPointer { lists in
                    guard let fields = slots.baseAddress, let first = lists.baseAddress else { return }
                    census.see(
                        Event(
                            fields: fields,
                            text: UnsafeRawPointer(fields).assumingMemoryBound(to: UInt8.self),
                            lists: first,
                            time: 0,
                            offset: 0,
                            partition: 0,
                            topic: 0,
                            type: UInt16(type),
                            recordOffset: 0,
                            recordLength: 0,
                            markCount: UInt8(marks.count)
                        )
                    )
                }
            }
        }
        return expected
    }

    @Test func `a census counts what a naive count of the same events does, epoch by epoch`() {
        var random = SplitMix64(seed: 12)
        let census = EventCensus(fieldCounts: Self.widths)
        for size in [0, 1, 7, 500, 0, 40] {
            let expected = round(&random, census, events: size)
            var got: [Key: Int] = [:]
            census.forEach { event, field, state, count in got[Key(event: event, field: field, state: state)] = count }
            #expect(got == expected)
            #expect(Self.widths.indices.reduce(0) { $0 + census.judged($1) } == size)
            #expect(size < 500 || expected.count > 500, "there is something to count")
            census.removeAll()
        }
        var left = 0
        census.forEach { _, _, _, count in left += count }
        #expect(left == 0 && census.judged(1) == 0)
    }

    @Test func `what a rule lacks is told apart up to a bound, and nothing is lost behind it`() {
        var lacks = RuleLacks(rules: 2)
        for n in 0..<100 {
            lacks.add(
                RuleOutcome(rule: 1, kind: .undetermined, exception: 0, failure: 1 << 32 | UInt64(n % 20)),
                event: n % 20 % 2
            )
        }
        lacks.add(RuleOutcome(rule: 0, kind: .fired, exception: 2, failure: 6 << 32), event: 0)
        func told(_ rule: Int) -> [Int] {
            var counts: [Int] = []
            lacks.forEach(of: rule) { outcome, _, count in counts.append(outcome == nil ? -count : count) }
            return counts
        }
        #expect(told(0) == [1])
        #expect(told(1) == [Int](repeating: 5, count: 8) + [-60])
        lacks.removeAll(of: 1)
        #expect(told(1) == [] && told(0) == [1])
    }
}

extension SplitMix64 {
    /// One of 0..<limit.
    fileprivate mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
}
