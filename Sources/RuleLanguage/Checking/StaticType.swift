/// The type of an expression, known before it runs.
indirect enum StaticType: Sendable, Equatable {
    case int, double, bool, string, timestamp, duration
    case list(StaticType)
    /// The element of `[]`: agrees with every type.
    case nothing
    /// Wrong, and reported: silences what follows from it.
    case failed

    init(_ type: FieldType) {
        switch type {
        case .string: self = .string
        case .int, .money: self = .int
        case .double: self = .double
        case .bool: self = .bool
        case .timestamp: self = .timestamp
        case .stringList: self = .list(.string)
        }
    }

    init(_ type: ValueType) {
        switch type {
        case .int: self = .int
        case .double: self = .double
        case .bool: self = .bool
        case .string: self = .string
        case .timestamp: self = .timestamp
        case .duration: self = .duration
        case .stringList: self = .list(.string)
        }
    }

    /// The type as the stages know it; nil for lists other than of strings.
    var valueType: ValueType? {
        switch self {
        case .int: .int
        case .double: .double
        case .bool: .bool
        case .string: .string
        case .timestamp: .timestamp
        case .duration: .duration
        case .list(.string): .stringList
        case .list, .nothing, .failed: nil
        }
    }

    var name: String {
        switch self {
        case .int: "int"
        case .double: "double"
        case .bool: "bool"
        case .string: "string"
        case .timestamp: "timestamp"
        case .duration: "duration"
        case .list(.nothing): "list"
        case .list(let element): "list<\(element.name)>"
        case .nothing: "nothing"
        case .failed: "unknown"
        }
    }

    /// The name in a sentence: `an int`, `a string`.
    var withArticle: String { (self == .int ? "an " : "a ") + name }

    var isNumber: Bool { self == .int || self == .double }

    /// Compared by the slot's bits alone.
    var comparesByBits: Bool {
        switch self {
        case .int, .bool, .string, .timestamp, .duration: true
        default: false
        }
    }

    /// Whether the two can be the same type, `[]` agreeing with every list.
    func agrees(with other: StaticType) -> Bool {
        switch (self, other) {
        case (.nothing, _), (_, .nothing): true
        case (.list(let a), .list(let b)): a.agrees(with: b)
        default: self == other
        }
    }

    /// How lists of this element compare: 0 by bits, 1 as doubles, 2 more per level of lists.
    var listComparison: Int32 {
        switch self {
        case .double: 1
        case .list(let element): 2 + element.listComparison
        default: 0
        }
    }
}
