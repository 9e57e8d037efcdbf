import Glibc
import RuleLanguage

/// Why a file could not be read.
struct FileProblem: Error {
    enum Kind { case absent, forbidden, tooLarge, other }
    var kind: Kind
    /// In the operating system's words.
    var reason: String
}

/// Whole small files, read through the system calls: this target does without Foundation.
enum FileText {
    enum PathKind { case absent, file, folder }

    static func kind(of path: String) -> PathKind {
        var status = stat()
        guard stat(path, &status) == 0 else { return .absent }
        return status.st_mode & S_IFMT == S_IFDIR ? .folder : .file
    }

    /// The bytes of a regular file of at most `limit` bytes.
    ///
    /// Pipes and devices are refused: reading one might never end.
    static func read(_ path: String, limit: Int) -> Result<[UInt8], FileProblem> {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { return .failure(problem(errno)) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return .failure(problem(errno)) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            return .failure(FileProblem(kind: .other, reason: "it is not a regular file"))
        }
        // Read to the end rather than to the size seen above: the file may grow or shrink meanwhile.
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count == 0 { return .success(bytes) }
            if count < 0 {
                if errno == EINTR { continue }
                return .failure(problem(errno))
            }
            guard bytes.count + count <= limit else {
                return .failure(FileProblem(kind: .tooLarge, reason: "it is larger than \(limit) bytes"))
            }
            bytes.append(contentsOf: chunk[..<count])
        }
    }

    /// The names in a folder, sorted by their bytes, or nil when it cannot be listed.
    static func names(in folder: String) -> [String]? {
        guard let stream = opendir(folder) else { return nil }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    private static func problem(_ code: Int32) -> FileProblem {
        let reason = String(cString: strerror(code))
        switch code {
        case ENOENT, ENOTDIR: return FileProblem(kind: .absent, reason: reason)
        case EACCES, EPERM: return FileProblem(kind: .forbidden, reason: reason)
        default: return FileProblem(kind: .other, reason: reason)
        }
    }
}

/// Where the patterns under `rules:` find their files.
///
/// A protocol, so that tests can read a topology without a disk.
protocol RuleFiles {
    /// Paths relative to the topology folder that a pattern means, sorted; empty when there is none.
    func matches(_ pattern: String) -> [String]
    func text(_ path: String) -> Result<[UInt8], FileProblem>
}

/// The files of a topology folder.
struct FolderFiles: RuleFiles {
    var folder: String

    func matches(_ pattern: String) -> [String] {
        let parts = pattern.split(separator: "/", omittingEmptySubsequences: false)
        guard let last = parts.last else { return [] }
        guard last.contains(where: { $0 == "*" || $0 == "?" }) else {
            return FileText.kind(of: resolved(pattern)) == .absent ? [] : [pattern]
        }
        let lead = parts.dropLast().joined(separator: "/")
        // As in a shell, a star does not mean hidden files: an editor's lock file is no rule.
        let names = (FileText.names(in: lead.isEmpty ? folder : resolved(lead)) ?? []).filter {
            !$0.hasPrefix(".") && Wildcard.matches($0, String(last))
        }
        return names.map { lead.isEmpty ? $0 : "\(lead)/\($0)" }
    }

    func text(_ path: String) -> Result<[UInt8], FileProblem> {
        FileText.read(resolved(path), limit: TopologyDescription.maximumFileBytes)
    }

    private func resolved(_ path: String) -> String { path.hasPrefix("/") ? path : "\(folder)/\(path)" }
}

/// `*` (any run) and `?` (one character) of file names.
enum Wildcard {
    /// Remembers the last star only, so a hostile pattern costs at most name × pattern steps.
    static func matches(_ name: String, _ pattern: String) -> Bool {
        let name = Array(name)
        let pattern = Array(pattern)
        var n = 0
        var p = 0
        var star: (p: Int, n: Int)?
        while n < name.count {
            if p < pattern.count, pattern[p] == "*" {
                star = (p, n)
                p += 1
            } else if p < pattern.count, pattern[p] == "?" || pattern[p] == name[n] {
                n += 1
                p += 1
            } else if let last = star {
                star = (last.p, last.n + 1)
                p = last.p + 1
                n = last.n + 1
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == "*" }
    }
}
