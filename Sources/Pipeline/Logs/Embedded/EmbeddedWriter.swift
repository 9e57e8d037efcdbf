/// Commits to an embedded log as one application, in one transaction of its own connection each time.
final class EmbeddedWriter: LogWriter {
    let file: EmbeddedFile
    private let application: String
    /// Higher than that of every owner before.
    let generation: Int64
    /// The newest epoch in the journal, -1 when it is empty; whoever takes ownership looks, and nobody else writes from then on.
    var newestEpoch: Int64 = -1

    /// Takes ownership.
    init(path: String, application: String, patience: Int, clock: any WorkerClock) throws(LogError) {
        let file = try EmbeddedFile(path: path, opening: .createIfMissing, patience: patience, clock: clock)
        self.file = file
        self.application = application
        generation = try file.transaction { () throws(LogError) -> Int64 in
            let statement = try file.statement(
                """
                INSERT INTO applications (name, generation, taken_at) VALUES (?1, 1, ?2)
                ON CONFLICT (name) DO UPDATE SET generation = generation + 1, taken_at = ?2 RETURNING generation
                """
            )
            defer { statement.reset() }
            statement.bind(1, application)
            statement.bind(2, file.transactionTime)
            guard try statement.step() else { return 0 }
            let generation = statement.int(0)
            while try statement.step() {}
            return generation
        }
    }

    func commit(_ outputs: borrowing OutputBatch, positions: [SourcePosition]) throws(LogError) {
        do throws(LogError) {
            try file.begin()
        } catch {
            throw file.isBusy ? LogError(.transient, error.message) : error
        }
        do throws(LogError) {
            let current = try currentGeneration()
            guard current == generation else {
                throw LogError(
                    .fenced,
                    "\(file.path): another process runs '\(application)' now (generation \(current), ours is \(generation)). Run one of "
                        + "them."
                )
            }
            if let first = outputs.epochs?.lowerBound, first != newestEpoch + 1 {
                throw LogError(discontinuous: first, after: newestEpoch)
            }
            try file.insert(outputs)
            let move = try file.statement(
                """
                INSERT INTO positions (application, topic, partition, next) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (application, topic, partition) DO UPDATE SET next = ?4
                """
            )
            for position in positions {
                move.bind(1, application)
                move.bind(2, position.source.topic)
                move.bind(3, Int64(position.source.partition))
                move.bind(4, position.next)
                try move.run()
            }
            try file.end()
            if let last = outputs.epochs?.upperBound { newestEpoch = last }
        } catch {
            file.rollback()
            throw error
        }
    }

    private func currentGeneration() throws(LogError) -> Int64 {
        let select = try file.statement("SELECT generation FROM applications WHERE name = ?1")
        defer { select.reset() }
        select.bind(1, application)
        return try select.step() ? select.int(0) : 0
    }

    func close() { file.close() }
}
