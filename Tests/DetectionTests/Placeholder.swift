import Testing

@testable import Detection

@Test func `the target builds`() {}
