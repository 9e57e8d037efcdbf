/// The simulated marketplace at rest: items with sellers and prices, coupons, and everybody's home, device and card.
///
/// People are functions of their number, not rows of a table, so a population of any size costs no memory. Numbers of accounts,
/// devices and addresses go through a bijection before they are written: whoever reads the stream cannot tell an attacker by his
/// number.
struct Marketplace: Sendable {
    static let itemCount = 20_000
    static let sellerCount = 1_500
    static let couponCount = 60
    static let staffCount = 60
    static let population = 400_000
    /// Accounts that visit more often than the rest.
    static let regulars = 40_000
    /// Aged accounts in the hands of click farms, brushing workers and hired reviewers, behind the honest ones.
    static let farmAccounts = Marketplace.population..<(Marketplace.population + 3_000)
    static let workerAccounts = (Marketplace.population + 3_000)..<(Marketplace.population + 3_600)
    static let reviewerAccounts = (Marketplace.population + 3_600)..<(Marketplace.population + 3_800)
    static let firstNewAccount = Marketplace.population + 4_000

    let seed: UInt64
    let items: ZipfSampler
    let coupons: ZipfSampler
    let sellerOfItem: [UInt16]
    let priceOfItem: [Int32]
    /// Items by seller, flat: those of seller `s` stand in `itemsBySeller[firstItem[s]..<firstItem[s + 1]]`.
    let itemsBySeller: [UInt32]
    let firstItem: [Int]
    /// Sellers with 8 to 60 items: neither a one-item shop nor a giant, as those who buy clicks and fake orders are.
    let middlingSellers: [Int]

    init(seed: UInt64) {
        self.seed = seed
        var random = SimulationRandom(seed: seed ^ 0x6D61_726B_6574)
        items = ZipfSampler(count: Marketplace.itemCount, flattening: 10)
        coupons = ZipfSampler(count: Marketplace.couponCount, flattening: 4)
        let sellers = ZipfSampler(count: Marketplace.sellerCount, flattening: 20)
        var sellerOfItem: [UInt16] = []
        var priceOfItem: [Int32] = []
        var counts = [Int](repeating: 0, count: Marketplace.sellerCount + 1)
        for _ in 0..<Marketplace.itemCount {
            let seller = sellers.sample(&random)
            sellerOfItem.append(UInt16(seller))
            counts[seller + 1] += 1
            let band = random.uniform()
            let price =
                band < 0.6
                ? random.between(299, 3_999)
                : band < 0.92 ? random.between(4_000, 14_999) : random.between(15_000, 79_999)
            priceOfItem.append(Int32(price))
        }
        for index in 1...Marketplace.sellerCount { counts[index] += counts[index - 1] }
        firstItem = counts
        var at = counts
        var itemsBySeller = [UInt32](repeating: 0, count: Marketplace.itemCount)
        for (item, seller) in sellerOfItem.enumerated() {
            itemsBySeller[at[Int(seller)]] = UInt32(item)
            at[Int(seller)] += 1
        }
        self.sellerOfItem = sellerOfItem
        self.priceOfItem = priceOfItem
        self.itemsBySeller = itemsBySeller
        middlingSellers = (0..<Marketplace.sellerCount).filter { (8...60).contains(counts[$0 + 1] - counts[$0]) }
        precondition(!middlingSellers.isEmpty)
    }

    func items(ofSeller seller: Int) -> ArraySlice<UInt32> { itemsBySeller[firstItem[seller]..<firstItem[seller + 1]] }

    func hash(_ number: UInt32, _ purpose: UInt64) -> UInt64 {
        SimulationRandom.mix(SimulationRandom.mix(seed ^ purpose) ^ UInt64(number))
    }

    // MARK: People

    /// Countries as indices into ``countryNames``; two thirds live in the first.
    static let countryNames: [StaticString] = [
        "DE", "AT", "CH", "FR", "NL", "PL", "IT", "ES", "SE", "DK", "VN", "BR", "NG", "RO",
    ]
    /// Those from here on are no home of an honest customer.
    static let homeCountries = 10

    func homeCountry(of account: UInt32) -> UInt8 {
        let h = hash(account, 1) % 100
        return h < 66 ? 0 : UInt8(1 + h % UInt64(Marketplace.homeCountries - 1))
    }

    /// The family an account belongs to: in 15 % of all blocks of five numbers the first two to five are one household.
    func household(of account: UInt32) -> (number: UInt32, members: Int)? {
        let block = account / 5
        let h = hash(block, 2)
        guard h % 100 < 15, account < Marketplace.population else { return nil }
        let members = 2 + Int((h >> 32) % 4)
        return Int(account % 5) < members ? (block, members) : nil
    }

    /// Works behind one of twelve offices' shared addresses by day.
    func office(of account: UInt32) -> UInt32? {
        let h = hash(account, 3)
        return h % 100 < 6 ? UInt32((h >> 32) % 12) : nil
    }

    /// Age in days at the start of the simulation of an account that was there before.
    func initialAge(of account: UInt32) -> Int {
        let h = hash(account, 4)
        // The hired ones were bought aged, but not old.
        return account < Marketplace.population ? 20 + Int(h % 1_800) : 25 + Int(h % 240)
    }

    // MARK: Numbers of devices and network addresses

    static func personalDevice(_ account: UInt32) -> UInt32 { account }
    static func familyDevice(_ household: UInt32) -> UInt32 { 0x4000_0000 | household }
    static func kioskDevice(_ kiosk: UInt32) -> UInt32 { 0x8000_0000 | kiosk }
    static func staffDevice(_ staff: UInt32) -> UInt32 { 0x9000_0000 | staff }
    static func otherDevice(_ count: UInt32) -> UInt32 { 0xC000_0000 | count }

    static func homeAddress(_ account: UInt32) -> UInt32 { account % 0xD0_0000 }
    static func officeAddress(_ office: UInt32) -> UInt32 { 0xF0_0000 | office }
    static func carrierAddress(_ carrier: UInt32) -> UInt32 { 0xF1_0000 | carrier }
    static func kioskAddress(_ kiosk: UInt32) -> UInt32 { 0xF2_0000 | kiosk }
    static func staffAddress(_ staff: UInt32) -> UInt32 { 0xF3_0000 | staff % 3 }
    static func otherAddress(_ count: UInt32) -> UInt32 { 0xD0_0000 | count % 0x20_0000 }

    static let systemNames: [StaticString] = ["android", "ios", "windows", "macos", "linux", "kiosk"]

    func system(of device: UInt32) -> Int {
        if device & 0xF000_0000 == 0x8000_0000 { return 5 }
        if device & 0xF000_0000 == 0x9000_0000 { return 2 }
        let h = hash(device, 5) % 100
        return h < 42 ? 0 : h < 70 ? 1 : h < 90 ? 2 : h < 98 ? 3 : 4
    }
}
