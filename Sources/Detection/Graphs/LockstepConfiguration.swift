import RuleLanguage

/// Settings of one lockstep detector.
public struct LockstepConfiguration: Sendable, Equatable {
    /// The detector's name in the topology; part of every ring id.
    public var name: String
    /// Length of a window in ms; accounts that touch a target inside one window share a token.
    public var window: Int64 = 6 * 3_600_000
    /// Accounts needed on one target, on a pair of targets and in a ring.
    public var minimumActors = 4
    /// Targets an account must share with others before it counts as a member, 2...8.
    public var minimumTargets = 2
    /// A token turns hot below this chance of so many accounts, given the target's own 7-day rate.
    public var hotChance = 1e-3
    /// A pair of tokens is accepted below this chance of so many common accounts.
    public var pairChance = 1e-6
    /// Mean life of a target's baseline rate, ms.
    public var baselineLife: Int64 = 7 * 86_400_000
    /// How long hot tokens, pairs, rings and idle targets are remembered, ms of event time.
    public var memory: Int64 = 14 * 86_400_000
    /// Words of the evidence: "17 `actors` `verb` the same 3 `targets`".
    public var actorsNoun = "accounts"
    public var targetsNoun = "targets"
    public var verb = "acted on"
    /// Per event type of the topology, the field with the actor, by which its events are looked up among the rings, or -1.
    public var actorFields: [Int] = []
    /// Per event type, the field with the target where the detector learns from the type, or -1.
    public var targetFields: [Int] = []
    /// How many of each member's newest acts a ring's record names; 0: none are remembered.
    public var lookBack = 0
    /// Where the events' ids stand.
    var references = EventReferences()
    /// The pair test takes the population of actors to be no smaller.
    ///
    /// With the true number of a few dozen actors, four who share everything would be no surprise; a deployment that young still
    /// wants to see them. Larger floors would take the habits of a small town for a conspiracy.
    public var smallestPopulation = 256.0
    /// Seed of the topology: shifts each target's windows and makes the rings' ids.
    ///
    /// Who knows it knows where windows begin, no more.
    public var seed: UInt64
    public var limits = Limits()

    /// Bounds of the state; beyond them the oldest is forgotten and counted.
    public struct Limits: Sendable, Equatable {
        /// Per slot (of ``Slots``): targets with a baseline and two windows.
        public var targets = 16_384
        /// Per slot: words of member lists (3 per member).
        public var targetMemberWords = 1 << 20
        /// Per slot: bytes of the names of recent actors, a power of two.
        public var nameBytes = 1 << 16
        /// Per slot: actors with a hot token.
        public var actors = 4_096
        /// Per slot: words of their tokens (5 per token, 4 or 16 tokens per actor).
        public var actorTokenWords = 1 << 18
        /// Per slot: pairs of tokens.
        public var pairs = 8_192
        /// Per slot: words of the pairs' member lists (1 per member).
        public var pairMemberWords = 1 << 18
        /// In all: names of ring candidates and hot targets.
        public var names = 65_536
        /// In all.
        public var rings = 4_096
        public var ringMembers = 65_536
        /// In one ring.
        public var membersPerRing = 4_096
        /// In all: acts remembered to be named, about 150 bytes each.
        public var actsLookedBackTo = 65_536

        public init() {}
    }

    public init(name: String, seed: UInt64) {
        self.name = name
        self.seed = seed
    }

    /// The hash for what becomes visible in results: of the seed, not of the secret, so that results do not depend on that.
    ///
    /// Nothing may be taken for equal by it: whoever knows the seed can make two texts of one hash.
    var resultHash: TextHash { TextHash(key: HashKey(seed, 0x6C6F_636B_7374_6570)) }
}

/// Fixed shapes of the lockstep detector.
enum Lockstep {
    /// Distinct actors a token remembers; more are only counted.
    static let actorsPerToken = 128
    /// Hot tokens an actor remembers.
    static let tokensPerActor = 16
    /// Distinct actors a pair remembers.
    static let actorsPerPair = 64
    /// Targets and windows a ring lists.
    static let targetsPerRing = 64
    static let windowsPerRing = 16
    /// Members and targets a ring record names.
    static let namesPerRecord = 200
    static let targetNamesPerRecord = 50
    /// Acts that a ring record names; of many members fewer each.
    static let actsPerRecord = 256
    /// The most of them of one member.
    static let lookBackMax = 8
}

/// One act of an actor on a target: what the lockstep detector reads of an event.
///
/// The texts must stay readable until the stages have run.
struct LockstepRecord: BitwiseCopyable {
    /// Keyed hashes of the two texts (``TextHash``), not 0.
    var actor: UInt64
    var target: UInt64
    /// Event time, ms since 1970.
    var time: Int64
    var actorText: UnsafePointer<UInt8>
    var targetText: UnsafePointer<UInt8>
    var actorLength: UInt32
    var targetLength: UInt32
    /// What was done: acts of different relations on one target are different tokens.
    var relation: UInt32

    init(
        relation: Int,
        actor: UInt64,
        target: UInt64,
        time: Int64,
        actorText: UnsafePointer<UInt8>,
        actorLength: Int,
        targetText: UnsafePointer<UInt8>,
        targetLength: Int
    ) {
        self.actor = actor
        self.target = target
        self.time = time
        self.actorText = actorText
        self.targetText = targetText
        self.actorLength = UInt32(truncatingIfNeeded: actorLength)
        self.targetLength = UInt32(truncatingIfNeeded: targetLength)
        self.relation = UInt32(truncatingIfNeeded: relation)
    }
}

/// What the detector has dropped or forgotten, and how far its stages have come.
struct LockstepCounters: Sendable, Equatable, BitwiseCopyable {
    var records: Int64 = 0
    /// Records more than one window behind their target's newest.
    var late: Int64 = 0
    var hotTokens: Int64 = 0
    var tokenEmissions: Int64 = 0
    var pairEmissions: Int64 = 0
    var acceptedPairs: Int64 = 0
    var ringsOpened: Int64 = 0
    var ringsClosed: Int64 = 0
    /// Forgotten because a table was full.
    var evictedTargets: Int64 = 0
    var evictedActors: Int64 = 0
    var evictedPairs: Int64 = 0
    var evictedRings: Int64 = 0
    /// Acts that no ring's record can name any more.
    var forgottenActs: Int64 = 0
    /// Members not kept because a list was full.
    var droppedMembers: Int64 = 0

    init() {}

    static func + (a: LockstepCounters, b: LockstepCounters) -> LockstepCounters {
        var sum = a
        sum.records += b.records
        sum.late += b.late
        sum.hotTokens += b.hotTokens
        sum.tokenEmissions += b.tokenEmissions
        sum.pairEmissions += b.pairEmissions
        sum.acceptedPairs += b.acceptedPairs
        sum.ringsOpened += b.ringsOpened
        sum.ringsClosed += b.ringsClosed
        sum.evictedTargets += b.evictedTargets
        sum.evictedActors += b.evictedActors
        sum.evictedPairs += b.evictedPairs
        sum.evictedRings += b.evictedRings
        sum.forgottenActs += b.forgottenActs
        sum.droppedMembers += b.droppedMembers
        return sum
    }
}
