import Models

extension WindowStream {
    /// Entries by time, none after the state's; each head between the oldest and the newest entry, at the first one its window
    /// sees.
    func checkOrder() throws(StateError) {
        let kept = tail &- base
        var position = base
        var before = Int64.min
        while position != tail {
            try StateError.require(timeOf(position) >= before, "an entry comes before an older one")
            before = timeOf(position)
            position &+= 1
        }
        try StateError.require(
            before <= header.pointee.time,
            "a stream's heads stand at a time before its newest entry"
        )
        var shorter = kept
        for w in 0..<program.pointee.windowCount {
            let window = program.pointee.windows[w]
            let head = word(window.head)
            // Windows ascend, so a longer one begins no later.
            try StateError.require(
                head &- base <= shorter,
                "a head stands outside the ring or behind a shorter window's"
            )
            shorter = head &- base
            let bound = header.pointee.time.subtractingReportingOverflow(window.milliseconds)
            if bound.overflow { continue }
            try StateError.require(
                (head == tail || timeOf(head) > bound.partialValue)
                    && (head == base || timeOf(head &- 1) <= bound.partialValue),
                "a head is not at the first entry of its window"
            )
        }
    }

    /// Every chain and accumulator is what the entries make it.
    func checkRecount() throws(StateError) {
        for e in 0..<program.pointee.extremeCount { try checkChain(program.pointee.extremes[e]) }
        for w in 0..<program.pointee.windowCount {
            let window = program.pointee.windows[w]
            for a in window.accumulators { try check(program.pointee.accumulators[a], from: word(window.head)) }
        }
    }

    /// Each entry leads back to the previous one with its value, and all but a value's newest say that a later one repeats it.
    ///
    /// Whoever undoes or drops an entry takes its value out of the map by these links. Followed from the newest entries, which are
    /// one per value, they pass entries of that value only, ever older ones; so they are right when they pass all that are kept.
    /// Cost: a step per entry.
    ///
    /// - Parameter newest: position of the newest entry with a value.
    func checkLinks(
        _ column: WindowPlan.DistinctColumn,
        newest: (_ value: UInt64) -> UInt32?
    ) throws(StateError) {
        var passed: UInt32 = 0
        var position = base
        while position != tail {
            if WindowStream.link(column, entry(position)).pointee & WindowStream.repeated == 0 {
                let value = WindowStream.value(column, entry(position))
                try StateError.require(
                    newest(value) == position,
                    "an entry does not know that it is repeated, or a map does not lead to it"
                )
                var at = position
                var distance: UInt32 = 0
                repeat {
                    at &-= distance
                    try StateError.require(
                        WindowStream.value(column, entry(at)) == value,
                        "an entry links to one with another value"
                    )
                    passed &+= 1
                    distance = WindowStream.link(column, entry(at)).pointee & ~WindowStream.repeated
                } while distance != 0 && distance <= at &- base
            }
            position &+= 1
        }
        try StateError.require(passed == tail &- base, "no link leads to an entry that says that it is repeated")
    }

    /// Position of the newest entry with a value, by looking at all.
    func newest(_ column: WindowPlan.DistinctColumn, _ value: UInt64) -> UInt32? {
        var position = tail
        while position != base {
            position &-= 1
            if WindowStream.value(column, entry(position)) == value { return position }
        }
        return nil
    }

    /// Each entry leads back to the nearest one that it does not beat, and the entries that nothing later beats lead to each other.
    private func checkChain(_ column: WindowPlan.ExtremeColumn) throws(StateError) {
        var chain: [UInt32] = []
        var position = base
        while position != tail {
            while let last = chain.last, WindowStream.beats(column, entry(position), entry(last)) { chain.removeLast() }
            let older = WindowStream.links(column, entry(position)).pointee.older
            if let last = chain.last {
                try StateError.require(older == position &- last, "an entry's older neighbour is another")
            } else {
                try StateError.require(
                    older == WindowStream.noNeighbour || older > position &- base,
                    "the first of a chain has an older neighbour"
                )
            }
            chain.append(position)
            position &+= 1
        }
        for (i, position) in chain.enumerated() {
            let newer = i + 1 < chain.count ? chain[i + 1] &- position : WindowStream.noNeighbour
            try StateError.require(
                WindowStream.links(column, entry(position)).pointee.newer == newer,
                "an entry's newer neighbour is another"
            )
        }
    }

    private func check(_ accumulator: WindowPlan.Accumulator, from head: UInt32) throws(StateError) {
        var sum: Int128 = 0
        var values: Set<UInt64> = []
        var best: UInt32?
        var position = head
        while position != tail {
            let at = entry(position)
            switch accumulator.kind {
            case .sum: sum += Int128(at.load(fromByteOffset: accumulator.value, as: Int64.self))
            case .fixedSum: sum += WindowStream.fixed(at.load(fromByteOffset: accumulator.value, as: Double.self))
            case .live: values.insert(at.load(fromByteOffset: accumulator.value, as: UInt64.self))
            case .extreme:
                let column = program.pointee.extremes[accumulator.column]
                if best.map({ WindowStream.beats(column, at, entry($0)) }) ?? true { best = position }
            }
            position &+= 1
        }
        let isRight: Bool =
            switch accumulator.kind {
            case .sum: WindowSum(state + accumulator.offset).int128 == sum
            case .fixedSum: state.loadUnaligned(fromByteOffset: accumulator.offset, as: Int128.self) == sum
            case .live: Int(word(accumulator.offset)) == values.count
            case .extreme: best == nil || word(accumulator.offset) == best
            }
        try StateError.require(isRight, "\(accumulator.kind) is not what its window's entries come to")
    }
}
