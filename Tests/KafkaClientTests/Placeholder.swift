import Testing

@testable import KafkaClient

@Test func `the target builds`() {}
