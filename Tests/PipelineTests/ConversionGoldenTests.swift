import RuleLanguage
import Testing

@testable import Detection
@testable import Pipeline

/// `Fixtures/conversions.txt`, made by the program of that name from Python's zoneinfo (of rules alone the C library), strptime and
/// decimal.
@Suite struct ConversionGoldenTests {
    static let lines = PackageFolder.text("Tests/PipelineTests/Fixtures/conversions.txt").split(separator: "\n")
        .filter { !$0.hasPrefix("#") }

    /// RFC 4648, without a look at what is none.
    private func decoded(base64 text: Substring) -> [UInt8] {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var bytes: [UInt8] = []
        var bits: (value: UInt32, count: Int) = (0, 0)
        for character in text.utf8 {
            guard let digit = alphabet.firstIndex(of: character) else { break }
            bits = (bits.value << 6 | UInt32(digit), bits.count + 6)
            if bits.count >= 8 {
                bits.count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits.value >> UInt32(bits.count)))
            }
        }
        return bytes
    }

    @Test func `local times of 21 zones have the offsets that Python or the C library gives, in gaps and folds too`()
        throws
    {
        var zone: TimeZoneTable?
        var seen: (zones: Int, times: Int) = (0, 0)
        for line in Self.lines {
            let parts = line.split(separator: " ")
            if parts[0] == "zone" {
                zone = try TimeZoneTable(name: String(parts[1]), digest: "", file: decoded(base64: parts[2]))
                seen.zones += 1
            } else if parts[0] == "at" {
                let local = try #require(Int64(parts[1]))
                let table = try #require(zone)
                seen.times += 1
                guard table.offset(local: local) == Int64(parts[2]) else {
                    Issue.record("\(table.name) at \(local): \(table.offset(local: local)), not \(parts[2])")
                    continue
                }
            }
        }
        #expect(seen.zones == 21 && seen.times > 3500, "the fixture is there")
    }

    @Test func `texts in patterns are the times that Python's strptime makes of them, or none`() throws {
        var pattern: TimePattern?
        var seen = 0
        for line in Self.lines {
            if line.hasPrefix("pattern ") {
                pattern = try TimePattern(String(line.dropFirst(8)))
            } else if line.hasPrefix("text ") {
                let steps = try #require(pattern).steps
                let parts = line.dropFirst(5).split(separator: " ", maxSplits: 1)
                let text = Array(parts[1].dropFirst().dropLast().utf8)
                let time = steps.withUnsafeBufferPointer { steps in
                    text.withUnsafeBufferPointer { text in
                        steps.baseAddress.flatMap { steps in
                            text.baseAddress.flatMap { start in
                                Detection.WrittenTime(
                                    steps,
                                    stepCount: pattern?.steps.count ?? 0,
                                    start,
                                    count: text.count
                                )
                            }
                        }
                    }
                }
                #expect(time?.milliseconds == Int64(parts[0]), "\(pattern?.text ?? "") \(parts[1])")
                seen += 1
            }
        }
        #expect(seen > 500, "the fixture is there")
    }

    @Test func `amounts are rounded half to even, as Python's decimal does`() throws {
        var seen = 0
        for line in Self.lines where line.hasPrefix("amount ") {
            let parts = line.split(separator: " ")
            // Bytes that belong to no number behind it.
            let text = Array(parts[2].utf8) + [UInt8](repeating: 0, count: 16)
            let result = try text.withUnsafeBufferPointer { text in
                let start = try #require(text.baseAddress)
                let step = scanNumber(start, digits: 64, grammar: .json)
                #expect(step.fault == nil && step.next == start + parts[2].utf8.count, "\(line)")
                return step.number.rounded(shift: try #require(Int(parts[1])), writtenAt: start)
            }
            let shown = result.isInRange ? "\(result.value) \(result.isExact ? "exact" : "rounded")" : "-"
            #expect(shown == parts[3...].joined(separator: " "), "\(line)")
            seen += 1
        }
        #expect(seen > 1000, "the fixture is there")
    }
}
