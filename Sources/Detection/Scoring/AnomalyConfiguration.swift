public import Models
public import RuleLanguage

/// One input of the anomaly score.
public struct AnomalyFeature: Sendable, Equatable {
    /// Where an event has the number.
    public enum Source: Sendable, Equatable {
        /// A column of the feature row; `int`, `double` or `bool`.
        case feature(column: Int, type: ValueType)
        /// A field of the event; `int`, `double`, `money` or `bool`.
        case field(index: Int, type: FieldType)
    }

    public var name: String
    /// One per event of ``AnomalyConfiguration/events``.
    public var sources: [Source]
    public var shape: RangeScaler.Shape
    /// What a declared feature counts, in its canonical text; empty for a field: of one name in two releases it may be another
    /// number.
    public var meaning: String

    public init(name: String, sources: [Source], shape: RangeScaler.Shape = .logarithmic, meaning: String = "") {
        self.name = name
        self.sources = sources
        self.meaning = meaning
        self.shape = shape
    }
}

/// What the engine is told of an anomaly model.
public struct AnomalyConfiguration: Sendable, Equatable {
    /// The name of its signal, `NAME.score`.
    public var name: String
    /// 1...256 of them.
    public var features: [AnomalyFeature]
    /// Types of the scored events, by index; the others score 0 and teach nothing.
    public var events: [Int]
    /// 1...1024.
    public var trees: Int
    /// 1...15.
    public var depth: Int
    /// Events per window, 10...1,000,000: the score stays 0 until one has taught the ranges and one,
    /// which may begin in the same tick, has filled the reference.
    public var window: Int
    /// Draws the trees.
    public var seed: UInt64

    public init(
        name: String,
        features: [AnomalyFeature],
        events: [Int],
        trees: Int = 25,
        depth: Int = 8,
        window: Int = 500,
        seed: UInt64
    ) {
        self.name = name
        self.features = features
        self.events = events
        self.trees = trees
        self.depth = depth
        self.window = window
        self.seed = seed
    }
}
