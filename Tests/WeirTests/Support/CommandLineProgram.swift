import Foundation
import Waiting

/// The program as users start it: `WEIR_BINARY`, else the one built beside the tests.
enum WeirProgram {
    static let path: String? = {
        if let path = ProcessInfo.processInfo.environment["WEIR_BINARY"] { return path }
        // From .../debug/weirPackageTests.xctest to .../debug/weir.
        let folder = URL(fileURLWithPath: CommandLine.arguments[0]).resolvingSymlinksInPath()
            .deletingLastPathComponent()
        let path = folder.appendingPathComponent("weir").path
        return FileManager.default.isExecutableFile(atPath: path) ? path : nil
    }()

    /// What a process left behind.
    struct Result {
        /// The exit code, or 128 and the signal that ended it, as shells count.
        var code: Int32
        var output: String
        var errors: String
    }

    /// Runs a program to its end; one that takes longer than `seconds` is killed and ends with 137.
    static func run(
        _ path: String,
        _ arguments: [String],
        input: String = "",
        seconds: Double = Waiting.limit
    ) throws -> Result {
        let running = try RunningProgram(path, arguments, input: input)
        return try running.wait(seconds: seconds)
    }
}

/// A process that runs beside the test; it is killed when the test lets go of it.
///
/// Its streams are files, not pipes: no output is too long, and no reader must run beside.
final class RunningProgram {
    private let process = Process()
    private let folder: URL

    /// Starts a program in a folder of its own with these words on stdin.
    init(_ path: String, _ arguments: [String], input: String = "") throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("weir-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for (name, text) in [("in", input), ("out", ""), ("err", "")] {
            try Data(text.utf8).write(to: folder.appendingPathComponent(name))
        }
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        // What it keeps for itself is none of the home folder's business.
        process.environment = ProcessInfo.processInfo.environment.merging([
            "XDG_STATE_HOME": FileManager.default.temporaryDirectory.appendingPathComponent("weir-tests-state").path
        ]) { _, ours in ours }
        process.currentDirectoryURL = folder
        process.standardInput = try FileHandle(forReadingFrom: folder.appendingPathComponent("in"))
        process.standardOutput = try FileHandle(forWritingTo: folder.appendingPathComponent("out"))
        process.standardError = try FileHandle(forWritingTo: folder.appendingPathComponent("err"))
        try process.run()
    }

    deinit {
        if process.isRunning {
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
        }
        try? FileManager.default.removeItem(at: folder)
    }

    /// What it has written to stdout so far.
    var output: String { text("out") }

    /// What it has written to stderr so far.
    var errors: String { text("err") }

    /// Whether it has not ended yet.
    var isRunning: Bool { process.isRunning }

    /// Sends a signal, such as `SIGTERM` or `SIGKILL`.
    func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

    /// Whether it holds a file open, wherever links lead.
    func isUsing(_ path: String) -> Bool {
        let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        let folder = "/proc/\(process.processIdentifier)/fd"
        let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return descriptors.contains {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)")) == real
        }
    }

    /// Whether it is the program under test, no longer the shell that starts it, and will take a signal as a wish to stop.
    func takes(_ signal: Int32) -> Bool {
        guard let path = WeirProgram.path else { return false }
        func read(_ name: String) -> String {
            (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/\(name)", encoding: .utf8)) ?? ""
        }
        // The system cuts names off after 15 bytes.
        let name = URL(fileURLWithPath: path).lastPathComponent.prefix(15)
        guard read("comm") == name + "\n" else { return false }
        let line = read("status").split(separator: "\n").first { $0.hasPrefix("SigCgt:") } ?? ""
        let caught = line.split(separator: "\t").last.flatMap { UInt64($0, radix: 16) } ?? 0
        return caught >> UInt64(signal - 1) & 1 == 1
    }

    /// Waits until the condition holds; false when that takes too long or the process has ended before.
    func wait(seconds: Double = Waiting.limit, until condition: (RunningProgram) -> Bool) -> Bool {
        var isHeld = false
        Waiting.until(seconds: seconds) {
            let wasRunning = isRunning
            isHeld = condition(self)
            return isHeld || !wasRunning
        }
        return isHeld
    }

    /// Waits for the end, by force after `seconds`.
    func wait(seconds: Double = Waiting.limit) throws -> WeirProgram.Result {
        if !wait(seconds: seconds, until: { !$0.isRunning }) { send(SIGKILL) }
        process.waitUntilExit()
        let isSignal = process.terminationReason == .uncaughtSignal
        return WeirProgram.Result(
            code: process.terminationStatus + (isSignal ? 128 : 0),
            output: output,
            errors: errors
        )
    }

    private func text(_ name: String) -> String {
        String(decoding: (try? Data(contentsOf: folder.appendingPathComponent(name))) ?? Data(), as: UTF8.self)
    }
}
