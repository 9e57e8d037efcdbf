/// What the token stage tells the actor stage: an actor is in a hot token.
struct HotRecord: BitwiseCopyable {
    /// Sort key: the causing record's number in the run, then the member's number.
    var order: UInt64
    var actor: UInt64
    var token: UInt64
    var target: UInt64
    /// When the actor acted, and where the token's window begins.
    var time: Int64
    var windowStart: Int64
    /// The sort key of a name that it brings to the ring stage: after that of the target whose token turned hot.
    var cause: UInt64
    /// Accounts in the token so far.
    var count: UInt32
    /// The actor's name in the sender's text.
    var textOffset: UInt32
    var textLength: UInt16
    var sender: UInt16
    var padding: UInt32 = 0

    /// The actor's name in the sender's text; empty when it is not known.
    func name(in text: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(rebasing: text[Int(textOffset)..<(Int(textOffset) + Int(textLength))])
    }
}

/// What the actor stage tells the pair stage: an actor is in both of two hot tokens.
///
/// `A` is the token with the smaller key.
struct PairRecord: BitwiseCopyable {
    var order: UInt64
    var actor: UInt64
    var pair: UInt64
    var targetA: UInt64
    var targetB: UInt64
    var startA: Int64
    var startB: Int64
    var firstTime: Int64
    var lastTime: Int64
    var countA: UInt32
    var countB: UInt32
}

/// What the pair stage tells the ring stage: an actor shares an accepted pair of targets with the anchor.
struct FlagRecord: BitwiseCopyable {
    var order: UInt64
    var actor: UInt64
    var anchor: UInt64
    var targetA: UInt64
    var targetB: UInt64
    var startA: Int64
    var startB: Int64
    var firstTime: Int64
    var lastTime: Int64
    /// -log10 of the chance of the pair's common accounts.
    var strength: Double
}

/// A name for the ring stage: of a target whose token turned hot, or of an actor in two of them.
struct NameRecord: BitwiseCopyable {
    var order: UInt64
    var key: UInt64
    var textOffset: UInt32
    var textLength: UInt16
    /// Number of the sender's outbox, plus 64 for the actor stage.
    var sender: UInt16

    func text(in text: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(rebasing: text[Int(textOffset)..<(Int(textOffset) + Int(textLength))])
    }
}

/// What one run of a stage over some slots sends on; keeps its memory between runs.
///
/// One for a run, not one for a slot: 64 of each kind that grow one by one would ask the heap 64 times as often.
struct Outbox<Record: ExchangeRecord> {
    /// Its number among its stage's, which its records carry.
    let number: UInt16
    var records: [Record] = []
    var announced: [NameRecord] = []
    /// The names that records and announcements speak of.
    var text: [UInt8] = []

    mutating func clear() {
        records.removeAll(keepingCapacity: true)
        announced.removeAll(keepingCapacity: true)
        text.removeAll(keepingCapacity: true)
    }

    /// One for each slot that a run may begin with.
    static func allocate() -> UnsafeMutablePointer<Outbox> {
        let all = UnsafeMutablePointer<Outbox>.allocate(capacity: Lockstep.slots)
        for number in 0..<Lockstep.slots { (all + number).initialize(to: Outbox(number: UInt16(number))) }
        return all
    }
}

protocol ExchangeRecord: BitwiseCopyable {
    var order: UInt64 { get set }
    /// The receiving slot.
    var destination: Int { get }
}

extension HotRecord: ExchangeRecord {
    var destination: Int { Lockstep.slot(actor) }
}

extension PairRecord: ExchangeRecord {
    var destination: Int { Lockstep.slot(pair) }
}

extension FlagRecord: ExchangeRecord {
    var destination: Int { 0 }
}

extension NameRecord: ExchangeRecord {
    var destination: Int { 0 }
}

/// An exchange's record by its order key: what is sorted in its place.
struct ExchangeRank: BitwiseCopyable {
    var order: UInt64
    var index: UInt32
}

/// The border between two stages in one process: all senders' records, in the order of the events that caused them, by receiver.
///
/// Senders write each into its own ``Outbox``; ``deliver()`` is sequential. Order keys are unique, so the result does not depend on
/// which thread ran which slots.
struct Exchange<Record: ExchangeRecord>: ~Copyable {
    private var gathered: [Record] = []
    private var ranks: [ExchangeRank] = []
    private var sorter = NaturalMergeSort<ExchangeRank>()
    private(set) var delivered: [Record] = []
    /// Records of receiver s: `starts[s]..<starts[s + 1]`.
    private(set) var starts = [Int](repeating: 0, count: Lockstep.slots + 1)

    mutating func clear() {
        gathered.removeAll(keepingCapacity: true)
        delivered.removeAll(keepingCapacity: true)
    }

    mutating func gather(_ outbox: [Record]) {
        if !outbox.isEmpty { gathered.append(contentsOf: outbox) }
    }

    /// Sorts what was gathered, gives each record its rank as the new order key, and files it by receiver.
    mutating func deliver() {
        delivered.removeAll(keepingCapacity: true)
        for s in 0...Lockstep.slots { starts[s] = 0 }
        guard !gathered.isEmpty else { return }
        // Small keys are sorted instead of the records; each sender's are in order already, which the merge sort sees as runs.
        ranks.removeAll(keepingCapacity: true)
        for i in gathered.indices {
            ranks.append(ExchangeRank(order: gathered[i].order, index: UInt32(i)))
            starts[gathered[i].destination + 1] += 1
        }
        ranks.withUnsafeMutableBufferPointer { sorter.sort($0) { $0.order < $1.order } }
        for s in 0..<Lockstep.slots { starts[s + 1] += starts[s] }
        // Same length as what was gathered; every place is overwritten below.
        delivered.append(contentsOf: gathered)
        withUnsafeTemporaryAllocation(of: Int.self, capacity: Lockstep.slots) { at in
            for s in 0..<Lockstep.slots { at[s] = starts[s] }
            for (rank, entry) in ranks.enumerated() {
                let from = Int(entry.index)
                let receiver = gathered[from].destination
                delivered[at[receiver]] = gathered[from]
                delivered[at[receiver]].order = UInt64(rank)
                at[receiver] += 1
            }
        }
    }
}
