// The lines of JSON, as `topologies/marketplace/topology.yaml` declares them.

extension TrafficSimulator {
    private static let categories: [StaticString] = [
        "toys", "books", "garden", "kitchen", "fashion", "shoes", "sports", "beauty", "phones", "computers", "music",
        "pets",
    ]
    private static let referrers: [StaticString] = ["search", "category", "home", "campaign", "external"]
    private static let changes: [StaticString] = ["email", "payout", "address", "password", "phone"]
    private static let reasons: [StaticString] = ["damaged", "wrong_item", "changed_mind", "not_received", "empty_box"]
    private static let teams: [StaticString] = ["support", "payments", "logistics"]
    private static let domains: [StaticString] = [
        "mail.example", "post.example", "inbox.example", "web.example", "kurz.example",
    ]

    /// Writes an event's line and says what it is.
    mutating func write(_ due: Pending, into line: inout [UInt8]) -> SimulatedEvent {
        let milliseconds = due.time / 1_000 - TrafficSimulator.start + options.start
        let names = TrafficSimulator.names(of: due.kind)
        line.removeAll(keepingCapacity: true)
        line.append(literal: "{\"type\":\"")
        line.append(contentsOf: names.type.utf8)
        line.append(literal: "\",\"id\":\"")
        let idStart = line.count
        line.append(UInt8(ascii: "e"))
        line.append(decimal: Int64(emitted) + 1, width: 10)
        let id = String(decoding: line[idStart...], as: UTF8.self)
        line.append(literal: "\",\"ts\":")
        line.append(decimal: milliseconds)

        let key = write(party: due, into: &line)
        line.append(literal: ",\"device\":{\"id\":\"d")
        line.append(hex48: market.hash(due.device, 6))
        line.append(literal: "\",\"os\":\"")
        line.append(literal: Marketplace.systemNames[market.system(of: due.device)])
        if due.kind == .login || due.kind == .accountChange {
            line.append(literal: due.flags.contains(.knownDevice) ? "\",\"known\":true}" : "\",\"known\":false}")
        } else {
            line.append(literal: "\"}")
        }
        line.append(literal: ",\"net\":{\"ip\":\"")
        append(ip: due.ip, to: &line)
        line.append(literal: "\",\"country\":\"")
        line.append(literal: Marketplace.countryNames[Int(due.country)])
        line.append(literal: "\"}")

        switch due.kind {
        case .order: write(order: due, into: &line)
        case .click: write(click: due, into: &line)
        case .coupon: write(redemption: due, into: &line)
        case .signup: write(signup: due, into: &line)
        case .login:
            line.append(literal: ",\"login\":{\"success\":")
            line.append(literal: due.flags.contains(.failed) ? "false" : "true")
            line.append(literal: ",\"method\":\"password\"}}")
        case .review: write(review: due, into: &line)
        case .refund: write(refund: due, into: &line)
        case .staffView: write(view: due, into: &line)
        default:
            line.append(literal: ",\"change\":{\"field\":\"")
            line.append(literal: TrafficSimulator.changes[Int(due.value)])
            line.append(literal: "\",\"confirmed\":")
            line.append(literal: random.chance(due.campaign == 0 ? 0.8 : 0.1) ? "true}}" : "false}}")
        }

        var event = SimulatedEvent(
            id: id,
            eventType: names.type,
            topic: names.topic,
            key: key,
            time: milliseconds,
            attack: nil,
            ring: nil,
            accounts: []
        )
        if due.campaign > 0 {
            let campaign = campaigns[Int(due.campaign) - 1]
            event.attack = campaign.attack
            if campaign.ring > 0 { event.ring = "\(campaign.attack.rawValue)-\(campaign.ring)" }
            event.accounts = [key]
        }
        return event
    }

    private static func names(of kind: PendingKind) -> (type: String, topic: String) {
        switch kind {
        case .order: ("order", "orders")
        case .click: ("click", "clicks")
        case .coupon: ("coupon_redeemed", "coupons")
        case .signup: ("signup", "signups")
        case .login: ("login", "logins")
        case .review: ("review", "reviews")
        case .refund: ("refund", "refunds")
        case .staffView: ("staff_view", "staff")
        default: ("account_change", "accounts")
        }
    }

    // MARK: Who

    /// Eight digits that tell nothing about the number behind them: 77,777,777 and 10^8 have no common divisor.
    private func append(account: UInt32, to line: inout [UInt8]) {
        line.append(UInt8(ascii: "a"))
        line.append(decimal: Int64((UInt64(account) * 77_777_777 + market.seed % 100_000_000) % 100_000_000), width: 8)
    }

    /// A private IPv4 address; odd multiples modulo 2^24 keep different numbers different.
    private func append(ip: UInt32, to line: inout [UInt8]) {
        let scattered = (ip &* 0x9E_3779 &+ UInt32(truncatingIfNeeded: market.seed)) & 0xFF_FFFF
        line.append(literal: "10.")
        line.append(decimal: Int64(scattered >> 16))
        line.append(UInt8(ascii: "."))
        line.append(decimal: Int64(scattered >> 8 & 255))
        line.append(UInt8(ascii: "."))
        line.append(decimal: Int64(scattered & 255))
    }

    private mutating func write(party due: Pending, into line: inout [UInt8]) -> String {
        if due.kind == .staffView {
            line.append(literal: ",\"staff\":{\"id\":\"")
            let start = line.count
            line.append(UInt8(ascii: "t"))
            line.append(decimal: Int64(due.value) + 1, width: 3)
            let key = String(decoding: line[start...], as: UTF8.self)
            line.append(literal: "\",\"team\":\"")
            line.append(literal: TrafficSimulator.teams[Int(due.value) % 3])
            line.append(literal: "\"},\"customer\":{\"id\":\"")
            append(account: due.account, to: &line)
            line.append(literal: "\"}")
            return key
        }
        line.append(literal: due.kind == .order ? ",\"buyer\":{\"id\":\"" : ",\"account\":{\"id\":\"")
        let start = line.count
        append(account: due.account, to: &line)
        let key = String(decoding: line[start...], as: UTF8.self)
        line.append(literal: "\",\"age_days\":")
        line.append(decimal: Int64(ageDays(of: due.account, at: due.time)))
        if due.kind == .login {
            line.append(literal: ",\"country\":\"")
            line.append(literal: Marketplace.countryNames[Int(market.homeCountry(of: due.account))])
            line.append(UInt8(ascii: "\""))
        }
        line.append(UInt8(ascii: "}"))
        return key
    }

    // MARK: What

    private func write(item due: Pending, into line: inout [UInt8]) {
        line.append(literal: ",\"item\":{\"id\":\"i")
        line.append(decimal: Int64(due.item), width: 5)
        line.append(literal: "\",\"seller\":\"s")
        line.append(decimal: Int64(market.sellerOfItem[Int(due.item)]), width: 4)
        line.append(literal: "\",\"category\":\"")
        line.append(literal: TrafficSimulator.categories[Int(market.hash(due.item, 7) % 12)])
        line.append(UInt8(ascii: "\""))
    }

    private func write(address due: Pending, into line: inout [UInt8]) {
        line.append(literal: ",\"ship\":{\"address\":\"h")
        // A household shares its address.
        let home = market.household(of: due.account).map { $0.number * 5 } ?? due.account
        let number = due.flags.contains(.addressGiven) ? UInt32(bitPattern: due.extra) : home
        line.append(hex48: market.hash(number, 8))
        line.append(literal: "\",\"country\":\"")
        line.append(literal: Marketplace.countryNames[Int(market.homeCountry(of: due.account))])
        line.append(literal: "\"}")
    }

    private func write(order due: Pending, into line: inout [UInt8]) {
        let price = Int64(market.priceOfItem[Int(due.item)])
        let amount = due.value > 0 ? Int64(due.value) : price
        write(item: due, into: &line)
        line.append(literal: ",\"quantity\":")
        line.append(decimal: max(1, amount / price))
        line.append(literal: "},\"payment\":{\"card\":\"c")
        line.append(hex48: market.hash(due.flags.contains(.cardGiven) ? UInt32(bitPattern: due.extra) : due.account, 9))
        line.append(literal: "\",\"amount\":")
        line.append(cents: amount)
        line.append(literal: ",\"status\":")
        line.append(literal: due.flags.contains(.failed) ? "\"declined\"}" : "\"approved\"}")
        write(address: due, into: &line)
        line.append(literal: market.system(of: due.device) < 2 ? ",\"channel\":\"app\"}" : ",\"channel\":\"web\"}")
    }

    private mutating func write(click due: Pending, into line: inout [UInt8]) {
        write(item: due, into: &line)
        line.append(literal: ",\"price\":")
        line.append(cents: Int64(market.priceOfItem[Int(due.item)]))
        line.append(literal: "},\"view\":{\"dwell_ms\":")
        let dwell = due.flags.contains(.hasty) ? random.between(250, 1_900) : 700 + Int(random.exponential() * 18_000)
        line.append(decimal: Int64(dwell))
        line.append(literal: ",\"referrer\":\"")
        let referrer = due.flags.contains(.hasty) ? (random.chance(0.8) ? 4 : 0) : random.below(5)
        line.append(literal: TrafficSimulator.referrers[referrer])
        line.append(literal: "\",\"position\":")
        line.append(decimal: Int64(random.between(1, 48)))
        line.append(literal: "}}")
    }

    private func write(redemption due: Pending, into line: inout [UInt8]) {
        line.append(literal: ",\"coupon\":{\"id\":\"CP")
        line.append(decimal: Int64(due.value) + 1, width: 4)
        line.append(literal: "\",\"value\":")
        line.append(cents: 300 + Int64(market.hash(UInt32(bitPattern: due.value), 10) % 35) * 50)
        line.append(literal: "},\"order\":{\"amount\":")
        let price = market.priceOfItem[Int(due.item)]
        line.append(cents: Int64(due.flags.contains(.addressGiven) ? price : due.extra))
        line.append(literal: "}")
        write(address: due, into: &line)
        line.append(literal: "}")
    }

    private mutating func write(signup due: Pending, into line: inout [UInt8]) {
        let hasty = due.flags.contains(.hasty)
        line.append(literal: ",\"email\":{\"domain\":\"")
        line.append(literal: TrafficSimulator.domains[hasty ? 4 : Int(market.hash(due.account, 11) % 5)])
        line.append(literal: "\",\"verified\":")
        line.append(literal: random.chance(0.8) ? "true" : "false")
        line.append(literal: "},\"form\":{\"seconds\":")
        let tenths = hasty ? random.between(15, 90) : 120 + Int(random.exponential() * 500)
        line.append(decimal: Int64(tenths / 10))
        line.append(UInt8(ascii: "."))
        line.append(decimal: Int64(tenths % 10))
        line.append(literal: ",\"referral\":")
        line.append(literal: random.chance(hasty ? 0.5 : 0.15) ? "true}}" : "false}}")
    }

    private mutating func write(review due: Pending, into line: inout [UInt8]) {
        write(item: due, into: &line)
        line.append(literal: "},\"review\":{\"stars\":")
        line.append(decimal: Int64(due.value))
        line.append(literal: ",\"length\":")
        line.append(decimal: Int64(due.campaign > 0 ? random.between(60, 400) : random.between(0, 500)))
        line.append(literal: ",\"verified\":")
        line.append(literal: due.flags.contains(.verified) ? "true" : "false")
        if due.flags.contains(.verified) {
            line.append(literal: ",\"hours_since_order\":")
            line.append(decimal: Int64(due.extra / 10))
            line.append(UInt8(ascii: "."))
            line.append(decimal: Int64(due.extra % 10))
        }
        line.append(literal: "}}")
    }

    private func write(refund due: Pending, into line: inout [UInt8]) {
        write(item: due, into: &line)
        line.append(literal: "},\"refund\":{\"amount\":")
        line.append(cents: Int64(market.priceOfItem[Int(due.item)]))
        line.append(literal: ",\"reason\":\"")
        line.append(literal: TrafficSimulator.reasons[Int(due.value)])
        line.append(literal: "\",\"hours_since_order\":")
        line.append(decimal: Int64(due.extra / 10))
        line.append(UInt8(ascii: "."))
        line.append(decimal: Int64(due.extra % 10))
        line.append(literal: "}}")
    }

    private mutating func write(view due: Pending, into line: inout [UInt8]) {
        line.append(literal: ",\"view\":{\"fields\":[\"orders\"")
        if due.flags.contains(.personalData) {
            line.append(literal: ",\"phone\",\"address\"")
        } else if random.chance(0.4) {
            line.append(literal: ",\"email\"")
        }
        line.append(literal: "],\"personal_data\":")
        line.append(literal: due.flags.contains(.personalData) ? "true" : "false")
        line.append(literal: ",\"has_case\":")
        if due.flags.contains(.verified) {
            cases += 1
            line.append(literal: "true,\"case\":\"K")
            line.append(decimal: cases, width: 7)
            line.append(literal: "\"")
        } else {
            line.append(literal: "false")
        }
        line.append(literal: "}}")
    }
}
