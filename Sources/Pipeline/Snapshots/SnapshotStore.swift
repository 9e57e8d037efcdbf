import Detection

/// Where snapshots are kept: the door between recovery and whatever stores them.
///
/// A store gives only what it can vouch for: whole (by checksum), and the state that this deployment would have come to. One that
/// is torn, altered, of another layout or newer than asked for is passed over for an older one; none at all means a longer replay,
/// never another result.
protocol SnapshotStore: AnyObject {
    /// The newest snapshot of the epoch or one before it that the deployment can go on from; nil: none.
    ///
    /// - Parameters:
    ///   - lanes: of the engine it is restored into.
    ///   - misfit: why the record that a snapshot was taken at is not the journal's; nil: it is.
    func newest(
        of deployment: Deployment,
        atOrBefore epoch: Int64,
        lanes: Int,
        misfit: (JournalRecord) -> String?
    ) throws(LogError) -> Snapshot?

    /// Keeps a snapshot whose epochs are all committed; returns when it is as safe as the store makes it.
    ///
    /// One thread at a time asks, and that may be another than the worker's.
    ///
    /// - Throws: ``LogError``, which ends nobody's work: the next start only replays more.
    func save(_ snapshot: StoredSnapshot) throws(LogError)
}
