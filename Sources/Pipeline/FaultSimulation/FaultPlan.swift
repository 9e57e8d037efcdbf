import Models

/// Where a simulated worker can be hit: each call to a broker, and the moments around the calls that decide.
enum FaultPoint: Int, CaseIterable, Sendable {
    case create, partitions, bounds, ownership, assign, poll, wait, read, committed
    case describe, ends, stableEnds
    case initialise, initialised, begin, addPartition, produce
    /// The journal's record is about to be sent, and has been.
    case journal, journaled
    case flushed, addPositions, sendPositions, positionsSent
    /// The decision is about to be asked for; it was carried out, and nobody has heard of it; the writer has heard of it.
    case decide, decided, answered
    /// A start looks for a snapshot; one is kept: its file is made, written, made safe on disk and named, and older ones go.
    case snapshotLook, snapshotCreate, snapshotWrite, snapshotSync, snapshotRename, snapshotRemove
}

/// What happens there.
enum FaultEffect: CaseIterable, Sendable {
    /// The process dies.
    case crash
    /// The broker does not answer in time, and did nothing.
    case unavailable
    /// The call takes as long as a broker whose disk is slow.
    case slow
    /// The answer is lost; the client asks again in silence.
    case lostAnswer
    /// The answer is lost, and the caller gives up: the request was carried out.
    case timedOut
    /// The request is held up in the network; the client asks again in silence, and the first one comes later.
    case held
    /// As held, while the caller gives up.
    case heldTimedOut
    /// As held, while the connection breaks and the client asks again at once.
    case cut
    /// The coordinator crashes when it has decided: some partitions never hear of it.
    case skippedMarkers
    /// The same of an abort, when the id is initialised: not drawn by seeds, as what is left is then decided in parts.
    case skippedAbort
    /// The coordinator has forgotten the transactional id.
    case forgotten
    /// A broker that has just woken up knows of an earlier end, of no topic, or of no positions.
    case stale
    /// Fewer records than there are; fewer bytes are written than asked for; a file ends early.
    case torn
    /// The disk is full.
    case fullDisk
    /// The newest snapshot has one bit that is not as it was written.
    case flipped
    /// It is empty.
    case emptied
    /// It is gone.
    case missing
    /// It has the name of another epoch.
    case misnamed
    /// Another worker of the same name starts, works until nothing is left, and ends.
    case takeover
    /// The machine stands still for twenty seconds of everybody else's time.
    case standstill
    /// The wall's clock is set, forth or back.
    case clockJump

    /// Where it can happen.
    var points: [FaultPoint] {
        switch self {
        case .crash: FaultPoint.allCases
        case .unavailable:
            [
                .describe, .ends, .stableEnds, .initialise, .addPartition, .produce, .addPositions, .sendPositions,
                .decide,
            ]
        case .slow:
            [
                .poll, .read, .initialise, .begin, .produce, .journal, .sendPositions, .decide, .snapshotWrite,
                .snapshotSync,
            ]
        case .lostAnswer: [.addPartition, .produce, .sendPositions, .decide]
        case .timedOut: [.initialise, .sendPositions, .decide]
        case .held, .cut: [.sendPositions, .decide]
        case .heldTimedOut: [.sendPositions, .decide]
        case .skippedMarkers: [.decide]
        case .skippedAbort: [.initialise]
        case .forgotten: [.initialise]
        case .stale: [.describe, .ends, .stableEnds, .bounds, .committed]
        case .torn: [.poll, .snapshotLook, .snapshotWrite, .snapshotRename]
        case .fullDisk: [.snapshotCreate, .snapshotWrite, .snapshotSync, .snapshotRename]
        case .flipped, .emptied, .missing, .misnamed: [.snapshotLook]
        case .takeover: [.poll, .wait, .begin, .flushed, .positionsSent, .answered]
        case .standstill: [.poll, .wait, .begin, .flushed, .decide]
        case .clockJump: [.poll, .wait]
        }
    }
}

/// One thing that goes wrong: at the n-th visit, from 1, of a point in the n-th life of a world.
struct Fault: Sendable, Equatable, CustomStringConvertible {
    var life: Int
    var point: FaultPoint
    var visit: Int
    var effect: FaultEffect
    /// How long a request is held up.
    var milliseconds = 0
    /// Where a file is changed.
    var place = 0

    /// As the list of what has fired names it.
    var name: String { "\(effect) at \(point)" }
    var description: String {
        "life \(life): \(name), visit \(visit)" + (milliseconds > 0 ? ", for \(milliseconds) ms" : "")
            + (place > 0 ? ", place \(place)" : "")
    }

    /// All that plans are drawn from, without a moment.
    static let all: [(point: FaultPoint, effect: FaultEffect)] = FaultEffect.allCases.flatMap { effect in
        effect == .skippedAbort ? [] : effect.points.map { ($0, effect) }
    }

    /// Up to four faults in each of the lives, by a seed.
    static func plan(_ random: inout SplitMix64, lives: Int) -> [Fault] {
        var plan: [Fault] = []
        for life in 0..<lives {
            for _ in 0..<(random.next() % 5) {
                let one: (point: FaultPoint, effect: FaultEffect)
                // Crashes have many points, and after one nothing else happens in its life.
                if random.next() % 4 == 0 {
                    one = (FaultPoint.allCases[Int(random.next() % UInt64(FaultPoint.allCases.count))], .crash)
                } else {
                    let others = all.filter { $0.effect != .crash }
                    one = others[Int(random.next() % UInt64(others.count))]
                }
                plan.append(draw(&random, life, one.point, one.effect))
            }
        }
        return plan
    }

    /// A fault at a moment by chance.
    static func draw(_ random: inout SplitMix64, _ life: Int, _ point: FaultPoint, _ effect: FaultEffect) -> Fault {
        let often: UInt64 =
            switch point {
            case .ownership, .assign, .create, .snapshotLook, .snapshotRemove: 1
            case .committed, .partitions, .bounds, .initialise, .initialised, .describe, .ends, .stableEnds,
                .snapshotCreate, .snapshotWrite, .snapshotSync, .snapshotRename:
                3
            default: 6
            }
        let visit = 1 + Int(random.next() % often)
        return Fault(
            life: life,
            point: point,
            visit: visit,
            effect: effect,
            // Into the next few transactions, or long after.
            milliseconds: [.held, .heldTimedOut, .cut].contains(effect)
                ? Int(random.next() % (random.next() % 2 == 0 ? 40 : 1500)) : 0,
            place: [.torn, .flipped].contains(effect) ? Int(random.next() % (1 << 20)) : 0
        )
    }
}
