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
    /// The actor's name; empty when it is not known.
    var text: ExchangeText
}

/// What the actor stage tells the pair stage: an actor is in both of two hot tokens.
///
/// `A` is the token that the actor got into first, `B` the other; for another actor it may be the other way round.
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
    var text: ExchangeText
}

extension HotRecord: ExchangeRecord {
    var destination: Int { Slots.of(actor) }
}

extension PairRecord: ExchangeRecord {
    var destination: Int { Slots.of(pair) }
}

// The ring stage is one, and sequential.
extension FlagRecord: ExchangeRecord {
    var destination: Int { 0 }
}

extension NameRecord: ExchangeRecord {
    var destination: Int { 0 }
}

/// What one run of the token or the actor stage passes on: records to the next stage, names past it to the ring stage.
struct LockstepOutbox<Record: ExchangeRecord> {
    var next = Outbox<Record>()
    var names = Outbox<NameRecord>()

    mutating func clear() {
        next.clear()
        names.clear()
    }
}
