import Models
import RuleLanguage

/// A window plan as the hot loop wants it: plain memory without reference counts, built once and then only read.
///
/// `@unchecked Sendable`: nothing is written after `init`, so threads may share it.
final class WindowProgram: @unchecked Sendable {
    /// One stream; see ``WindowPlan`` for the layouts the offsets point into.
    struct Stream {
        var windows: UnsafePointer<WindowPlan.Window>
        var windowCount: Int
        var accumulators: UnsafePointer<WindowPlan.Accumulator>
        var columns: UnsafePointer<Column>
        var columnCount: Int
        var distinct: UnsafePointer<WindowPlan.DistinctColumn>
        var distinctCount: Int
        var extremes: UnsafePointer<WindowPlan.ExtremeColumn>
        var extremeCount: Int
        var hasTexts: Bool
        /// Index in ``filters``, or -1; and which evaluator runs it.
        var filter: Int
        var filterOwner: Int
        var stateBytes: Int
        var entryBytes: Int
        var longest: Int64
    }

    struct Column {
        /// Slot of the field, or -1: then ``program`` is an index in ``arguments``, and ``owner`` says which evaluator runs it.
        var field: Int
        var program: Int
        var owner: Int
        var isRequired: Bool
        var isDouble: Bool
        var value: Int
        var text: Int
    }

    struct StreamAccess {
        var stream: Int
        /// Index of the stream in its table's key record.
        var index: Int
        var adds: Bool
        var excluding: UnsafePointer<WindowPlan.Output>
        var excludingCount: Int
        var including: UnsafePointer<WindowPlan.Output>
        var includingCount: Int
    }

    struct KeyAccess {
        var table: Int
        var keys: UnsafePointer<Key>
        var keyCount: Int
        var streams: UnsafePointer<StreamAccess>
        var streamCount: Int
    }

    struct Key {
        /// Slot of the field, or -1: then ``program`` is an index in ``keyPrograms``, and ``owner`` says which evaluator runs it.
        var field: Int
        var program: Int
        var owner: Int
        var isText: Bool
    }

    struct Table {
        var streamCount: Int
        var streams: UnsafePointer<Int>
        /// A kind of key with one stream needs no record of its streams: its buckets lead straight to the stream's state, which
        /// spares every access a cache miss and every key 16 bytes.
        @inline(__always) var isDirect: Bool { streamCount == 1 }
    }

    let plan: WindowPlan
    let streams: UnsafePointer<Stream>
    let tables: UnsafePointer<Table>
    let tableCount: Int
    /// All accesses, event type by event type.
    let accesses: UnsafePointer<KeyAccess>
    /// Per event type, its part of ``accesses``.
    let accessRanges: [Range<Int>]
    /// The rule sets that the programs belong to, by ``RuleSet/stamp``: an owner is an index in here.
    ///
    /// There must be an evaluator of each.
    let owners: [UInt64]
    // The programs' code lives as long as the plan, which holds them.
    let filters: UnsafePointer<ProgramHandle>
    let arguments: UnsafePointer<ProgramHandle>
    let keyPrograms: UnsafePointer<ProgramHandle>
    /// What the pointers point into.
    private let pieces: [AnyObject]

    init(_ plan: WindowPlan) {
        self.plan = plan
        var filters: [ProgramHandle] = []
        var arguments: [ProgramHandle] = []
        var keyPrograms: [ProgramHandle] = []
        var owners: [UInt64] = []
        var pieces: [AnyObject] = []
        func owner(of program: Program) -> Int {
            if let known = owners.firstIndex(of: program.stamp) { return known }
            owners.append(program.stamp)
            return owners.count - 1
        }
        func keep<Item>(_ items: [Item]) -> UnsafePointer<Item> {
            let piece = ProgramPiece(items)
            pieces.append(piece)
            return UnsafePointer(piece.items.base)
        }
        let streams = plan.streams.map { stream in
            var filter = -1
            var filterOwner = 0
            if let program = stream.filter {
                filter = filters.count
                filterOwner = owner(of: program)
                filters.append(program.handle)
            }
            let columns = stream.columns.indices.map { c -> Column in
                let column = stream.columns[c]
                var made = Column(
                    field: -1,
                    program: -1,
                    owner: 0,
                    isRequired: stream.requiredColumns.contains(c),
                    isDouble: column.isDouble,
                    value: column.value,
                    text: column.text
                )
                switch column.source {
                case .field(let index): made.field = index
                case .program(let program):
                    made.program = arguments.count
                    made.owner = owner(of: program)
                    arguments.append(program.handle)
                }
                return made
            }
            return Stream(
                windows: keep(stream.windows),
                windowCount: stream.windows.count,
                accumulators: keep(stream.accumulators),
                columns: keep(columns),
                columnCount: columns.count,
                distinct: keep(stream.distinct),
                distinctCount: stream.distinct.count,
                extremes: keep(stream.extremes),
                extremeCount: stream.extremes.count,
                hasTexts: stream.columns.contains { $0.text >= 0 },
                filter: filter,
                filterOwner: filterOwner,
                stateBytes: stream.stateBytes,
                entryBytes: stream.entryBytes,
                longest: stream.longest
            )
        }
        self.streams = keep(streams)
        tables = keep(plan.tables.map { Table(streamCount: $0.streams.count, streams: keep($0.streams)) })
        tableCount = plan.tables.count
        var all: [KeyAccess] = []
        var ranges: [Range<Int>] = []
        for accesses in plan.accesses {
            let start = all.count
            for access in accesses {
                let keys = access.keys.indices.map { k -> Key in
                    var made = Key(field: -1, program: -1, owner: 0, isText: access.keyIsText[k])
                    switch access.keys[k] {
                    case .field(let index): made.field = index
                    case .program(let program):
                        made.program = keyPrograms.count
                        made.owner = owner(of: program)
                        keyPrograms.append(program.handle)
                    }
                    return made
                }
                let uses = access.streams.map { use in
                    StreamAccess(
                        stream: use.stream,
                        index: plan.streams[use.stream].index,
                        adds: use.adds,
                        excluding: keep(use.excluding),
                        excludingCount: use.excluding.count,
                        including: keep(use.including),
                        includingCount: use.including.count
                    )
                }
                all.append(
                    KeyAccess(
                        table: access.table,
                        keys: keep(keys),
                        keyCount: keys.count,
                        streams: keep(uses),
                        streamCount: uses.count
                    )
                )
            }
            ranges.append(start..<all.count)
        }
        precondition(all.count <= Int(UInt16.max), "too many distinct keys in one rule set")
        self.accesses = keep(all)
        accessRanges = ranges
        self.owners = owners
        self.filters = keep(filters)
        self.arguments = keep(arguments)
        self.keyPrograms = keep(keyPrograms)
        self.pieces = pieces
    }
}

/// One of a program's tables.
private final class ProgramPiece<Item> {
    let items: OwnedBuffer<Item>

    init(_ items: [Item]) { self.items = OwnedBuffer(items) }
}
