import Testing

@testable import Telemetry

@Test func `the target builds`() {}
