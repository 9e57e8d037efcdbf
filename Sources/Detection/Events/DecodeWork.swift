import RuleLanguage

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
    let hash: TextHash
    let limits: DecodeLimits

    /// Per group (the topics, then the merged one): the type of the last record, tried first for the next.
    let guesses: UnsafeMutablePointer<Int32>
    /// Per group: its only type, -1 when there is something to choose.
    let onlyTypes: UnsafeMutablePointer<Int32>
    let groupCount: Int
    /// Behind the start of each node and behind each key: the key that came next the last time.
    ///
    /// Only where to look first.
    let predictions: UnsafeMutablePointer<Int32>
    /// Per key, with ``RememberedText/bytesMax`` bytes each.
    let remembered: UnsafeMutablePointer<RememberedText>
    let rememberedBytes: UnsafeMutablePointer<UInt8>
    let seen: UnsafeMutablePointer<UInt64>
    /// Open objects on a known path: the node, the last key's place in `predictions` and the number of keys.
    let levels: UnsafeMutablePointer<Level>
    let counts: UnsafeMutablePointer<UInt32>
    let selectorRow: UnsafeMutablePointer<Slot>
    let nodeCount: Int32
    let sharing: Int
    let pseudonymBytes: Int

    struct Level {
        var node: Int32
        var last: Int32
        var count: Int32
    }

    init(_ plan: DecodePlan) {
        // The decoder that makes this owns the plan and outlives its work.
        self.plan = .passUnretained(plan)
        types = plan.typePlans
        nodes = plan.nodes
        keys = plan.keys
        keyBytes = plan.keyBytes
        keyTable = plan.keyTable
        fields = plan.fields
        allowed = plan.allowed
        hash = plan.hash
        limits = plan.limits
        groupCount = plan.groups.count + 1
        guesses = .allocate(capacity: groupCount)
        onlyTypes = .allocate(capacity: groupCount)
        for (index, group) in (plan.groups + [plan.mergedGroup]).enumerated() {
            guesses[index] = group.isGuessable ? Int32(group.types[0]) : -1
            onlyTypes[index] = group.selector < 0 ? Int32(group.types[0]) : -1
        }
        predictions = .allocate(capacity: plan.nodeCount + plan.keyCount)
        predictions.initialize(repeating: -1, count: plan.nodeCount + plan.keyCount)
        remembered = .allocate(capacity: plan.keyCount)
        remembered.initialize(repeating: RememberedText(), count: plan.keyCount)
        rememberedBytes = .allocate(capacity: plan.keyCount * RememberedText.bytesMax)
        rememberedBytes.initialize(repeating: 0, count: plan.keyCount * RememberedText.bytesMax)
        seen = .allocate(capacity: max(plan.seenWords, 1))
        levels = .allocate(capacity: 64)
        counts = .allocate(capacity: 64)
        selectorRow = .allocate(capacity: plan.selectorWidth)
        nodeCount = Int32(truncatingIfNeeded: plan.nodeCount)
        sharing = plan.sharing
        pseudonymBytes = plan.pseudonymBytes
        levels.initialize(repeating: Level(node: 0, last: 0, count: 0), count: 64)
        counts.initialize(repeating: 0, count: 64)
        selectorRow.initialize(repeating: .missing, count: plan.selectorWidth)
        seen.initialize(repeating: 0, count: max(plan.seenWords, 1))
    }

    func deallocate() {
        guesses.deallocate()
        onlyTypes.deallocate()
        predictions.deallocate()
        remembered.deallocate()
        rememberedBytes.deallocate()
        seen.deallocate()
        levels.deallocate()
        counts.deallocate()
        selectorRow.deallocate()
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
}
