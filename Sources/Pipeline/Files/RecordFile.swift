import Glibc
import RuleLanguage

/// One record of an input file, lent for one call.
public struct FileRecord {
    /// The record without its line end.
    ///
    /// At least 16 further bytes can be read behind it, so a scanner may load whole vectors.
    ///
    /// Of a record over the limit only the first ``RecordFile/recordLimit`` bytes are here.
    public var bytes: UnsafeRawBufferPointer
    /// Number of the record in its file, from 0; the CSV header is not counted.
    public var index: Int64
    /// Line of the file where the record starts, from 1.
    ///
    /// It is what an editor shows: empty lines count.
    public var line: Int64
    /// Length of the record in the file; greater than the bytes lent when the record is over the limit.
    public var length: Int

    /// True when the record is over the limit: it becomes a dead letter.
    public var isOversize: Bool { length > bytes.count }
}

/// Reads records from a file for a replay: plain, gzip or zstd (told by its first bytes), JSON Lines or CSV; `-` reads stdin.
///
/// A plain file is mapped and its bytes are lent as they lie; a file that somebody cuts short meanwhile kills the process (SIGBUS),
/// so replay files that are complete. Anything else goes through one buffer of the record limit and 256 KiB. Empty lines are
/// skipped, a byte order mark at the start too. Records before a damaged place are handed out in a batch of their own, or the last
/// part of one, before the error is thrown.
///
/// A quoted CSV field that is not closed within the record limit is taken for a slip in one line: that line is handed out as it is,
/// and reading goes on behind it.
public final class RecordFile {
    /// The path as given.
    public let path: String
    /// Longest record handed out whole, in bytes.
    public let recordLimit: Int
    /// The first record of a CSV file, without its line end; nil for an empty file, and where none is a header.
    public private(set) var header: [UInt8]?
    /// Line of the file where the header starts, from 1.
    public private(set) var headerLine: Int64 = 1
    /// Records handed out so far.
    public private(set) var recordCount: Int64 = 0
    /// Records' bytes handed out or skipped so far, after decompression.
    var bytesRead: Int64 { windowOffset + Int64(start) }

    /// What the file begins with.
    private(set) var look = FileLook(UnsafeRawBufferPointer(start: nil, count: 0))
    private let source: ByteSource
    private let isMapped: Bool
    /// Every line is a record.
    private let isLines: Bool
    /// Lines that begin so are no records.
    private let comment: UInt8?
    /// Lines of blanks and tabs are as empty as others without a byte.
    private let skipsBlankLines: Bool
    private var scanner: RecordScanner
    private var line: Int64 = 1
    /// The mapped file, or the buffer of a stream.
    private var window: UnsafeMutableRawBufferPointer
    /// Bytes between `start` and `end` of the window are not handed out yet; those before `scanned` hold no end of a record.
    private var start = 0
    private var scanned = 0
    private var end = 0
    /// A search for the end of a quoted field has come so far and found none, from one of the records handed out before; see
    /// ``passOpenQuote(_:to:)``.
    private var openUntil = 0
    /// Bytes of a CSV file that were searched for ends of records, each as often as it was.
    private(set) var bytesSearched: Int64 = 0
    private var windowOffset: Int64 = 0
    private var isComplete: Bool
    private var released = 0
    /// What ended the reading behind the records of the last batch.
    private var failure: LogError?
    /// True while the next batch will throw, so that a short batch is not taken for the file's last.
    public var isBroken: Bool { failure != nil }

    /// Opens a file and, of CSV, reads its header.
    ///
    /// - Parameter shouldStop: asked before each read and while a pipe has nothing to read; true ends opening and reading with an
    ///   error of the kind `.stopped`.
    public init(
        path: String,
        splitter: RecordSplitter,
        recordLimit: Int = 1 << 20,
        shouldStop: @escaping () -> Bool = { false }
    ) throws(LogError) {
        precondition(recordLimit > 0, "a record has at least one byte")
        self.path = path
        self.recordLimit = recordLimit
        scanner = RecordScanner(splitter)
        isLines = scanner.partsAtLines
        var dialect: CSVDialect?
        if case .csv(let given) = splitter { dialect = given }
        comment = dialect?.comment
        skipsBlankLines = dialect?.delimiter == .blanks
        source = try ByteSource(path: path, shouldStop: shouldStop)
        switch source.shape {
        case .mapped(let bytes):
            isMapped = true
            isComplete = true
            window = UnsafeMutableRawBufferPointer(mutating: bytes)
            end = bytes.count
        case .stream:
            isMapped = false
            isComplete = false
            window = UnsafeMutableRawBufferPointer.allocate(
                byteCount: recordLimit + (1 << 18) + ByteSource.margin,
                alignment: 64
            )
            window.initializeMemory(as: UInt8.self, repeating: 0)
        }
        do throws(LogError) {
            while !isComplete, end - start < FileLook.bytesWanted { try refill() }
        } catch {
            // What came before a damaged place is handed out first; the next look at the source gives the error again.
            if end == start || error.kind == .stopped { throw error }
        }
        if end - start >= 3, window[start] == 0xef, window[start + 1] == 0xbb, window[start + 2] == 0xbf {
            start += 3
            scanned = start
        }
        look = FileLook(UnsafeRawBufferPointer(rebasing: window[start..<end]))
        if let objection = look.objection(isJSON: dialect == nil) { throw LogError(.refused, "\(path): \(objection).") }
        if dialect?.header == .present {
            var first: [UInt8]?
            var isWhole = true
            _ = try nextBatch(maxRecords: 1) { record in
                first = [UInt8](record.bytes)
                headerLine = record.line
                isWhole = !record.isOversize
                return true
            }
            guard isWhole else {
                throw LogError(
                    .refused,
                    "\(path):1: the header is longer than \(recordLimit) bytes. Is this a CSV file?"
                )
            }
            header = first
            recordCount = 0
        }
    }

    deinit { if !isMapped { window.deallocate() } }

    /// Lends up to `maxRecords` records in file order.
    ///
    /// Returns how many, 0 at the end.
    ///
    /// - Parameter body: gets a record whose bytes are valid during this one call; returns false to stop behind it. Where to stop
    ///   is for who gathers the records to say, by what it has gathered: how the bytes came in must not show.
    public func nextBatch(maxRecords: Int, _ body: (FileRecord) -> Bool) throws(LogError) -> Int {
        if let failure { throw failure }
        var count = 0
        var goesOn = true
        do throws(LogError) {
            while count < maxRecords, goesOn {
                if isLines {
                    count += handOutLines(atMost: maxRecords - count) { record in
                        goesOn = body(record)
                        return goesOn
                    }
                    if count == maxRecords || !goesOn { break }
                }
                guard try handOutNext({ goesOn = body($0) }) else { break }
                count += 1
                release(before: start)
            }
        } catch {
            // Whoever gathered records takes them first; somebody who wants to stop does not.
            if count == 0 || error.kind == .stopped { throw error }
            failure = error
        }
        return count
    }

    /// Pages of a mapped file are given back in pieces of this many bytes, and searched for the end of a record over the limit too.
    private static let releaseBytes = 2 << 20

    /// A multiple of every page's size there is.
    private static let pageBytes = 1 << 16
    /// The last place at or before an offset where a page begins.
    private static func pageStart(_ offset: Int) -> Int { offset & ~(pageBytes - 1) }

    /// How far before a page that is touched the kernel may map others: it may hold a file in folios of up to 2 MiB and map one
    /// whole, so that pages come back which were given back before.
    private static let folioBytes = 2 << 20

    /// Gives the pages of a mapped file that lie before an offset back, so that a long file or record leaves the process small.
    private func release(before offset: Int) {
        guard isMapped, offset - released >= RecordFile.releaseBytes else { return }
        let upTo = RecordFile.pageStart(offset)
        source.release(max(0, released - RecordFile.folioBytes)..<upTo)
        released = upTo
    }

    /// Hands out the whole lines that the window holds; returns how many.
    ///
    /// It goes as far as nothing is odd: a line over the limit and the end of the window are for ``handOutNext(_:)``. What changes
    /// with each line is kept aside until the last, so that a line costs its search and its copy.
    private func handOutLines(atMost count: Int, _ body: (FileRecord) -> Bool) -> Int {
        guard scanned == start, let base = UnsafeRawPointer(window.baseAddress) else { return 0 }
        let (end, limit) = (end, recordLimit)
        var (from, line, handedOut) = (start, line, 0)
        let first = recordCount
        var goesOn = true
        while goesOn, handedOut < count, from < end, let found = memchr(base + from, 0x0a, min(end - from, limit + 1)) {
            var length = UnsafeRawPointer(found) - base - from
            let next = from + length + 1
            if length > 0, base.load(fromByteOffset: from + length - 1, as: UInt8.self) == 0x0d { length -= 1 }
            let bytes = UnsafeRawBufferPointer(start: base + from, count: length)
            if length > 0, !isNoRecord(bytes) {
                goesOn = body(FileRecord(bytes: bytes, index: first + Int64(handedOut), line: line, length: length))
                handedOut += 1
            }
            line += 1
            from = next
        }
        (start, scanned, self.line, recordCount) = (from, from, line, first + Int64(handedOut))
        release(before: from)
        return handedOut
    }

    /// Hands out one record that is not empty; false at the end.
    private func handOutNext(_ body: (FileRecord) -> Void) throws(LogError) -> Bool {
        guard let base = UnsafeRawPointer(window.baseAddress) else { return false }
        while true {
            // In a mapped file the search for a quote's end stops at the limit too, so that both kinds of file part the same way.
            let reach = min(end, start + recordLimit + 2)
            if let lineEnd = passOpenQuote(base, to: reach) ?? nextEnd(base, from: scanned, to: reach) {
                if handOut(to: lineEnd, next: lineEnd + 1, body) { return true }
                continue
            }
            scanned = max(scanned, reach)
            if reach - start > recordLimit + 1 {
                if try handOutOversize(body) { return true }
                continue
            }
            if !isComplete {
                try refill()
                continue
            }
            if start == end { return false }
            if scanner.isInQuotes, let lineEnd = firstLineEnd() {
                openUntil = scanned
                if handOut(to: lineEnd, next: lineEnd + 1, body) { return true }
                continue
            }
            if handOut(to: end, next: end, body) { return true }
        }
    }

    /// The end of the record in hand.
    ///
    /// Of lines the scanner keeps no state, so it need not be asked.
    @inline(__always)
    private func nextEnd(_ base: UnsafeRawPointer, from: Int, to: Int) -> Int? {
        guard isLines else {
            let found = scanner.end(in: base, from: from, to: to)
            bytesSearched += Int64(max(0, (found ?? to) - from))
            return found
        }
        guard from < to, let found = memchr(base + from, 0x0a, to - from) else { return nil }
        return UnsafeRawPointer(found) - base
    }

    /// The end of a record that begins in a stretch which was searched in vain before, if it ends with its first line.
    ///
    /// A quote that no other closes would have every line behind it searched up to the limit again. But each line in the stretch
    /// was found to end within quotes when it began in them. So a record that hangs in quotes at the end of its first line hangs in
    /// them all along the stretch, and the search goes on behind it.
    private func passOpenQuote(_ base: UnsafeRawPointer, to reach: Int) -> Int? {
        guard scanned == start, openUntil > start,
            let at = memchr(base + start, 0x0a, min(openUntil, reach) - start)
        else { return nil }
        let behindLine = UnsafeRawPointer(at) - base + 1
        if let lineEnd = nextEnd(base, from: start, to: behindLine) { return lineEnd }
        scanned = max(behindLine, openUntil)
        return nil
    }

    /// Hands out the bytes from `start` unless they are an empty line.
    private func handOut(to lineEnd: Int, next: Int, _ body: (FileRecord) -> Void) -> Bool {
        let stop = lineEnd > start && next > lineEnd && window[lineEnd - 1] == 0x0d ? lineEnd - 1 : lineEnd
        let bytes = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(window)[start..<stop])
        let firstLine = line
        line += 1
        if !isLines { line += lineEnds(in: bytes) }
        start = next
        scanned = next
        if !isLines { scanner.restart() }
        if bytes.isEmpty || isNoRecord(bytes) { return false }
        // One byte over the limit was let in for a possible CR.
        let lent = UnsafeRawBufferPointer(rebasing: bytes.prefix(recordLimit))
        body(FileRecord(bytes: lent, index: recordCount, line: firstLine, length: bytes.count))
        recordCount += 1
        return true
    }

    /// A comment, or a row of blanks where those stand between columns.
    @inline(__always)
    private func isNoRecord(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if let comment, bytes.first == comment { return true }
        return skipsBlankLines && bytes.allSatisfy { $0 == 0x20 || $0 == 0x09 }
    }

    /// Hands out the head of a record over the limit and skips the rest, which is never held; false where it was none.
    private func handOutOversize(_ body: (FileRecord) -> Void) throws(LogError) -> Bool {
        if scanner.isInQuotes, let lineEnd = firstLineEnd() {
            openUntil = scanned
            return handOut(to: lineEnd, next: lineEnd + 1, body)
        }
        let firstLine = line
        let isComment = comment != nil && comment == window[start]
        var lines =
            !isLines
            ? lineEnds(in: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(window)[start..<scanned])) : 0
        // Without a line end in its head, a quoted field goes on for the limit at least: from here on a line end is a record's end.
        if scanner.isInQuotes { scanner.restart() }
        var plain = RecordScanner(.lines)
        // The window is needed for what follows; this is the one copy of an odd record. In a mapped file it can be read again.
        var head: [UInt8] = []
        let headStart = start
        // What lies behind the head is not looked at again.
        let headEnd = RecordFile.pageStart(headStart + recordLimit + RecordFile.pageBytes - 1)
        var behindHead = headEnd
        if !isMapped {
            head = [UInt8](
                UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(window)[start..<(start + recordLimit)])
            )
            head.append(contentsOf: repeatElement(0, count: ByteSource.margin))
        }
        var length = scanned - start
        var last = scanned > start ? window[scanned - 1] : 0
        var next = scanned
        search: while true {
            let reach = isMapped ? min(end, next + RecordFile.releaseBytes) : end
            if let base = UnsafeRawPointer(window.baseAddress) {
                if let lineEnd = plain.end(in: base, from: next, to: reach) {
                    length += lineEnd - next
                    if lineEnd > next { last = window[lineEnd - 1] }
                    if last == 0x0d { length -= 1 }
                    next = lineEnd + 1
                    break search
                }
                length += reach - next
                if reach > next { last = window[reach - 1] }
            }
            next = reach
            if reach < end {
                let upTo = RecordFile.pageStart(next)
                if behindHead < upTo {
                    source.release(max(headEnd, behindHead - RecordFile.folioBytes)..<upTo)
                    behindHead = upTo
                }
                continue
            }
            if isComplete { break }
            start = end
            scanned = end
            try refill()
            next = start
        }
        lines += 1
        line += lines
        start = next
        scanned = next
        scanner.restart()
        if isComment { return false }
        func lend(_ bytes: UnsafeRawBufferPointer) {
            body(FileRecord(bytes: bytes, index: recordCount, line: firstLine, length: length))
        }
        if isMapped {
            lend(
                UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(window)[headStart..<(headStart + recordLimit)])
            )
        } else {
            head.withUnsafeBytes { lend(UnsafeRawBufferPointer(rebasing: $0[0..<recordLimit])) }
        }
        recordCount += 1
        return true
    }

    /// The first LF of the bytes not handed out.
    private func firstLineEnd() -> Int? {
        guard let base = UnsafeRawPointer(window.baseAddress),
            let at = memchr(base + start, 0x0a, min(end, scanned) - start)
        else { return nil }
        return UnsafeRawPointer(at) - base
    }

    private func lineEnds(in bytes: UnsafeRawBufferPointer) -> Int64 {
        guard let base = bytes.baseAddress else { return 0 }
        var count: Int64 = 0
        var at = 0
        while at < bytes.count, let found = memchr(base + at, 0x0a, bytes.count - at) {
            count += 1
            at = UnsafeRawPointer(found) - base + 1
        }
        return count
    }

    /// Moves what is left to the front of the stream's buffer and reads more behind it.
    private func refill() throws(LogError) {
        if start > 0 {
            if let base = window.baseAddress, end > start { memmove(base, base + start, end - start) }
            windowOffset += Int64(start)
            end -= start
            scanned -= start
            openUntil -= start
            start = 0
        }
        let room = UnsafeMutableRawBufferPointer(rebasing: window[end..<(window.count - ByteSource.margin)])
        let got = try source.read(into: room)
        if got == 0 { isComplete = true }
        end += got
    }
}
