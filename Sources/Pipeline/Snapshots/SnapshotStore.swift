import Detection

/// The state of a worker between two epochs, from which recovery goes on instead of from the first epoch.
///
/// What belongs to the state is the engine (its slots stand in arenas that can be copied one at a time) and what decides the next watermark.
/// It may only be taken of epochs that are committed: state on disk is never ahead of the journal.
struct Snapshot {
    /// The last epoch whose events are in the state.
    var epoch: Int64
    /// Per source, the offset behind the last record in the state.
    var positions: [SourcePosition]
    var tracker: WatermarkTracker
    var engine: Engine
}

/// Where snapshots are kept: the door between recovery and whatever stores them.
///
/// A store answers only what it can vouch for: whole (by checksum), of this layout, and made by the topology, rules and models in force. One that
/// is torn, altered or newer than asked for is passed over for an older one; none at all means a longer replay, never another result.
protocol SnapshotStore: AnyObject {
    /// The newest valid snapshot of the epoch or one before it; nil: none.
    ///
    /// - Parameter lanes: of the engine it is to be restored into.
    func newest(of deployment: Deployment, atOrBefore epoch: Int64, lanes: Int) throws(LogError) -> Snapshot?

    /// Takes over a snapshot after a clean stop, when all of it is committed; the engine is not used any more.
    func save(_ snapshot: Snapshot, of deployment: Deployment) throws(LogError)
}

/// Keeps none: every start replays the whole journal.
final class NoSnapshots: SnapshotStore {
    func newest(of deployment: Deployment, atOrBefore epoch: Int64, lanes: Int) -> Snapshot? { nil }
    func save(_ snapshot: Snapshot, of deployment: Deployment) {}
}
