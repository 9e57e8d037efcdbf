import Detection

/// The verdicts that a replay gives beside those that a log holds, epoch by epoch.
///
/// A verdict is known by its epoch and its id: the same id in a later epoch is a revision, and only twice in one epoch is it
/// repeated. First come all calls of ``doubt(epoch:)`` and ``expect(epoch:key:value:headers:)``, then all of
/// ``compare(key:value:headers:at:epochs:)``, then ``finish()``. Of each expected verdict 40 bytes are kept, so memory grows with
/// the number of verdicts and not with their size.
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
        var isSeen = false
    }

    /// Most findings that are listed.
    let findingsMax: Int
    /// By id the verdict of the first epoch that gives one; those of later epochs, which are few, apart.
    private var first: [Identifier: Expected] = [:]
    private var later: [Revision: Expected] = [:]

    /// Epochs that were judged under another hash key than the replay's, in their order.
    private var doubted: [ClosedRange<Int64>] = []

    private(set) var counts = Counts()
    private(set) var findings: [JournalAudit.Finding] = []

    struct Counts: Sendable, Equatable {
        /// Verdicts in the log about what was replayed.
        var verdicts: Int64 = 0
        /// Of these, good ones that revise an earlier epoch's.
        var revisions: Int64 = 0
        var missing: Int64 = 0
        var repeated: Int64 = 0
        var different: Int64 = 0
        /// Of those missing or different, the ones in epochs that were judged under another hash key.
        var doubted: Int64 = 0
    }

    init(findingsMax: Int) { self.findingsMax = findingsMax }

    // MARK: What there should be

    /// Says that an epoch was judged under another hash key, so that what differs in it may do so for that alone; epochs must come
    /// in their order.
    mutating func doubt(epoch: Int64) {
        if let last = doubted.last, last.upperBound == epoch - 1 {
            doubted[doubted.count - 1] = last.lowerBound...epoch
        } else {
            doubted.append(epoch...epoch)
        }
    }

    private func isDoubted(_ epoch: Int64) -> Bool { doubted.contains { $0.contains(epoch) } }

    /// Takes in a verdict that the replay gives; epochs must come in their order.
    ///
    /// - Parameter headers: adds each header to its argument.
    mutating func expect(
        epoch: Int64,
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer,
        headers: (inout Digest) -> Void
    ) {
        guard let id = VerdictComparison.identifier(in: value) else {
            preconditionFailure("a verdict begins with its id")
        }
        var digest = Digest(key: key, value: value)
        headers(&digest)
        let (high, low) = digest.finish()
        let verdict = Expected(epoch: epoch, high: high, low: low)
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
    ///   - place: where it stands, for people.
    ///   - epochs: the last epoch that was replayed, and the last in the journal when the record was already there: what lies
    ///     between them was committed during the audit and is left out.
    mutating func compare(
        key: UnsafeRawBufferPointer?,
        value: UnsafeRawBufferPointer?,
        headers: [(String, UnsafeRawBufferPointer)],
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
            if known == nil, isDoubted(epoch) { counts.doubted += 1 }
            return
        }
        if verdict.isSeen {
            counts.repeated += 1
            add(name, "repeated: again at \(place) under epoch \(epoch)")
            return
        }
        verdict.isSeen = true
        if isFirst {
            first[id] = verdict
        } else {
            later[revision] = verdict
            counts.revisions += 1
        }
        var digest = Digest(key: key, value: value)
        for (name, header) in headers {
            var name = name
            name.withUTF8 { digest.addHeader(UnsafeRawBufferPointer($0), header) }
        }
        let (high, low) = digest.finish()
        if (high, low) != (verdict.high, verdict.low) {
            report(name, "different: key, value or headers at \(place) are not those of the replay")
            if isDoubted(epoch) { counts.doubted += 1 }
        }
    }

    /// Counts what the log does not hold, and puts the findings in order.
    mutating func finish() {
        // A dictionary's order is another one in each process: sorted before it is cut, so that every run names the same ones.
        let missing =
            (first.lazy.filter { !$0.value.isSeen }.map { ($0.key, $0.value.epoch) }
            + later.lazy.filter { !$0.value.isSeen }.map { ($0.key.id, $0.key.epoch) }).sorted { $0 < $1 }
        counts.missing += Int64(missing.count)
        counts.doubted += Int64(missing.count { isDoubted($0.1) })
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
            if name.elementsEqual("ce_recordedtime".utf8) { return }
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
