public import RuleLanguage

/// How a rule set's features are kept: which keys, which streams of events per key, which windows over a stream.
///
/// - A **key table** holds one record per distinct key of one kind (account; device and coupon; …). Features with the same kind of
///   key share it.
/// - A **stream** is the sequence of counted events of one key: one event type, one filter, and only events that have the argument
///   when it may be missing. All windows and aggregates over the same stream share one ring of entries.
/// - A **key access** is one event at one key; it is made of **stream accesses**: the streams the event is added to and those it
///   reads.
///
/// ## Layout of a stream's state, in the slot's arena
/// ```
///     ``StreamHeader``
///     u32 heads      one per window: position of the oldest entry inside it
///     u32 live       per distinct window: entries inside it that no later entry repeats
///     u32 front      per min/max window: position of the extreme
///     ``MapHeader``  per distinct column: where its map is, from 16 live entries on
///     u64 low, i32 high    per sum/avg window of integers (``WindowSum``); i128 fixed-point sums (10^-6) for doubles
/// ```
/// ## Layout of an entry
/// ```
/// 0   i64 time
/// 8   u64 value      per column
///     u32 link       per distinct column: distance back to the previous entry with this value, top bit: a later entry repeats it
///     ``ChainLinks`` per min or max column: its neighbours in the chain of entries that nothing later beats
///     u32 text       per string column of first/last: block with the text
/// ```
/// The sliding distinct by "repeated later" links is exact for any number of windows over one ring. The chain is the monotone queue
/// of the sliding minimum, kept inside the ring so that a step can be undone.
public struct WindowPlan: Sendable {
    struct Accumulator: Sendable {
        enum Kind: UInt8, Sendable { case sum, fixedSum, live, extreme }
        var kind: Kind
        /// In the stream's state.
        var offset: Int
        /// Of the value in the entry.
        var value: Int
        /// In the entry: of the link (distinct) or of the ``ChainLinks`` (extreme).
        var link: Int
        /// Index of the distinct or extreme column.
        var column: Int
    }

    struct Window: Sendable {
        var milliseconds: Int64
        /// Of the head in the stream's state.
        var head: Int
        var accumulators: Range<Int>
    }

    struct Column: Sendable {
        var source: ValueSource
        var isDouble: Bool
        var isText: Bool
        /// Of the value in the entry.
        var value: Int
        /// Of the text block in the entry, or -1.
        var text: Int
    }

    struct DistinctColumn: Sendable {
        var value: Int
        /// Whether the value is a text's keyed hash already, and no number that somebody chose.
        var isHashed: Bool
        var link: Int
        /// Of the ``MapHeader`` in the stream's state.
        var map: Int
    }

    struct ExtremeColumn: Sendable {
        var value: Int
        /// Of the ``ChainLinks`` in the entry.
        var links: Int
        var isMaximum: Bool
        var isDouble: Bool
    }

    struct Output: Sendable {
        enum Kind: UInt8, Sendable {
            case count, sum, fixedSum, average, fixedAverage, live, extreme, first, last, firstText, lastText
        }
        var kind: Kind
        var window: Int
        /// Of the accumulator in the stream's state.
        var offset: Int
        /// Of the value and of the text block in the entry.
        var value: Int
        var text: Int
        /// Slot in the feature row.
        var column: Int
        var excludesCurrent: Bool
    }

    struct Stream: Sendable {
        var table: Int
        /// Index among the streams of its table.
        var index: Int
        var event: Int
        var filter: Program?
        var columns: [Column] = []
        var windows: [Window] = []
        var accumulators: [Accumulator] = []
        var distinct: [DistinctColumn] = []
        var extremes: [ExtremeColumn] = []
        var stateBytes = 0
        var entryBytes = 0
        var longest: Int64 = 0
        /// Canonical texts of its features, in the order in which they lay it out.
        var features: [String] = []
        /// Columns whose absence keeps an event out of the stream, as does a double that is no number.
        var requiredColumns: [Int] = []
    }

    /// One event at one key.
    struct KeyAccess: Sendable {
        /// When it is the event's turn at a key; an event's accesses are in this order, as two of them may lead to the same key.
        ///
        /// A key mapped on the event type that is counted (`by receiver = sender`) is read apart from where the event is added, and
        /// only the event itself tells whether both are the same key. So what leaves the event out is read before it is added
        /// anywhere, the rest afterwards.
        enum Turn: Sendable, CaseIterable { case readsBefore, adds, readsAfter }
        var turn: Turn
        var table: Int
        var keys: [ValueSource]
        var keyIsText: [Bool]
        /// In ascending order of their streams.
        var streams: [StreamAccess]
    }

    /// What an event does at one stream of a key.
    struct StreamAccess: Sendable {
        var stream: Int
        /// Whether the event is added.
        var adds: Bool
        /// What is read before and after the event itself is added.
        var excluding: [Output]
        var including: [Output]
    }

    struct Table: Sendable {
        /// Kinds of the key's parts, for people.
        var name: String
        var streams: [Int] = []
        /// Longest window over any of its streams.
        var longest: Int64 = 0
    }

    /// Most argument columns an entry carries.
    static let columnsPerStream = 32

    var streams: [Stream] = []
    var tables: [Table] = []
    /// Per event type.
    var accesses: [[KeyAccess]]
    /// Slots of a feature row.
    public let rowWidth: Int
    let hash: WordHash

    /// Plans the features of a rule set.
    ///
    /// - Parameters:
    ///   - features: with their columns assigned.
    ///   - events: the topology's event types, in order.
    ///   - rowWidth: slots of a feature row.
    public init(features: [Feature], events: [EventSchema], rowWidth: Int, hash: TextHash) {
        self.rowWidth = rowWidth
        self.hash = WordHash(hash)
        accesses = [[KeyAccess]](repeating: [], count: events.count)
        var tableByName: [String: Int] = [:]
        var streamByName: [String: Int] = [:]
        // Features of one stream, to lay it out when all are known.
        var members: [[(feature: Feature, column: Int?)]] = []
        var streamOfFeature: [Int] = []

        for feature in features {
            let schema = events[feature.event]
            let kind = feature.countedKeys.map { schema.fields[$0].entity ?? schema.fields[$0].name }.joined(
                separator: ", "
            )
            let table: Int
            if let known = tableByName[kind] {
                table = known
            } else {
                table = tables.count
                tableByName[kind] = table
                tables.append(Table(name: kind))
            }
            let argument = feature.argumentText
            let optional = WindowPlan.mayBeMissing(feature.argument, schema)
            let keyFields = feature.countedKeys.map(String.init).joined(separator: ",")
            var streamName = "\(table)|\(feature.event)|\(keyFields)|\(feature.filterText)|\(optional ? argument : "")"
            // A stream that is full goes on in a second one.
            while let full = streamByName[streamName], streams[full].columns.count >= WindowPlan.columnsPerStream {
                streamName += "+"
            }
            let stream: Int
            if let known = streamByName[streamName] {
                stream = known
            } else {
                stream = streams.count
                streamByName[streamName] = stream
                var new = Stream(table: table, index: tables[table].streams.count, event: feature.event)
                new.filter = feature.filter
                streams.append(new)
                members.append([])
                tables[table].streams.append(stream)
            }
            var column: Int?
            if let source = feature.argument, feature.function != .count {
                let keepsText =
                    feature.argumentType == .string && (feature.function == .first || feature.function == .last)
                if let known = members[stream].first(where: {
                    $0.column != nil && $0.feature.argumentText == argument
                })?.column {
                    column = known
                    if keepsText { streams[stream].columns[known].isText = true }
                } else {
                    column = streams[stream].columns.count
                    streams[stream].columns.append(
                        Column(
                            source: source,
                            isDouble: feature.argumentType == .double,
                            isText: keepsText,
                            value: 0,
                            text: -1
                        )
                    )
                    if optional { streams[stream].requiredColumns.append(streams[stream].columns.count - 1) }
                }
            }
            members[stream].append((feature, column))
            streams[stream].features.append(feature.canonical)
            streamOfFeature.append(stream)
        }

        var outputs = [Output?](repeating: nil, count: features.count)
        var cursor = [Int](repeating: 0, count: streams.count)
        for s in streams.indices {
            let made = WindowPlan.layOut(&streams[s], members[s])
            for f in features.indices where streamOfFeature[f] == s {
                outputs[f] = made[cursor[s]]
                cursor[s] += 1
            }
            tables[streams[s].table].longest = max(tables[streams[s].table].longest, streams[s].longest)
        }

        for e in events.indices {
            for (f, feature) in features.enumerated() {
                let stream = streamOfFeature[f]
                let keyIsText = feature.countedKeys.map { events[feature.event].fields[$0].type == .string }
                let countedKeys = feature.countedKeys.map { ValueSource.field($0) }
                if feature.event == e {
                    add(event: e, .adds, keys: countedKeys, keyIsText, stream: stream, adds: true, output: nil)
                }
                if let keys = feature.readers[e] {
                    let isMapped = feature.event == e && !WindowPlan.same(keys, countedKeys)
                    let turn: KeyAccess.Turn = !isMapped ? .adds : feature.excludesCurrent ? .readsBefore : .readsAfter
                    add(event: e, turn, keys: keys, keyIsText, stream: stream, adds: false, output: outputs[f])
                }
            }
            for t in accesses[e].indices { accesses[e][t].streams.sort { $0.stream < $1.stream } }
            // Stable: the accesses of one turn stay in the order of the features.
            accesses[e] = KeyAccess.Turn.allCases.flatMap { turn in accesses[e].filter { $0.turn == turn } }
        }
    }

    private mutating func add(
        event: Int,
        _ turn: KeyAccess.Turn,
        keys: [ValueSource],
        _ keyIsText: [Bool],
        stream: Int,
        adds: Bool,
        output: Output?
    ) {
        let table = streams[stream].table
        let at: Int
        if let known = accesses[event].firstIndex(where: {
            $0.turn == turn && $0.table == table && WindowPlan.same($0.keys, keys)
        }) {
            at = known
        } else {
            at = accesses[event].count
            accesses[event].append(KeyAccess(turn: turn, table: table, keys: keys, keyIsText: keyIsText, streams: []))
        }
        let to: Int
        if let known = accesses[event][at].streams.firstIndex(where: { $0.stream == stream }) {
            to = known
        } else {
            to = accesses[event][at].streams.count
            accesses[event][at].streams.append(StreamAccess(stream: stream, adds: false, excluding: [], including: []))
        }
        if adds { accesses[event][at].streams[to].adds = true }
        guard let output else { return }
        if output.excludesCurrent {
            accesses[event][at].streams[to].excluding.append(output)
        } else {
            accesses[event][at].streams[to].including.append(output)
        }
    }

    /// Fixes the offsets of a stream's state and entries; returns the outputs of its features in their order.
    private static func layOut(_ stream: inout Stream, _ members: [(feature: Feature, column: Int?)]) -> [Output] {
        var entry = MemoryLayout<EntryHeader>.size
        for c in stream.columns.indices {
            stream.columns[c].value = entry
            entry += 8
        }
        var state = MemoryLayout<StreamHeader>.size
        for (feature, _) in members
        where !stream.windows.contains(where: { $0.milliseconds == feature.windowMilliseconds }) {
            stream.windows.append(Window(milliseconds: feature.windowMilliseconds, head: 0, accumulators: 0..<0))
        }
        stream.windows.sort { $0.milliseconds < $1.milliseconds }
        stream.longest = stream.windows.last?.milliseconds ?? 0
        for w in stream.windows.indices {
            stream.windows[w].head = state
            state += 4
        }

        // Links per column, in a fixed order.
        var distinctOf: [Int: Int] = [:]
        var extremeOf: [String: Int] = [:]
        for (feature, column) in members {
            guard let column else { continue }
            let value = stream.columns[column].value
            switch feature.function {
            case .distinct where distinctOf[column] == nil:
                distinctOf[column] = stream.distinct.count
                stream.distinct.append(
                    DistinctColumn(
                        value: value,
                        isHashed: feature.argumentType == .string,
                        link: entry,
                        map: state
                    )
                )
                entry += 4
                state += MemoryLayout<MapHeader>.size
            case .min, .max:
                let name = "\(column)|\(feature.function)"
                if extremeOf[name] == nil {
                    extremeOf[name] = stream.extremes.count
                    stream.extremes.append(
                        ExtremeColumn(
                            value: value,
                            links: entry,
                            isMaximum: feature.function == .max,
                            isDouble: stream.columns[column].isDouble
                        )
                    )
                    entry += MemoryLayout<ChainLinks>.size
                }
            default: break
            }
        }
        for c in stream.columns.indices where stream.columns[c].isText {
            stream.columns[c].text = entry
            entry += 4
        }
        stream.entryBytes = (entry + 7) & ~7

        // Accumulators window by window; first the 4-byte ones, then the sums on their alignment.
        struct Wanted: Hashable {
            var window: Int
            var kind: Accumulator.Kind
            var index: Int
        }
        func wanted(_ feature: Feature, _ column: Int?) -> Wanted? {
            guard let column,
                let window = stream.windows.firstIndex(where: { $0.milliseconds == feature.windowMilliseconds })
            else {
                return nil
            }
            switch feature.function {
            case .sum, .avg:
                return Wanted(window: window, kind: stream.columns[column].isDouble ? .fixedSum : .sum, index: column)
            case .distinct: return Wanted(window: window, kind: .live, index: distinctOf[column] ?? 0)
            case .min, .max:
                return Wanted(window: window, kind: .extreme, index: extremeOf["\(column)|\(feature.function)"] ?? 0)
            case .count, .first, .last: return nil
            }
        }
        var offsets: [Wanted: Int] = [:]
        for kind in [Accumulator.Kind.live, .extreme, .sum, .fixedSum] {
            let (size, alignment) =
                switch kind {
                case .live, .extreme: (4, 4)
                case .sum: (WindowSum.bytes, WindowSum.alignment)
                case .fixedSum: (16, 16)
                }
            for (feature, column) in members {
                guard let need = wanted(feature, column), need.kind == kind, offsets[need] == nil else { continue }
                state = (state + alignment - 1) & ~(alignment - 1)
                offsets[need] = state
                state += size
            }
        }
        stream.stateBytes = (state + 7) & ~7
        for w in stream.windows.indices {
            let start = stream.accumulators.count
            var seen: Set<Wanted> = []
            for (feature, column) in members {
                guard let need = wanted(feature, column), need.window == w, seen.insert(need).inserted,
                    let offset = offsets[need]
                else {
                    continue
                }
                let value =
                    switch need.kind {
                    case .sum, .fixedSum: stream.columns[need.index].value
                    case .live: stream.distinct[need.index].value
                    case .extreme: stream.extremes[need.index].value
                    }
                let link =
                    switch need.kind {
                    case .sum, .fixedSum: 0
                    case .live: stream.distinct[need.index].link
                    case .extreme: stream.extremes[need.index].links
                    }
                stream.accumulators.append(
                    Accumulator(kind: need.kind, offset: offset, value: value, link: link, column: need.index)
                )
            }
            stream.windows[w].accumulators = start..<stream.accumulators.count
        }

        return members.map { feature, column in
            let window = stream.windows.firstIndex { $0.milliseconds == feature.windowMilliseconds } ?? 0
            let isDouble = column.map { stream.columns[$0].isDouble } ?? false
            let offset = wanted(feature, column).flatMap { offsets[$0] } ?? 0
            let value = column.map { stream.columns[$0].value } ?? 0
            let text = column.map { stream.columns[$0].text } ?? -1
            let kind: Output.Kind =
                switch feature.function {
                case .count: .count
                case .sum: isDouble ? .fixedSum : .sum
                case .avg: isDouble ? .fixedAverage : .average
                case .distinct: .live
                case .min, .max: .extreme
                case .first: text >= 0 ? .firstText : .first
                case .last: text >= 0 ? .lastText : .last
                }
            return Output(
                kind: kind,
                window: window,
                offset: offset,
                value: value,
                text: text,
                column: feature.column,
                excludesCurrent: feature.excludesCurrent
            )
        }
    }

    private static func same(_ a: [ValueSource], _ b: [ValueSource]) -> Bool {
        guard a.count == b.count else { return false }
        for (x, y) in zip(a, b) {
            guard case .field(let i) = x, case .field(let j) = y, i == j else { return false }
        }
        return true
    }

    /// Whether a value may be missing or NaN; required fields are neither, as decoders refuse numbers that are not finite.
    private static func mayBeMissing(_ source: ValueSource?, _ schema: EventSchema) -> Bool {
        switch source {
        case nil: false
        case .field(let index): !schema.fields[index].isRequired
        case .program: true
        }
    }
}
