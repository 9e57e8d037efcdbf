import RuleLanguage
import Simulation
import Testing

struct ScorecardTests {
    private func event(_ key: String, at time: Int64, _ attack: SimulatedAttack?, ring: String? = nil) -> SimulatedEvent
    {
        SimulatedEvent(
            id: "e\(time)",
            eventType: "click",
            topic: "clicks",
            key: key,
            time: time,
            attack: attack,
            ring: ring,
            accounts: attack == nil ? [] : [key]
        )
    }

    @Test func `an attack is caught at its first decision above allow`() {
        var card = Scorecard()
        card.record(truth: event("a1", at: 1_000, .couponRing, ring: "coupon_ring-1"), decision: .allow)
        card.record(truth: event("a2", at: 61_000, .couponRing, ring: "coupon_ring-1"), decision: .block)
        card.record(truth: event("a2", at: 90_000, .couponRing, ring: "coupon_ring-1"), decision: .tag)
        card.record(truth: event("a9", at: 90_000, .couponRing, ring: "coupon_ring-2"), decision: .allow)
        let tally = card.tally(of: .couponRing)
        #expect(tally.events == 4 && tally.flagged == 2 && tally.stopped == 1)
        #expect(tally.accounts == 3 && tally.accountsCaught == 1)
        #expect(tally.rings == 2 && tally.ringsCaught == 1)
        #expect(tally.medianDelay == 60_000)
    }

    @Test func `a decision against the honest is an error, against a ring's cover neither`() {
        var card = Scorecard()
        card.record(truth: event("a1", at: 0, nil), decision: .challenge)
        card.record(truth: event("a1", at: 1, nil), decision: .allow)
        card.record(truth: event("a2", at: 2, .brushingRing, ring: "brushing_ring-1"), decision: .allow)
        card.record(truth: event("a2", at: 3, nil), decision: .tag)
        #expect(card.honestEvents == 2 && card.falseFlags == 1 && card.falseStops == 1 && card.falseAccounts == 1)
        #expect(card.coverEvents == 1)
    }

    @Test func `the summary is a table`() {
        var card = Scorecard()
        card.record(truth: event("a1", at: 0, .clickFarm, ring: "click_farm-1"), decision: .allow)
        card.record(truth: event("a1", at: 9_000, .clickFarm, ring: "click_farm-1"), decision: .tag)
        card.record(truth: event("a2", at: 9_500, .accountTakeover), decision: .allow)
        card.record(truth: event("a3", at: 9_600, nil), decision: .allow)
        #expect(
            card.rendered == """
                attack                events    caught    missed   stopped  accounts    caught  first alert
                click_farm                 2    50.0 %         1     0.0 %         1   100.0 %          9 s
                account_takeover           1     0.0 %         1     0.0 %         1     0.0 %        never
                rings: 1 of 1 caught; the detectors reported 0
                honest: 1 events, 0 flagged in error (0.0 %), 0 of them stopped, 0 accounts

                """
        )
    }
}
