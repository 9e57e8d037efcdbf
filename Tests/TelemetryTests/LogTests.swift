import Synchronization
import Testing

@testable import Telemetry

/// Keeps the lines a log writes.
private final class Lines: Sendable {
    private let all = Mutex<[String]>([])
    var text: [String] { all.withLock { $0 } }
    func log(_ format: Log.Format, level: Log.Level = .info) -> Log {
        Log(level: level, format: format, now: { 1_769_903_999_123 }) { bytes in
            self.all.withLock { $0.append(String(decoding: bytes, as: UTF8.self)) }
        }
    }
}

@Suite struct LogTests {
    @Test func `a line has one form in logfmt, one in JSON and one for a terminal`() {
        let lines = Lines()
        for format in [Log.Format.logfmt, .json, .terminal(colour: false), .terminal(colour: true)] {
            lines.log(format).with("component", "journal")
                .warn("commit was slow", ["epoch": 12, "seconds": 1.5, "again": true, "topic": "weir.journal"])
        }
        #expect(
            lines.text == [
                "ts=2026-01-31T23:59:59.123Z level=warn msg=\"commit was slow\" component=journal epoch=12 seconds=1.5 again=true topic=weir.journal\n",
                #"{"ts":"2026-01-31T23:59:59.123Z","level":"warn","msg":"commit was slow","component":"journal","epoch":12,"seconds":1.5,"again":true,"topic":"weir.journal"}"#
                    + "\n",
                "23:59:59 warn  commit was slow component=journal epoch=12 seconds=1.5 again=true topic=weir.journal\n",
                "23:59:59 \u{1b}[33mwarn \u{1b}[0m commit was slow component=journal epoch=12 seconds=1.5 again=true topic=weir.journal\n",
            ]
        )
    }

    @Test func `hostile values stay inside their field and their line`() {
        let hostile = [
            "", " ", "a=b", "a\"b", "a\\b", "a\nlevel=error msg=forged", "\u{1b}[2J", "\u{9b}2J", "\u{202e}gpj.exe",
            "\u{0}", "\u{2028}",
            "plain", "ü",
        ]
        let lines = Lines()
        for text in hostile {
            lines.log(.logfmt).info("x", ["v": .string(text), "next": 1])
            lines.log(.json).info("x", ["v": .string(text), "next": 1])
            lines.log(.terminal(colour: true)).info("x", ["v": .string(text), "next": 1])
        }
        for line in lines.text {
            #expect(line.hasSuffix("\n") && line.dropLast().allSatisfy { !$0.isNewline })
            #expect(line.dropLast().unicodeScalars.allSatisfy { $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) })
            #expect(line.contains("next"))
        }
        #expect(lines.text[3 * 5].hasSuffix(#"msg=x v="a\nlevel=error msg=forged" next=1"# + "\n"))
        #expect(lines.text[3 * 11].hasSuffix("v=plain next=1\n"))
        #expect(lines.text[3 * 6 + 1].contains(#""v":"\u001b[2J""#))
    }

    @Test func `a secret shows nowhere`() {
        let secret = Redacted("hunter2")
        let lines = Lines()
        for format in [Log.Format.logfmt, .json, .terminal(colour: false)] {
            lines.log(format).error(
                "login failed",
                ["password": LogValue(secret), "text": "it was \(secret.description)"]
            )
        }
        var dumped = ""
        dump(secret, to: &dumped)
        let everything =
            lines.text.joined() + "\(secret)" + String(reflecting: secret) + String(describing: [secret]) + dumped
        #expect(!everything.contains("hunter2"))
        #expect(lines.text[0].contains("password=[redacted]"))
        #expect(secret.reveal() == "hunter2")
    }

    @Test func `lines below the level are neither written nor built`() {
        let lines = Lines()
        let built = Atomic<Int>(0)
        func value() -> LogValue {
            built.wrappingAdd(1, ordering: .relaxed)
            return 1
        }
        let log = lines.log(.logfmt, level: .warn)
        log.debug("a", ["v": value()])
        log.info("a", ["v": value()])
        log.warn("a", ["v": value()])
        log.error("a", ["v": value()])
        #expect(lines.text.count == 2)
        #expect(built.load(ordering: .relaxed) == 2)
    }

    @Test func `numbers that JSON has no form for become strings`() {
        let lines = Lines()
        lines.log(.json).info("x", ["a": .double(.nan), "b": .double(-.infinity), "c": 0.5])
        #expect(lines.text[0].hasSuffix(#""a":"nan","b":"-inf","c":0.5}"# + "\n"))
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (4_107_542_399_999, "2100-02-28T23:59:59.999Z"), (1_709_208_000_001, "2024-02-29T12:00:00.001Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"), (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
    ])
    func `timestamps are RFC 3339 in UTC`(milliseconds: Int64, text: String) {
        #expect(Log.timestamp(milliseconds: milliseconds) == text)
    }
}
