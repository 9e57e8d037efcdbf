import Testing

@testable import Pipeline

@Test func `the target builds`() {}
