public import Detection
import RuleLanguage

/// What decoders make of a file's records: the judgement of those that will read them.
public struct SampleTrial {
    /// Dead letters of one reason at one path.
    public struct Fault: Sendable {
        public var code: DeadLetterCode
        /// Nil: the record as a whole.
        public var path: String?
        public var count: Int
        /// Where the first one stands, from 1.
        public var line: Int64
    }

    public private(set) var records = 0
    public private(set) var events = 0
    /// Events further behind the furthest one before them than the topology's lateness.
    private(set) var late = 0
    /// The most frequent first.
    public private(set) var faults: [Fault] = []
    /// Values of optional fields that could not be read, in events all the same; the most frequent first.
    public private(set) var damaged: [Fault] = []

    /// Dead letters in all.
    public var dead: Int { faults.reduce(0) { $0 + $1.count } }

    /// Decodes records of a file, up to a number of them, and lends each with its line.
    ///
    /// - Parameters:
    ///   - appendTime: of all of them; nil: there is none.
    ///   - reach: bytes after which no more are read.
    ///   - see: gets each record.
    init(
        _ file: RecordFile,
        _ plan: DecodePlan,
        csv: (columns: [String], types: [Int])?,
        topic: Int?,
        appendTime: Int64? = nil,
        lateness: Int64,
        team: ThreadTeam,
        recordsMax: Int = .max,
        reach: Int64 = .max,
        see: (FileRecord) -> Void = { _ in }
    ) throws(LogError) {
        let block: DecodedBlock
        do throws(CSVHeaderError) {
            block = try DecodedBlock(
                plan: plan,
                sources: [SourceDecoding(topic: topic, partition: 0, csv: csv)],
                lanes: team.lanes
            )
        } catch { throw LogError(.refused, "\(file.path):\(file.headerLine): \(error.description)") }
        var lines: [Int64] = []
        var furthest = Int64.min
        while records < recordsMax {
            block.removeAll()
            lines.removeAll(keepingCapacity: true)
            let first = records
            let got = try file.nextBatch(maxRecords: min(4096, recordsMax - records)) { record in
                see(record)
                lines.append(record.line)
                block.stage(
                    source: 0,
                    offset: Int64(first + lines.count - 1),
                    appendTime: appendTime,
                    value: record.bytes,
                    fullLength: record.length
                )
                return !block.isFull
            }
            if got == 0 { break }
            records += got
            block.decode(team)
            events += block.events.count
            for event in block.events {
                furthest = max(furthest, event.time)
                if event.time < furthest - lateness { late += 1 }
                if event.markCount > 0 { addMarks(of: event, plan, line: lines[Int(event.offset) - first]) }
            }
            for rejected in block.rejected {
                let letter = rejected.letter
                let line = lines[Int(rejected.record.offset) - first]
                SampleTrial.add(letter.code, plan.path(of: letter), line, to: &faults)
            }
            if file.bytesRead > reach { break }
        }
        faults.sort { ($0.count, $1.line) > ($1.count, $0.line) }
        damaged.sort { ($0.count, $1.line) > ($1.count, $0.line) }
    }

    private mutating func addMarks(of event: Event, _ plan: DecodePlan, line: Int64) {
        event.forEachMark { mark in
            guard let code = mark.kind == .cut ? .textTooLong : mark.code else { return }
            mark.forEachField { field in
                let path = plan.schemas[Int(event.type)].fields[field].path.description
                SampleTrial.add(code, path, line, to: &damaged)
            }
        }
    }

    private static func add(_ code: DeadLetterCode, _ path: String?, _ line: Int64, to faults: inout [Fault]) {
        if let index = faults.firstIndex(where: { $0.code == code && $0.path == path }) {
            faults[index].count += 1
        } else {
            faults.append(Fault(code: code, path: path, count: 1, line: line))
        }
    }
}
