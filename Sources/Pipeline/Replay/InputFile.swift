import Detection
import RuleLanguage

/// One input of a replay.
final class InputFile {
    let index: Int
    let decoding: SourceDecoding
    private let records: RecordFile
    /// Nil: JSON.
    private let dialect: CSVDialect?

    init(_ argument: String, index: Int, _ deployment: Deployment, _ shouldStop: @escaping () -> Bool) throws(LogError)
    {
        self.index = index
        let (named, path) = FileReplay.parts(of: argument, deployment)
        var topic = named
        let events = deployment.description.events
        if topic == nil, deployment.description.topics.count == 1 { topic = 0 }
        let types = events.indices.filter {
            topic == nil || deployment.description.topics.firstIndex(of: events[$0].topic) == topic
        }
        let isCSV = types.contains { events[$0].format == .csv }
        if isCSV, !types.allSatisfy({ events[$0].format == .csv }) {
            throw LogError(
                .refused,
                "\(path): this topology reads JSON and CSV topics; say which one the file holds: --input TOPIC=\(path)"
            )
        }
        if topic == nil, let plain = types.first(where: { events[$0].discriminator == nil }) {
            throw LogError(
                .refused,
                "\(path): the topology has \(deployment.description.topics.count) topics and event '\(events[plain].name)' has no `when:` to know its records by; "
                    + "say which topic the file holds: --input \(events[plain].topic)=\(path)"
            )
        }
        let dialect = isCSV ? types.first.map { events[$0].csv } : nil
        if let dialect, !types.allSatisfy({ events[$0].csv == dialect }) {
            throw LogError(
                .refused,
                "\(path): the CSV topics of this topology are written in different ways; say which one the file holds: --input TOPIC=\(path)"
            )
        }
        records = try RecordFile(
            path: path,
            splitter: dialect.map { .csv($0) } ?? .lines,
            recordLimit: deployment.decodePlan.limits.recordBytes,
            shouldStop: shouldStop
        )
        self.dialect = dialect
        var csv: (columns: [String], types: [Int])?
        if let dialect { csv = (try InputFile.columns(of: records, dialect), types) }
        decoding = SourceDecoding(topic: topic, partition: Int32(index), csv: csv)
    }

    /// The names of the columns, from the topology or the file's header.
    private static func columns(of records: RecordFile, _ dialect: CSVDialect) throws(LogError) -> [String] {
        if let names = dialect.names { return names }
        guard let header = records.header else {
            throw LogError(
                .refused,
                "\(records.path): the file is empty; the first line of a CSV file names its columns"
            )
        }
        do throws(CSVHeaderError) {
            return try header.withUnsafeBufferPointer { (bytes) throws(CSVHeaderError) in
                try CSVDecoder.columnNames(UnsafeRawBufferPointer(bytes), dialect)
            }
        } catch { throw refused(error, records, dialect) }
    }

    /// A header that does not fit, with what it looks like.
    private static func refused(_ error: CSVHeaderError, _ records: RecordFile, _ dialect: CSVDialect) -> LogError {
        let hint = records.header.flatMap { HeaderLook.hint($0, dialect) }.map { ". \($0)" } ?? ""
        return LogError(.refused, "\(records.path):\(records.headerLine): \(error.description)\(hint)")
    }

    /// What is no mistake, but seldom meant: a CSV file without columns that fields name, and a file of JSON that looks like none.
    func warnings(_ deployment: Deployment) -> [String] {
        guard let csv = decoding.csv else {
            return records.look.remarkOnLines.map { ["\(records.path): \($0)"] } ?? []
        }
        var warnings: [String] = []
        for event in csv.types.map({ deployment.description.events[$0] }) {
            for (index, field) in event.fields.enumerated() where !csv.columns.contains(field.path.column) {
                warnings.append(
                    "\(records.path): the header has no column `\(field.path.column)`, which is "
                        + (index == event.idField
                            ? "the `id:` of event '\(event.name)': its verdicts carry no id of the event"
                            : "field '\(field.name)' of event '\(event.name)': it is missing in every row")
                )
            }
        }
        return warnings
    }

    /// A block that can decode this file's records, under the file's own source number.
    func makeBlock(_ deployment: Deployment, lanes: Int, source: Int) throws(LogError) -> DecodedBlock {
        do {
            return try DecodedBlock(
                plan: deployment.decodePlan,
                sources: [SourceDecoding](repeating: decoding, count: source + 1),
                lanes: lanes
            )
        } catch { throw InputFile.refused(error, records, dialect ?? .standard) }
    }

    /// True when the next ``fill(_:source:)`` throws.
    var isBroken: Bool { records.isBroken }

    /// Replaces the block's content by the next records; false at the end.
    func fill(_ block: DecodedBlock, source: Int) throws(LogError) -> Bool {
        block.removeAll()
        // Asked after every record: a block that is closed a little later here than there would be another epoch.
        let count = try records.nextBatch(maxRecords: FileReplay.epochEvents) { record in
            block.stage(
                source: source,
                offset: record.index,
                appendTime: nil,
                value: record.bytes,
                fullLength: record.length
            )
            return !block.isFull
        }
        return count > 0
    }
}
