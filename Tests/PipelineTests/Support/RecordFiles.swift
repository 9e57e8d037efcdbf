import CZstd
import Glibc
import RuleLanguage
import Testing

@testable import Pipeline

/// Compresses with the system's gzip: an encoder other than the one under test.
func gzip(_ content: [UInt8], _ folder: TemporaryFolder) throws -> [UInt8] {
    let plain = folder.file("plain-to-compress")
    save(content, plain)
    unlink(plain + ".gz")
    #expect(system("gzip -n '\(plain)'") == 0)
    return load(plain + ".gz")
}

/// Compresses with libzstd, in one frame.
func zstd(_ content: [UInt8], level: Int32 = 3, hasChecksum: Bool = true) -> [UInt8] {
    guard let context = ZSTD_createCCtx() else { return [] }
    defer { ZSTD_freeCCtx(context) }
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, hasChecksum ? 1 : 0)
    var compressed = [UInt8](repeating: 0, count: ZSTD_compressBound(content.count))
    let count = ZSTD_compress2(context, &compressed, compressed.count, content, content.count)
    precondition(ZSTD_isError(count) == 0, "the bound is enough")
    return Array(compressed.prefix(count))
}

func save(_ content: [UInt8], _ path: String) {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    defer { close(file) }
    var at = 0
    content.withUnsafeBytes { content in
        while at < content.count {
            let wrote = content.baseAddress.map { write(file, $0 + at, content.count - at) } ?? 0
            if wrote <= 0 { return }
            at += wrote
        }
    }
}

func load(_ path: String) -> [UInt8] {
    let file = open(path, O_RDONLY)
    guard file >= 0 else { return [] }
    defer { close(file) }
    var content: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let got = read(file, &chunk, chunk.count)
        if got <= 0 { return content }
        content += chunk[0..<got]
    }
}

struct Row: Equatable {
    var text: String
    var index: Int64
    var line: Int64
    var isOversize = false
}

/// Reads a whole file; the margin behind every record is touched, so that a missing page would crash here.
func rows(
    _ path: String,
    _ splitter: RecordSplitter = .lines,
    limit: Int = 1 << 20,
    batch: Int = 3
) throws -> (header: String?, rows: [Row], error: LogError?) {
    let file = try RecordFile(path: path, splitter: splitter, recordLimit: limit)
    var rows: [Row] = []
    var sum = 0
    var error: LogError?
    do throws(LogError) {
        while true {
            let count = try file.nextBatch(maxRecords: batch) { record in
                rows.append(
                    Row(
                        text: String(decoding: record.bytes, as: UTF8.self),
                        index: record.index,
                        line: record.line,
                        isOversize: record.isOversize
                    )
                )
                if let base = record.bytes.baseAddress {
                    for i in 0..<16 { sum += Int((base + record.bytes.count).load(fromByteOffset: i, as: UInt8.self)) }
                }
                return true
            }
            if count == 0 { break }
        }
    } catch let thrown {
        error = thrown
    }
    #expect(sum >= 0)
    return (file.header.map { String(decoding: $0, as: UTF8.self) }, rows, error)
}

/// A file of the shared data, or nil, said aloud, where it is missing.
func sharedData(_ name: String) -> String? {
    var folder = #filePath
    while let slash = folder.lastIndex(of: "/") {
        folder = String(folder[..<slash])
        if access(folder + "/Package.swift", F_OK) == 0 { break }
    }
    let roots = [getenv("WEIR_SHARED").map { String(cString: $0) }, folder + "/../shared"].compactMap { $0 }
    if let found = roots.map({ $0 + "/" + name }).first(where: { access($0, R_OK) == 0 }) { return found }
    print("skipped: \(name) is not in \(roots.joined(separator: " or ")); set WEIR_SHARED")
    return nil
}

extension RecordSplitter {
    /// RFC 4180 with a header.
    static let standardCSV = RecordSplitter.csv(.standard)
}
