import Models

extension TextLog {
    /// The texts of the running lap follow each other up to the end.
    func checkInvariants() throws(StateError) {
        let stop = Int(truncatingIfNeeded: end) & (capacity - 1)
        var at = 0
        while at < stop {
            try StateError.require(Int(bytes[at]) <= TextLog.longest, "a text of \(bytes[at]) bytes in a log")
            at += 1 + Int(bytes[at])
        }
        try StateError.require(at == stop, "a log's last text goes beyond its end")
    }
}
