public import RuleLanguage

extension WindowPlan {
    /// What a feature keeps in memory; features over the same stream share all of it.
    public struct Cost: Sendable, Hashable {
        /// Identifies the stream: features with the same number share the bytes.
        public var stream: Int
        /// Fixed part of each key with events in the window; ring, map and text blocks come on top.
        public var bytesPerKey: Int
        /// Each event inside the longest window of the stream.
        public var bytesPerEvent: Int
    }

    /// The kinds of key there is state for, such as `account` or `device, item`: ``EngineConfiguration/keysPerTable`` bounds each.
    public var keyKinds: [String] { tables.map(\.name) }

    /// The cost of a feature of this plan; nil when nothing reads it, and so nothing is kept for it.
    public func cost(of feature: Feature) -> Cost? {
        for access in accesses.joined() {
            for use in access.streams
            where (use.excluding + use.including).contains(where: { $0.column == feature.column }) {
                let stream = streams[use.stream]
                return Cost(stream: use.stream, bytesPerKey: stream.stateBytes, bytesPerEvent: stream.entryBytes)
            }
        }
        return nil
    }
}
