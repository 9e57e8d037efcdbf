/// What the fields of a record are wrapped in.
public enum Envelope: Sendable, Equatable {
    /// Debezium's: the row before and after a change, as it comes with and without a schema beside it.
    case debezium(Set<ChangeOperation>)
    /// CloudEvents in structured mode: the event under `data`, beside its attributes.
    case cloudEvents

    /// Where a path of the topology may lead in a record: its own paths begin inside the envelope, those around it at its outside.
    public func places(of path: FieldPath) -> [FieldPath] {
        func outside(_ keys: [String]) -> FieldPath { FieldPath(steps: keys.map { .key($0) } + path.steps) }
        if path.isBeside { return [path] }
        switch self {
        case .cloudEvents: return [outside(path.origin == .around ? [] : ["data"])]
        case .debezium(let operations):
            let row = path.origin == .around ? [] : operations == [.delete] ? ["before"] : ["after"]
            return [outside(row), outside(["payload"] + row)]
        }
    }
}

/// What Debezium says was done to a row.
public enum ChangeOperation: String, Sendable, CaseIterable {
    case create, update, snapshot, delete

    /// Its `op`.
    public var letter: UInt8 {
        switch self {
        case .create: UInt8(ascii: "c")
        case .update: UInt8(ascii: "u")
        case .snapshot: UInt8(ascii: "r")
        case .delete: UInt8(ascii: "d")
        }
    }
}

extension EventSchema {
    /// Whether its records are changes of a database's rows.
    public var isChange: Bool { if case .debezium = envelope { true } else { false } }

    /// Where a path of this type may lead in a record.
    public func places(of path: FieldPath) -> [FieldPath] { envelope?.places(of: path) ?? [path] }
}
