import Glibc

@testable import Pipeline

/// A folder of a test's own below the system's temporary one, gone with the test.
final class TemporaryFolder {
    let path: String

    init() {
        var template = Array("/tmp/weir-test-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { bytes in
            bytes.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        precondition(made != nil, "the temporary folder can be written")
        path = made ?? ""
    }

    deinit { Self.remove(path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func makeFolder(_ name: String) { mkdir(file(name), 0o755) }

    /// Writes a text, or `bytes` in its place.
    func write(_ text: String, _ name: String, bytes: [UInt8]? = nil) {
        guard let file = fopen(file(name), "w") else { return }
        let content = bytes ?? Array(text.utf8)
        fwrite(content, 1, content.count, file)
        fclose(file)
    }

    private static func remove(_ path: String) {
        // A link goes, and not what it leads to.
        if unlink(path) == 0 { return }
        for name in FileText.names(in: path) ?? [] { remove("\(path)/\(name)") }
        rmdir(path)
    }
}
