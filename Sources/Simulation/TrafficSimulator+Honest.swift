// Honest traffic: visits, what comes back after them, staff, flash sales.

extension TrafficSimulator {
    private static let reviewShare = 0.2
    private static let refundShare = 0.05
    private static let ordersPerVisit = 0.41

    mutating func startHonestTraffic() {
        let start = TrafficSimulator.startMicroseconds
        for kind in [PendingKind.sessionArrival, .historicReview, .historicRefund, .staffArrival] {
            queue.push(Pending(time: arrival(after: start, perSecond: rate(of: kind)), kind: kind))
        }
        queue.push(Pending(time: start + min(5 * TrafficSimulator.hour, span / 4), kind: .saleStart))
    }

    private func rate(of kind: PendingKind) -> Double {
        switch kind {
        case .historicReview: visitsPerSecond * TrafficSimulator.ordersPerVisit * TrafficSimulator.reviewShare
        case .historicRefund: visitsPerSecond * TrafficSimulator.ordersPerVisit * TrafficSimulator.refundShare
        case .staffArrival: visitsPerSecond * 0.15
        // A hundred times the visits an item of the upper middle gets.
        case .saleArrival: visitsPerSecond * 0.3
        default: visitsPerSecond
        }
    }

    /// Lets one of the processes do its part and sends it back into the queue.
    mutating func advance(process due: Pending) {
        switch due.kind {
        case .sessionArrival: startSession(at: due.time)
        case .historicReview: reviewEarlierOrder(at: due.time)
        case .historicRefund: refundEarlierOrder(at: due.time)
        case .staffArrival: lookUp(at: due.time)
        case .saleStart:
            startSale(at: due.time)
            return
        case .saleArrival:
            if due.time > saleEnd { return }
            visitSale(at: due.time)
        default: return
        }
        var next = due
        next.time = arrival(after: due.time, perSecond: rate(of: due.kind))
        queue.push(next)
    }

    // MARK: Visits

    private mutating func someAccount() -> UInt32 {
        let kind = random.uniform()
        if kind < 0.3 { return UInt32(random.below(Marketplace.regulars)) }
        // Those who signed up lately come back.
        if kind < 0.34, !recentAccounts.isEmpty { return recentAccounts[random.below(recentAccounts.count)] }
        return UInt32(random.below(Marketplace.population))
    }

    /// Where an account sits today: its device, network address and country.
    private mutating func place(_ account: UInt32, at time: Int64) -> Pending {
        var visit = Pending(time: time, account: account, flags: [.session, .knownDevice], kind: .click)
        visit.country = market.homeCountry(of: account)
        let household = market.household(of: account)
        let home = household.map { $0.number * 5 } ?? account
        visit.device = Marketplace.personalDevice(account)
        if let household, random.chance(0.7) { visit.device = Marketplace.familyDevice(household.number) }
        visit.ip = Marketplace.homeAddress(home)
        let hour = (time % TrafficSimulator.day) / TrafficSimulator.hour
        if let office = market.office(of: account), (7..<18).contains(hour) {
            visit.ip = Marketplace.officeAddress(office)
        } else if random.chance(0.25) {
            visit.ip = Marketplace.carrierAddress(UInt32(random.below(400)))
        }
        let luck = random.uniform()
        if luck < 0.006 {
            let kiosk = UInt32(random.below(6))
            visit.device = Marketplace.kioskDevice(kiosk)
            visit.ip = Marketplace.kioskAddress(kiosk)
            visit.flags.remove(.knownDevice)
        } else if luck < 0.026 {
            visit.device = newDevice()
            visit.flags.remove(.knownDevice)
        } else if luck < 0.034 {
            visit.country = UInt8(random.below(Marketplace.homeCountries))
            visit.ip = newNetworkAddress()
        }
        return visit
    }

    private mutating func startSession(at time: Int64) {
        let signsUp = random.chance(0.05)
        let account = signsUp ? honestNewcomer(at: time) : someAccount()
        var visit = place(account, at: time)
        visit.item = UInt32(market.items.sample(&random))
        visit.value = Int32(clicksOfVisit())
        if signsUp {
            visit.kind = .signup
            visit.flags.remove(.knownDevice)
            if random.chance(0.1) { bringFamily(visit) }
        } else if random.chance(0.5) {
            visit.kind = .login
            if random.chance(0.06) { visit.flags.insert(.failed) }
        }
        queue.push(visit)
        if let household = market.household(of: account), random.chance(0.25) {
            // Somebody else of the family takes the tablet.
            let other = household.number * 5 + UInt32(random.below(household.members))
            if other != account {
                let later = time + Int64(random.between(3, 60)) * TrafficSimulator.minute
                var next = place(other, at: later)
                next.device = Marketplace.familyDevice(household.number)
                next.item = random.chance(0.3) ? visit.item : UInt32(market.items.sample(&random))
                next.value = Int32(clicksOfVisit())
                queue.push(next)
            }
        }
    }

    private mutating func honestNewcomer(at time: Int64) -> UInt32 {
        let account = makeAccount(at: time)
        if recentAccounts.count < 3_000 {
            recentAccounts.append(account)
        } else {
            recentAccounts[signupSeconds.count % 3_000] = account
        }
        return account
    }

    /// One or two more of a family sign up on the same device soon after.
    ///
    /// Every second such family shares a coupon, too: from outside, the beginning of a coupon ring.
    private mutating func bringFamily(_ first: Pending) {
        var at = first.time
        let coupon = random.chance(0.5) ? Int32(market.coupons.sample(&random)) : nil
        if let coupon { redeem(coupon, after: first, at: first.account) }
        for _ in 0..<(random.chance(0.7) ? 1 : 2) {
            at += Int64(random.between(4, 40)) * TrafficSimulator.minute
            var visit = first
            visit.time = at
            visit.account = honestNewcomer(at: at)
            visit.country = first.country
            visit.item = UInt32(market.items.sample(&random))
            visit.value = Int32(clicksOfVisit())
            queue.push(visit)
            if let coupon { redeem(coupon, after: visit, at: first.account) }
        }
    }

    /// A redemption some minutes after a sign-up, and its order, sent to the home of `host`.
    private mutating func redeem(_ coupon: Int32, after signup: Pending, at host: UInt32) {
        var redemption = signup
        redemption.time += pause(500)
        redemption.kind = .coupon
        redemption.value = coupon
        redemption.flags.insert(.addressGiven)
        redemption.extra = Int32(bitPattern: host)
        queue.push(redemption)
    }

    private mutating func clicksOfVisit() -> Int {
        var clicks = 1
        while clicks < 40 && random.chance(0.75) { clicks += 1 }
        return clicks
    }

    private mutating func pause(_ meanSeconds: Double) -> Int64 {
        Int64((0.5 + random.exponential() * meanSeconds) * Double(TrafficSimulator.second))
    }

    /// Puts what follows in the visit into the queue; `value` counts the clicks left until the visit ends or leads to an order.
    mutating func continueSession(after done: Pending) {
        var next = done
        switch done.kind {
        case .login where done.flags.contains(.failed):
            next.time += pause(8)
            if random.chance(0.85) { next.flags.remove(.failed) }
            queue.push(next)
        case .login, .signup:
            next.time += pause(10)
            next.kind = .click
            queue.push(next)
            if done.kind == .login, random.chance(0.02) { changeAccount(after: done) }
        case .click:
            next.value -= 1
            if next.value > 0 {
                next.time += pause(25)
                let turn = random.uniform()
                if turn < 0.25 {
                    // More of the same seller.
                    let shelf = market.items(ofSeller: Int(market.sellerOfItem[Int(done.item)]))
                    next.item = shelf[shelf.startIndex + random.below(shelf.count)]
                } else if turn < 0.85 {
                    next.item = UInt32(market.items.sample(&random))
                }
                queue.push(next)
            } else if random.chance(TrafficSimulator.ordersPerVisit) {
                next.time += pause(60)
                orderOrRedeem(next)
            }
        case .coupon:
            next.time += pause(5)
            next.kind = .order
            next.value = 0
            if !done.flags.contains(.addressGiven) { swap(&next.value, &next.extra) }
            queue.push(next)
        case .order:
            if !done.flags.contains(.failed) {
                scheduleAfterOrder(done)
            } else if random.chance(0.7) {
                next.time += pause(30)
                next.flags.remove(.failed)
                queue.push(next)
            }
        default:
            break
        }
    }

    private mutating func orderOrRedeem(_ visit: Pending) {
        var next = visit
        let quantity = random.chance(0.85) ? 1 : random.between(2, 4)
        let amount = market.priceOfItem[Int(visit.item)] * Int32(quantity)
        next.value = amount
        next.kind = .order
        if random.chance(0.025) { next.flags.insert(.failed) }
        if random.chance(0.04) {
            // A present, sent to somebody else's home.
            next.flags.insert(.addressGiven)
            next.extra = Int32(random.below(Marketplace.population))
        }
        if random.chance(0.25), !next.flags.contains(.failed) {
            next.kind = .coupon
            next.value = Int32(market.coupons.sample(&random))
            next.extra = amount
            next.flags.remove(.addressGiven)
        }
        queue.push(next)
    }

    private mutating func changeAccount(after login: Pending) {
        var change = login
        change.time += pause(40)
        change.kind = .accountChange
        // Honest people change their address and password far more often than where their money goes.
        let kind = random.uniform()
        change.value = kind < 0.45 ? 2 : kind < 0.75 ? 3 : kind < 0.93 ? 0 : 1
        change.flags.remove(.session)
        queue.push(change)
    }

    // MARK: What comes back

    private mutating func hoursToReview() -> Double { 72 + 144 * random.uniform() }
    private mutating func hoursToRefund() -> Double { 24 + 300 * random.uniform() }
    private mutating func stars() -> Int32 {
        let mood = random.uniform()
        return mood < 0.55 ? 5 : mood < 0.77 ? 4 : mood < 0.87 ? 3 : mood < 0.92 ? 2 : 1
    }
    private mutating func reason() -> Int32 {
        let reason = random.uniform()
        return reason < 0.3 ? 0 : reason < 0.5 ? 1 : reason < 0.8 ? 2 : reason < 0.95 ? 3 : 4
    }

    private mutating func scheduleAfterOrder(_ order: Pending) {
        if random.chance(TrafficSimulator.reviewShare) {
            let hours = hoursToReview()
            queue.push(review(by: order.account, of: order.item, hours: hours, at: order.time + hoursToTime(hours)))
        }
        if random.chance(TrafficSimulator.refundShare) {
            let hours = hoursToRefund()
            queue.push(refund(by: order.account, of: order.item, hours: hours, at: order.time + hoursToTime(hours)))
        }
    }

    func hoursToTime(_ hours: Double) -> Int64 { Int64(hours * Double(TrafficSimulator.hour)) }

    private mutating func review(by account: UInt32, of item: UInt32, hours: Double, at time: Int64) -> Pending {
        var review = place(account, at: time)
        review.flags.remove(.session)
        if random.chance(0.95) { review.flags.insert(.verified) }
        review.kind = .review
        review.item = item
        review.value = stars()
        review.extra = Int32(hours * 10)
        return review
    }

    private mutating func refund(by account: UInt32, of item: UInt32, hours: Double, at time: Int64) -> Pending {
        var refund = place(account, at: time)
        refund.flags.remove(.session)
        refund.kind = .refund
        refund.item = item
        refund.value = reason()
        refund.extra = Int32(hours * 10)
        return refund
    }

    /// A review of something bought before the first event: as many as make the mix of types the same from the beginning.
    private mutating func reviewEarlierOrder(at time: Int64) {
        let hours = hoursToReview()
        guard time - hoursToTime(hours) < TrafficSimulator.startMicroseconds else { return }
        let account = UInt32(random.below(Marketplace.population))
        let item = UInt32(market.items.sample(&random))
        queue.push(review(by: account, of: item, hours: hours, at: time))
    }

    private mutating func refundEarlierOrder(at time: Int64) {
        let hours = hoursToRefund()
        guard time - hoursToTime(hours) < TrafficSimulator.startMicroseconds else { return }
        let account = UInt32(random.below(Marketplace.population))
        let item = UInt32(market.items.sample(&random))
        queue.push(refund(by: account, of: item, hours: hours, at: time))
    }

    // MARK: Staff and sales

    private mutating func lookUp(at time: Int64) {
        let staff = UInt32(random.below(Marketplace.staffCount))
        var view = Pending(time: time, account: UInt32(random.below(Marketplace.population)), kind: .staffView)
        view.value = Int32(staff)
        view.device = Marketplace.staffDevice(staff)
        view.ip = Marketplace.staffAddress(staff)
        if random.chance(0.97) { view.flags.insert(.verified) }
        if random.chance(0.35) { view.flags.insert(.personalData) }
        queue.push(view)
        // The same case goes on with the same customer.
        if random.chance(0.3) {
            view.time += pause(60)
            queue.push(view)
        }
    }

    private mutating func startSale(at time: Int64) {
        saleItem = UInt32(60 + random.below(200))
        saleEnd = time + min(10 * TrafficSimulator.minute, span / 12)
        queue.push(Pending(time: time + TrafficSimulator.second, kind: .saleArrival))
        queue.push(Pending(time: time + 8 * TrafficSimulator.hour, kind: .saleStart))
    }

    /// Somebody comes for the sale only: many accounts, devices and addresses, one item.
    private mutating func visitSale(at time: Int64) {
        var visit = place(someAccount(), at: time)
        visit.item = saleItem
        visit.value = Int32(random.between(1, 2))
        queue.push(visit)
    }
}
