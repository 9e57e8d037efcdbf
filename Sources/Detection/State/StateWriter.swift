public import Models

/// State as bytes: typed, checksummed sections with stable ids, in any order, each readable without the others.
///
/// ## Format, version 1
/// Numbers are little-endian, offsets count in bytes, everything starts on a multiple of 8.
/// ```
/// head     0   u64 magic      "weirstat"
///          8   u32 version    1
///          12  u32            0
/// section  0   u16 kind       StateSection.Kind
///          2   u16 slot
///          4   u32            0
///          8   u64 owner      fingerprint of the detector's or model's name, or 0
///          16  u64 layout     fingerprint of the text that describes the payload
///          24  u64 length     of the payload in bytes
///          32  u64 checksum   of the 32 bytes before and of the payload
///          40      payload, then zeros up to a multiple of 8
/// ```
/// A state has a section `layouts` with the texts that the fingerprints stand for, and ends with a section `end`: u64 the number of
/// sections before it, u64 their checksums folded in their order. So a missing end tells a torn state, a wrong fold one with a
/// section lost, repeated or moved.
///
/// What a payload holds is said by the type that writes it, in its `write(to:)`; its layout text changes with it. A reader that
/// knows another text refuses the section: nothing is guessed. Sections that nobody asks for are left alone, so that a program may
/// add kinds.
///
/// Written on a host that is little-endian, as all that Weir runs on are.
public struct StateWriter: StateSink, Sendable {
    static let magic: UInt64 = 0x7461_7473_7269_6577
    static let version: UInt32 = 1
    static let headBytes = 16
    static let sectionHeadBytes = 40

    private var out: [UInt8] = []
    private var sections: UInt64 = 0
    private var fold: UInt64 = 0
    /// Where the sections begin that have no checksum yet.
    private var unsealed: [Int] = []
    /// Layout texts in the order in which they came up.
    private var layouts: [(kind: StateSection.Kind, text: String)] = []

    public init() {
        var none: [UInt8] = []
        self.init(into: &none)
    }

    /// - Parameter buffer: memory that is taken and written over; what it holds does not matter.
    public init(into buffer: inout [UInt8]) {
        swap(&out, &buffer)
        out.removeAll(keepingCapacity: true)
        put(StateWriter.magic)
        put(StateWriter.version)
        put(UInt32(0))
    }

    /// Makes room for so many bytes at once.
    public mutating func reserve(_ bytes: Int) { out.reserveCapacity(bytes) }

    public mutating func put(bytes: UnsafeRawBufferPointer) { out.append(contentsOf: bytes) }

    /// Writes one section; `body` puts its payload.
    ///
    /// Only copies: checksums are made by ``finish()``, which may be called on another thread.
    ///
    /// - Parameter layout: describes the payload; whoever reads it gives the same text.
    public mutating func section(_ id: StateSection, layout: String, _ body: (inout StateWriter) -> Void) {
        if !layouts.contains(where: { $0.kind == id.kind && $0.text == layout }) { layouts.append((id.kind, layout)) }
        let start = out.count
        put(id.kind.rawValue)
        put(id.slot)
        put(UInt32(0))
        put(id.owner)
        put(StateSection.fingerprint(layout))
        put(UInt64(0))
        put(UInt64(0))
        body(&self)
        let length = out.count - start - StateWriter.sectionHeadBytes
        out.withUnsafeMutableBytes { bytes in
            bytes.storeBytes(of: UInt64(length), toByteOffset: start + 24, as: UInt64.self)
        }
        out.append(contentsOf: repeatElement(0, count: (8 - length % 8) % 8))
        unsealed.append(start)
    }

    /// Makes the checksums of the sections written since the last call.
    private mutating func seal() {
        for start in unsealed {
            let checksum = out.withUnsafeMutableBytes { bytes in
                let section = UnsafeRawBufferPointer(rebasing: bytes[start...])
                let length = Int(section.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
                let checksum = StateChecksum.ofSection(section, length: length)
                bytes.storeBytes(of: checksum, toByteOffset: start + 32, as: UInt64.self)
                return checksum
            }
            sections += 1
            fold = SplitMix64.mix(fold ^ checksum)
        }
        unsealed.removeAll()
    }

    /// Ends the state and returns it; costs one pass over it for the checksums.
    public consuming func finish() -> [UInt8] {
        let texts = layouts
        section(StateSection(.layouts), layout: "kind u16, length u32, text") { writer in
            for (kind, text) in texts {
                writer.put(kind.rawValue)
                writer.put(UInt32(text.utf8.count))
                writer.out.append(contentsOf: text.utf8)
            }
        }
        seal()
        let (sections, fold) = (sections, fold)
        section(StateSection(.end), layout: "sections u64, fold u64") { writer in
            writer.put(sections)
            writer.put(fold)
        }
        seal()
        return out
    }
}

/// The checksum of sections: words folded by SplitMix64's mixer, of which each step is one to one, so that no single changed word
/// escapes it.
enum StateChecksum {
    static func of(_ bytes: UnsafeRawBufferPointer, from start: UInt64 = 0x5745_4952) -> UInt64 {
        var checksum = SplitMix64.mix(start ^ UInt64(bytes.count))
        SplitMix64.fold(bytes, into: &checksum)
        return checksum
    }

    /// Of a section's head up to its checksum, and of its payload.
    static func ofSection(_ section: UnsafeRawBufferPointer, length: Int) -> UInt64 {
        let head = of(UnsafeRawBufferPointer(rebasing: section[..<32]))
        return of(
            UnsafeRawBufferPointer(
                rebasing: section[StateWriter.sectionHeadBytes..<(StateWriter.sectionHeadBytes + length)]
            ),
            from: head
        )
    }
}
