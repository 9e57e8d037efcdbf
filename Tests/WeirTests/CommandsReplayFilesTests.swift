import Foundation
import Testing

/// Several input files of one replay.
@Suite(.enabled(if: WeirProgram.path != nil, Commands.absence))
struct CommandsReplayFilesTests {
    private let folder: Commands.Folder

    init() throws { folder = try Commands.Folder() }

    private func topology(sorted: Bool = false) throws -> String {
        let text = try String(contentsOfFile: Commands.topology("quickstart") + "/topology.yaml", encoding: .utf8)
        let name = sorted ? "sorted" : "plain"
        _ = try folder.write(
            "\(name)/topology.yaml",
            text.replacing(
                "events:\n",
                with: "time: { lateness: 1m }\n\(sorted ? "replay: { sort: true }\n" : "")events:\n"
            )
        )
        let rule = try String(contentsOfFile: Commands.topology("quickstart") + "/rules/first.weir", encoding: .utf8)
        _ = try folder.write("\(name)/rules/first.weir", rule)
        return folder.path(name)
    }

    /// Ten orders a second, each of an account of its own, so that state is what the last minutes hold.
    private func orders(_ numbers: Range<Int>) -> String {
        numbers.map { order($0, at: $0 * 100) }.joined()
    }

    private func order(_ number: Int, at time: Int) -> String {
        "{\"id\":\"o\(number)\",\"ts\":\(1_772_618_400_000 + time),\"account\":\"a\(number)\",\"amount\":200.00}\n"
    }

    private struct Summary: Decodable, Equatable {
        var events: Int
        var late: Int
        var epochs: Int
        var state_bytes: Int
    }

    private func replay(_ topology: String, _ inputs: String...) throws -> Summary {
        let result = try WeirProgram.run(
            try #require(WeirProgram.path),
            ["replay", "--topology", topology, "--json", "--input"] + inputs
        )
        #expect(result.code == 0, "\(result)")
        return try JSONDecoder().decode(Summary.self, from: Data(result.output.utf8))
    }

    @Test func `two days in two files are judged as the same two days in one`() throws {
        let first = orders(0..<30_000)
        // One order an hour late, in the second day.
        let second = orders(30_000..<50_000) + order(50_000, at: 1_400_000) + orders(50_001..<60_000)
        let (monday, tuesday) = (try folder.write("mon.jsonl", first), try folder.write("tue.jsonl", second))
        let both = try folder.write("both.jsonl", first + second)
        let empty = try folder.write("empty.jsonl", "")
        let wanted = try replay(try topology(), both)
        #expect(wanted.late == 1 && wanted.events == 60_000)
        #expect(try replay(try topology(), monday, tuesday) == wanted)
        #expect(try replay(try topology(), tuesday, monday) == wanted)
        #expect(try replay(try topology(), empty, monday, tuesday) == wanted)
        #expect(try replay(try topology(), both, empty) == wanted)
        let sorted = try replay(try topology(sorted: true), both)
        #expect(sorted.late == 0)
        #expect(try replay(try topology(sorted: true), monday, empty, tuesday) == sorted)
    }

    @Test func `files side by side wait for each other, and a bad clock in one makes nothing late`() throws {
        let even = (0..<20_000).map { order(2 * $0, at: 200 * $0) }
        var odd = (0..<20_000).map { order(2 * $0 + 1, at: 200 * $0 + 100) }
        // Two hours fast, so that the rest of its file waits behind it.
        odd[7_000] = order(14_001, at: 200 * 7_000 + 7_200_000)
        let files = [try folder.write("even.jsonl", even.joined()), try folder.write("odd.jsonl", odd.joined())]
        #expect(try replay(try topology(), files[0], files[1]).late == 0)
        // A file with few events holds the time back no more than its next event says.
        let few = (0..<4).map { order(100_000 + $0, at: $0 * 1_000_000) }.joined()
        let alone = try replay(try topology(), files[0])
        let accompanied = try replay(try topology(), files[0], try folder.write("few.jsonl", few))
        #expect(accompanied.events == 20_004 && accompanied.late == 0)
        #expect(abs(accompanied.state_bytes - alone.state_bytes) < alone.state_bytes / 10)
    }
}
