import Detection

/// The state of a worker between two epochs, from which recovery goes on instead of from the first epoch.
///
/// What belongs to the state is the engine (its slots stand in arenas that can be copied one at a time) and what decides the next
/// watermark. It may only be taken of epochs that are committed: state on disk is never ahead of the journal.
struct Snapshot {
    /// The last epoch whose events are in the state.
    var epoch: Int64
    /// Per source, the offset behind the last record in the state.
    var positions: [SourcePosition]
    var tracker: WatermarkTracker
    var engine: Engine
    var topologyDigest: String
    /// Digest of the release that the engine has in force, and its ``Release/stateShape``.
    var releaseDigest: String
    var stateShape: String
    /// Of the key under which identifiers stand in it.
    var keyFingerprint: String

    /// Whether its state is the one that the deployment would have come to; else only a replay from the first epoch gives that.
    ///
    /// Rules may be others: the engine adopts them. Other windows or models would begin empty, where a replay has them warm.
    /// Under another key nobody in it would be known again.
    func isState(of deployment: Deployment) -> Bool {
        topologyDigest == deployment.topologyDigest && stateShape == deployment.release.stateShape
            && keyFingerprint == deployment.keyFingerprint
    }
}

/// Where snapshots are kept: the door between recovery and whatever stores them.
///
/// A store gives only what it can vouch for: whole (by checksum) and of this layout. One that is torn, altered or newer than asked
/// for is passed over for an older one, and so is by who recovers one that is not ``Snapshot/isState(of:)`` what runs; none at all
/// means a longer replay, never another result.
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
