import Models
import RuleLanguage
import Testing

@testable import Detection

/// The decoder remembers a text of each field, so that it need not hash it again; nobody may see that.
@Suite struct RememberedTextTests {
    /// Few enough that they come again, and near to each other: cut, longer, another byte, escapes; up to twice what is remembered.
    private static func texts(_ random: inout SplitMix64) -> [String] {
        let long = String((0..<260).map { _ in Character(Unicode.Scalar(UInt8(0x61 + random.next() % 26))) })
        var texts = ["", "a", "\\n", "ä", "12345678", "1234567", "123456789", "a\\\"b"]
        for length in [7, 8, 9, 15, 16, 17, 31, 63, 126, 127, 128, 129, 255] {
            let text = String(long.prefix(length))
            texts.append(text)
            let at = text.index(text.startIndex, offsetBy: Int(random.next() % UInt64(length)))
            texts.append(text.replacingCharacters(at, "-"))
        }
        return texts
    }

    @Test func `a decoder that has seen much decodes as one that has seen nothing`() throws {
        let plan = try plan()
        var random = SplitMix64(seed: 3)
        let texts = Self.texts(&random)
        var warm = Bench(plan)
        var current = [0, 0, 0]
        for round in 0..<20_000 {
            // Each field stays with its text for a while.
            for i in 0..<3 where random.next() % 6 == 0 { current[i] = Int(random.next() % UInt64(texts.count)) }
            var record = Array(
                #"{"id":"\#(texts[current[0]])","ts":1,"buyer":{"id":"a"},"channel":"\#(round % 9 == 0 ? "app" : "web")","#
                    .utf8
            )
            record += Array(
                #""an_identifier_of_more_than_sixteen_bytes":"\#(texts[current[1]])","user_agent":"\#(texts[current[2]])"}"#
                    .utf8
            )
            if round % 4 == 0 { record.removeLast(Int(random.next() % UInt64(record.count))) }
            var fresh = Bench(plan)
            let outcome = warm.outcome(record)
            #expect(outcome == fresh.outcome(record))
            if !fresh.batch.isEmpty {
                let event = warm.batch.event(warm.batch.count - 1)
                for field in plan.schemas[0].fields.indices where plan.schemas[0].fields[field].type == .string {
                    let slot = event.fields[field]
                    if !slot.isMissing { #expect(slot.bits == plan.hash(text(slot, event))) }
                }
            }
            // The bytes of an earlier batch are gone.
            if round % 7 == 0 { warm.batch.removeAll() }
        }
    }

    @Test func `the commonest text of a field is the one that is remembered`() throws {
        let room = UnsafeMutablePointer<UInt8>.allocate(capacity: RememberedText.bytesMax)
        defer { room.deallocate() }
        var remembered = RememberedText()
        var random = SplitMix64(seed: 4)
        var found = 0
        for _ in 0..<1000 {
            let isCommon = random.next() % 5 != 0
            let written = Array((isCommon ? "Germany\"" : "elsewhere-\(random.next())\"").utf8)
            let bytes = written + [UInt8](repeating: 0, count: 16)
            bytes.withUnsafeBufferPointer { bytes in
                guard let at = bytes.baseAddress else { return }
                if remembered.stands(at: at, before: at + written.count, room) {
                    #expect(isCommon && remembered.hash == 1)
                    found += 1
                } else if remembered.meetsAnother() {
                    remembered.remember(at, length: written.count, hash: isCommon ? 1 : 2, in: room)
                }
            }
        }
        #expect(found > 500)
    }
}

extension String {
    fileprivate func replacingCharacters(_ at: Index, _ other: Character) -> String {
        String(self[..<at]) + String(other) + String(self[index(after: at)...])
    }
}
