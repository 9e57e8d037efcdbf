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

    /// Some records of each fault, to learn from, by their places in the file.
    private(set) var odd: [Int: [UInt8]] = [:]
    static let oddMax = 32

    /// Dead letters in all.
    public var dead: Int { faults.reduce(0) { $0 + $1.count } }

    /// Decodes records of a file, up to a number of them, and lends each with its line.
    ///
    /// - Parameters:
    ///   - appendTime: of all of them; nil: there is none.
    ///   - reach: bytes after which no more are read.
    ///   - keepsOdd: fills ``odd``.
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
        keepsOdd: Bool = false,
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
        // The records of a batch, of which the odd ones are kept.
        var bytes: [UInt8] = []
        var ends: [Int] = []
        func record(_ offset: Int) -> ArraySlice<UInt8> { bytes[(offset == 0 ? 0 : ends[offset - 1])..<ends[offset]] }
        var furthest = Int64.min
        while records < recordsMax {
            block.removeAll()
            lines.removeAll(keepingCapacity: true)
            bytes.removeAll(keepingCapacity: true)
            ends.removeAll(keepingCapacity: true)
            let first = records
            let got = try file.nextBatch(maxRecords: min(4096, recordsMax - records)) { record in
                see(record)
                lines.append(record.line)
                if keepsOdd {
                    bytes.append(contentsOf: record.bytes)
                    ends.append(bytes.count)
                }
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
                let index = Int(event.offset) - first
                if event.markCount > 0, addMarks(of: event, plan, line: lines[index]), keepsOdd {
                    odd[first + index] = Array(record(index))
                }
            }
            for rejected in block.rejected {
                let letter = rejected.letter
                let index = Int(rejected.record.offset) - first
                if SampleTrial.add(letter.code, plan.path(of: letter), lines[index], to: &faults), keepsOdd {
                    odd[first + index] = Array(record(index))
                }
            }
            if file.bytesRead > reach { break }
        }
        faults.sort { ($0.count, $1.line) > ($1.count, $0.line) }
        damaged.sort { ($0.count, $1.line) > ($1.count, $0.line) }
    }

    /// Whether one of the marks is among the first of its kind.
    private mutating func addMarks(of event: Event, _ plan: DecodePlan, line: Int64) -> Bool {
        var isNew = false
        event.forEachMark { mark in
            guard let code = mark.kind == .cut ? .textTooLong : mark.code else { return }
            mark.forEachField { field in
                let path = plan.schemas[Int(event.type)].fields[field].path.description
                if SampleTrial.add(code, path, line, to: &damaged) { isNew = true }
            }
        }
        return isNew
    }

    /// Whether the fault is among the first of its kind.
    private static func add(_ code: DeadLetterCode, _ path: String?, _ line: Int64, to faults: inout [Fault]) -> Bool {
        if let index = faults.firstIndex(where: { $0.code == code && $0.path == path }) {
            faults[index].count += 1
            return faults[index].count <= oddMax
        }
        faults.append(Fault(code: code, path: path, count: 1, line: line))
        return true
    }
}
