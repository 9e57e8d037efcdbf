import Models
import RuleLanguage

/// Writes an event's declared features and signals as one flat JSON object: its `id`, then every declared feature by name in the
/// order of declaration, then what each detector and model says of it, in the order of the signal row.
///
/// Features that cannot be read in the event's type, and those without a value, are `null`. The names are rendered once.
struct FeatureRowWriter: ~Copyable {
    struct Cell {
        /// In ``names``.
        var nameStart: Int
        var nameLength: Int
        var column: Int
        var type: ValueType
        var isInteger: Bool
    }
    /// Those of the features, then those of the signals.
    private let cells: OwnedBuffer<Cell>
    private let featureCount: Int
    /// Bytes of a row whose values are all integers, at most.
    private let rowBytes: Int
    /// The names as they are written, each followed by bytes that may be read: they are copied sixteen bytes at a time.
    private let names: OwnedBuffer<UInt8>

    init(features: [Feature], signals: [RuleEnvironment.Signal]) {
        var cells: [Cell] = []
        var names: [UInt8] = []
        func add(_ text: String, _ column: Int, _ type: ValueType) {
            let name = Array(",\"\(text)\":".utf8)
            cells.append(
                Cell(
                    nameStart: names.count,
                    nameLength: name.count,
                    column: column,
                    type: type,
                    isInteger: type == .int || type == .timestamp || type == .duration
                )
            )
            names += name
        }
        for feature in features where feature.isDeclared { add(feature.name, feature.column, feature.resultType) }
        featureCount = cells.count
        for (column, signal) in signals.enumerated() {
            add(signal.name, column, signal.type == .string ? .string : signal.type == .int ? .int : .double)
        }
        names += [UInt8](repeating: 0, count: 16)
        // An integer takes 20 bytes at most, and the last name's copy reaches 15 bytes further.
        rowBytes = names.count + cells.count * 20 + 16
        self.cells = OwnedBuffer(cells)
        self.names = OwnedBuffer(names)
    }

    /// Appends the object and a line feed.
    func write(
        _ event: Event,
        _ input: EvaluationInput,
        identifiers: borrowing VerdictWriter,
        to output: inout ByteBuffer
    ) {
        output.append("{\"id\":\"")
        identifiers.writeEventIdentifier(event, &output)
        output.append(UInt8(ascii: "\""))
        write(0..<featureCount, input.features, &output)
        if featureCount < cells.count { write(featureCount..<cells.count, input.signals, &output) }
        output.append("}\n")
    }

    /// Writes the cells that stand in one row.
    @inline(__always)
    private func write(_ range: Range<Int>, _ row: UnsafePointer<Slot>, _ output: inout ByteBuffer) {
        // One run of room for the whole row; only texts and doubles, which are rare, ask for their own.
        var at = output.room(rowBytes)
        var start = at
        let (cells, names) = (cells.base, names.base)
        for c in range {
            let cell = cells + c
            let name = names + cell.pointee.nameStart
            let nameLength = cell.pointee.nameLength
            var copied = 0
            repeat {
                let part = UnsafeRawPointer(name + copied).loadUnaligned(as: SIMD16<UInt8>.self)
                UnsafeMutableRawPointer(at + copied).storeBytes(of: part, as: SIMD16<UInt8>.self)
                copied &+= 16
            } while copied < nameLength
            at += nameLength
            let slot = row[cell.pointee.column]
            if cell.pointee.isInteger, !slot.isMissing {
                at += ByteBuffer.write(slot.int, at)
                continue
            }
            output.advance(at - start)
            if slot.isMissing { output.append("null") } else { write(slot, cell.pointee.type, row, &output) }
            at = output.room(rowBytes)
            start = at
        }
        output.advance(at - start)
    }

    private func write(_ slot: Slot, _ type: ValueType, _ row: UnsafePointer<Slot>, _ output: inout ByteBuffer) {
        switch type {
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
