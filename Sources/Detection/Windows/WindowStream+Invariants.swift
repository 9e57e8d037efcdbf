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

    /// Every link, chain and accumulator is what the entries make it.
    func checkRecount() throws(StateError) {
        for d in 0..<program.pointee.distinctCount { try checkLinks(program.pointee.distinct[d]) }
        for e in 0..<program.pointee.extremeCount { try checkChain(program.pointee.extremes[e]) }
        for w in 0..<program.pointee.windowCount {
            let window = program.pointee.windows[w]
            for a in window.accumulators { try check(program.pointee.accumulators[a], from: word(window.head)) }
        }
    }

    /// Each entry leads back to the previous one with its value and says whether a later one repeats it.
    private func checkLinks(_ column: WindowPlan.DistinctColumn) throws(StateError) {
        var newest: [UInt64: UInt32] = [:]
        var position = base
        while position != tail {
            let value = WindowStream.value(column, entry(position))
            let distance = WindowStream.link(column, entry(position)).pointee & ~WindowStream.repeated
            if let previous = newest.updateValue(position, forKey: value) {
                try StateError.require(previous == position &- distance, "an entry does not link to the previous one")
                try StateError.require(isRepeated(previous, column), "an entry does not know that it is repeated")
            } else {
                try StateError.require(
                    distance == 0 || distance > position &- base,
                    "a value's first entry links to one that is kept"
                )
            }
            position &+= 1
        }
        for (_, position) in newest {
            try StateError.require(!isRepeated(position, column), "a value's newest entry says that it is repeated")
        }
    }

    private func isRepeated(_ position: UInt32, _ column: WindowPlan.DistinctColumn) -> Bool {
        WindowStream.link(column, entry(position)).pointee & WindowStream.repeated != 0
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
