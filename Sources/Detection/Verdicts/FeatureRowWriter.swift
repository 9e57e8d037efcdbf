import RuleLanguage

/// Writes an event's declared features as one flat JSON object: its `id`, then every declared feature by name in the order of declaration.
///
/// Features that cannot be read in the event's type, and those without a value, are `null`. The names are rendered once.
final class FeatureRowWriter {
    private struct Cell {
        /// In ``names``.
        var nameStart: Int
        var nameLength: Int
        var column: Int
        var type: ValueType
    }
    private let cells: [Cell]
    private let names: [UInt8]

    init(features: [Feature]) {
        var cells: [Cell] = []
        var names: [UInt8] = []
        for feature in features where feature.isDeclared {
            let name = Array(",\"\(feature.name)\":".utf8)
            cells.append(
                Cell(nameStart: names.count, nameLength: name.count, column: feature.column, type: feature.resultType))
            names += name
        }
        self.cells = cells
        self.names = names
    }

    /// Appends the object and a line feed.
    func write(
        _ event: Event, row: UnsafePointer<Slot>, identifiers: VerdictWriter, to output: inout ByteBuffer
    ) {
        output.append("{\"id\":\"")
        identifiers.writeEventIdentifier(event, &output)
        output.append(UInt8(ascii: "\""))
        names.withUnsafeBufferPointer { text in cells.withUnsafeBufferPointer { write($0, text, row, &output) } }
        output.append("}\n")
    }

    private func write(
        _ cells: UnsafeBufferPointer<Cell>, _ text: UnsafeBufferPointer<UInt8>, _ row: UnsafePointer<Slot>,
        _ output: inout ByteBuffer
    ) {
        guard let text = text.baseAddress else { return }
        for cell in cells {
            output.append(text + cell.nameStart, count: cell.nameLength)
            let slot = row[cell.column]
            if slot.isMissing {
                output.append("null")
                continue
            }
            switch cell.type {
            case .int, .timestamp, .duration: output.append(slot.int)
            case .double: output.append(slot.double)
            case .bool: if slot.bool { output.append("true") } else { output.append("false") }
            case .string:
                output.append(UInt8(ascii: "\""))
                let text = UnsafeRawPointer(row).advanced(by: slot.textOffset).assumingMemoryBound(to: UInt8.self)
                output.appendEscaped(text, count: slot.textLength)
                output.append(UInt8(ascii: "\""))
            case .stringList: output.append("null")
            }
        }
    }
}
