import Testing

@testable import Models

@Test func `the target builds`() {}
