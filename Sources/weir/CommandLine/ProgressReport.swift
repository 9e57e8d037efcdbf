import Glibc

/// Progress of long work on stderr: a moving line on a terminal, else one plain line per 10 s, so that a log file stays readable.
///
/// One thread owns it. A call costs one comparison between reports; call it per batch, not per event.
struct ProgressReport {
    /// Between two drawings on a terminal.
    static let redrawNanoseconds: UInt64 = 100_000_000
    /// Between two lines elsewhere.
    static let lineNanoseconds: UInt64 = 10_000_000_000

    private let terminal: Terminal
    private let unit: String
    private let total: Int?
    private let start: UInt64
    private var next: UInt64

    /// Starts now; `total` nil when the end is not known.
    ///
    /// `unit` is the plural of what is counted.
    init(_ terminal: Terminal, unit: String, total: Int?, now: UInt64 = ProgressReport.monotonicNanoseconds()) {
        self.terminal = terminal
        self.unit = unit
        self.total = total
        start = now
        next = now + (terminal.canRedraw ? ProgressReport.redrawNanoseconds : ProgressReport.lineNanoseconds)
    }

    /// Tells how much is done; reports it when it is time.
    mutating func update(_ done: Int, now: UInt64 = ProgressReport.monotonicNanoseconds()) {
        guard now >= next else { return }
        let text = ProgressReport.text(done: done, total: total, unit: unit, seconds: Double(now - start) / 1e9)
        if terminal.canRedraw {
            terminal.drawProgress(text)
            next = now + ProgressReport.redrawNanoseconds
        } else {
            terminal.note(text)
            next = now + ProgressReport.lineNanoseconds
        }
    }

    /// Such as `1,200,000 of 5,000,000 events (24 %), 151,000/s, 25 s left`.
    static func text(done: Int, total: Int?, unit: String, seconds: Double) -> String {
        var text = grouped(done)
        if let total {
            text += " of \(grouped(total)) \(unit)"
            if total > 0 { text += " (\(Int(Double(done) * 100 / Double(total))) %)" }
        } else {
            text += " \(unit)"
        }
        guard seconds > 0, done > 0 else { return text }
        let rate = Double(done) / seconds
        text += ", \(grouped(Int(rate)))/s"
        if let total, total > done { text += ", \(Int((Double(total - done) / rate).rounded(.up))) s left" }
        return text
    }

    /// Digits in groups of three, as people read them.
    static func grouped(_ number: Int) -> String {
        let digits = String(number.magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text += "," }
            text.append(digit)
        }
        return number < 0 ? "-" + text : text
    }

    /// The clock for progress and timers; it never enters a result.
    static func monotonicNanoseconds() -> UInt64 {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return UInt64(now.tv_sec) * 1_000_000_000 + UInt64(now.tv_nsec)
    }
}
