public import Models

/// Reads what ``StateWriter`` wrote: checks all of it first, then hands out sections by their id.
///
/// Bounds, checksums and the end are checked before any section is opened, layouts when it is; what a section says is checked by
/// the type that reads it, which believes nothing that it relies on. Whatever the bytes, the result is a state or a ``StateError``.
public struct StateReader {
    private struct Found {
        var layout: UInt64
        var payload: Range<Int>
    }

    /// Stay readable as long as the reader is used.
    private let bytes: UnsafeRawBufferPointer
    private var sections: [StateSection: Found] = [:]
    private var layouts: [UInt64: String] = [:]

    /// - Parameter bytes: a whole state; they must stay readable and unchanged as long as the reader is used.
    public init(_ bytes: UnsafeRawBufferPointer) throws(StateError) {
        self.bytes = bytes
        guard bytes.count >= StateWriter.headBytes else { throw .torn("it has \(bytes.count) bytes") }
        guard bytes.loadUnaligned(as: UInt64.self) == StateWriter.magic else {
            throw .foreign("it does not begin as one")
        }
        let version = bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        guard version == StateWriter.version else { throw .foreign("version \(version)") }
        guard bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self) == 0 else { throw .damaged("the head") }
        var at = StateWriter.headBytes
        var number: UInt64 = 0
        var fold: UInt64 = 0
        while true {
            let (id, found, checksum, next) = try section(at)
            if id?.kind == .end {
                try checkEnd(found, sections: number, fold: fold)
                guard next == bytes.count else { throw .damaged("\(bytes.count - next) bytes follow its end") }
                break
            }
            if let id {
                guard sections.updateValue(found, forKey: id) == nil else {
                    throw .inconsistent("\(id) is there twice")
                }
            }
            number += 1
            fold = SplitMix64.mix(fold ^ checksum)
            at = next
        }
        try readLayouts()
    }

    /// The section that begins at a place; without an id when its kind is not known here.
    private func section(_ at: Int) throws(StateError) -> (StateSection?, Found, checksum: UInt64, next: Int) {
        guard at <= bytes.count - StateWriter.sectionHeadBytes else { throw .torn("it has no end") }
        let head = UnsafeRawBufferPointer(rebasing: bytes[at...])
        let length = head.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
        let name = StateReader.name(of: head)
        guard length <= UInt64(head.count - StateWriter.sectionHeadBytes) else {
            throw .torn("\(name) at byte \(at) ends beyond it")
        }
        let end = at + StateWriter.sectionHeadBytes + Int(length)
        let next = end + (8 - Int(length) % 8) % 8
        guard next <= bytes.count else { throw .torn("\(name) at byte \(at) ends beyond it") }
        let checksum = StateChecksum.ofSection(head, length: Int(length))
        guard checksum == head.loadUnaligned(fromByteOffset: 32, as: UInt64.self) else {
            throw .damaged("\(name) at byte \(at)")
        }
        for byte in bytes[end..<next] where byte != 0 { throw .damaged("the bytes behind \(name) at byte \(at)") }
        let found = Found(
            layout: head.loadUnaligned(fromByteOffset: 16, as: UInt64.self),
            payload: at + StateWriter.sectionHeadBytes..<end
        )
        return (StateReader.id(of: head), found, checksum, next)
    }

    /// Nil where the kind is not known here.
    private static func id(of head: UnsafeRawBufferPointer) -> StateSection? {
        guard let kind = StateSection.Kind(rawValue: head.loadUnaligned(as: UInt16.self)) else { return nil }
        var id = StateSection(kind)
        id.slot = head.loadUnaligned(fromByteOffset: 2, as: UInt16.self)
        id.owner = head.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        return id
    }

    /// What a section's head says that it is, be it true or not.
    private static func name(of head: UnsafeRawBufferPointer) -> String { id(of: head).map { "\($0)" } ?? "a section" }

    private func checkEnd(_ end: Found, sections: UInt64, fold: UInt64) throws(StateError) {
        var cursor = StateCursor(UnsafeRawBufferPointer(rebasing: bytes[end.payload]), StateSection(.end))
        let (toldSections, toldFold) = (try cursor.take(UInt64.self), try cursor.take(UInt64.self))
        try cursor.finish()
        guard toldSections == sections, toldFold == fold else { throw .damaged("a section is lost, repeated or moved") }
    }

    private mutating func readLayouts() throws(StateError) {
        guard let found = sections[StateSection(.layouts)] else { throw .inconsistent("it does not describe itself") }
        var cursor = StateCursor(UnsafeRawBufferPointer(rebasing: bytes[found.payload]), StateSection(.layouts))
        while cursor.left > 0 {
            _ = try cursor.take(UInt16.self)
            let text = String(decoding: try cursor.takeBytes(Int(try cursor.take(UInt32.self))), as: UTF8.self)
            layouts[StateSection.fingerprint(text)] = text
        }
    }

    /// What a section holds; whoever reads it calls ``StateCursor/finish()`` when it is done.
    ///
    /// - Parameter layout: the text that it must have been written by.
    public func open(_ id: StateSection, layout: String) throws(StateError) -> StateCursor {
        guard let found = sections[id] else { throw .inconsistent("\(id) is missing") }
        guard found.layout == StateSection.fingerprint(layout) else {
            throw .otherLayout(
                section: "\(id)",
                found: layouts[found.layout] ?? "something it does not say",
                expected: layout
            )
        }
        return StateCursor(UnsafeRawBufferPointer(rebasing: bytes[found.payload]), id)
    }
}

/// Reads one section from its beginning to its end.
public struct StateCursor: StateSource {
    private let payload: UnsafeRawBufferPointer
    private let section: StateSection
    private var at = 0

    init(_ payload: UnsafeRawBufferPointer, _ section: StateSection) {
        self.payload = payload
        self.section = section
    }

    public var left: Int { payload.count - at }

    public mutating func take(into bytes: UnsafeMutableRawBufferPointer) throws(StateError) {
        bytes.copyMemory(from: try takeBytes(bytes.count))
    }

    /// The next bytes, where they lie.
    mutating func takeBytes(_ count: Int) throws(StateError) -> UnsafeRawBufferPointer {
        guard count >= 0, count <= left else { throw .torn("\(section) ends early") }
        defer { at += count }
        return UnsafeRawBufferPointer(rebasing: payload[at..<(at + count)])
    }

    /// Checks that nothing is left.
    public func finish() throws(StateError) {
        guard left == 0 else { throw .inconsistent("\(section) has \(left) bytes more than are read") }
    }
}
