import Detection
public import RuleLanguage

/// A topology held against records that it shall read: which declared paths they have, which others, and what the decoder says.
public struct SampleComparison {
    /// A declared field and what the sample holds there.
    public struct Declared: Sendable {
        public var field: FieldSchema
        /// Without it the record is a dead letter.
        public var isRequired: Bool
        /// Records of the event type that have something there.
        public var present: Int
        public var facts: PathFacts?
    }

    /// A path that nobody declared, with the line that would.
    public struct Undeclared: Sendable {
        public var facts: PathFacts
        /// Nil: there is no type for it.
        public var line: String?
    }

    /// What one event type has.
    public struct EventPart: Sendable {
        public var schema: EventSchema
        public var records: Int
        public var declared: [Declared]
        public var undeclared: [Undeclared]

        /// Required fields that no record has.
        public var neverThere: [Declared] { records == 0 ? [] : declared.filter { $0.isRequired && $0.present == 0 } }
    }

    public let path: String
    public let isCSV: Bool
    public let events: [EventPart]
    /// Records of no declared type.
    public let strangers: Int
    /// What the decoder made of the same records.
    public let trial: SampleTrial

    /// Records that are looked at.
    public static let recordsMax = 1000

    /// Whether the topology can read the file: there are records, and no required field is missing in all of them.
    public var fits: Bool { trial.events > 0 && events.allSatisfy(\.neverThere.isEmpty) }

    /// Reads the first records of a file.
    ///
    /// - Parameter input: as in a replay: a path, or `TOPIC=PATH`.
    /// - Throws: an error of the kind `.refused` where the file cannot be read.
    public init(_ deployment: Deployment, input: String) throws(LogError) {
        let file = try InputFile(input, partition: 0, deployment, isForLog: true, { false })
        let schemas = deployment.description.events
        let types = schemas.indices.filter {
            file.decoding.topic == nil
                || schemas[$0].topics.contains {
                    deployment.description.topics.firstIndex(of: $0) == file.decoding.topic
                }
        }
        var form = SampleForm()
        form.csv = file.dialect
        form.columns = file.decoding.csv?.columns ?? []
        var probes = [SampleProbe](repeating: SampleProbe(), count: schemas.count)
        var strangers = 0
        let team = ThreadTeam(lanes: 1)
        defer { team.stop() }
        let trial = try SampleTrial(
            file.records,
            deployment.decodePlan,
            csv: file.decoding.csv,
            topic: file.decoding.topic,
            appendTime: file.appendTime,
            lateness: .max,
            team: team,
            recordsMax: SampleComparison.recordsMax
        ) { record in
            if let type = SampleComparison.type(of: record.bytes, among: types, schemas, form) {
                form.see(record.bytes, in: &probes[type])
            } else {
                strangers += 1
            }
        }
        guard trial.records > 0 else { throw LogError(.refused, "\(file.records.path): the file holds no records.") }
        path = file.records.path
        isCSV = form.csv != nil
        self.trial = trial
        self.strangers = strangers
        events = types.map { SampleComparison.compare(schemas[$0], probes[$0], isCSV: form.csv != nil) }
    }

    /// The event type that a record is of; nil: of none.
    private static func type(
        of record: UnsafeRawBufferPointer,
        among types: [Int],
        _ schemas: [EventSchema],
        _ form: SampleForm
    ) -> Int? {
        var row: [[UInt8]]?
        if let csv = form.csv, types.contains(where: { schemas[$0].discriminator != nil }) {
            row = CSVDecoder.values(of: record, csv)
        }
        for type in types {
            guard let (path, value) = schemas[type].discriminator else { return type }
            if form.csv != nil {
                guard let column = form.columns.firstIndex(of: path.column), let row, column < row.count else {
                    continue
                }
                if row[column].elementsEqual(value.utf8) { return type }
            } else if schemas[type].places(of: path).contains(where: {
                JSONScan.scalar($0.leadingKeys, in: record)?.elementsEqual(value.utf8) == true
            }) {
                return type
            }
        }
        return nil
    }

    private static func compare(_ schema: EventSchema, _ probe: SampleProbe, isCSV: Bool) -> EventPart {
        var facts: [SamplePath: PathFacts] = [:]
        for item in probe.facts { facts[item.path] = item }
        let declared = schema.fields.enumerated().map { index, field in
            let found = schema.places(of: field.path).compactMap { SamplePath($0).flatMap { facts[$0] } }
                .max { $0.present < $1.present }
            return Declared(
                field: field,
                isRequired: field.isRequired || index == schema.time.fieldIndex || index == schema.subjectField,
                present: found?.present ?? 0,
                facts: found
            )
        }
        let paths = schema.fields.map(\.path) + (schema.discriminator.map { [$0.path] } ?? [])
        let known = Set(paths.flatMap { schema.places(of: $0) }.compactMap { SamplePath($0) })
        // Paths begin inside an envelope, and what is around it is not the sender's.
        let inside = schema.envelope.map { $0.places(of: FieldPath(steps: [])).compactMap { SamplePath($0)?.steps } }
        let each = schema.each.flatMap { SamplePath($0) }.map { $0.steps + [SamplePath.element] }
        let undeclared = probe.facts.filter { item in
            // What only holds others is told by them.
            guard !known.contains(item.path), item.values > item.objects else { return false }
            return inside?.contains { item.path.steps.count > $0.count && item.path.steps.starts(with: $0) } ?? true
        }
        var names = Set(schema.fields.map(\.name))
        let lines = undeclared.map { item in
            var item = item
            if let head = inside?.first(where: { item.path.steps.starts(with: $0) }) {
                item.path = SamplePath(steps: Array(item.path.steps.dropFirst(head.count)))
            }
            // An element that is an event has one value where its record has one in each.
            let whole = item.path
            var ownItem = item
            if let head = each, whole.steps.count > head.count, whole.steps.starts(with: head) {
                ownItem.path = SamplePath(steps: Array(whole.steps.dropFirst(head.count)))
            }
            var draft = FieldDraft.guess(ownItem, in: probe, isCSV: isCSV)
            if ownItem.path != whole { draft?.path = whole }
            let name = draft?.name ?? ""
            var number = 2
            while let taken = draft?.name, !names.insert(taken).inserted {
                draft?.name = "\(name)_\(number)"
                number += 1
            }
            return Undeclared(facts: item, line: draft?.line(isCSV: isCSV))
        }
        return EventPart(schema: schema, records: probe.records, declared: declared, undeclared: lines)
    }
}
