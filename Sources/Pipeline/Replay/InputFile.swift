import Detection
import RuleLanguage

/// One input of a replay.
final class InputFile {
    let decoding: SourceDecoding
    /// As it was named; `-` is standard input.
    let path: String
    /// The topic whose records it holds; nil where they are of several.
    let topic: String?
    let records: RecordFile
    /// Nil: JSON.
    let dialect: CSVDialect?
    /// What stands for the time at which a log will take its records, where that is the time of their events.
    let appendTime: Int64?
    /// Of the records that were read last, the first one's number and the line of each.
    private var firstIndex: Int64 = 0
    private var lines: [Int64] = []

    /// What an input names: the file, and the topic (by its index) where one is given or there is but one.
    private static func parts(of input: String, _ deployment: Deployment) -> (topic: Int?, path: String) {
        let (topic, path) = FileReplay.parts(of: input, deployment)
        return (topic ?? (deployment.description.topics.count == 1 ? 0 : nil), path)
    }

    /// What looks like `TOPIC=PATH`, and is no file as a whole, must name a topic.
    private static func checkTopic(_ input: String, _ deployment: Deployment) throws(LogError) {
        let topics = deployment.description.topics
        guard let name = FileReplay.claimedTopic(of: input), !topics.contains(name) else { return }
        let near = Diagnostic.nearest(to: name, among: topics).map { "did you mean '\($0)'?" }
        throw LogError(
            .refused,
            "the topology reads no topic '\(name)', as \(input) names; \(near ?? "topics are \(topics.joined(separator: ", "))")"
        )
    }

    /// The partitions that inputs stand for, each by its place in the list.
    ///
    /// A file of one topic's records has the rank of its path among those of that topic; those of several topics come behind all of
    /// them. So the order in which files are named changes no verdict's id and no order of events.
    static func partitions(of inputs: [String], _ deployment: Deployment) -> [Int32] {
        let named = inputs.map { parts(of: $0, deployment) }
        let perTopic = Dictionary(grouping: named.compactMap { $0.topic }) { $0 }
        let ofSeveral = perTopic.values.map { $0.count }.max() ?? 0
        return named.indices.map { p in
            let (topic, path) = named[p]
            // Whoever names one file twice gets two partitions of it.
            let rank = named.indices.count { o in
                named[o].topic == topic && (named[o].path < path || (named[o].path == path && o < p))
            }
            return Int32(topic == nil ? ofSeveral + rank : rank)
        }
    }

    /// - Parameters:
    ///   - partition: that its events have.
    ///   - isForLog: its records are only looked at before a log takes them, so that events may have the log's append time.
    init(
        _ argument: String,
        partition: Int32,
        _ deployment: Deployment,
        isForLog: Bool = false,
        _ shouldStop: @escaping () -> Bool
    ) throws(LogError) {
        let (topic, path) = InputFile.parts(of: argument, deployment)
        try InputFile.checkTopic(argument, deployment)
        self.path = path
        self.topic = topic.map { deployment.description.topics[$0] }
        let events = deployment.description.events
        let types = events.indices.filter { type in
            topic.map { events[type].topics.contains(deployment.description.topics[$0]) } ?? true
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
        let timeless = types.filter { events[$0].time == .append }
        if let event = timeless.first, !isForLog || timeless.count < types.count {
            throw LogError(
                .refused,
                "\(path): event '\(events[event].name)' takes its time from the log (`time: append`), and "
                    + (isForLog
                        ? "others of the file do not; split it by event types"
                        : "a file has none; put it into a log (weir load), or say `time: { from: 2020-01-01, every: 1s }`")
            )
        }
        appendTime = timeless.isEmpty ? nil : deployment.description.time.earliest
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
        decoding = SourceDecoding(topic: topic, partition: partition, csv: csv)
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

    /// Fields whose columns a CSV file does not have, by event type and field.
    func absentFields(_ deployment: Deployment) -> [(event: Int, field: Int)] {
        guard let csv = decoding.csv else { return [] }
        return csv.types.flatMap { type in
            let fields = deployment.description.events[type].fields
            return fields.indices.filter { !csv.columns.contains(fields[$0].path.column) }.map {
                (event: type, field: $0)
            }
        }
    }

    /// What is no mistake, but seldom meant: a CSV file without columns that fields name, and a file of JSON that looks like none.
    func warnings(_ deployment: Deployment) -> [String] {
        guard decoding.csv != nil else {
            return records.look.remarkOnLines.map { ["\(records.path): \($0)"] } ?? []
        }
        var warnings: [String] = []
        for (type, index) in absentFields(deployment) {
            let event = deployment.description.events[type]
            let field = event.fields[index]
            warnings.append(
                "\(records.path): the header has no column `\(field.path.column)`, which is "
                    + (index == event.idField
                        ? "the `id:` of event '\(event.name)': its verdicts carry no id of the event"
                        : "field '\(field.name)' of event '\(event.name)': it is missing in every row")
            )
        }
        return warnings
    }

    /// A block that can decode this file's records, as those of source 0.
    func makeBlock(_ deployment: Deployment, lanes: Int) throws(LogError) -> DecodedBlock {
        do {
            return try DecodedBlock(plan: deployment.decodePlan, sources: [decoding], lanes: lanes)
        } catch { throw InputFile.refused(error, records, dialect ?? .standard) }
    }

    /// True when the next ``fill(_:)`` throws.
    var isBroken: Bool { records.isBroken }

    /// Replaces the block's content by the next records; false at the end.
    func fill(_ block: DecodedBlock) throws(LogError) -> Bool {
        block.removeAll()
        // Out of the object while records are handed out: each access to its properties would be checked.
        var lines: [Int64] = []
        swap(&lines, &self.lines)
        defer { swap(&lines, &self.lines) }
        lines.removeAll(keepingCapacity: true)
        var first: Int64 = 0
        // Asked after every record, so that it depends on the records alone when a block is full, and not on how their bytes came.
        let count = try records.nextBatch(maxRecords: FileReplay.epochEvents) { record in
            if lines.isEmpty { first = record.index }
            lines.append(record.line)
            block.stage(
                source: 0,
                offset: record.index,
                appendTime: appendTime,
                value: record.bytes,
                fullLength: record.length
            )
            return !block.isFull
        }
        firstIndex = first
        return count > 0
    }

    /// The line at which a record begins, from 1; of those that were read last, by its number.
    func line(of index: Int64) -> Int64 { lines[Int(index - firstIndex)] }
}
