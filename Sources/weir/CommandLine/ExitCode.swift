import Pipeline

/// What the process says when it ends.
///
/// The numbers are a contract with scripts, supervisors and runbooks: never renumber.
enum ExitCode: Int32, Sendable, CaseIterable {
    case ok = 0
    /// Something failed that none of the other codes names; the message on stderr says what.
    case failure = 1
    /// The command line itself is wrong.
    case usage = 2
    /// A rule, topology or input is invalid, or the log is another topology's; the message has file:line:column where there is one.
    case invalid = 3
    /// A threshold was missed (tests, back-tests, benchmarks).
    case thresholdMissed = 4
    /// Kafka, or whichever log was named, cannot be reached, or another process holds its file locked; also where a worker was told
    /// to stop and the log did not take what it had read.
    case unreachable = 5
    /// The log, or the file system it lies on, refuses us; the message names the missing right.
    case notAuthorised = 6
    /// Stored state, journal or verdicts contradict each other.
    case stateCorrupt = 7
    /// A library, broker or file has a version we do not work with, or what judged the journal (topology, release, hash key) is not
    /// at hand.
    case incompatible = 8
    /// Of `weir status`: no worker judges what waits.
    case notRunning = 10
    /// Of `weir status`: the log does not say whether a worker runs.
    case undetermined = 11
    /// Stopped by SIGINT, with all that was read committed: 128 + 2, as shells count.
    case interrupted = 130
    /// Stopped by SIGTERM, with all that was read committed: 128 + 15.
    case terminated = 143

    /// The code for a log that could not do what was asked.
    init(_ kind: LogError.Kind) {
        switch kind {
        case .unreachable: self = .unreachable
        case .notAuthorised: self = .notAuthorised
        case .outOfRange, .corrupt: self = .stateCorrupt
        case .incompatible: self = .incompatible
        case .refused: self = .invalid
        case .fenced, .transient, .stopped: self = .failure
        }
    }

    /// A few words for the exit code table of `--help`.
    var meaning: String {
        switch self {
        case .ok: "done"
        case .failure: "failed; the message says why"
        case .usage: "wrong use of the command line"
        case .invalid: "invalid rules, topology, input or output file, or another topology's log"
        case .thresholdMissed: "a threshold was missed"
        case .unreachable: "Kafka or the log file cannot be reached, at a stop too, or the file is locked"
        case .notAuthorised: "not authorised"
        case .stateCorrupt: "state, journal and verdicts contradict each other"
        case .incompatible: "incompatible version of a library, broker or file, or not what judged the journal"
        case .notRunning: "no worker judges what waits (status)"
        case .undetermined: "the log does not say whether a worker runs (status)"
        case .interrupted: "stopped by SIGINT (Ctrl-C), cleanly"
        case .terminated: "stopped by SIGTERM, cleanly"
        }
    }
}

/// Why a command cannot go on, with the code to leave with and, where we know it, what to do next.
struct CommandFailure: Error, Equatable {
    var code: ExitCode
    /// What happened, one or two sentences; foreign text in it is escaped when it is printed.
    var message: String
    /// What to do or type next, or nil.
    var hint: String?

    init(_ code: ExitCode, _ message: String, hint: String? = nil) {
        self.code = code
        self.message = message
        self.hint = hint
    }

    /// A mistake in the command line itself (exit 2).
    static func usage(_ message: String, hint: String? = nil) -> CommandFailure {
        CommandFailure(.usage, message, hint: hint)
    }
}
