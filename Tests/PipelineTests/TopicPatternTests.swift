import Detection
import RuleLanguage
import Testing

@testable import Pipeline

/// `topic: "*.orders"`: which names a pattern means, and that a topology over them is one that names them.
@Suite struct TopicPatternTests {
    @Test(arguments: [
        (
            "*.orders", ["eu.orders", "us.eu.orders", ".orders"],
            ["orders", "eu.orders.dlq", "weir.orders", "__x.orders"]
        ),
        ("eu.*", ["eu.orders", "eu."], ["eu", "us.eu.orders", "EU.orders"]), ("weir*", ["weird"], ["weir.verdicts"]),
    ]) func `the star stands for any text at one end`(text: String, meant: [String], others: [String]) throws {
        let pattern = try #require(TopicPattern(text))
        for name in meant { #expect(pattern.matches(name), "\(name)") }
        for name in others { #expect(!pattern.matches(name), "\(name)") }
    }

    @Test func `one star at one end makes a pattern, and nothing else`() {
        for text in ["orders", "o*s", "*or*", "", "**"] { #expect(TopicPattern(text) == nil, "\(text)") }
    }

    @Test func `entries that can mean one topic meet, whichever comes first`() {
        let meeting = [
            ("orders", "orders"), ("*.orders", "eu.orders"), ("*.orders", "eu.*"), ("*.orders", "*orders"),
            ("eu.*", "eu.x.*"),
        ]
        let apart = [("orders", "order"), ("*.orders", "orders"), ("*.orders", "*.refunds"), ("eu.*", "us.*")]
        for (a, b) in meeting { #expect(TopicPattern.meet(a, b) && TopicPattern.meet(b, a), "\(a) \(b)") }
        for (a, b) in apart { #expect(!TopicPattern.meet(a, b) && !TopicPattern.meet(b, a), "\(a) \(b)") }
        // The oracle: some name that both mean.
        let names = ["", "a", "b"].flatMap { x in ["", "a", "b"].flatMap { y in ["a", "b"].map { x + y + $0 } } }
        let texts = names + ["*a", "*b", "*ab", "*ba", "a*", "b*", "ab*", "ba*"]
        func means(_ text: String, _ name: String) -> Bool { TopicPattern(text)?.matches(name) ?? (text == name) }
        for a in texts {
            for b in texts where names.contains(where: { means(a, $0) && means(b, $0) }) {
                #expect(TopicPattern.meet(a, b), "\(a) \(b)")
            }
        }
    }

    private static let named =
        WorkerTopology.text.replacing("topic: orders", with: "topic: [eu.orders, us.orders]")
        + "\ntopics: { eu.orders: { ignore: tombstones }, us.orders: { ignore: tombstones } }\n"
    private static let pattern =
        WorkerTopology.text.replacing("topic: orders", with: "topic: \"*.orders\"")
        + "\ntopics: { \"*.orders\": { ignore: tombstones } }\n"

    @Test
    func `bound to a log's topics it reads what a list of them would, and is the same topology whatever they are`()
        throws
    {
        let named = try WorkerTopology.load(TopicPatternTests.named)
        let pattern = try WorkerTopology.load(TopicPatternTests.pattern)
        #expect(pattern.description.topicPatterns == ["*.orders"])
        let bound = try pattern.bound(to: ["us.orders", "orders", "weir.orders", "eu.orders", "clicks"])
        #expect(bound.description.topicPatterns == [])
        #expect(bound.description.topics == named.description.topics)
        #expect(bound.description.events.map(\.topics) == named.description.events.map(\.topics))
        #expect(bound.description.readings == named.description.readings)
        #expect(bound.topologyDigest == pattern.topologyDigest && bound.topologyDigest != named.topologyDigest)
        #expect(try pattern.bound(to: ["orders"]).description.topicPatterns == ["*.orders"])
        #expect(try named.bound(to: ["ap.orders"]).description.topics == named.description.topics)
    }

    @Test func `what is said of one name goes before what is said of the pattern`() throws {
        let text = TopicPatternTests.pattern.replacing(
            "topics: { ",
            with: "topics: { eu.orders: { framing: registry }, "
        ).replacing("topic: \"*.orders\"", with: "topic: [eu.orders, \"*.orders\"]")
        let bound = try WorkerTopology.load(text).bound(to: ["eu.orders", "us.orders"])
        #expect(bound.description.readings["eu.orders"]?.isFramed == true)
        #expect(bound.description.readings["eu.orders"]?.ignoresTombstones == false)
        #expect(bound.description.readings["us.orders"]?.ignoresTombstones == true)
    }
}
