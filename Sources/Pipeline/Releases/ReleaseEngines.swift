import Detection

/// The engines that judge the epochs of a journal again: each epoch by the state and the rules of the release that the journal
/// names.
///
/// A release's state is what its windows and models hold after **all** events of the log, whoever judged them: a worker that is
/// started with another folder rebuilds its state by it from the first epoch on, and its rules are warm at once. Nothing that rules
/// say is fed back into a state, so the state of one release does not hang on which others were in force.
///
/// Releases of one ``Release/stateShape`` share an engine, which adopts them in turn and has the same bytes as one that never knew
/// another. A release with other windows or models has an engine of its own, which takes every event from the first epoch to the
/// last that it judged. One engine with the windows of all of them side by side would cost less, and not be exact: the keys of one
/// kind share a table with a bound, so windows that another release has, or reads elsewhere, decide which key has to go, and a
/// model that reads other numbers would begin anew in the middle.
struct ReleaseEngines {
    private struct State {
        let shape: String
        let engine: Engine
        /// Digest of the release in force.
        var release: String
        /// The last epoch that needs it, as far as the journal was looked through.
        var last: Int64
    }

    private let deployment: Deployment
    private let source: any ReleaseSource
    /// First the one of the deployment's release, which stays.
    private var states: [State]
    /// No event is in any state yet: one more would miss none.
    private var isAtBeginning: Bool

    /// - Parameters:
    ///   - engine: with a state for the deployment's release.
    ///   - release: digest of the release that the engine has in force.
    ///   - isEmpty: no event is in its state.
    init(
        _ deployment: Deployment,
        _ source: any ReleaseSource,
        engine: Engine,
        release: String,
        isEmpty: Bool
    ) {
        self.deployment = deployment
        self.source = source
        states = [
            State(shape: deployment.release.stateShape, engine: engine, release: release, last: .max)
        ]
        isAtBeginning = isEmpty
    }

    /// With the state of the deployment's release.
    var own: Engine { states[0].engine }

    /// Makes ready for the epochs that were found in the journal.
    ///
    /// Once events are in the states no other is opened: it would lack what came before. Epochs that ask for it count for the
    /// states that there are, and ``judge(_:with:)`` tells.
    mutating func prepare(for survey: JournalSurvey) {
        for entry in survey.entries where entry.topologyDigest == deployment.topologyDigest {
            guard let release = find(entry.releaseDigest) else { continue }
            if let known = states.firstIndex(where: { $0.shape == release.stateShape }) {
                states[known].last = max(states[known].last, entry.last)
            } else if isAtBeginning {
                states.append(
                    State(
                        shape: release.stateShape,
                        engine: Engine(
                            deployment.engineConfiguration(of: release),
                            lanes: states[0].engine.laneCount
                        ),
                        release: release.digest,
                        last: entry.last
                    )
                )
            }
        }
    }

    /// Gives the processor the engines for an epoch: the one of the release that the journal names to judge it, and the others for
    /// their state.
    ///
    /// - Returns: false when that release is not to be found, or its state not warm. Then the deployment's judges in its place: the
    ///   states are right all the same, and what it says is nothing that anybody said.
    mutating func judge(_ record: JournalRecord, with processor: EpochProcessor) -> Bool {
        isAtBeginning = false
        // What judged its last epoch is given back.
        states.removeAll { $0.last < record.epoch }
        let named = record.topologyDigest == deployment.topologyDigest ? find(record.releaseDigest) : nil
        if let named, let at = states.firstIndex(where: { $0.shape == named.stateShape }) {
            put(named, at, in: processor)
            return true
        }
        put(deployment.release, 0, in: processor)
        return false
    }

    /// Puts the deployment's release in force, and lets go of all others.
    mutating func end(with processor: EpochProcessor) {
        states.removeSubrange(1...)
        put(deployment.release, 0, in: processor)
    }

    private func find(_ digest: String) -> Release? {
        digest == deployment.release.digest ? deployment.release : source.release(digest: digest)
    }

    private mutating func put(_ release: Release, _ at: Int, in processor: EpochProcessor) {
        if states[at].release != release.digest {
            states[at].engine.adopt(deployment.engineRelease(release))
            states[at].release = release.digest
        }
        processor.engine = states[at].engine
        processor.companions.removeAll(keepingCapacity: true)
        for other in states.indices where other != at { processor.companions.append(states[other].engine) }
    }
}
