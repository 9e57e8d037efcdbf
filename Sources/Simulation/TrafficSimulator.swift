/// What the simulated traffic is made of.
public enum SimulationScenario: String, Sendable, CaseIterable {
    /// Shoppers, staff and the hard cases among them: families, offices, kiosks, flash sales.
    case honest
    /// The same with every kind of attack.
    case marketplace
}

/// Simulated traffic of a marketplace, event by event in the order of event time: the same options give the same bytes on every
/// machine.
///
/// Shoppers arrive as a Poisson process with a daily rhythm, pick items by popularity (Zipf and Mandelbrot), order, redeem coupons
/// and come back days later with a review or a refund request; what they had bought before the first event comes back too, so the
/// mix of types does not drift. Attacks follow published measurements of click farms, brushing markets and promotion abuse (De
/// Cristofaro et al., IMC 2014; Xu et al., WWW 2015; PromoGuardian). Where the whole stream is shorter than an attack would take,
/// the attack is pressed together, never left out; the first of each kind comes early, so that a short demonstration sees it.
///
/// Memory: the queue of what is due, about 100 bytes per visit in progress and per review or refund to come, whatever the number of
/// events. Cost: about one microsecond per event.
public struct TrafficSimulator: Sendable {
    /// What to simulate; the same options give the same bytes on every machine.
    public struct Options: Sendable {
        public var scenario: SimulationScenario
        /// Number of events to give.
        public var events: Int
        public var seed: UInt64
        /// Mean of the honest traffic over a day, in events per second of event time.
        public var eventsPerSecond: Double
        /// When the traffic begins, milliseconds since 1970; the day's rhythm counts from there.
        public var start: Int64

        public init(
            scenario: SimulationScenario,
            events: Int,
            seed: UInt64,
            eventsPerSecond: Double = 10,
            start: Int64 = TrafficSimulator.start
        ) {
            precondition(events >= 0 && eventsPerSecond > 0)
            self.start = start
            self.scenario = scenario
            self.events = events
            self.seed = seed
            self.eventsPerSecond = eventsPerSecond
        }
    }

    /// Every topic that simulated events go to, in alphabetical order.
    public static let topics = [
        "accounts", "clicks", "coupons", "logins", "orders", "refunds", "reviews", "signups", "staff",
    ]

    /// Monday 2026-01-05T00:00:00Z in milliseconds since 1970, where traffic begins unless told otherwise.
    public static let start: Int64 = 1_767_571_200_000

    static let second: Int64 = 1_000_000
    static let minute: Int64 = 60 * second
    static let hour: Int64 = 60 * minute
    static let day: Int64 = 24 * hour
    /// Honest events that one visit leads to, all follow-ups, staff and sign-ups included; measured, see the tests.
    static let eventsPerVisit = 5.55

    public let options: Options
    let market: Marketplace
    /// About how long the whole stream is, in microseconds.
    let span: Int64
    let visitsPerSecond: Double
    var random: SimulationRandom
    var queue = PendingQueue()
    /// Events given so far.
    private(set) var emitted = 0

    /// Sign-up time of accounts made during the simulation, in seconds since its start.
    var signupSeconds: ContiguousArray<UInt32> = []
    /// The newest honest accounts, at most 3,000, oldest overwritten first; no attacker's, which would blur the truth.
    var recentAccounts: ContiguousArray<UInt32> = []
    /// Running numbers of devices and network addresses that belong to no account's home.
    var otherDevices: UInt32 = 0
    var otherAddresses: UInt32 = 0
    var newPostalAddresses: Int32 = 0
    var cases: Int64 = 0
    /// Of the flash sale in progress.
    var saleItem: UInt32 = 0
    var saleEnd: Int64 = 0
    var campaigns: ContiguousArray<Campaign> = []
    var plans: [AttackPlan] = []
    /// Count of events at which the next attack begins.
    var nextAttack = Int.max

    /// Lays out the marketplace (some 20 ms); no event is made yet.
    public init(_ options: Options) {
        self.options = options
        market = Marketplace(seed: options.seed)
        random = SimulationRandom(seed: options.seed)
        span = Int64(Double(max(options.events, 1)) / options.eventsPerSecond * Double(TrafficSimulator.second))
        visitsPerSecond = options.eventsPerSecond / TrafficSimulator.eventsPerVisit
        startHonestTraffic()
        if options.scenario == .marketplace { planAttacks() }
    }

    static var startMicroseconds: Int64 { start * 1_000 }

    /// Gives the next event and replaces `line` by its JSON without a newline; nil after the last.
    public mutating func next(into line: inout [UInt8]) -> SimulatedEvent? {
        if emitted == options.events { return nil }
        while let due = queue.pop() {
            switch due.kind {
            case .sessionArrival, .historicReview, .historicRefund, .staffArrival, .saleArrival, .saleStart:
                advance(process: due)
                continue
            default:
                break
            }
            let event = write(due, into: &line)
            emitted += 1
            if due.flags.contains(.session) { continueSession(after: due) }
            if emitted >= nextAttack { startAttacks(at: due.time) }
            return event
        }
        // The arrivals never end, so neither does the queue.
        return nil
    }

    /// Share of the day's mean rate at a time: 1 ± 0.6, highest at 20:00, lowest at 8:00 UTC.
    ///
    /// The sine is Bhaskara's rational approximation, off by less than .002, for the reason given at ``SimulationRandom``.
    static func rhythm(at time: Int64) -> Double {
        let phase = Double((time + day - 14 * hour) % day) / Double(day)
        let half = phase < 0.5 ? phase * 2 : phase * 2 - 1
        let sine = 16 * half * (1 - half) / (5 - 4 * half * (1 - half))
        return phase < 0.5 ? 1 + 0.6 * sine : 1 - 0.6 * sine
    }

    /// Time of the next arrival of a Poisson process with the daily rhythm, by thinning (Lewis and Shedler 1979).
    mutating func arrival(after time: Int64, perSecond rate: Double) -> Int64 {
        var at = time
        while true {
            at += 1 + Int64(random.exponential() / (1.6 * rate) * Double(TrafficSimulator.second))
            if random.uniform() * 1.6 < TrafficSimulator.rhythm(at: at) { return at }
        }
    }

    /// Makes a new account at a time and gives its number.
    mutating func makeAccount(at time: Int64) -> UInt32 {
        signupSeconds.append(
            UInt32(truncatingIfNeeded: (time - TrafficSimulator.startMicroseconds) / TrafficSimulator.second)
        )
        return UInt32(Marketplace.firstNewAccount + signupSeconds.count - 1)
    }

    func ageDays(of account: UInt32, at time: Int64) -> Int {
        let sinceStart = time - TrafficSimulator.startMicroseconds
        let index = Int(account) - Marketplace.firstNewAccount
        if index < 0 { return market.initialAge(of: account) + Int(sinceStart / TrafficSimulator.day) }
        return Int(max(0, sinceStart - Int64(signupSeconds[index]) * TrafficSimulator.second) / TrafficSimulator.day)
    }

    mutating func newDevice() -> UInt32 {
        otherDevices += 1
        return Marketplace.otherDevice(otherDevices)
    }

    mutating func newNetworkAddress() -> UInt32 {
        otherAddresses += 1
        return Marketplace.otherAddress(otherAddresses)
    }
}
