import RuleLanguage

/// Writes an event's declared features as one flat JSON object: its `id`, then every declared feature by name in the order of declaration.
///
/// Features that cannot be read in the event's type, and those without a value, are `null`. The names are rendered once.
final class FeatureRowWriter {
    private struct Cell {
        var name: [UInt8]
        var column: Int
        var type: ValueType
    }
    private var cells: [Cell] = []

    init(features: [Feature]) {
        for feature in features where feature.isDeclared {
            cells.append(Cell(name: Array(",\"\(feature.name)\":".utf8), column: feature.column, type: feature.resultType))
        }
    }

    /// Appends the object and a line feed.
    func write(
        _ event: Event, schema: EventSchema, row: UnsafePointer<Slot>, names: VerdictWriter, to output: inout ByteBuffer
    ) {
        output.append("{\"id\":\"")
        names.writeEventIdentifier(event, schema, &output)
        output.append(UInt8(ascii: "\""))
        for cell in cells {
            output.append(cell.name)
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
        output.append("}\n")
    }
}
