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
