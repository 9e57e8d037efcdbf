import Foundation
import Testing

@testable import weir

/// The program as users start it: `WEIR_BINARY`, else the one built beside the tests.
enum WeirProgram {
    static let path: String? = {
        if let path = ProcessInfo.processInfo.environment["WEIR_BINARY"] { return path }
        // From .../debug/weirPackageTests.xctest to .../debug/weir.
        let folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
            .deletingLastPathComponent()
        let path = folder.appendingPathComponent("weir").path
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }()

    /// What a process left behind.
    struct Result {
        var code: Int32
        var output: String
        var errors: String
    }

    /// Runs a program to its end.
    static func run(_ path: String, _ arguments: [String], input: String = "") throws -> Result {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("weir-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        // Files, not pipes: no output is too long, and no reader must run beside.
        let output = folder.appendingPathComponent("out")
        let errors = folder.appendingPathComponent("err")
        let inputFile = folder.appendingPathComponent("in")
        for file in [output, errors] { try Data().write(to: file) }
        try Data(input.utf8).write(to: inputFile)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.currentDirectoryURL = folder
        process.standardInput = try FileHandle(forReadingFrom: inputFile)
        process.standardOutput = try FileHandle(forWritingTo: output)
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        process.waitUntilExit()
        return Result(
            code: process.terminationStatus, output: try String(contentsOf: output, encoding: .utf8),
            errors: try String(contentsOf: errors, encoding: .utf8))
    }
}

@Suite(.enabled(if: WeirProgram.path != nil, "no weir program beside the tests and no WEIR_BINARY"))
struct CommandLineProcessTests {
    private func weir(_ arguments: [String]) throws -> WeirProgram.Result {
        try WeirProgram.run(try #require(WeirProgram.path), arguments)
    }

    @Test func `help and version are data`() throws {
        for arguments in [["--help"], ["help"], ["replay", "--help"], ["help", "replay"], ["--version"], ["version"]] {
            let result = try weir(arguments)
            #expect(result.code == 0 && result.errors == "" && result.output.hasPrefix("weir "), "\(arguments)")
        }
        let json = try weir(["version", "--json"]).output
        #expect(json == "{\"name\":\"weir\",\"version\":\"\(weirVersion)\"}\n")
    }

    @Test func `a slip ends with 2, words on stderr and nothing on stdout`() throws {
        for arguments in [[], ["tial"], ["run", "--topologi", "x"], ["check"], ["tail", "--severity", "loud"]] {
            let result = try weir(arguments)
            #expect(result.code == 2 && result.output == "", "\(arguments)")
            #expect(result.errors.hasPrefix("weir: error: "), "\(arguments)")
        }
    }

    @Test func `output that cannot be written is told`() throws {
        let script = "\"$0\" --help > /dev/full"
        let result = try WeirProgram.run("/bin/sh", ["-c", script, try #require(WeirProgram.path)])
        #expect(result.code == 1)
        #expect(result.errors.contains("cannot write to standard output"))
    }

    @Test func `a reader that goes away is no error`() throws {
        let script = "\"$0\" completion bash | true; exit ${PIPESTATUS[0]}"
        let result = try WeirProgram.run("/bin/bash", ["-c", script, try #require(WeirProgram.path)])
        #expect(result.code == 0 && result.errors == "")
    }

    /// A line whose last word is completed, what must be offered and what must not.
    @Test(arguments: [
        ("weir |", "demo run completion --help", "--topology"), ("weir |re", "replay", "run demo"),
        ("weir run |--t", "--topology --threads", "--kafka"),
        ("weir tail --severity |", "low medium high critical", "--json"), ("weir tail --severity = |h", "high", "low"),
        ("weir completion |", "bash zsh fish", ""), ("weir simulate --scenario |h", "honest", "marketplace"),
        ("weir replay --input a |/etc/host", "/etc/hosts", "--json"), ("weir run --topology |/et", "/etc", ""),
        ("weir demo --events 5 |", "--seed --log", ""), ("weir demo --events |", "", "--seed"),
        ("weir help |t", "tail", "run"),
    ])
    func `bash completes what fits`(line: String, offered: String, absent: String) throws {
        let script = """
            set -u
            source /dev/stdin <<< "$("$0" completion bash)"
            COMP_WORDS=("$@")
            COMP_CWORD=$(($# - 1))
            _weir
            printf '%s\\n' "${COMPREPLY[@]}"
            """
        let parts = line.split(separator: "|", omittingEmptySubsequences: false)
        let words = parts[0].split(separator: " ").map(String.init) + [String(parts[1])]
        let result = try WeirProgram.run("/bin/bash", ["-c", script, try #require(WeirProgram.path)] + words)
        let replies = Set(result.output.split(separator: "\n"))
        #expect(result.code == 0 && result.errors == "")
        for word in offered.split(separator: " ") { #expect(replies.contains(word), "\(replies)") }
        for word in absent.split(separator: " ") { #expect(!replies.contains(word), "\(replies)") }
    }

    @Test(arguments: ["zsh", "fish"])
    func `the other shells accept their scripts`(shell: String) throws {
        let text = try weir(["completion", shell]).output
        for name in CommandName.allCases { #expect(text.contains(name.rawValue)) }
        let found = try WeirProgram.run("/bin/sh", ["-c", "command -v \(shell)"]).output.split(separator: "\n").first
        // Without the shell there is nothing to ask; the text itself was looked at above.
        guard let found else { return }
        let result = try WeirProgram.run(String(found), ["-n", "/dev/stdin"], input: text)
        #expect(result.code == 0 && result.errors == "")
    }
}
