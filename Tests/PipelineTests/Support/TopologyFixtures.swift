import Glibc
import RuleLanguage

@testable import Pipeline

/// Where the package lies, found from this file upwards.
enum PackageFolder {
    static let root: String = {
        var parts = #filePath.split(separator: "/")
        while !parts.isEmpty {
            let folder = "/" + parts.joined(separator: "/")
            if FileText.kind(of: "\(folder)/Package.swift") == .file { return folder }
            parts.removeLast()
        }
        return "."
    }()

    static func text(_ path: String) -> String {
        switch FileText.read("\(root)/\(path)", limit: 1 << 26) {
        case .success(let bytes): String(decoding: bytes, as: UTF8.self)
        case .failure: ""
        }
    }

    static func write(_ text: String, to path: String) {
        guard let file = fopen("\(root)/\(path)", "w") else { return }
        fputs(text, file)
        fclose(file)
    }
}

/// Rule files that need no disk.
struct FakeRuleFiles: RuleFiles {
    var files: [String: String] = ["rules/a.weir": "// a\n", "rules/b.weir": "// b\n"]

    func matches(_ pattern: String) -> [String] { files.keys.filter { Wildcard.matches($0, pattern) }.sorted() }

    func text(_ path: String) -> Result<[UInt8], FileProblem> {
        guard let text = files[path] else {
            return .failure(FileProblem(kind: .absent, reason: "No such file or directory"))
        }
        return .success(Array(text.utf8))
    }
}

/// A topology from text, and what is said about it.
enum TopologyText {
    static func load(_ yaml: String, files: FakeRuleFiles = FakeRuleFiles()) throws(DiagnosticError)
        -> TopologyDescription
    {
        try load(bytes: Array(yaml.utf8), files: files)
    }

    static func load(bytes: [UInt8], files: FakeRuleFiles = FakeRuleFiles()) throws(DiagnosticError)
        -> TopologyDescription
    {
        try TopologyDescription.read(bytes: bytes, path: "shop/topology.yaml", folder: "shop", files: files)
    }

    static func diagnostics(_ yaml: String) -> String {
        do {
            _ = try load(yaml)
            return "no diagnostic\n"
        } catch {
            return error.diagnostics.map(\.rendered).joined()
        }
    }
}
