import Foundation
import Pipeline
import Testing

@testable import weir

@Suite struct CommandsPropertiesTests {
    /// The sources that decide what a client is made with.
    private func sources() throws -> [String] {
        let folder = Commands.root.appendingPathComponent("Sources/KafkaClient")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "swift" }
        let log = Commands.root.appendingPathComponent("Sources/Pipeline/Logs/Kafka/KafkaLog.swift")
        return try (files + [log]).map { try String(contentsOf: $0, encoding: .utf8) }
    }

    /// The text up to the bracket that closes its first one.
    private func upToItsEnd(_ text: Substring) -> Substring {
        var depth = 0
        let end = text.firstIndex { character in
            if character == "[" { depth += 1 }
            if character == "]" { depth -= 1 }
            return character == "]" && depth == 0
        }
        return text[..<(end ?? text.endIndex)]
    }

    @Test func `every property that the clients replace is known to doctor and run`() throws {
        var replaced: Set<String> = []
        for text in try sources() {
            // What stands between `fixed:` and the end of its list, and what KafkaLog takes over.
            for list in text.split(separator: "fixed: ").dropFirst() {
                for pair in upToItsEnd(list).matches(of: #/\("([a-z.]+)", /#) {
                    replaced.insert(String(pair.1))
                }
            }
            for taken in text.matches(of: #/configuration\["([a-z.]+)"\] = (?:nil|options\.)/#) {
                replaced.insert(String(taken.1))
            }
        }
        // Statistics are for some clients only; what the file says goes before Weir's own wish.
        replaced.remove("statistics.interval.ms")
        #expect(replaced.count > 8, "\(replaced)")
        #expect(replaced == Set(KafkaLog.replacedProperties.map(\.key)))
    }

    @Test(.enabled(if: WeirProgram.path != nil, Commands.absence))
    func `run names each property that the file sets in vain, once`() throws {
        let folder = try Commands.Folder()
        let file = try folder.write(
            "k.properties",
            "bootstrap.servers=127.0.0.1:1\nweir.connect.ms=300\ngroup.id=mine\nenable.auto.commit=true\nlinger.ms=7\n"
        )
        let result = try Commands.weir("run", "--topology", Commands.topology("marketplace"), "--kafka", file)
        let lines = result.errors.split(separator: "\n").filter { $0.contains("is not used: Weir sets it itself") }
        #expect(result.code == 5 && lines.count == 2, "\(result)")
        #expect(lines.contains { $0.contains("property=group.id") && $0.contains("level=warn") })
        #expect(lines.contains { $0.contains("property=enable.auto.commit") })
        let doctor = try Commands.weir("doctor", "--kafka", file)
        #expect(doctor.output.contains("group.id is not used: the group is weir-TOPOLOGY"), "\(doctor)")
        #expect(!doctor.output.contains("linger.ms"))
    }
}
