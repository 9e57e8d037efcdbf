/// In Pipeline whoever waits or reads a clock is handed a `WorkerClock`, so that a test's hours are a moment, and the same on every
/// machine.
enum ClockRules {
    /// Where the machine's own time is used, on how many lines, and why.
    static let exceptions: [String: (lines: Int, reason: String)] = [
        "Sources/Pipeline/Live/WorkerClock.swift": (3, "it is the clock that is handed out"),
        "Sources/Pipeline/Logs/Embedded/Database.swift": (
            1, "SQLite's busy handler is a C function that is given no more than a number"
        ),
        "Sources/Pipeline/Threads/Monitor.swift": (
            1, "a thread waits there for the work of another, which a virtual clock makes no faster"
        ),
    ]

    private static let words = [
        "usleep(", "nanosleep(", "sleep(", "clock_gettime(", "gettimeofday(", "time(nil)", "ContinuousClock",
        "SuspendingClock", "wallClockMilliseconds(",
    ]

    /// Findings in one file of Swift.
    static func findings(_ path: String, _ source: SwiftText) -> [Finding] {
        guard path.hasPrefix("Sources/Pipeline/") else { return [] }
        var found: [Finding] = []
        for (index, line) in source.code.enumerated() {
            guard let word = words.first(where: line.hasWord) else { continue }
            let message = "\(word) is the machine's own time: take a WorkerClock and ask it, or let it pause"
            found.append(Finding(path: path, line: index + 1, message: message))
        }
        guard let exception = exceptions[path] else { return found }
        if found.count > exception.lines { return found }
        if found.count == exception.lines { return [] }
        let message = "ClockRules allows \(exception.lines) lines here and there are \(found.count): lower it"
        return [Finding(path: path, line: 1, message: message)]
    }
}
