import Detection

/// The verdicts that a replay gives beside those that a log holds, epoch by epoch.
///
/// A verdict is known by its epoch and its id: the same id in a later epoch is a revision, and only twice in one epoch is it
/// repeated. First come, epoch by epoch, calls of ``begin(epoch:_:)`` and ``expect(key:value:headers:)``, then all of
/// ``compare(key:value:headers:in:at:epochs:)``, then ``finish(shortened:)``. Of each expected verdict 48 bytes are kept, so memory
/// grows with the number of verdicts and not with their size.
struct VerdictComparison {
    /// A verdict's id.
    private struct Identifier: Hashable, Comparable {
        var high: UInt64
        var low: UInt64

        static func < (a: Identifier, b: Identifier) -> Bool { (a.high, a.low) < (b.high, b.low) }
    }
    private struct Revision: Hashable {
        var id: Identifier
        var epoch: Int64
    }
    private struct Expected {
        var epoch: Int64
        var high: UInt64
        var low: UInt64
        /// Its place among all that are expected, which is its place in its partition too.
        var ordinal: UInt32
        /// Where its key puts it.
        var partition: Int16
        var isSeen = false
    }

    /// How far an epoch's verdicts can be told from those of the log.
    struct Standing: OptionSet, Sendable {
        var rawValue: UInt8
        /// Judged under another hash key than the replay's: what differs may do so for what full tables forgot.
        static let otherKey = Standing(rawValue: 1)
        /// Judged by another version of the program, which may judge otherwise.
        ///
        /// Versions are not compared, and differences are counted apart.
        static let otherEngine = Standing(rawValue: 2)
        /// Judged by a release that is not there: nothing is compared.
        static let otherRelease = Standing(rawValue: 4)
    }

    /// Most findings that are listed.
    let findingsMax: Int
    /// By id the verdict of the first epoch that gives one; those of later epochs, which are few, apart.
    private var first: [Identifier: Expected] = [:]
    private var later: [Revision: Expected] = [:]

    /// Epochs from which on another standing holds, in their order.
    private var standings: [(from: Int64, standing: Standing)] = []
    private var epoch: Int64 = -1
    private var standing: Standing = []
    private var ordinal: UInt32 = 0
    private let partitions: Int
    private var partitioner = Partitioner()
    /// By partition, the place of the first verdict that the log still holds.
    private var firstKept: [Int32: UInt32] = [:]
    /// A verdict lies elsewhere than its key puts it today: the topic had another number of partitions.
    private var hasMoved = false

    private(set) var counts = Counts()
    private(set) var findings: [JournalAudit.Finding] = []

    struct Counts: Sendable, Equatable {
        /// Verdicts in the log about what was replayed.
        var verdicts: Int64 = 0
        /// Of these, good ones that revise an earlier epoch's.
        var revisions: Int64 = 0
        var missing: Int64 = 0
        /// Not in the log, and before the first one of its partition, whose beginning is gone.
        var expired: Int64 = 0
        var repeated: Int64 = 0
        var different: Int64 = 0
        /// Of those missing or different, the ones in epochs that were judged under another hash key.
        var doubted: Int64 = 0
        /// Of those missing or different, the ones in epochs that another version of the program judged.
        var byEngine: Int64 = 0
        /// Verdicts in the log of epochs whose release is not there.
        var notCompared: Int64 = 0
    }

    /// - Parameter partitions: of the verdicts' topic.
    init(findingsMax: Int, partitions: Int = 1) {
        self.findingsMax = findingsMax
        self.partitions = max(1, partitions)
    }

    // MARK: What there should be

    /// Begins with the verdicts of an epoch; epochs must come in their order.
    mutating func begin(epoch: Int64, _ standing: Standing = []) {
        self.epoch = epoch
        self.standing = standing
        if standings.last?.standing ?? [] != standing { standings.append((epoch, standing)) }
    }

    private func standing(of epoch: Int64) -> Standing {
        var (low, high) = (0, standings.count)
        while low < high {
            let middle = (low + high) / 2
            if standings[middle].from <= epoch { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? [] : standings[low - 1].standing
    }

    /// Counts one that is missing or different, by what may be the reason.
    private mutating func excuse(_ epoch: Int64) {
        let standing = standing(of: epoch)
        if standing.contains(.otherEngine) {
            counts.byEngine += 1
        } else if standing.contains(.otherKey) {
            counts.doubted += 1
        }
    }

    /// Takes in a verdict that the replay gives in the epoch that was begun.
    ///
    /// - Parameter headers: adds each header to its argument.
    mutating func expect(
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer,
        headers: (inout Digest) -> Void
    ) {
        guard let id = VerdictComparison.identifier(in: value) else {
            preconditionFailure("a verdict begins with its id")
        }
        if standing.contains(.otherRelease) { return }
        var digest = Digest(
            key: key,
            value: standing.contains(.otherEngine) ? VerdictRecord.judgement(in: value) : value
        )
        headers(&digest)
        let (high, low) = digest.finish()
        let verdict = Expected(
            epoch: epoch,
            high: high,
            low: low,
            ordinal: ordinal,
            partition: Int16(truncatingIfNeeded: partitioner.partition(key: key, of: partitions))
        )
        ordinal &+= 1
        if first[id] == nil {
            first[id] = verdict
        } else {
            later[Revision(id: id, epoch: epoch)] = verdict
        }
    }

    // MARK: What there is

    /// Compares a record of the verdict topic with what is expected.
    ///
    /// - Parameters:
    ///   - partition: of the verdicts' topic; each is to be given in the order of its offsets.
    ///   - place: where it stands, for people.
    ///   - epochs: the last epoch that was replayed, and the last in the journal when the record was already there: what lies
    ///     between them was committed during the audit and is left out.
    mutating func compare(
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: [(String, UnsafeRawBufferPointer)],
        in partition: Int32,
        at place: String,
        epochs: (replayed: Int64, journaled: Int64)
    ) {
        guard let value, let id = VerdictComparison.identifier(in: value) else {
            counts.verdicts += 1
            report(place, "different: the record is no verdict of weir")
            return
        }
        let name = VerdictComparison.text(of: id)
        guard let epoch = VerdictComparison.epoch(in: headers) else {
            counts.verdicts += 1
            report(name, "different: the verdict at \(place) does not say which epoch gave it")
            return
        }
        if epoch > epochs.replayed, epoch <= epochs.journaled { return }
        let standing = standing(of: epoch)
        if standing.contains(.otherRelease) {
            counts.notCompared += 1
            return
        }
        counts.verdicts += 1
        let known = first[id]
        let revision = Revision(id: id, epoch: epoch)
        let isFirst = known?.epoch == epoch
        guard var verdict = isFirst ? known : later[revision] else {
            report(
                name,
                "different: the log holds it at \(place) under epoch \(epoch), the replay "
                    + (known.map { "gives it in epoch \($0.epoch)" } ?? "does not give it")
            )
            // The journal says in which epoch an event is judged, whatever the key.
            if known == nil { excuse(epoch) }
            return
        }
        if verdict.isSeen {
            counts.repeated += 1
            add(name, "repeated: again at \(place) under epoch \(epoch)")
            return
        }
        verdict.isSeen = true
        if firstKept[partition] == nil { firstKept[partition] = verdict.ordinal }
        if verdict.partition != Int16(truncatingIfNeeded: partition) { hasMoved = true }
        if isFirst {
            first[id] = verdict
        } else {
            later[revision] = verdict
            counts.revisions += 1
        }
        var digest = Digest(
            key: key,
            value: standing.contains(.otherEngine) ? VerdictRecord.judgement(in: value) : value
        )
        for (name, header) in headers {
            var name = name
            name.withUTF8 { digest.addHeader(UnsafeRawBufferPointer($0), header) }
        }
        let (high, low) = digest.finish()
        if (high, low) != (verdict.high, verdict.low) {
            report(name, "different: key, value or headers at \(place) are not those of the replay")
            excuse(epoch)
        }
    }

    /// Whether retention took an expected verdict that the log does not hold: it is older than the first that its partition holds.
    private func isExpired(_ verdict: Expected, _ shortened: Set<Int32>) -> Bool {
        func isBefore(_ partition: Int32) -> Bool {
            shortened.contains(partition) && verdict.ordinal < firstKept[partition] ?? .max
        }
        // Where it lay when the topic had fewer partitions nobody knows.
        return hasMoved ? shortened.contains(where: isBefore) : isBefore(Int32(verdict.partition))
    }

    /// Counts what the log does not hold, and puts the findings in order.
    ///
    /// - Parameter shortened: partitions whose beginning is gone.
    mutating func finish(shortened: Set<Int32> = []) {
        // A dictionary's order is another one in each process: sorted before it is cut, so that every run names the same ones.
        var missing: [(Identifier, Int64)] = []
        func look(_ id: Identifier, _ verdict: Expected) {
            if verdict.isSeen { return }
            if isExpired(verdict, shortened) { counts.expired += 1 } else { missing.append((id, verdict.epoch)) }
        }
        for (id, verdict) in first { look(id, verdict) }
        for (revision, verdict) in later { look(revision.id, verdict) }
        missing.sort { $0 < $1 }
        counts.missing += Int64(missing.count)
        for (_, epoch) in missing { excuse(epoch) }
        for (id, epoch) in missing.prefix(findingsMax - findings.count) {
            add(
                VerdictComparison.text(of: id),
                "missing: the replay gives it in epoch \(epoch), the log does not hold it"
            )
        }
        findings.sort { $0.verdict < $1.verdict }
    }

    private mutating func report(_ verdict: String, _ reason: String) {
        counts.different += 1
        add(verdict, reason)
    }

    private mutating func add(_ verdict: String, _ reason: String) {
        if findings.count < findingsMax { findings.append(JournalAudit.Finding(verdict: verdict, reason: reason)) }
    }
}

extension VerdictComparison {
    /// SHA-256 over all that must be equal, each part with its length before it.
    struct Digest: ~Copyable {
        private var state = SHA256()

        fileprivate init(key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer) {
            add(key)
            add(value)
        }

        mutating func addHeader(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
            add(name)
            add(value)
        }

        private mutating func add(_ part: UnsafeRawBufferPointer?) {
            withUnsafeBytes(of: Int64(part?.count ?? -1).littleEndian) { state.update($0) }
            if let part { state.update(part) }
        }

        /// The first 128 bits.
        fileprivate consuming func finish() -> (high: UInt64, low: UInt64) {
            state.finish().withUnsafeBytes {
                ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            }
        }
    }

    private static func epoch(in headers: [(String, UnsafeRawBufferPointer)]) -> Int64? {
        headers.first { $0.0 == "ce_epoch" }.flatMap { Int64(String(decoding: $0.1, as: UTF8.self)) }
    }

    /// The id at the beginning of a verdict.
    private static func identifier(in value: UnsafeRawBufferPointer) -> Identifier? {
        guard let text = VerdictRecord.identifier(in: value) else { return nil }
        var words: [UInt64] = [0, 0]
        var digits = 0
        for (i, byte) in text.enumerated() {
            if i == 8 || i == 13 || i == 18 || i == 23 {
                if byte != UInt8(ascii: "-") { return nil }
                continue
            }
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: return nil
            }
            words[digits / 16] = words[digits / 16] << 4 | UInt64(digit)
            digits += 1
        }
        return Identifier(high: words[0], low: words[1])
    }

    private static func text(of id: Identifier) -> String {
        func hex(_ word: UInt64) -> String {
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        let all = Array(hex(id.high) + hex(id.low))
        return [all[0..<8], all[8..<12], all[12..<16], all[16..<20], all[20..<32]].map { String($0) }.joined(
            separator: "-"
        )
    }
}
