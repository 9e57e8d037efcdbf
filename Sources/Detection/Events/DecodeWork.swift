import Models
import RuleLanguage

/// The memory of one decoder: what ``DecodeWork`` points into.
struct DecodeMemory: ~Copyable {
    let guesses: OwnedBuffer<Int16>
    let onlyTypes: OwnedBuffer<Int32>
    let predictions: OwnedBuffer<Int32>
    let remembered: OwnedBuffer<RememberedText>
    let rememberedBytes: OwnedBuffer<UInt8>
    let strangeKeys = OwnedBuffer(repeating: StrangeKey(), count: StrangeKey.places)
    let seen: OwnedBuffer<UInt64>
    let levels = OwnedBuffer(repeating: DecodeWork.Level(node: 0, last: 0), count: DecodePlan.pathKeysMax)
    let selectorRow: OwnedBuffer<Slot>
    let odd = OwnedBuffer(repeating: OddFields(), count: 1)
    let damageCodes = OwnedBuffer<UInt8>(repeating: 0, count: 96)

    init(_ plan: DecodePlan) {
        let groups = plan.groups + [plan.mergedGroup]
        guesses = OwnedBuffer(
            groups.flatMap { group in
                repeatElement(group.isGuessable ? Int16(group.types[0]) : -1, count: DecodeWork.guessesPerGroup)
            }
        )
        onlyTypes = OwnedBuffer(groups.map { $0.selector < 0 ? Int32($0.types[0]) : -1 })
        predictions = OwnedBuffer(repeating: -1, count: plan.nodes.count + plan.keys.count)
        remembered = OwnedBuffer(repeating: RememberedText(), count: plan.keys.count * RememberedText.ways)
        rememberedBytes = OwnedBuffer(repeating: 0, count: remembered.count * RememberedText.bytesMax)
        seen = OwnedBuffer(repeating: 0, count: max(plan.seenWords, 1))
        selectorRow = OwnedBuffer(repeating: .missing, count: plan.selectorWidth)
    }
}

/// The tables of a plan and the memory of one decoder, as plain pointers: copied freely, no reference counts on the way.
struct DecodeWork {
    let plan: Unmanaged<DecodePlan>
    let types: UnsafeMutablePointer<DecodePlan.TypePlan>
    let nodes: UnsafeMutablePointer<DecodePlan.Node>
    let keys: UnsafeMutablePointer<DecodePlan.Key>
    let keyBytes: UnsafeMutablePointer<UInt8>
    let keyTable: UnsafeMutablePointer<Int16>
    let fields: UnsafeMutablePointer<DecodePlan.Field>
    let allowed: UnsafeMutablePointer<UInt64>
    let arrayPaths: UnsafeMutablePointer<DecodePlan.ArrayPath>
    let pathSteps: UnsafeMutablePointer<DecodePlan.PathStep>
    let besideFields: UnsafeMutablePointer<DecodePlan.BesideField>
    /// Per group, whether a schema registry's bytes stand before each record.
    let framed: UnsafeMutablePointer<Bool>
    let ignoring: UnsafeMutablePointer<DecodePlan.Ignoring>
    let conversions: UnsafePointer<ConversionPlan.Tables>
    let hash: TextHash
    let limits: DecodeLimits

    /// Per group (the topics, then the merged one) and by how a record begins, ``guessesPerGroup`` each: the type of the last such
    /// record, tried first for the next; see ``guess(for:of:)``.
    let guesses: UnsafeMutablePointer<Int16>
    /// Per group: its only type, -1 when there is something to choose.
    let onlyTypes: UnsafeMutablePointer<Int32>
    let groupCount: Int
    /// Behind the start of each node and behind each key: the key that came next the last time.
    ///
    /// Only where to look first.
    let predictions: UnsafeMutablePointer<Int32>
    /// Per key ``RememberedText/ways``, with ``RememberedText/bytesMax`` bytes each.
    let remembered: UnsafeMutablePointer<RememberedText>
    let rememberedBytes: UnsafeMutablePointer<UInt8>
    let strangeKeys: UnsafeMutablePointer<StrangeKey>
    let seen: UnsafeMutablePointer<UInt64>
    /// Open objects on a known path: the node and the last key's place in `predictions`.
    let levels: UnsafeMutablePointer<Level>
    let selectorRow: UnsafeMutablePointer<Slot>
    /// Per key: what hangs on its value.
    let reaches: UnsafeMutablePointer<DecodePlan.Reach>
    /// Of the record in hand, where its sink says that there is something.
    let odd: UnsafeMutablePointer<OddFields>
    /// Per field that is damaged, why.
    let damageCodes: UnsafeMutablePointer<UInt8>
    let nodeCount: Int32
    let sharing: Int
    let listSharing: Int
    let pseudonymBytes: Int

    struct Level {
        var node: Int32
        var last: Int32
    }

    /// Valid as long as the decoder that makes it, which owns the plan and the memory.
    init(_ plan: DecodePlan, _ memory: borrowing DecodeMemory) {
        // The decoder outlives its work.
        self.plan = .passUnretained(plan)
        types = plan.typePlans.base
        nodes = plan.nodes.base
        keys = plan.keys.base
        keyBytes = plan.keyBytes.base
        keyTable = plan.keyTable.base
        fields = plan.fields.base
        allowed = plan.allowed.base
        arrayPaths = plan.arrayPaths.base
        pathSteps = plan.pathSteps.base
        besideFields = plan.besideFields.base
        framed = plan.framed.base
        ignoring = plan.ignoring.base
        conversions = UnsafePointer(plan.conversions.tables.base)
        hash = plan.hash
        limits = plan.limits
        guesses = memory.guesses.base
        onlyTypes = memory.onlyTypes.base
        groupCount = memory.onlyTypes.count
        predictions = memory.predictions.base
        remembered = memory.remembered.base
        rememberedBytes = memory.rememberedBytes.base
        strangeKeys = memory.strangeKeys.base
        seen = memory.seen.base
        levels = memory.levels.base
        selectorRow = memory.selectorRow.base
        reaches = plan.reaches.base
        odd = memory.odd.base
        damageCodes = memory.damageCodes.base
        nodeCount = Int32(truncatingIfNeeded: plan.nodes.count)
        sharing = plan.sharing
        listSharing = plan.listSharing
        pseudonymBytes = plan.pseudonymBytes
    }
}

extension DecodeWork {
    /// 256, so that the few ways in which records of a topic begin have a place of their own.
    static let guessesPerGroup = 256

    /// Where the guess stands for a record that begins here.
    ///
    /// Its first 16 bytes choose it. Most senders write the type there, or in an order of fields that goes with it; where they do
    /// not, each way to begin has the last one's type. At least 16 bytes are readable, as zero bytes follow a record.
    @inline(__always)
    func guess(for start: UnsafePointer<UInt8>, of group: Int) -> UnsafeMutablePointer<Int16> {
        let first = UnsafeRawPointer(start).loadUnaligned(as: UInt64.self)
        let second = UnsafeRawPointer(start).loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        let mixed = (first &* 0x9E37_79B9_7F4A_7C15 &+ second) &* 0xD6E8_FEB8_6659_FD93
        return guesses + (group &* DecodeWork.guessesPerGroup &+ Int(truncatingIfNeeded: mixed &>> 56))
    }

    /// The one key of an object at this node that may be known as a stranger and begins as it stands here; at least four bytes are
    /// readable.
    @inline(__always)
    func strangeKey(for start: UnsafePointer<UInt8>, of node: Int32) -> UnsafeMutablePointer<StrangeKey> {
        let beginning =
            UnsafeRawPointer(start).loadUnaligned(as: UInt32.self) &+ UInt32(bitPattern: node) &* 0x85EB_CA77
        return strangeKeys + Int((beginning &* 0x9E37_79B1) &>> (32 - StrangeKey.placesShift))
    }

    /// The one text, with its bytes, that a key has remembered among those that begin as it stands here; at least four bytes are
    /// readable.
    @inline(__always)
    func rememberedText(
        for start: UnsafePointer<UInt8>,
        of key: Int32
    ) -> (text: UnsafeMutablePointer<RememberedText>, bytes: UnsafeMutablePointer<UInt8>) {
        // Three bytes choose it: a country's code and its closing quote. The highest three bits of the product are its way.
        let beginning = UnsafeRawPointer(start).loadUnaligned(as: UInt32.self) &<< 8
        let way = Int(truncatingIfNeeded: (beginning &* 0x9E37_79B1) &>> 29)
        let place = Int(key) &* RememberedText.ways &+ way
        return (remembered + place, rememberedBytes + place &* RememberedText.bytesMax)
    }

    /// What a converted field may be written as, and the field as if it were not.
    @inline(__always)
    func conversion(of field: UnsafePointer<DecodePlan.Field>)
        -> (entry: UnsafePointer<ConversionPlan.Entry>, strict: UnsafePointer<DecodePlan.Field>)
    {
        let index = Int(field.pointee.conversion)
        return (conversions.pointee.entries + index, conversions.pointee.strict + index)
    }
}

/// Where one record's values go, and where its first mistake is.
struct RecordSink {
    /// Start of the batch's text; all offsets count from here.
    var text: UnsafeMutablePointer<UInt8>
    /// Where the next rewritten text goes.
    var tail: UnsafeMutablePointer<UInt8>
    var lists: UnsafeMutablePointer<Slot>
    var listsCount: Int
    var row: UnsafeMutablePointer<Slot>
    /// First byte behind the record.
    var end: UnsafePointer<UInt8>
    /// The path a fault is about, or -1.
    var faultPath: Int32 = -1
    var faultAt: UnsafePointer<UInt8>
    /// When scanning for a guessed type: the hash of the discriminator found, 0 before.
    var discriminator: UInt64 = 0
    /// Some field is odd: see ``OddFields``.
    var isOdd = false
    /// The record is not UTF-8 throughout, so each text that is kept is looked at.
    var isDubious = false
    /// Where the array begins whose elements are events; nil before it was met.
    var elements: UnsafePointer<UInt8>?
    /// What was done to a row, Debezium's letter; 0 before it was met.
    var operation: UInt8 = 0
}
