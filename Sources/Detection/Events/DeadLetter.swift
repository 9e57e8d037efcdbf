import RuleLanguage

/// Why a record cannot become an event; the raw values are stable names for programs.
///
/// The same codes say why a field of an event is damaged (``EventMark``). `depthExceeded`, `tooManyElements`, `tooManyKeys`
/// and `tooFewColumns` are no longer given: they keep their names until a major version.
public enum DeadLetterCode: UInt8, Sendable, CaseIterable {
    case invalidUTF8, truncatedJSON, invalidJSON, controlCharacter, invalidEscape, depthExceeded, recordTooLarge,
        duplicateField
    case numberOutOfRange, wrongType, missingField, valueNotAllowed, valueOutOfRange, tooManyDecimals, textTooLong
    case unknownEventType, invalidTimestamp, timestampOutOfRange, tombstone, tooManyElements, tooManyKeys, invalidCSV,
        tooFewColumns, notAnObject
    case registryFraming, unknownCurrency, missingAppendTime, tooManyEvents

    /// The name in dead letters and metrics, snake_case.
    public var name: String {
        switch self {
        case .invalidUTF8: "invalid_utf8"
        case .truncatedJSON: "truncated_json"
        case .invalidJSON: "invalid_json"
        case .controlCharacter: "control_character"
        case .invalidEscape: "invalid_escape"
        case .depthExceeded: "depth_exceeded"
        case .recordTooLarge: "record_too_large"
        case .duplicateField: "duplicate_field"
        case .numberOutOfRange: "number_out_of_range"
        case .wrongType: "wrong_type"
        case .missingField: "missing_field"
        case .valueNotAllowed: "value_not_allowed"
        case .valueOutOfRange: "value_out_of_range"
        case .tooManyDecimals: "too_many_decimals"
        case .textTooLong: "text_too_long"
        case .unknownEventType: "unknown_event_type"
        case .invalidTimestamp: "invalid_timestamp"
        case .timestampOutOfRange: "timestamp_out_of_range"
        case .tombstone: "tombstone"
        case .tooManyElements: "too_many_elements"
        case .tooManyKeys: "too_many_keys"
        case .invalidCSV: "invalid_csv"
        case .tooFewColumns: "too_few_columns"
        case .notAnObject: "not_an_object"
        case .registryFraming: "registry_framing"
        case .unknownCurrency: "unknown_currency"
        case .missingAppendTime: "missing_append_time"
        case .tooManyEvents: "too_many_events"
        }
    }
}

/// A record that cannot become an event, as a value: no reference, no text; ``DecodePlan`` puts it into words.
public struct DeadLetter: Sendable, Equatable {
    /// What is wrong.
    public var code: DeadLetterCode
    /// Id of the path concerned in the plan that made it, or -1: the record as a whole.
    public var path: Int32
    /// Where in the record it was noticed.
    public var byteOffset: UInt32
    /// Which element of its record it is about, or -1: the record.
    public var part: Int32 = -1
    /// The element's bytes: so many from there; none: it is about the record.
    var elementStart: UInt32 = 0
    var elementLength: UInt32 = 0

    init(_ code: DeadLetterCode, path: Int32 = -1, byteOffset: Int = 0) {
        self.code = code
        self.path = path
        self.byteOffset = UInt32(clamping: byteOffset)
    }

    /// Counts its places from so many bytes further in front.
    mutating func shift(by bytes: UInt32) {
        byteOffset += bytes
        elementStart += bytes
    }

    /// The letter of a record longer than `limit` bytes, for those who know its length before they hold its content.
    public static func tooLarge(limit: Int) -> DeadLetter { DeadLetter(.recordTooLarge, byteOffset: limit) }
}

/// What became of one record.
public enum DecodeResult: Sendable, Equatable {
    /// So many events were appended to the batch, one after the other.
    case events(Int)
    /// Nothing was appended, and that is as it should be.
    case ignored
    /// Nothing was appended.
    case rejected(DeadLetter)
    /// The batch has no room below its text limit: nothing was appended; close the epoch and decode the record again.
    case full
}

extension DecodePlan {
    /// How many bytes of a record a dead letter shows.
    public static let deadLetterBytes = 65_536

    /// The dotted path a dead letter is about, or nil when it is about the record as a whole.
    public func path(of letter: DeadLetter) -> String? {
        letter.path >= 0 && Int(letter.path) < paths.count ? paths[Int(letter.path)].text : nil
    }

    /// One sentence for people: what is wrong and what was expected.
    ///
    /// - Parameter record: where it is there, for what it says.
    func explanation(of letter: DeadLetter, in record: UnsafeRawBufferPointer? = nil) -> String {
        let place = letter.path >= 0 && Int(letter.path) < paths.count ? paths[Int(letter.path)] : nil
        let name = place.map { "`\($0.text)`" } ?? "the record"
        let field = place?.field.map { schemas[$0.type].fields[$0.index] }
        switch letter.code {
        case .invalidUTF8: return "\(name) is not valid UTF-8"
        case .truncatedJSON: return "the JSON ends too early"
        case .invalidJSON: return "the record is not valid JSON"
        case .controlCharacter: return "\(name) holds a control character that is not escaped"
        case .invalidEscape: return "\(name) holds an invalid escape or half of a surrogate pair"
        case .depthExceeded: return "the JSON is nested too deep"
        case .recordTooLarge: return "the record is longer than \(limits.recordBytes) bytes"
        case .duplicateField: return "\(name) stands in the record twice"
        case .numberOutOfRange:
            return "a number is too large or has more than \(limits.numberDigits) digits"
                + (place.map { " in `\($0.text)`" } ?? "")
        case .wrongType:
            return
                "\(name) must be \(place.map { $0.field == nil ? "an object" : DecodePlan.expectation(of: field?.type) } ?? "an object")"
        case .missingField:
            return "the required field \(name) is missing\(field?.entity == nil ? " or" : ", empty or") null"
        case .valueNotAllowed:
            return "\(name) must be one of \(field?.allowedValues.joined(separator: ", ") ?? "the allowed values")"
        case .valueOutOfRange:
            let low = field?.minimum.map { " at least \($0)" } ?? ""
            let high = field?.maximum.map { " at most \($0)" } ?? ""
            return "\(name) must be\(low)\(low.isEmpty || high.isEmpty ? "" : " and")\(high)"
        case .tooManyDecimals:
            if let currency = field?.conversion.currencyField {
                return "\(name) has more decimal digits than the currency that `\(currency)` names"
            }
            return "\(name) has more than \(field?.moneyScale ?? 0) decimal digits"
        case .textTooLong:
            return "a text is longer than \(field?.maximumLength ?? limits.textBytes) bytes"
                + (place.map { " in `\($0.text)`" } ?? "")
        case .unknownEventType: return "no declared event type fits" + (place.map { ": see `\($0.text)`" } ?? "")
        case .invalidTimestamp: return "\(name) is not a time in the format \(field?.timeFormat.name ?? "declared")"
        case .timestampOutOfRange:
            return record.flatMap { sentence(onTime: letter, in: $0) } ?? "\(name) is outside the accepted time range"
        case .tombstone: return "the record has no value (a tombstone)"
        case .tooManyElements: return "a list has too many elements" + (place.map { " in `\($0.text)`" } ?? "")
        case .tooManyKeys: return "an object has too many keys"
        case .invalidCSV: return "an open quote, text behind a quoted column, or more columns than the header"
        case .unknownCurrency:
            return "\(name) is in no known currency: see `\(field?.conversion.currencyField ?? "its currency")`"
        case .tooFewColumns: return "the line has fewer columns than the header needs for \(name)"
        case .missingAppendTime: return "the log does not tell when it took the record, which is the time of its event"
        case .notAnObject: return "the \(letter.part < 0 ? "record" : "element") is JSON, but no object"
        case .tooManyEvents:
            return
                "the record holds more than \(limits.eventsPerRecord) events in \(name); the further ones are not judged"
        case .registryFraming:
            let begins = "the record begins with the 5 bytes of a schema registry"
            return letter.byteOffset > 0
                ? "\(begins): add 'topics: { TOPIC: { framing: registry } }'"
                : "\(begins) and holds no JSON, as Avro and Protobuf are not read"
        }
    }

    private static func expectation(of type: RuleLanguage.FieldType?) -> String {
        switch type {
        case .string: "a string"
        case .int: "an integer"
        case .double: "a number"
        case .bool: "true or false"
        case .timestamp: "a time"
        case .money: "an amount, a number or a decimal string"
        case .stringList: "a list of strings"
        case nil: "an object"
        }
    }

    /// Appends the dead letter's JSON object: `code`, `message`, `field`, `byte_offset`, `topic`, `partition`, `offset`, of
    /// a file also `file` and `line`, and the original bytes as `record`, or as `record_base64` when they are not valid UTF-8.
    ///
    /// Of an element of several `part` says which one, and the bytes are the element's: as many letters as a record may give, they
    /// are no longer together than it is. Longer than `limit` bytes, the original is cut (at a character's border) and
    /// `record_truncated` and `record_bytes` say so; a tombstone has `"record":null`. `topic` is `null` for a file that holds the
    /// records of several. `fullLength` is the record's length where `value` is only its beginning. Allocates: dead letters are
    /// the exception.
    public func appendRecord(
        of letter: DeadLetter,
        topic: String?,
        partition: Int32,
        offset: Int64,
        file: (path: String, line: Int64)? = nil,
        value: UnsafeRawBufferPointer?,
        fullLength: Int? = nil,
        limit: Int = DecodePlan.deadLetterBytes,
        to output: inout [UInt8]
    ) {
        output.append(contentsOf: #"{"code":""#.utf8)
        output.append(contentsOf: letter.code.name.utf8)
        output.append(contentsOf: #"","message":"#.utf8)
        DecodePlan.appendJSON(explanation(of: letter, in: value), to: &output)
        output.append(contentsOf: #","field":"#.utf8)
        if let path = path(of: letter) {
            DecodePlan.appendJSON(path, to: &output)
        } else {
            output.append(contentsOf: "null".utf8)
        }
        output.append(contentsOf: ",\"byte_offset\":\(letter.byteOffset),\"topic\":".utf8)
        if let topic { DecodePlan.appendJSON(topic, to: &output) } else { output.append(contentsOf: "null".utf8) }
        output.append(contentsOf: ",\"partition\":\(partition),\"offset\":\(offset),".utf8)
        if let file {
            output.append(contentsOf: "\"file\":".utf8)
            DecodePlan.appendJSON(file.path, to: &output)
            output.append(contentsOf: ",\"line\":\(file.line),".utf8)
        }
        if letter.part >= 0 { output.append(contentsOf: "\"part\":\(letter.part),".utf8) }
        guard var value else {
            output.append(contentsOf: "\"record\":null}".utf8)
            return
        }
        var length = max(value.count, fullLength ?? 0)
        let element = Int(letter.elementStart)..<Int(letter.elementStart + letter.elementLength)
        if !element.isEmpty, element.upperBound <= value.count {
            value = UnsafeRawBufferPointer(rebasing: value[element])
            length = value.count
        }
        var kept = UnsafeRawBufferPointer(rebasing: value.prefix(limit))
        let isText = kept.withMemoryRebound(to: UInt8.self) { bytes in
            guard let start = bytes.baseAddress else { return true }
            guard let fault = firstInvalidUTF8(start, count: bytes.count) else { return true }
            // The cut itself may have split the last character.
            guard kept.count < length, bytes.count - fault < 4,
                isCutCharacter(start + fault, count: bytes.count - fault)
            else { return false }
            kept = UnsafeRawBufferPointer(rebasing: kept.prefix(fault))
            return true
        }
        if isText {
            output.append(contentsOf: "\"record\":".utf8)
            DecodePlan.appendJSON(kept, to: &output)
        } else {
            output.append(contentsOf: "\"record_base64\":\"".utf8)
            DecodePlan.appendBase64(kept, to: &output)
            output.append(UInt8(ascii: "\""))
        }
        if kept.count < length {
            output.append(contentsOf: ",\"record_truncated\":true,\"record_bytes\":\(length)".utf8)
        }
        output.append(UInt8(ascii: "}"))
    }

    private static func appendJSON(_ text: String, to output: inout [UInt8]) {
        var text = text
        text.withUTF8 { appendJSON(UnsafeRawBufferPointer($0), to: &output) }
    }

    /// A JSON string of bytes that are valid UTF-8.
    private static func appendJSON(_ bytes: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        var text = ByteBuffer(capacity: bytes.count + 2)
        text.append("\"")
        bytes.withMemoryRebound(to: UInt8.self) { bytes in
            if let start = bytes.baseAddress { text.appendEscaped(start, count: bytes.count) }
        }
        text.append("\"")
        output.append(contentsOf: text.bytes)
    }

    /// RFC 4648 section 4, with padding.
    private static func appendBase64(_ bytes: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var at = 0
        while at < bytes.count {
            let left = bytes.count - at
            let group =
                Int(bytes[at]) << 16 | (left > 1 ? Int(bytes[at + 1]) << 8 : 0) | (left > 2 ? Int(bytes[at + 2]) : 0)
            output.append(alphabet[group >> 18])
            output.append(alphabet[group >> 12 & 63])
            output.append(left > 1 ? alphabet[group >> 6 & 63] : UInt8(ascii: "="))
            output.append(left > 2 ? alphabet[group & 63] : UInt8(ascii: "="))
            at += 3
        }
    }
}
