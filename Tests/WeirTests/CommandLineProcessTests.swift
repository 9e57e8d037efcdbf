import Glibc
import Testing

@testable import weir

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
        let known = "{\"name\":\"weir\",\"version\":\"\(weirVersion)\",\"librdkafka\":\""
        #expect(json.hasPrefix(known) && json.hasSuffix("\"}\n"), "\(json)")
    }

    @Test func `a slip ends with 2, words on stderr and nothing on stdout`() throws {
        for arguments in [[], ["tial"], ["run", "--topologi", "x"], ["check"], ["tail", "--severity", "loud"]] {
            let result = try weir(arguments)
            #expect(result.code == 2 && result.output == "", "\(arguments)")
            #expect(result.errors.hasPrefix("weir: error: "), "\(arguments)")
        }
    }

    @Test func `a program under test can be watched and killed`() throws {
        let running = try RunningProgram("/bin/bash", ["-c", "echo started; cat; sleep 60"], input: "from stdin\n")
        #expect(running.wait { $0.output == "started\nfrom stdin\n" })
        #expect(running.isRunning)
        running.send(SIGKILL)
        #expect(try running.wait().code == 137)
        #expect(try WeirProgram.run("/bin/sleep", ["60"], seconds: 0.05).code == 137)
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

    @Test(arguments: ["bash", "zsh", "fish"])
    func `every shell's script names every command`(shell: String) throws {
        let text = try weir(["completion", shell]).output
        for name in CommandTable.definitions.map(\.name) { #expect(text.contains(name)) }
    }

    @Test(.enabled(if: Shell.zsh.path != nil, Shell.zsh.absence))
    func `zsh accepts its script`() throws { try check(.zsh) }

    @Test(.enabled(if: Shell.fish.path != nil, Shell.fish.absence))
    func `fish accepts its script`() throws { try check(.fish) }

    private enum Shell: String {
        case zsh, fish

        /// Where the program is; nil where it is not installed.
        var path: String? {
            let folders = (getenv("PATH").map { String(cString: $0) } ?? "").split(separator: ":")
            return folders.map { "\($0)/\(rawValue)" }.first { access($0, X_OK) == 0 }
        }
        var absence: Comment { "no \(rawValue) in PATH to ask about its script: scripts/install --tests" }
    }

    private func check(_ shell: Shell) throws {
        let text = try weir(["completion", shell.rawValue]).output
        let result = try WeirProgram.run(try #require(shell.path), ["-n", "/dev/stdin"], input: text)
        #expect(result.code == 0 && result.errors == "")
        // The shell would say something about a script that is none.
        let broken = try WeirProgram.run(try #require(shell.path), ["-n", "/dev/stdin"], input: text + "\nif (\n")
        #expect(broken.code != 0 || broken.errors != "", "\(broken)")
    }
}
