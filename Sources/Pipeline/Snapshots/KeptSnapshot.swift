/// The snapshot that the next start would go on from, for who looks beside a worker.
public struct KeptSnapshot: Sendable, Equatable {
    /// The last epoch in its state.
    public var epoch: Int64
    /// Per source, the first offset that is still needed.
    public var positions: [SourcePosition]

    /// Looks in a folder; nil: none of it fits.
    ///
    /// Costs as much as restoring the state.
    ///
    /// - Parameter deployment: bound to the log's topics, under its own hash key.
    public static func newest(in folder: String, of deployment: Deployment, on log: any RangeReader) throws(LogError)
        -> KeptSnapshot?
    {
        guard let newest = try Journal(in: log).newest() else { return nil }
        let fit = JournalFit(log, newest: newest.epoch, takesOtherEngines: true)
        let snapshot = try FolderSnapshots(folder: folder)
            .newest(of: deployment, atOrBefore: newest.epoch, lanes: 1, misfit: fit.misfit)
        if let failure = fit.failure { throw failure }
        return snapshot.map { KeptSnapshot(epoch: $0.epoch, positions: $0.positions) }
    }
}
