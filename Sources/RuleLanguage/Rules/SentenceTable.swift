/// What rules say of the events they judge, flattened for the writing loop: texts and programs as plain values, side by side.
///
/// Walking ``RuleBody`` itself would count references per hole and key of each verdict, on words that all threads share.
/// 32 bytes a part, 16 a rule and event type.
final class SentenceTable: Sendable {
    /// A text, or a value under its key.
    struct Part {
        /// Of a sentence's text and of a value's key: its place in the table's bytes.
        var text: Int32
        var textCount: Int32
        /// What gives the value; nil: there is only the text.
        var program: ProgramHandle?
        var type: ValueType
        var isPersonal: Bool
    }

    private struct Row {
        var reason: Int32
        var reasonCount: Int32
        var values: Int32
        var valueCount: Int32
    }

    private let parts: [Part]
    private let bytes: [UInt8]
    private let rows: [Row]
    private let eventCount: Int

    /// - Parameter bodies: per rule what it is for each of its event types.
    init(_ bodies: [[RuleBody]], eventCount: Int) {
        var parts: [Part] = []
        var bytes: [UInt8] = []
        var rows = [Row](
            repeating: Row(reason: 0, reasonCount: 0, values: 0, valueCount: 0),
            count: bodies.count * eventCount
        )
        func add(_ text: [UInt8], _ program: Program?, isPersonal: Bool) {
            parts.append(
                Part(
                    text: Int32(bytes.count),
                    textCount: Int32(text.count),
                    program: program?.handle,
                    type: program?.type ?? .string,
                    isPersonal: isPersonal
                )
            )
            bytes += text
        }
        for (rule, perEvent) in bodies.enumerated() {
            for body in perEvent {
                let reason = parts.count
                for part in body.reason {
                    switch part {
                    case .text(let text): add(text, nil, isPersonal: false)
                    case .value(let program, let isPersonal): add([], program, isPersonal: isPersonal)
                    }
                }
                let values = parts.count
                for value in body.values { add(value.key, value.program, isPersonal: value.isPersonal) }
                rows[rule * eventCount + body.event] = Row(
                    reason: Int32(reason),
                    reasonCount: Int32(values - reason),
                    values: Int32(values),
                    valueCount: Int32(parts.count - values)
                )
            }
        }
        self.parts = parts
        self.bytes = bytes
        self.rows = rows
        self.eventCount = eventCount
    }

    /// Places of a rule's sentence for an event type; empty where it has none.
    func reason(rule: Int, event: Int) -> Range<Int> {
        let row = rows[rule * eventCount + event]
        return Int(row.reason)..<Int(row.reason + row.reasonCount)
    }

    /// Places of what a rule read of an event type, each under its key as JSON with quotes and colon.
    func values(rule: Int, event: Int) -> Range<Int> {
        let row = rows[rule * eventCount + event]
        return Int(row.values)..<Int(row.values + row.valueCount)
    }

    subscript(place: Int) -> Part { parts[place] }

    func appendText(_ part: Part, to out: inout [UInt8]) {
        bytes.withUnsafeBufferPointer {
            out.append(contentsOf: UnsafeBufferPointer(rebasing: $0[Int(part.text)..<Int(part.text + part.textCount)]))
        }
    }
}
