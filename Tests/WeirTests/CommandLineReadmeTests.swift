import Foundation
import Testing

@testable import weir

/// What the README and the page for operators say about the command line is held to the table.
@Suite struct CommandLineReadmeTests {
    private let root: URL
    private let lines: [String]
    private let operating: [String]

    init() throws {
        var folder = URL(fileURLWithPath: #filePath)
        while !FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) {
            try #require(folder.path != "/")
            folder = folder.deletingLastPathComponent()
        }
        root = folder
        func read(_ path: String) throws -> [String] {
            let text = try String(contentsOf: folder.appendingPathComponent(path), encoding: .utf8)
            return text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        }
        lines = try read("README.md")
        operating = try read("Sources/weir/README.md")
    }

    @Test func `the page for operators lists every command and every exit code in the words of the help`() {
        let commands = CommandTable.definitions.map { "| `weir \($0.name)` | \($0.summary) |" }
        #expect(operating.filter { $0.hasPrefix("| `weir ") } == commands)
        let codes = ExitCode.allCases.map { "| \($0.rawValue) | \($0.meaning) |" }
        #expect(operating.filter { $0.hasPrefix("| ") && $0.dropFirst(2).first?.isNumber == true } == codes)
    }

    @Test func `the README is read in one go`() {
        #expect(lines.count - 1 <= 150)
    }

    @Test func `every command line in the README can be typed`() throws {
        let typed = lines.filter { $0.hasPrefix("weir ") }
        #expect(typed.count > 3)
        for line in typed {
            let words = line.split(separator: " ").dropFirst().prefix { !["|", ">", "#"].contains($0) }.map(String.init)
            #expect(throws: Never.self, "\(line)") {
                _ = try ArgumentParser(definitions: CommandTable.definitions).parse(words)
            }
        }
    }

    @Test func `the map of the README names every folder of Sources`() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: root.appendingPathComponent("Sources").path)
        for folder in folders where !folder.hasPrefix(".") {
            #expect(lines.contains { $0.hasPrefix("| `Sources/\(folder)` |") }, "\(folder)")
        }
    }
}
