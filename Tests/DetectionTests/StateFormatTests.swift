import Models
import Testing

@testable import Detection

@Suite struct StateFormatTests {
    /// Three sections of different lengths.
    private static func sample() -> [UInt8] {
        var writer = StateWriter()
        writer.section(StateSection(.windows, slot: 1), layout: "words u64") { section in
            for i in 0..<5 { section.put(UInt64(i)) }
        }
        writer.section(StateSection(.detector, owner: "coupon_ring"), layout: "bytes") { section in
            section.put(counted: Array("seven b".utf8))
        }
        writer.section(StateSection(.tickClock), layout: "nothing") { _ in }
        return writer.finish()
    }

    /// Reads all three sections; nil when that is refused.
    private static func read(_ bytes: [UInt8]) throws(StateError) -> String {
        var text = ""
        var failure: StateError?
        bytes.withUnsafeBytes { bytes in
            do throws(StateError) {
                let reader = try StateReader(bytes)
                var words = try reader.open(StateSection(.windows, slot: 1), layout: "words u64")
                for _ in 0..<5 { text += "\(try words.take(UInt64.self)) " }
                try words.finish()
                var letters = try reader.open(StateSection(.detector, owner: "coupon_ring"), layout: "bytes")
                text += String(decoding: try letters.takeCounted("letters", limit: 7, UInt8.self), as: UTF8.self)
                try letters.finish()
                try reader.open(StateSection(.tickClock), layout: "nothing").finish()
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return text
    }

    @Test func `what was written is read`() throws {
        #expect(try StateFormatTests.read(StateFormatTests.sample()) == "0 1 2 3 4 seven b")
    }

    @Test func `the bytes are those of version 1`() {
        let bytes = StateFormatTests.sample()
        #expect(bytes.count == 328)
        #expect(bytes.prefix(16).elementsEqual(Array("weirstat".utf8) + [1, 0, 0, 0, 0, 0, 0, 0]))
        // By a second program that knows the format only. A change here is a new version: states from another day must be read or
        // refused by name.
        #expect(bytes.withUnsafeBytes { StateChecksum.of($0) } == 0x63C9_1953_F4E6_C017)
    }

    @Test func `a flipped bit anywhere is an error, never a state`() {
        let bytes = StateFormatTests.sample()
        for bit in 0..<(bytes.count * 8) {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: StateError.self, "bit \(bit)") { try StateFormatTests.read(flipped) }
        }
    }

    @Test func `a state that is torn anywhere is an error`() {
        let bytes = StateFormatTests.sample()
        for count in 0..<bytes.count {
            #expect(throws: StateError.self, "\(count) bytes") { try StateFormatTests.read(Array(bytes.prefix(count))) }
        }
        #expect(throws: StateError.self) { try StateFormatTests.read(bytes + [0, 0, 0, 0, 0, 0, 0, 0]) }
    }

    @Test func `a section that is lost, repeated or moved is an error, whole as it is`() {
        let bytes = StateFormatTests.sample()
        let first = Array(bytes[16..<96])
        let second = Array(bytes[96..<152])
        let (head, rest) = (Array(bytes.prefix(16)), Array(bytes[152...]))
        for (what, changed) in [
            ("lost", head + first + rest), ("repeated", head + first + first + second + rest),
            ("moved", head + second + first + rest),
        ] {
            #expect(throws: StateError.self, "\(what)") { try StateFormatTests.read(changed) }
        }
        #expect(throws: Never.self) { try StateFormatTests.read(head + first + second + rest) }
    }

    @Test func `bytes that no state begins with are foreign`() {
        #expect(throws: StateError.foreign("it does not begin as one")) {
            try StateFormatTests.read([UInt8](repeating: 7, count: 100))
        }
        var later = StateFormatTests.sample()
        later[8] = 2
        #expect(throws: StateError.foreign("version 2")) { try StateFormatTests.read(later) }
    }

    @Test func `another layout is refused with both in words`() {
        let bytes = StateFormatTests.sample()
        let expected = StateError.otherLayout(
            section: "section windows of slot 1",
            found: "words u64",
            expected: "words u32"
        )
        bytes.withUnsafeBytes { bytes in
            _ = #expect(throws: expected) {
                _ = try StateReader(bytes).open(StateSection(.windows, slot: 1), layout: "words u32")
            }
        }
    }

    @Test func `a section that is read too far or not to its end is an error`() {
        let bytes = OneSection.bytes { $0.put(UInt64(1)) }
        #expect(throws: StateError.torn("section windows of slot 7 ends early")) {
            try OneSection.read(bytes) { (section) throws(StateError) in
                _ = try section.take(UInt64.self)
                _ = try section.take(UInt8.self)
            }
        }
        #expect(throws: StateError.inconsistent("section windows of slot 7 has 4 bytes more than are read")) {
            try OneSection.read(bytes) { (section) throws(StateError) in _ = try section.take(UInt32.self) }
        }
    }

    @Test func `a count that the bytes cannot hold is refused before memory is asked for`() {
        let bytes = OneSection.bytes { $0.put(1 << 40) }
        #expect(throws: StateError.torn("words end early")) {
            try OneSection.read(bytes) { (section) throws(StateError) in
                _ = try section.takeCounted("words", limit: 1 << 50, UInt64.self)
            }
        }
    }
}
