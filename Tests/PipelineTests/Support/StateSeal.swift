import Models

@testable import Detection

/// Makes the checksums of a state right again, whatever its bytes have become.
enum StateSeal {
    static func renewed(_ state: [UInt8]) -> [UInt8] {
        var state = state
        var at = StateWriter.headBytes
        var (sections, fold) = (UInt64(0), UInt64(0))
        while at + StateWriter.sectionHeadBytes <= state.count {
            let isGoneOn = state.withUnsafeMutableBytes { bytes -> Bool in
                let section = UnsafeMutableRawBufferPointer(rebasing: bytes[at...])
                let length = section.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
                guard length <= UInt64(section.count - StateWriter.sectionHeadBytes) else { return false }
                let isEnd = section.loadUnaligned(as: UInt16.self) == StateSection.Kind.end.rawValue
                if isEnd, length == 16 {
                    section.storeBytes(of: sections, toByteOffset: StateWriter.sectionHeadBytes, as: UInt64.self)
                    section.storeBytes(of: fold, toByteOffset: StateWriter.sectionHeadBytes + 8, as: UInt64.self)
                }
                let checksum = StateChecksum.ofSection(UnsafeRawBufferPointer(section), length: Int(length))
                section.storeBytes(of: checksum, toByteOffset: 32, as: UInt64.self)
                sections += 1
                fold = SplitMix64.mix(fold ^ checksum)
                at += StateWriter.sectionHeadBytes + Int(length) + (8 - Int(length) % 8) % 8
                return !isEnd
            }
            if !isGoneOn { break }
        }
        return state
    }
}
