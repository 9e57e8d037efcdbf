/// What a section of a state is of.
///
/// Raw values are never used again for anything else: they are what a state from another day is read by.
public struct StateSection: Hashable, Sendable {
    /// The kinds of section there are.
    public enum Kind: UInt16, Sendable {
        /// What every kind of section looks like, in words: for people, and for messages about a layout that has changed.
        case layouts = 1
        /// The last one: how many there are, and what their checksums come to.
        case end = 2
        /// The engine's own: slots, the fingerprint of the hash by which everything is keyed.
        case engine = 3
        case tickClock = 4
        /// The ids that are remembered of an event type.
        case recentIds = 5
        /// Which features were opened together.
        case windowGroups = 15
        case windows = 16
        /// Of a ring detector or a model, whatever its kind: how it looks is said by its layout.
        case detector = 32
        case model = 48
        /// Which epochs are in the state, and what decides the next watermarks: of who runs an engine.
        case worker = 64
    }

    public var kind: Kind
    /// The slot it is a part of; 0 for what is not split.
    public var slot: UInt16
    /// Fingerprint of the detector's or model's name and of the part of it; 0 for what there is once.
    public var owner: UInt64

    /// - Parameters:
    ///   - slot: 0 for what is not split.
    ///   - owner: name of a detector or model, or what else tells sections of one kind apart.
    ///   - part: of an owner that has several.
    public init(_ kind: Kind, slot: Int = 0, owner: String = "", part: String = "") {
        self.kind = kind
        self.slot = UInt16(slot)
        self.owner = owner.isEmpty ? 0 : StateSection.fingerprint(part.isEmpty ? owner : "\(owner) \(part)")
    }

    /// A text in 64 bits, the same whatever the deployment's secret: sections and layouts are known by it.
    static func fingerprint(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { StateChecksum.of(UnsafeRawBufferPointer($0)) }
    }
}

extension StateSection: CustomStringConvertible {
    public var description: String { "section \(kind) of slot \(slot)" }
}
