import Pipeline

/// Decides what is said of an outage: once when it has lasted 15 seconds, and once when it is over.
///
/// A pure value, shown once a second what is known. While it lasts the line `progress` says that the worker is not ready.
struct OutageWatch {
    /// What can be out; the first that is out is told, as the others follow from it.
    enum Fault: CaseIterable { case contact, commit, turn }

    /// What became known.
    enum News: Equatable {
        /// Out for `seconds` by now.
        case began(Fault, seconds: Double)
        /// Well again, after this time.
        case ended(Fault, seconds: Double)
    }

    /// What was told to be out, and since when, in milliseconds since 1970.
    private var told: (fault: Fault, since: Int64)?

    /// What is new.
    ///
    /// - Parameters:
    ///   - contactAge: how long ago a broker was last heard of, seconds; nil: there are none, or nobody knows.
    ///   - now: milliseconds since 1970.
    mutating func look(_ reading: WorkerSignals.Reading, contactAge: Double?, now: Int64) -> [News] {
        // Before it judges a worker tells itself what it waits for, and after it its end.
        guard reading.phase == .judging else { return [] }
        func age(_ fault: Fault) -> Double {
            switch fault {
            case .contact: contactAge ?? 0
            case .commit: reading.commitAge ?? 0
            case .turn: reading.turnAge
            }
        }
        if let (fault, since) = told {
            if age(fault) >= WorkerSignals.patience { return [] }
            told = nil
            return [.ended(fault, seconds: Double(now - since) / 1000)]
        }
        guard let fault = Fault.allCases.first(where: { age($0) >= WorkerSignals.patience }) else { return [] }
        told = (fault, now - Int64(age(fault) * 1000))
        return [.began(fault, seconds: age(fault))]
    }
}
