import Detection

/// An anomaly model: half-space trees over a row of features and numeric fields.
struct AnomalySettings: ModelSettings, Equatable {
    static let kind = "anomaly"
    static let keys = ["name", "features", "events", "trees", "depth", "window"]

    var name: String
    var inputs: ModelInputs
    var trees: Int
    var depth: Int
    /// Events between two updates of the trees' reference mass.
    var window: Int

    init(name: String, inputs: ModelInputs, keys: [String: YAMLNode], reader: inout TopologyReader) {
        self.name = name
        self.inputs = inputs
        trees = Int(keys["trees"].flatMap { reader.integer($0, "trees", 1...256) } ?? 25)
        depth = Int(keys["depth"].flatMap { reader.integer($0, "depth", 1...15) } ?? 8)
        window = Int(keys["window"].flatMap { reader.integer($0, "window", 10...1_000_000) } ?? 500)
    }

    var canonical: [(key: String, value: String)] { [("trees", "\(trees) \(depth) \(window)")] }

    func configuration(_ features: [AnomalyFeature], seed: UInt64) -> any ModelConfiguration {
        AnomalyConfiguration(
            name: name,
            features: features,
            events: inputs.events,
            trees: trees,
            depth: depth,
            window: window,
            seed: seed
        )
    }
}
