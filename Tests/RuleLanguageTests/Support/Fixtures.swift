import Foundation

/// Files beside the package and in it.
enum Fixtures {
    static let packageRoot: URL = {
        var folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        while folder.path != "/",
            !FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path)
        {
            folder.deleteLastPathComponent()
        }
        return folder
    }()

    /// The folder of public data sets; nil where a checkout has none.
    static let shared: URL? = {
        let named = ProcessInfo.processInfo.environment["WEIR_SHARED"].map { URL(fileURLWithPath: $0) }
        let folder = named ?? packageRoot.deletingLastPathComponent().appendingPathComponent("shared")
        return FileManager.default.fileExists(atPath: folder.path) ? folder : nil
    }()

    static func url(_ name: String) -> URL {
        packageRoot.appendingPathComponent("Tests/Fixtures/RuleLanguage").appendingPathComponent(name)
    }

    static func text(_ name: String) throws -> String { try String(contentsOf: url(name), encoding: .utf8) }

    /// With `WEIR_UPDATE_FIXTURES=1` tables are written anew from what the code says; the difference is then read by a person.
    static let updates = ProcessInfo.processInfo.environment["WEIR_UPDATE_FIXTURES"] == "1"
}
