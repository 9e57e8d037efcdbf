import Foundation
import Glibc
import Testing

@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsDemoTests {
    private struct Summary: Decodable {
        struct Attack: Decodable {
            var attack: String
            var events: Int
            var caught: Int
            var missed: Int
        }
        struct Honest: Decodable {
            var events: Int
            var `false`: Int
        }
        var events: Int
        var verdicts: Int
        var attacks: [Attack]
        var honest: Honest
        var cover_events: Int

        /// Events that the scorecard has counted.
        var scored: Int { attacks.reduce(honest.events + cover_events) { $0 + $1.events } }
    }

    private func summary(_ output: String) throws -> Summary {
        let last = try #require(output.split(separator: "\n").last)
        return try JSONDecoder().decode(Summary.self, from: Data(last.utf8))
    }

    @Test func `the summary as JSON tells what was caught, missed and false`() throws {
        let result = try Commands.weir("demo", "--events", "12000", "--json")
        #expect(result.code == 0, "\(result.errors)")
        let found = try summary(result.output)
        #expect(found.events == 12_000 && found.scored == 12_000)
        #expect(found.attacks.contains { $0.attack == "coupon_ring" && $0.caught > 0 })
        #expect(found.attacks.allSatisfy { $0.caught + $0.missed == $0.events })
        #expect(found.honest.false < found.honest.events / 20)
    }

    @Test func `a demo that is interrupted scores what was judged and nothing else`() throws {
        let running = try RunningProgram(
            try #require(WeirProgram.path),
            ["demo", "--events", "5000000", "--json"]
        )
        #expect(running.wait { $0.output.split(separator: "\n").count > 20 }, "\(running.errors)")
        running.send(SIGINT)
        let result = try running.wait()
        #expect(result.code == 130, "\(result.errors)")
        let found = try summary(result.output)
        #expect(found.events < 5_000_000 && found.scored == found.events, "\(found)")
    }
}
