// The attacks: when they start, how large they are, what their events are.

/// One run of an attack; events name it by 1 + its index.
struct Campaign: Sendable {
    var attack: SimulatedAttack
    /// Number of the group behind it, or 0 where one person acts alone.
    var ring: Int
}

/// How often one kind of attack runs, and how large each run is.
struct AttackPlan: Sendable {
    var attack: SimulatedAttack
    var runs: Int
    var started = 0
    /// About how many events one run has.
    var eventsPerRun: Int
    /// Count of events given at which the next run starts.
    var next: Int
    /// Events between the starts of two runs.
    var step: Int
}

extension TrafficSimulator {
    /// Share of all events, smallest and largest run in events, and when the first one starts (as a share of the first 20,000
    /// events).
    private static func shape(
        _ attack: SimulatedAttack
    ) -> (share: Double, smallest: Int, largest: Int, first: Double) {
        switch attack {
        case .couponRing: (0.004, 44, 320, 0.04)
        case .clickFarm: (0.006, 60, 1_800, 0.08)
        case .accountTakeover: (0.0015, 16, 60, 0.12)
        case .brushingRing: (0.005, 100, 700, 0.16)
        case .cardTesting: (0.001, 16, 60, 0.2)
        case .refundAbuse: (0.0006, 7, 24, 0.22)
        case .reviewRing: (0.001, 24, 160, 0.24)
        case .dataScraping: (0.001, 24, 110, 0.28)
        }
    }

    mutating func planAttacks() {
        let events = options.events
        for attack in SimulatedAttack.allCases {
            let shape = TrafficSimulator.shape(attack)
            let budget = shape.share * Double(events)
            let perRun = min(max(Int(budget / 3), shape.smallest), shape.largest)
            let runs = max(1, Int(budget / Double(perRun) + 0.5))
            let first = Int(shape.first * Double(min(events, 20_000)))
            let step = max(1, (events * 17 / 20 - first) / runs)
            plans.append(
                AttackPlan(attack: attack, runs: runs, eventsPerRun: perRun, next: max(first, 1), step: step)
            )
        }
        nextAttack = plans.map(\.next).min() ?? .max
    }

    mutating func startAttacks(at time: Int64) {
        for index in plans.indices where plans[index].started < plans[index].runs && plans[index].next <= emitted {
            let plan = plans[index]
            plans[index].started += 1
            plans[index].next = plan.next + plan.step / 2 + random.below(max(1, plan.step))
            let size = plan.eventsPerRun * random.between(70, 130) / 100
            switch plan.attack {
            case .couponRing: startCouponRing(number: plan.started + 1, size: size, at: time)
            case .clickFarm: startClickFarm(run: plan.started, size: size, at: time)
            case .accountTakeover: startTakeover(number: plan.started + 1, size: size, at: time)
            case .brushingRing: startBrushing(number: plan.started + 1, size: size, at: time)
            case .cardTesting: startCardTesting(size: size, at: time)
            case .refundAbuse: startRefundAbuse(size: size, at: time)
            case .reviewRing: startReviewRing(number: plan.started + 1, size: size, at: time)
            case .dataScraping: startScraping(size: size, at: time)
            }
        }
        nextAttack = plans.filter { $0.started < $0.runs }.map(\.next).min() ?? .max
    }

    private mutating func campaign(_ attack: SimulatedAttack, ring: Int = 0) -> UInt32 {
        campaigns.append(Campaign(attack: attack, ring: ring))
        return UInt32(campaigns.count)
    }

    /// A width in time: as long as in life, but not more than a share of the stream, and of the first 20,000 events for a first
    /// run.
    private func width(_ lifelike: Int64, share: Double, isFirst: Bool = false) -> Int64 {
        let short = Double(20_000) / options.eventsPerSecond * Double(TrafficSimulator.second)
        let whole = isFirst ? min(Double(span), short) : Double(span)
        return max(TrafficSimulator.second, min(lifelike, Int64(whole * share)))
    }

    private mutating func within(_ width: Int64) -> Int64 { Int64(random.uniform() * Double(width)) }

    private mutating func seconds(_ low: Int, _ high: Int) -> Int64 {
        Int64(random.between(low * 1_000, high * 1_000)) * 1_000
    }

    /// A seller of middling size, `count` of its items at most.
    private mutating func targets(_ count: Int) -> [UInt32] {
        let seller = market.middlingSellers[random.below(market.middlingSellers.count)]
        var shelf = Array(market.items(ofSeller: seller))
        while shelf.count > count { shelf.swapRemove(at: random.below(shelf.count)) }
        return shelf
    }

    // MARK: Promotion abuse

    /// 5 to 60 accounts of one person on few devices and addresses: signed up in one burst (below 48 h), nine of ten redeem the
    /// same coupons within a day of signing up, then nothing more.
    private mutating func startCouponRing(number: Int, size: Int, at time: Int64) {
        let campaign = campaign(.couponRing, ring: number)
        let accounts = min(60, max(6, size / 6))
        let devices = (0..<(accounts < 12 ? random.between(1, 2) : random.between(2, 4))).map { _ in newDevice() }
        let networks = (0..<random.between(1, 3)).map { _ in newNetworkAddress() }
        let carriers = (0..<2).map { _ in Marketplace.carrierAddress(UInt32(random.below(400))) }
        let homes = (0..<random.between(1, 3)).map { _ in newPostalAddress() }
        let coupons = (0..<random.between(2, 3)).map { _ in Int32(market.coupons.sample(&random)) }
        let burst = width(Int64(random.between(8, 47)) * TrafficSimulator.hour, share: 0.05, isFirst: number == 1)
        let redeem = width(20 * TrafficSimulator.hour, share: 0.05, isFirst: number == 1)
        for index in 0..<accounts {
            let signedUp = time + within(burst)
            var act = Pending(time: signedUp, account: makeAccount(at: signedUp), kind: .signup)
            act.campaign = campaign
            act.country = market.homeCountry(of: act.account)
            act.flags = [.hasty]
            act.device = devices[index % devices.count]
            act.ip = random.chance(0.3) ? carriers[random.below(2)] : networks[random.below(networks.count)]
            queue.push(act)
            guard random.chance(0.9) else { continue }
            act.flags = [.knownDevice, .addressGiven]
            act.extra = homes[random.below(homes.count)]
            act.time += seconds(20, 60) + within(redeem)
            for coupon in coupons where random.chance(0.92) {
                act.item = UInt32(market.items.sample(&random))
                act.kind = .coupon
                act.value = coupon
                queue.push(act)
                act.time += seconds(2, 9)
                act.kind = .order
                act.value = 0
                queue.push(act)
                act.time += seconds(20, 90)
            }
        }
    }

    private mutating func newPostalAddress() -> Int32 {
        newPostalAddresses += 1
        return Int32(Marketplace.population) * 4 + newPostalAddresses
    }

    // MARK: Click farms

    /// Hundreds of accounts on racks of phones click a few items of one paying seller.
    ///
    /// Four fifths come inside two hours. The same accounts serve the next customer; a tenth of their clicks goes to popular items,
    /// for cover.
    private mutating func startClickFarm(run: Int, size: Int, at time: Int64) {
        let farm = options.events < 500_000 ? 0 : run % 3
        let campaign = campaign(.clickFarm, ring: farm + 1)
        let items = targets(size < 150 ? 3 : random.between(3, 5))
        let accounts = min(1_000, max(24, size / items.count * 10 / 14))
        let peak = width(2 * TrafficSimulator.hour, share: 0.05, isFirst: run == 0)
        // Every run takes a part of the farm's thousand accounts, from one end or the other, overlapping.
        let first = Marketplace.farmAccounts.lowerBound + farm * 1_000 + (run % 2 == 0 ? 0 : accounts / 4) % 300
        for index in 0..<accounts {
            let account = UInt32(min(first + index, Marketplace.farmAccounts.upperBound - 1))
            var act = Pending(time: time, account: account, kind: .click)
            act.campaign = campaign
            act.country = market.homeCountry(of: account)
            act.flags = [.hasty, .knownDevice]
            act.device = Marketplace.otherDevice(0x0800_0000 | account / 12)
            act.ip = Marketplace.otherAddress(0x1F_0000 + account % 1_000 / 40)
            let begin = time + (random.chance(0.8) ? within(peak) : within(2 * peak))
            act.time = begin
            for item in items where random.chance(0.85) {
                act.item = random.chance(0.1) ? UInt32(market.items.sample(&random)) : item
                act.time += seconds(1, 6)
                queue.push(act)
                if random.chance(0.5) {
                    act.item = item
                    act.time += seconds(1, 4)
                    queue.push(act)
                }
            }
        }
    }

    // MARK: Brushing

    /// 7 to 50 hired workers order 5 to 20 items of one seller.
    ///
    /// They look at competitors' items first, take minutes, confirm within hours and leave five stars. Each uses his own phone,
    /// home and card; workers serve several sellers.
    private mutating func startBrushing(number: Int, size: Int, at time: Int64) {
        let campaign = campaign(.brushingRing, ring: number)
        let items = targets(size < 200 ? 5 : random.between(5, 20))
        let density = 0.35 + 0.25 * random.uniform()
        // A worker leaves 4.3 events per order.
        let workers = min(50, max(7, Int(Double(size) / (4.3 * density * Double(items.count)))))
        let range = Marketplace.workerAccounts
        let first = random.below(range.count - workers)
        let burst = width(3 * TrafficSimulator.hour, share: 0.06, isFirst: number == 1)
        let confirm = width(26 * TrafficSimulator.hour, share: 0.06, isFirst: number == 1)
        for index in 0..<workers {
            let account = UInt32(range.lowerBound + first + index)
            var act = Pending(time: time + within(burst), account: account, kind: .click)
            act.campaign = campaign
            act.country = market.homeCountry(of: account)
            act.flags = [.knownDevice]
            act.device = Marketplace.personalDevice(account)
            act.ip = Marketplace.homeAddress(account)
            var bought = 0
            for (place, item) in items.enumerated()
            where random.chance(density) || (bought < 2 && place >= items.count - 2) {
                bought += 1
                for _ in 0..<random.between(0, 3) {
                    act.kind = .click
                    act.item = UInt32(market.items.sample(&random))
                    // Cover: it harms nobody, so the truth does not call it an attack.
                    act.campaign = 0
                    queue.push(act)
                    act.time += min(seconds(60, 200), burst / 40)
                }
                act.campaign = campaign
                act.kind = .click
                act.item = item
                queue.push(act)
                act.time += min(seconds(180, 600), burst / 30)
                act.kind = .order
                act.value = 0
                queue.push(act)
                if random.chance(0.85) {
                    var review = act
                    review.kind = .review
                    review.flags.insert(.verified)
                    let wait = confirm / 4 + within(confirm * 3 / 4)
                    review.time += wait
                    review.extra = Int32(wait * 10 / TrafficSimulator.hour)
                    review.value = random.chance(0.92) ? 5 : 4
                    queue.push(review)
                }
            }
        }
    }

    // MARK: Accounts

    /// Stolen passwords: failed logins, then one that works, from a device and a country the account never used; within half an
    /// hour the e-mail, the payout account or the address changes, or expensive orders go out.
    private mutating func startTakeover(number: Int, size: Int, at time: Int64) {
        let campaign = campaign(.accountTakeover)
        let device = newDevice()
        let country = UInt8(Marketplace.homeCountries + random.below(4))
        let networks = (0..<2).map { _ in newNetworkAddress() }
        let spread = width(5 * TrafficSimulator.hour, share: 0.06, isFirst: number == 1)
        let half = width(25 * TrafficSimulator.minute, share: 0.03, isFirst: number == 1)
        for _ in 0..<max(2, size / 8) {
            var act = Pending(
                time: time + within(spread),
                account: UInt32(random.below(Marketplace.population)),
                kind: .login
            )
            act.campaign = campaign
            act.device = random.chance(0.5) ? device : newDevice()
            act.ip = networks[random.below(2)]
            act.country = country
            act.flags = [.failed]
            for _ in 0..<random.between(2, 6) {
                queue.push(act)
                act.time += seconds(2, 15)
            }
            act.flags = []
            queue.push(act)
            act.time += seconds(10, 40) + within(half / 3)
            let home = newPostalAddress()
            if random.chance(0.75) {
                act.kind = .accountChange
                for kind in [0, 1, 2] as [Int32] where kind == 0 || random.chance(0.5) {
                    act.value = kind
                    queue.push(act)
                    act.time += seconds(5, 30)
                }
            }
            act.kind = .order
            act.flags = [.addressGiven]
            act.extra = home
            for _ in 0..<random.between(1, 2) {
                act.time += within(half / 3)
                act.item = expensiveItem()
                act.value = max(market.priceOfItem[Int(act.item)], 30_000)
                queue.push(act)
            }
        }
    }

    private mutating func expensiveItem() -> UInt32 {
        var best = random.below(Marketplace.itemCount)
        for _ in 0..<12 {
            let other = random.below(Marketplace.itemCount)
            if market.priceOfItem[other] > market.priceOfItem[best] { best = other }
        }
        return UInt32(best)
    }

    /// Stolen card numbers, tried with small amounts by a script until some work.
    private mutating func startCardTesting(size: Int, at time: Int64) {
        var act = Pending(time: time, account: makeAccount(at: time), kind: .order)
        act.campaign = campaign(.cardTesting)
        act.country = market.homeCountry(of: act.account)
        act.device = newDevice()
        act.ip = newNetworkAddress()
        for _ in 0..<size {
            newPostalAddresses += 1
            act.extra = Int32(Marketplace.population) * 4 + newPostalAddresses
            act.flags = random.chance(0.7) ? [.cardGiven, .failed] : [.cardGiven]
            act.item = UInt32(market.items.sample(&random))
            act.value = Int32(random.between(99, 499))
            queue.push(act)
            act.time += seconds(2, 12)
        }
    }

    // MARK: Refunds, reviews, staff

    /// One customer for whom nothing ever arrives.
    private mutating func startRefundAbuse(size: Int, at time: Int64) {
        let campaign = campaign(.refundAbuse)
        let account = UInt32(random.below(Marketplace.population))
        let spread = width(60 * TrafficSimulator.hour, share: 0.08, isFirst: campaigns.count < 9)
        var act = Pending(time: time, account: account, kind: .refund)
        act.campaign = campaign
        act.device = Marketplace.personalDevice(account)
        act.ip = Marketplace.homeAddress(account)
        act.country = market.homeCountry(of: account)
        for _ in 0..<size {
            act.time = time + within(spread)
            act.item = UInt32(random.below(Marketplace.itemCount))
            act.value = random.chance(0.85) ? Int32(random.between(3, 4)) : 0
            act.extra = Int32(random.between(240, 2_000))
            queue.push(act)
        }
    }

    /// Hired reviewers praise the same items of several sellers without having bought them.
    private mutating func startReviewRing(number: Int, size: Int, at time: Int64) {
        let campaign = campaign(.reviewRing, ring: number)
        let reviewers = min(40, max(8, size / 4))
        let items = (0..<(size < 60 ? 4 : random.between(5, 10))).map { _ in
            UInt32(500 + random.below(Marketplace.itemCount - 500))
        }
        let range = Marketplace.reviewerAccounts
        let first = random.below(range.count - reviewers)
        let spread = width(20 * TrafficSimulator.hour, share: 0.06, isFirst: number == 1)
        for index in 0..<reviewers {
            let account = UInt32(range.lowerBound + first + index)
            var act = Pending(time: time, account: account, kind: .review)
            act.campaign = campaign
            act.country = market.homeCountry(of: account)
            act.flags = [.knownDevice]
            act.device = Marketplace.personalDevice(account)
            act.ip = Marketplace.homeAddress(account)
            for item in items where random.chance(3.6 / Double(items.count)) {
                act.time = time + within(spread)
                act.item = item
                act.value = 5
                act.extra = 0
                queue.push(act)
            }
        }
    }

    /// A member of staff reads one customer after the other, without a case, and opens phone number and address each time.
    private mutating func startScraping(size: Int, at time: Int64) {
        var act = Pending(time: time, kind: .staffView)
        act.campaign = campaign(.dataScraping)
        let staff = UInt32(random.below(Marketplace.staffCount))
        act.value = Int32(staff)
        act.device = Marketplace.staffDevice(staff)
        act.ip = Marketplace.staffAddress(staff)
        act.flags = [.personalData]
        let gap = width(40 * TrafficSimulator.minute, share: 0.04, isFirst: true) / Int64(max(1, size))
        for _ in 0..<size {
            act.account = UInt32(random.below(Marketplace.population))
            if random.chance(0.1) { act.flags.insert(.verified) } else { act.flags.remove(.verified) }
            queue.push(act)
            act.time += gap / 2 + within(gap)
        }
    }
}

extension Array {
    /// Removes the element at an index in constant time; the last one takes its place.
    fileprivate mutating func swapRemove(at index: Int) {
        swapAt(index, count - 1)
        removeLast()
    }
}
