import Foundation
import Testing

@testable import RuleLanguage

private func event(_ name: String, _ fields: [(String, FieldType)]) -> EventSchema {
    let base = [
        Shop.field("ts", .timestamp, required: true), Shop.field("user.id", .string, entity: "user", required: true),
    ]
    return EventSchema(
        name: name,
        topic: name,
        fields: base + fields.map { Shop.field($0.0, $0.1) },
        time: .field(0),
        idField: nil,
        subjectField: 1
    )
}

private let marketplace = RuleEnvironment(
    events: [
        event(
            "coupon_redeemed",
            [
                ("device.id", .string), ("coupon.id", .string), ("coupon.value", .money), ("user.age_days", .int),
                ("net.asn", .int),
            ]
        ),
        event(
            "order_placed",
            [
                ("device.id", .string), ("buyer.id", .string), ("seller.id", .string),
                ("ship.address_cluster", .string),
                ("item.id", .string), ("net.asn", .int), ("user.age_days", .int),
            ]
        ),
        event(
            "review_posted",
            [
                ("buyer.id", .string), ("seller.id", .string), ("ship.address_cluster", .string),
                ("review.rating", .int),
                ("review.secs_since_delivery", .int),
            ]
        ),
        event("click", [("item.id", .string), ("net.asn", .int), ("net.ip", .string)]),
        event(
            "refund_requested",
            [("refund.amount", .money), ("refund.reason", .string), ("user.labels", .stringList)]
        ),
        event(
            "signup",
            [
                ("net.ip24", .string), ("net.asn", .int), ("device.id", .string), ("device.fingerprint", .string),
                ("email.domain", .string), ("email.local", .string), ("signup.form_secs", .double),
                ("user.age_days", .int),
            ]
        ),
        event(
            "staff_viewed_order",
            [("staff.id", .string), ("buyer.id", .string), ("view.fields", .stringList), ("view.case_id", .string)]
        ),
        event("staff_day_summary", [("staff.id", .string), ("view.daily_buyers", .int)]),
    ],
    signals: Shop.environment.signals,
    maximumWindowMilliseconds: 90 * 86_400_000,
    hash: Shop.hash
)

@Test func `the examples of the reference compile without a warning`() throws {
    let text = try Fixtures.text("examples.weir")
    let set: RuleSet
    do {
        set = try RuleSet.compile([RuleSource(path: "examples.weir", text: text)], in: marketplace)
    } catch {
        let shown = error.diagnostics.map(\.rendered).joined()
        Issue.record("\(shown)")
        return
    }
    #expect(set.warnings.isEmpty)
    #expect(set.rules.count == 7 && set.policy.name == "marketplace")
}
