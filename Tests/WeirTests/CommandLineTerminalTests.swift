import Foundation
import RuleLanguage
import Telemetry
import Testing

@testable import weir

@Suite struct CommandLineTerminalTests {
    @Test(arguments: [
        "a\u{1b}[31mred", "\u{1b}]0;title\u{7}", "\u{9b}2J", "a\rb", "a\nb", "a\u{8}b", "\u{0}", "\u{7f}",
        "user\u{202e}gpj.exe", "pay\u{200b}pal", "\u{feff}x", "a\u{2028}b", "\u{2066}x\u{2069}",
    ])
    func `foreign text cannot move the cursor, hide or reorder`(text: String) {
        let forbidden: [ClosedRange<UInt32>] = [
            0...0x1F, 0x7F...0x9F, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x2069, 0xFEFF...0xFEFF,
        ]
        let shown = Terminal.escaped(text)
        #expect(shown.unicodeScalars.allSatisfy { scalar in !forbidden.contains { $0.contains(scalar.value) } })
        #expect(shown.contains("\\"))
    }

    /// What attackers write into names: escape sequences, titles and links of terminals, other control characters, order and shape.
    private static let hostile = [
        "\u{1b}[2J", "\u{1b}]8;;http://x\u{1b}\\\\y", "\u{9b}31m", "\u{7}", "\u{85}", "a\r\nb", "\u{202e}", "\u{ad}",
        "\u{34f}",
        "\u{180e}", "\u{3164}", "\u{e0041}", "\u{2069}",
    ]

    @Test func `whatever is written to a terminal, only our colours and line ends steer it`() throws {
        for text in Self.hostile {
            let terminal = Terminal(capturingAsTerminal: true)
            terminal.line("\(terminal.styled("ours", .boldRed, on: .output)) \(text)")
            terminal.json("{\"name\":\(JSONText.quoted(text))}")
            terminal.json("{\"name\":\"\(text.replacing("\n", with: ""))\"}")
            terminal.note(text)
            terminal.warn(text)
            terminal.fail(text, hint: text)
            terminal.show(Diagnostic(path: text, line: 1, column: 1, message: text, suggestion: text, sourceLine: text))
            terminal.log().info("message", ["field": .string(text)])
            terminal.log(json: true).info("message", ["field": .string(text)])
            #expect(terminal.finish() == nil)
            var shown = terminal.captured.output + terminal.captured.errors
            #expect(shown.hasPrefix("\u{1b}[1;31mours\u{1b}[0m "))
            for style in Terminal.Style.allCases { shown = shown.replacing("\u{1b}[\(style.rawValue)m", with: "") }
            shown = shown.replacing("\u{1b}[0m", with: "")
            let steering = shown.unicodeScalars.filter { $0 != "\n" && TerminalText.canSteer($0) }
            #expect(steering.isEmpty, "\(text.debugDescription)")
        }
        // As data it means the same; elsewhere than on a terminal not a byte is touched.
        for text in Self.hostile {
            let line = "{\"name\":\(JSONText.quoted(text))}"
            let terminal = Terminal(capturingAsTerminal: true)
            terminal.json(line)
            #expect(terminal.finish() == nil)
            let decoded = try JSONDecoder().decode([String: String].self, from: Data(terminal.captured.output.utf8))
            #expect(decoded == ["name": text])
            let pipe = Terminal(capturingAsTerminal: false)
            pipe.json(line)
            #expect(pipe.finish() == nil && pipe.captured.output == line + "\n")
        }
    }

    @Test func `notes as JSON are objects line by line, whatever they say`() throws {
        let terminal = Terminal(capturingAsTerminal: false)
        terminal.writeNotesAsJSON()
        terminal.note("note")
        terminal.warn("careful \u{7}\n\u{e0041}")
        terminal.show(Diagnostic(path: "a.weir", line: 2, column: 3, message: "no", sourceLine: "\tno"))
        terminal.fail("broken", hint: "mend\nit")
        struct Line: Decodable {
            var ts: String
            var level: String
            var text: String
            var hint: String?
        }
        let lines = try terminal.captured.errors.split(separator: "\n").map {
            try JSONDecoder().decode(Line.self, from: Data($0.utf8))
        }
        #expect(lines.map(\.level) == ["info", "warn", "error", "error"])
        #expect(lines.map(\.text) == ["note", "careful \u{7}\n\u{e0041}", "no", "broken"])
        #expect(lines.last?.hint == "mend\nit")
    }

    @Test func `ordinary text stays as it is and bytes may be broken`() {
        for text in ["", "Ünïcödé", "日本", "👍🏽", "a\\b", "x=1"] { #expect(Terminal.escaped(text) == text) }
        #expect(Terminal.escaped("a\u{1b}b\u{85}c\n") == "a\\x1bb\\x85c\\n")
        #expect(Terminal.escaped("a\tb\nc\r", keepingLines: true) == "a\tb\nc\\r")
        #expect(Terminal.escaped("\u{202e}") == "\\u{202e}")
        #expect(Terminal.escaped([0x61, 0xFF, 0x1B] as [UInt8]) == "a\u{FFFD}\\x1b")
    }

    @Test func `colour appears only where it is wanted`() {
        #expect(Terminal(capturingAsTerminal: true).styled("x", .red, on: .output) == "\u{1b}[31mx\u{1b}[0m")
        #expect(Terminal(capturingAsTerminal: true).styled("x", nil, on: .output) == "x")
        #expect(Terminal(capturingAsTerminal: false).styled("x", .red, on: .output) == "x")
        for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let plain = Terminal(capturingAsTerminal: true) { $0 == name ? value : nil }
            #expect(plain.styled("x", .red, on: .output) == "x")
            #expect(!plain.canRedraw)
        }
        // The convention says: present and not empty.
        #expect(Terminal(capturingAsTerminal: true) { $0 == "NO_COLOR" ? "" : nil }.hasColour(.errors))
    }

    @Test func `data goes to stdout and words to stderr`() {
        let terminal = Terminal(capturingAsTerminal: false)
        terminal.line("data")
        terminal.note("note")
        terminal.warn("careful \u{7}")
        terminal.fail("broken", hint: "mend it")
        #expect(terminal.finish() == nil)
        #expect(terminal.captured.output == "data\n")
        #expect(terminal.captured.errors == "note\nweir: warning: careful \\x07\nweir: error: broken\n  mend it\n")
    }

    @Test func `progress is a moving line on a terminal and rare plain lines elsewhere`() {
        let second: UInt64 = 1_000_000_000
        for isTerminal in [true, false] {
            let terminal = Terminal(capturingAsTerminal: isTerminal)
            var progress = ProgressReport(terminal, unit: "events", total: 4_000_000, now: 0)
            for tick in UInt64(1)...300 { progress.update(Int(tick) * 10_000, now: tick * second / 10) }
            let lines = terminal.captured.errors.split(separator: isTerminal ? "\r" : "\n")
            #expect(lines.count == (isTerminal ? 300 : 3))
            #expect(lines.last?.hasPrefix("3,000,000 of 4,000,000 events (75 %), 100,000/s, 10 s left") == true)
            #expect(terminal.captured.output == "")
        }
    }

    @Test func `log lines have the form their reader needs`() {
        func line(asTerminal: Bool, json: Bool) -> String {
            let terminal = Terminal(capturingAsTerminal: asTerminal)
            terminal.log(json: json).info("stopped", ["epoch": 7])
            return terminal.captured.errors
        }
        #expect(line(asTerminal: false, json: false).hasPrefix("ts="))
        #expect(line(asTerminal: false, json: false).hasSuffix(" level=info msg=stopped epoch=7\n"))
        #expect(line(asTerminal: false, json: true).hasPrefix("{\"ts\":"))
        #expect(line(asTerminal: true, json: false).hasSuffix(" info  stopped epoch=7\n"))
    }

    @Test func `a message does not land behind a progress line`() {
        let terminal = Terminal(capturingAsTerminal: true)
        terminal.drawProgress("half")
        terminal.note("note")
        #expect(terminal.captured.errors == "\rhalf\r    \rnote\n")
    }

    @Test func `progress without a known end shows the rate only`() {
        let text = ProgressReport.text(done: 1_234_567, total: nil, unit: "events", seconds: 10)
        #expect(text == "1,234,567 events, 123,456/s")
        #expect(ProgressReport.text(done: 0, total: 10, unit: "events", seconds: 0) == "0 of 10 events (0 %)")
        #expect(ProgressReport.text(done: 0, total: 0, unit: "events", seconds: 1) == "0 of 0 events")
        let grouped = [0, 12, 123, 1_234, -1_234_567].map(ProgressReport.grouped)
        #expect(grouped == ["0", "12", "123", "1,234", "-1,234,567"])
    }

    @Test func `a full disk is an error and a closed pipe is not`() throws {
        let full = open("/dev/full", O_WRONLY | O_CLOEXEC)
        try #require(full >= 0)
        defer { close(full) }
        let terminal = Terminal(output: full, errors: full, outputIsTerminal: false, errorsIsTerminal: false) { _ in nil
        }
        terminal.line("lost")
        #expect(terminal.finish()?.code == .failure)
        #expect(terminal.outputIsClosed)

        StopSignal.ignoreBrokenPipes()
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        close(ends[0])
        defer { close(ends[1]) }
        let piped = Terminal(output: ends[1], errors: full, outputIsTerminal: false, errorsIsTerminal: false) { _ in nil
        }
        piped.line("unread")
        #expect(piped.finish() == nil)
        #expect(piped.outputIsClosed)
    }

    @Test func `the first stop signal asks and the second ends`() async {
        await #expect(processExitsWith: .exitCode(143)) {
            StopSignal.install()
            guard StopSignal.received == nil, StopSignal.wait(milliseconds: 1) == nil else { exit(1) }
            kill(getpid(), SIGTERM)
            // The descriptor stays readable, so every waiter sees it.
            for _ in 0..<2 { guard StopSignal.wait(milliseconds: 10_000) == .terminated else { exit(2) } }
            exit((StopSignal.received ?? .ok).rawValue)
        }
        await #expect(processExitsWith: .exitCode(130)) {
            // As a starter may leave it behind: the mask is inherited.
            var everything = sigset_t()
            sigfillset(&everything)
            pthread_sigmask(SIG_BLOCK, &everything, nil)
            StopSignal.install()
            raise(SIGTERM)
            guard StopSignal.received == .terminated else { exit(2) }
            raise(SIGINT)
            exit(3)
        }
    }
}
