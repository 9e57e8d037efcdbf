import Pipeline

extension Double {
    /// Rounded to so many decimal digits, for people.
    func rounded(to digits: Int) -> Double {
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        return (self * scale).rounded() / scale
    }
}

/// A number and what is counted, such as `1 rule` and `2 rules`.
func counted(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

extension ParsedArguments {
    /// `--threads`, or one per core.
    var threads: Int { int("threads") ?? Cores.available }
}

/// So many seconds as people say them: `0.4 s`, `35 s`, `12 min`, `5 hours`, `3 days`.
func span(_ seconds: Double) -> String {
    switch seconds {
    case ..<10: "\(max(0, seconds).rounded(to: 1)) s"
    case ..<120: "\(Int(seconds)) s"
    case ..<7_200: "\(Int(seconds / 60)) min"
    case ..<172_800: "\(Int(seconds / 3_600)) hours"
    default: "\(Int(min(seconds, 1e15) / 86_400)) days"
    }
}
