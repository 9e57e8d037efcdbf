@testable import Pipeline

/// What `weir replay` writes, as text.
struct Replayed {
    var verdicts: String
    var features: String
    var rings: String
    var deadLetters: String
    var summary: ReplaySummary

    init(_ deployment: Deployment, _ inputs: [String], threads: Int = 1) throws {
        let folder = TemporaryFolder()
        let names = ["verdicts", "features", "rings", "dead"]
        let writers = try names.map { try LineWriter(path: folder.file($0)) }
        summary = try FileReplay(
            deployment,
            inputs: inputs,
            outputs: ReplayOutputs(
                verdicts: writers[0],
                features: writers[1],
                rings: writers[2],
                deadLetters: writers[3]
            ),
            threads: threads
        ).run()
        for writer in writers { try writer.close() }
        let texts = names.map { String(decoding: load(folder.file($0)), as: UTF8.self) }
        (verdicts, features, rings, deadLetters) = (texts[0], texts[1], texts[2], texts[3])
    }

    /// Verdicts by the event's id, without what tells where the record stood, and the rings.
    var said: TickWorld.Said {
        var said = TickWorld.Said(rings: rings.split(separator: "\n").map(String.init))
        for line in verdicts.split(separator: "\n") { said.add(verdict: String(line)) }
        return said
    }
}
