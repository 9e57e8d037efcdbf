import Models

@testable import Detection

/// A state of one section, which is what the tests of a container write and read.
enum OneSection {
    static let id = StateSection(.windows, slot: 7)

    static func bytes(_ write: (inout StateWriter) -> Void) -> [UInt8] {
        var writer = StateWriter()
        writer.section(id, layout: "test", write)
        return writer.finish()
    }

    static func read(_ bytes: [UInt8], _ read: (inout StateCursor) throws(StateError) -> Void) throws(StateError) {
        var failure: StateError?
        bytes.withUnsafeBytes { bytes in
            do throws(StateError) {
                var section = try StateReader(bytes).open(id, layout: "test")
                try read(&section)
                try section.finish()
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }
}

/// States with faults in them.
enum FaultyState {
    /// Changes one bit of a section's payload and makes the checksums fit again: what a program that writes wrong states would
    /// write.
    static func resealed(_ bytes: [UInt8], flipping bit: Int) -> [UInt8] {
        var bytes = bytes
        let payload = StateWriter.headBytes + StateWriter.sectionHeadBytes
        let length = Int(word(bytes, StateWriter.headBytes + 24))
        bytes[payload + bit / 8 % max(1, length)] ^= 1 << UInt8(bit % 8)
        return sealed(bytes)
    }

    /// Computes all checksums anew.
    static func sealed(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        var at = StateWriter.headBytes
        var fold: UInt64 = 0
        while at < bytes.count {
            let length = Int(word(bytes, at + 24))
            if word(bytes, at) & 0xFFFF == UInt64(StateSection.Kind.end.rawValue) {
                set(&bytes, at + StateWriter.sectionHeadBytes + 8, fold)
            }
            let checksum = bytes.withUnsafeBytes {
                StateChecksum.ofSection(UnsafeRawBufferPointer(rebasing: $0[at...]), length: length)
            }
            set(&bytes, at + 32, checksum)
            fold = SplitMix64.mix(fold ^ checksum)
            at += StateWriter.sectionHeadBytes + (length + 7) / 8 * 8
        }
        return bytes
    }

    private static func word(_ bytes: [UInt8], _ at: Int) -> UInt64 {
        bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: UInt64.self) }
    }

    private static func set(_ bytes: inout [UInt8], _ at: Int, _ word: UInt64) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: word, toByteOffset: at, as: UInt64.self) }
    }
}
