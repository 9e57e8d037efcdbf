import RuleLanguage

/// The event of a verdict: its ids, its object and the fields that the topology quotes of it.
extension VerdictWriter {
    /// Writes the event's object behind the subject's id, and returns whether the event's own id was cut.
    mutating func writeEvent(
        _ event: Event,
        _ input: EvaluationInput,
        _ evaluator: inout Evaluator,
        _ output: inout ByteBuffer
    ) -> Bool {
        let type = types[Int(event.type)]
        text.append(type.event, to: &output)
        text.append(topics[Int(event.topic)], to: &output)
        output.append("\",\"partition\":")
        output.append(Int64(event.partition))
        output.append(",\"offset\":")
        output.append(event.offset)
        if event.part > 0 {
            output.append(",\"part\":")
            output.append(Int64(event.part))
        }
        output.append(",\"id\":\"")
        let isCut = writeEventIdentifier(event, longest: Bounds.eventIdentifier, &output)
        output.append("\",\"time\":\"")
        output.appendTime(milliseconds: event.time)
        output.append("\"")
        if !event.flags.isEmpty { writeFlags(event, &output) }
        if type.contextEnd > type.contextStart {
            writeContext(type.contextStart..<type.contextEnd, event, input, &evaluator, &output)
        }
        output.append("}")
        return isCut
    }

    private func writeFlags(_ event: Event, _ output: inout ByteBuffer) {
        if event.flags.contains(.late) {
            output.append(",\"late\":\"")
            output.appendTime(milliseconds: event.writtenTime)
            output.append("\"")
        }
        if event.flags.contains(.early) {
            output.append(",\"early\":\"")
            output.appendTime(milliseconds: event.writtenTime)
            output.append("\"")
        }
        if event.flags.contains(.duplicate) { output.append(",\"duplicate\":true") }
    }

    /// The event's own id, or `topic/partition/offset`; the inside of a JSON string.
    ///
    /// A text of more than `longest` bytes is cut there, between characters; returns whether it was.
    @discardableResult
    func writeEventIdentifier(_ event: Event, longest: Int = .max, _ output: inout ByteBuffer) -> Bool {
        let type = types[Int(event.type)]
        var isCut = false
        if type.idField >= 0, !event.fields[type.idField].isMissing {
            let id = event.fields[type.idField]
            if type.idIsText {
                let bytes = event.text + id.textOffset
                var length = min(id.textLength, longest)
                isCut = length < id.textLength
                while isCut, length > 0, bytes[length] & 0xC0 == 0x80 { length -= 1 }
                output.appendEscaped(bytes, count: length)
            } else {
                output.append(id.int)
            }
        } else {
            text.append(topics[Int(event.topic)], to: &output)
            output.append(UInt8(ascii: "/"))
            output.append(Int64(event.partition))
            output.append(UInt8(ascii: "/"))
            output.append(event.offset)
        }
        if type.hasParts { VerdictWriter.writePart(event, &output) }
        return isCut
    }

    /// Tells an event from the others of its record.
    private static func writePart(_ event: Event, _ output: inout ByteBuffer) {
        output.append(UInt8(ascii: "#"))
        output.append(Int64(event.part))
    }

    /// Writes the verdict's id, which follows from the event's place in the log and the topology's name.
    mutating func writeIdentifier(_ event: Event, _ output: inout ByteBuffer) {
        name.removeAll()
        text.append(topics[Int(event.topic)], to: &name)
        name.append(UInt8(ascii: "/"))
        name.append(Int64(event.partition))
        name.append(UInt8(ascii: "/"))
        name.append(event.offset)
        if types[Int(event.type)].hasParts { VerdictWriter.writePart(event, &name) }
        name.append(UInt8(ascii: "/"))
        text.append(topology, to: &name)
        let into = output.room(VerdictRecord.idLength)
        identifier(UnsafeRawBufferPointer(name.bytes), into)
        output.advance(VerdictRecord.idLength)
    }

    /// Writes the fields that the topology lists for the event's type.
    private mutating func writeContext(
        _ fields: Range<Int>,
        _ event: Event,
        _ input: EvaluationInput,
        _ evaluator: inout Evaluator,
        _ output: inout ByteBuffer
    ) {
        output.append(",\"context\":{")
        let first = output.count
        for place in fields {
            let (field, key) = context[place]
            scratch.removeAll(keepingCapacity: true)
            evaluator.appendField(field, event: Int(event.type), input, to: &scratch)
            if output.count - first + scratch.count > Bounds.context {
                leftOut += 1
                continue
            }
            if output.count > first { output.append(",") }
            text.append(key, to: &output)
            output.append(scratch)
        }
        output.append("}")
    }
}
