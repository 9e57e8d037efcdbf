import Glibc
import RuleLanguage

/// The zones of the IANA database as the system keeps it, one file each.
///
/// Whatever a zone says can change results, so its digest is a part of the topology's: after an update of `tzdata` that changed the
/// file of a zone in use, the topology is another.
struct TimeZoneFiles {
    /// Where distributions put it.
    static let standardFolder = "/usr/share/zoneinfo"
    /// Largest file; the longest there are have 4 KiB.
    static let bytesMax = 65_536

    /// A message and what to do, for a diagnostic.
    struct Problem: Error, Equatable {
        var message: String
        var remedy: String
    }

    let folder: String
    private var read: [String: TimeZoneTable] = [:]

    init(folder: String = getenv("TZDIR").map { String(cString: $0) } ?? standardFolder) { self.folder = folder }

    /// The zone of that name.
    mutating func zone(_ name: String) -> Result<TimeZoneTable, Problem> {
        if let known = read[name] { return .success(known) }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        let isName =
            name.utf8.count <= 128
            && parts.allSatisfy { part in
                part != "" && part != "." && part != ".."
                    && part.utf8.allSatisfy { byte in
                        0x61...0x7A ~= byte | 0x20 || 0x30...0x39 ~= byte || byte == UInt8(ascii: "_")
                            || byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
                    }
            } && name.utf8.first.map { 0x61...0x7A ~= $0 | 0x20 } == true
        guard isName else {
            return .failure(
                Problem(
                    message: "'\(name)' is no name of a time zone",
                    remedy: "a name of the IANA database, such as Europe/Berlin, or UTC"
                )
            )
        }
        func unreadable(_ reason: String, _ remedy: String) -> Result<TimeZoneTable, Problem> {
            .failure(Problem(message: "the time zone '\(name)' cannot be read: \(reason)", remedy: remedy))
        }
        let repair = "install tzdata, or name its folder in TZDIR"
        switch FileText.read("\(folder)/\(name)", limit: TimeZoneFiles.bytesMax) {
        case .failure(let problem):
            guard FileText.kind(of: folder) == .folder else { return unreadable("\(folder) is not there", repair) }
            guard problem.kind == .absent || FileText.kind(of: "\(folder)/\(name)") == .folder else {
                return unreadable("\(folder)/\(name): \(problem.reason)", repair)
            }
            return .failure(Problem(message: "there is no time zone '\(name)' in \(folder)", remedy: near(parts)))
        case .success(let bytes):
            do throws(TimeZoneFault) {
                let table = try TimeZoneTable(name: name, digest: SHA256.hex(of: bytes), file: bytes)
                read[name] = table
                return .success(table)
            } catch {
                return unreadable("\(folder)/\(name): \(error.reason)", repair)
            }
        }
    }

    /// What was probably meant: a name in the same part of the database.
    private func near(_ parts: [Substring]) -> String {
        let area = parts.dropLast().joined(separator: "/")
        let names = FileText.names(in: area.isEmpty ? folder : "\(folder)/\(area)") ?? []
        if let last = parts.last, let found = Diagnostic.nearest(to: String(last), among: names) {
            return "did you mean '\(area.isEmpty ? "" : "\(area)/")\(found)'?"
        }
        return "a name of the IANA database, such as Europe/Berlin, or UTC"
    }
}
