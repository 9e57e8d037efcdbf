import Testing

@testable import RuleLanguage

@Test func `the target builds`() {}
