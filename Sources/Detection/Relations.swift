import RuleLanguage

public struct LockstepSettings: Sendable {}
public struct RingRecord: Sendable { public var key: [UInt8]; public var value: [UInt8] }
struct RingMembership { var identifier: String; var size: Int; var score: Double }

final class Relations {
    init(_ configuration: EngineConfiguration, lanes: Int) {}
    func beginEpoch() {}
    func endEpoch(watermark: Int64) {}
    func read(_ event: Event, into signal: UnsafeMutablePointer<Slot>) {}
    func membership(of event: Event) -> RingMembership? { nil }
    func learn(_ events: UnsafeBufferPointer<Event>, watermark: Int64, lanes: Int, fork: Fork) {}
    var changes: [RingRecord] { [] }
    var stateBytes: Int { 0 }
}
