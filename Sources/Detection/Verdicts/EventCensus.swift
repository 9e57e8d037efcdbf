import Models
import RuleLanguage

/// How the values of fields came in one lane and epoch, per event type and field.
///
/// Counted where each event is judged once: what is held back is decoded again, and would be counted twice there.
///
/// Cost: one look at each of an event's slots, and 4 bytes a field and state.
public struct EventCensus: ~Copyable {
    /// What can be said of a value beside that it is there.
    public enum State: Int, Sendable, CaseIterable {
        /// There is none, or it could not be read.
        case missing
        case damaged
        case cut
        case unknownWord
        case coerced

        /// The name in reports and metrics.
        public var name: String {
            switch self {
            case .missing: "missing"
            case .damaged: "damaged"
            case .cut: "cut"
            case .unknownWord: "unknown_word"
            case .coerced: "coerced"
            }
        }
    }

    /// Per event type, the place of its first field; one more at the end.
    private let starts: [Int]
    /// Per event type, how many were judged.
    private let events: OwnedBuffer<UInt32>
    /// By state, then by field.
    private let counts: OwnedBuffer<UInt32>
    private let width: Int

    init(fieldCounts: [Int]) {
        starts = fieldCounts.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
        width = max(1, starts[starts.count - 1])
        events = OwnedBuffer(repeating: 0, count: max(1, fieldCounts.count))
        counts = OwnedBuffer(repeating: 0, count: width * State.allCases.count)
    }

    /// Counts one event.
    @inline(__always)
    func see(_ event: Event) {
        let type = Int(event.type)
        events[type] &+= 1
        let (start, end) = (starts[type], starts[type + 1])
        let missing = counts.base + start
        // A branch, as a type's events mostly lack the same fields.
        for field in 0..<(end - start) where event.fields[field].isMissing { missing[field] &+= 1 }
        if event.markCount > 0 { seeMarks(of: event, start..<end) }
    }

    @inline(never)
    private func seeMarks(of event: Event, _ fields: Range<Int>) {
        let (counts, width) = (counts.base, width)
        event.forEachMark { mark in
            let state: State =
                switch mark.kind {
                case .damaged: .damaged
                case .cut: .cut
                case .unknownWord: .unknownWord
                case .coerced: .coerced
                }
            mark.forEachField { field in
                if field < fields.count { counts[state.rawValue * width + fields.lowerBound + field] &+= 1 }
            }
        }
    }

    /// Events judged of a type.
    public func judged(_ type: Int) -> Int { Int(events[type]) }

    /// Calls `body` with what is not 0; a damaged value is no missing one here.
    public func forEach(_ body: (_ event: Int, _ field: Int, _ state: State, _ count: Int) -> Void) {
        for type in 0..<(starts.count - 1) where events[type] > 0 {
            for place in starts[type]..<starts[type + 1] {
                for state in State.allCases {
                    var count = Int(counts[state.rawValue * width + place])
                    if state == .missing { count -= Int(counts[State.damaged.rawValue * width + place]) }
                    if count > 0 { body(type, place - starts[type], state, count) }
                }
            }
        }
    }

    /// Forgets the types that had events.
    func removeAll() {
        for type in 0..<(starts.count - 1) where events[type] > 0 {
            events[type] = 0
            for state in State.allCases {
                for place in starts[type]..<starts[type + 1] { counts[state.rawValue * width + place] = 0 }
            }
        }
    }
}
