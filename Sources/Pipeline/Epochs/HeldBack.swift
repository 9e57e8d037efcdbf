import Detection

/// Decoded records that wait for the next epoch, because their source was read further in event time than the others.
struct HeldBack {
    /// Per source, the offset of the first record that waits.
    private(set) var from: [Int64?]
    /// Per source, the least event time that waits.
    private(set) var time: [Int64?]
    private var records: [StagedRecord] = []

    init(sources: Int) {
        from = [Int64?](repeating: nil, count: sources)
        time = from
    }

    /// One more source, of which nothing waits.
    mutating func addSource() {
        from.append(nil)
        time.append(nil)
    }

    /// Takes out of a decoded batch what each source holds from its first event after `time` on.
    ///
    /// - Parameter isOutlier: whether an event, by its index, is no reason to hold anything back.
    mutating func take(
        after limit: Int64,
        of decoding: inout DecodeStage,
        _ staging: inout RecordStaging,
        isOutlier: (Int) -> Bool
    ) {
        var isAny = false
        let events = decoding.events
        for i in events.indices where events[i].time > limit {
            let source = Int(decoding.eventSources[i])
            if from[source] != nil || isOutlier(i) { continue }
            from[source] = events[i].offset
            isAny = true
        }
        if !isAny { return }
        let from = from
        func isHeld(_ source: Int, _ offset: Int64) -> Bool { from[source].map { offset >= $0 } ?? false }
        decoding.remove(where: isHeld) { source, event in time[source] = min(time[source] ?? .max, event.time) }
        staging.remove(where: { isHeld(Int($0.source), $0.offset) }, removed: { records.append($0) })
    }

    /// Makes what waits the first records to decode, and forgets everything else that was staged.
    mutating func release(into staging: inout RecordStaging) {
        staging.removeAll(but: records)
        records.removeAll(keepingCapacity: true)
        for source in from.indices {
            from[source] = nil
            time[source] = nil
        }
    }
}
