import Models
import Testing

@testable import Detection

/// Every container of the state against a plain model of it: random steps, its invariants after each, and copies by its bytes.
@Suite struct StateContainerTests {
    // MARK: Arena

    /// Blocks as the model has them: where, how many bytes were asked for, what was written.
    private struct Block {
        var ref: UInt32
        var bytes: Int
        var fill: UInt8
    }

    private func check(_ arena: borrowing Arena, _ blocks: [Block]) throws {
        var census = try arena.census()
        for block in blocks {
            try arena.claim(block.ref, bytes: block.bytes, in: &census, "a block")
            let bytes = UnsafeRawBufferPointer(start: arena.pointer(block.ref), count: block.bytes)
            #expect(bytes.allSatisfy { $0 == block.fill })
        }
        try arena.checkFreeBlocks(&census)
        try census.checkComplete("the arena")
    }

    @Test(arguments: [UInt64(1), 2, 3]) func `an arena's blocks keep what they hold, and none is lost`(seed: UInt64)
        throws
    {
        var random = SplitMix64(seed: seed)
        var arena = Arena()
        var blocks: [Block] = []
        for step in 0..<3000 {
            if blocks.isEmpty || Int.random(in: 0..<5, using: &random) > 1 {
                // Mostly small ones of few sizes, sometimes beyond the exact classes.
                let bytes =
                    Int.random(in: 0..<50, using: &random) == 0
                    ? Int.random(in: 1...20_000, using: &random)
                    : [24, 48, 64, 96, 120].randomElement(using: &random) ?? 24
                let block = Block(ref: arena.allocate(bytes: bytes), bytes: bytes, fill: UInt8(step & 255))
                arena.pointer(block.ref).initializeMemory(as: UInt8.self, repeating: block.fill, count: bytes)
                blocks.append(block)
            } else {
                let block = blocks.remove(at: Int.random(in: 0..<blocks.count, using: &random))
                arena.release(block.ref, bytes: block.bytes)
            }
            if step % 100 == 0 { try check(arena, blocks) }
            if step % 500 == 250 {
                let bytes = OneSection.bytes { arena.write(to: &$0) }
                arena = Arena()
                try OneSection.read(bytes) { (section) throws(StateError) in try arena.read(from: &section) }
                try check(arena, blocks)
            }
        }
    }

    @Test func `a block that is given back twice, or is two owners', is found`() throws {
        var arena = Arena()
        let (a, b) = (arena.allocate(bytes: 64), arena.allocate(bytes: 64))
        var census = try arena.census()
        try arena.claim(a, bytes: 64, in: &census, "a")
        #expect(throws: StateError.inconsistent("twice lies where another block does")) {
            try arena.claim(a, bytes: 16, in: &census, "twice")
        }
        #expect(throws: StateError.inconsistent("4 of 9 units of the arena are lost")) {
            try census.checkComplete("the arena")
        }
        arena.release(b, bytes: 64)
        arena.release(b, bytes: 64)
        #expect(throws: StateError.self) { try arena.checkFreeBlocks(&census) }
    }

    // MARK: KeyTable

    @Test(arguments: [UInt64(1), 2, 3]) func `a table of keys holds what was put in and not taken out`(seed: UInt64)
        throws
    {
        var random = SplitMix64(seed: seed)
        var table = KeyTable()
        var model: [UInt64: UInt32] = [:]
        // Few homes, so that runs are long and wrap around.
        func key() -> UInt64 {
            UInt64.random(in: 1...800, using: &random) << 12 | UInt64.random(in: 0..<4, using: &random) | 1 << 60
        }
        for step in 1...6000 {
            let one = key()
            #expect(table.find(one) == model[one] ?? 0)
            if model[one] == nil, Int.random(in: 0..<3, using: &random) > 0 {
                table.insert(one, UInt32(step))
                model[one] = UInt32(step)
            } else if model[one] != nil, let at = (0...table.mask).first(where: { table.buckets[$0].key == one }) {
                table.remove(at: at)
                model[one] = nil
            }
            #expect(table.count == model.count)
            if step % 50 == 0 { try table.checkInvariants() }
            if step % 1500 == 0 {
                let bytes = OneSection.bytes { table.write(to: &$0) }
                var copy = KeyTable()
                try OneSection.read(bytes) { (section) throws(StateError) in try copy.read(from: &section) }
                #expect(model.allSatisfy { copy.find($0.key) == $0.value } && copy.count == model.count)
                table = copy
            }
        }
    }

    // MARK: OldestFirstTable

    @Test(arguments: [UInt64(1), 2, 3]) func `a table that forgets the oldest keeps its rows and their order`(
        seed: UInt64
    ) throws {
        var random = SplitMix64(seed: seed)
        var table = OldestFirstTable<UInt64>(limit: 100)
        /// Keys by age, the oldest first.
        var model: [(key: UInt64, value: UInt64)] = []
        for step in 1...6000 {
            // Few distinct low bits, so that probe chains are long and wrap.
            let key = UInt64.random(in: 1...100, using: &random) << 40 | UInt64.random(in: 1...4, using: &random)
            let row = table.find(key)
            let known = model.firstIndex { $0.key == key }
            #expect((row == .max) == (known == nil))
            if let known {
                #expect(table[row].pointee == model[known].value)
                if Int.random(in: 0..<3, using: &random) == 0 {
                    table.remove(row)
                    model.remove(at: known)
                } else {
                    table.touch(row)
                    model.append(model.remove(at: known))
                }
            } else {
                if table.isFull {
                    let oldest = table.removeOldest()
                    #expect(table.key(oldest) == model.removeFirst().key)
                }
                _ = table.insert(key, UInt64(step))
                model.append((key, UInt64(step)))
            }
            if step % 20 == 0 { try table.checkInvariants() }
            if step % 1000 == 500 {
                let bytes = OneSection.bytes { table.write(to: &$0) }
                var copy = OldestFirstTable<UInt64>(limit: 100)
                try OneSection.read(bytes) { (section) throws(StateError) in try copy.read(from: &section) }
                #expect(digest { table.digest(into: &$0) } == digest { copy.digest(into: &$0) })
                table = copy
            }
        }
        var row = table.oldest
        for (key, value) in model {
            #expect(table.key(row) == key && table[row].pointee == value)
            row = table.newer(row)
        }
        #expect(row == .max)
    }

    // MARK: MemberBlocks

    private struct Members {
        var block: UInt32
        var sizeClass: Int
        var values: [UInt64]
    }

    @Test(arguments: [UInt64(1), 2, 3]) func `member blocks keep their members while they grow`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var blocks = MemberBlocks(wordsPerMember: 2, limitWords: 6_000)
        var lists: [Members] = []
        var refused = 0
        for step in 0..<8000 {
            let i = Int.random(in: 0...max(80, lists.count), using: &random)
            if i >= lists.count {
                guard let block = blocks.allocate(sizeClass: 0) else {
                    refused += 1
                    continue
                }
                blocks.words[Int(block)] = UInt64(step)
                blocks.words[Int(block) + 4] = ~UInt64(step)
                lists.append(Members(block: block, sizeClass: 0, values: [UInt64(step)]))
            } else if Int.random(in: 0..<40, using: &random) == 0 {
                let list = lists.remove(at: i)
                blocks.release(list.block, sizeClass: list.sizeClass)
            } else if lists[i].values.count < 128 {
                if lists[i].values.count == MemberBlocks.size(lists[i].sizeClass) {
                    guard
                        let larger = blocks.enlarge(
                            lists[i].block,
                            sizeClass: lists[i].sizeClass,
                            count: lists[i].values.count
                        )
                    else {
                        refused += 1
                        continue
                    }
                    lists[i].block = larger
                    lists[i].sizeClass += 1
                }
                let at = Int(lists[i].block) + lists[i].values.count
                blocks.words[at] = UInt64(step)
                blocks.words[at + MemberBlocks.size(lists[i].sizeClass)] = ~UInt64(step)
                lists[i].values.append(UInt64(step))
            }
            if step % 100 == 0 { try check(blocks, lists) }
            if step % 2000 == 1000 {
                let bytes = OneSection.bytes { blocks.write(to: &$0) }
                blocks = MemberBlocks(wordsPerMember: 2, limitWords: 6_000)
                try OneSection.read(bytes) { (section) throws(StateError) in try blocks.read(from: &section) }
                try check(blocks, lists)
            }
        }
        #expect(refused > 0)
    }

    private func check(_ blocks: borrowing MemberBlocks, _ lists: [Members]) throws {
        var census = try blocks.census()
        for list in lists {
            try blocks.claim(
                list.block,
                sizeClass: UInt32(list.sizeClass),
                members: list.values.count,
                in: &census,
                "a list"
            )
            var kept = true
            for (i, value) in list.values.enumerated() {
                let at = Int(list.block) + i
                kept =
                    kept && blocks.words[at] == value && blocks.words[at + MemberBlocks.size(list.sizeClass)] == ~value
            }
            #expect(kept)
        }
        try blocks.checkFreeBlocks(&census)
        try census.checkComplete("the blocks")
    }

    // MARK: TextLog

    @Test(arguments: [UInt64(1), 2, 3]) func `a log of texts gives back all that it has not written over`(seed: UInt64)
        throws
    {
        var random = SplitMix64(seed: seed)
        var log = TextLog(capacity: 1024)
        var model: [(position: UInt64, text: [UInt8])] = []
        for step in 0..<2000 {
            let length = Int.random(in: 0...TextLog.longest, using: &random)
            let text = (0..<length).map { UInt8(33 + ($0 + step) % 90) }
            let position = text.withUnsafeBufferPointer { buffer in
                // An empty array has no address.
                withUnsafePointer(to: UInt8(0)) { log.append(buffer.baseAddress ?? $0, count: length) }
            }
            model.append((position, text))
            for (position, text) in model.suffix(40) {
                let read = Array(log.read(position))
                if log.end - position <= 1024 { #expect(read == text) } else { #expect(read.isEmpty) }
            }
            try log.checkInvariants()
            if step % 300 == 77 {
                let bytes = OneSection.bytes { log.write(to: &$0) }
                var copy = TextLog(capacity: 1024)
                try OneSection.read(bytes) { (section) throws(StateError) in try copy.read(from: &section) }
                #expect(digest { log.digest(into: &$0) } == digest { copy.digest(into: &$0) })
                log = copy
            }
        }
    }

    // MARK: Faults

    /// Whoever writes wrong bytes with right checksums gets an error or a state, never a crash or a search without end.
    @Test func `a wrong bit behind a right checksum is refused or harmless`() {
        var random = SplitMix64(seed: 9)
        var arena = Arena()
        for i in 0..<40 where i % 3 != 0 || arena.allocate(bytes: 16 * (i % 7 + 1)) > 0 {
            let ref = arena.allocate(bytes: 32)
            arena.pointer(ref).initializeMemory(as: UInt8.self, repeating: 1, count: 32)
            if i % 4 == 0 { arena.release(ref, bytes: 32) }
        }
        var keys = KeyTable()
        var table = OldestFirstTable<UInt64>(limit: 64)
        for i in 1...40 {
            keys.insert(UInt64(i) << 12 | 5, UInt32(i))
            _ = table.insert(UInt64(i), UInt64(i))
        }
        for key in stride(from: 3, to: 40, by: 5) { table.remove(table.find(UInt64(key))) }
        var blocks = MemberBlocks(wordsPerMember: 1, limitWords: 4096)
        for i in 0..<30 {
            if let block = blocks.allocate(sizeClass: i % 4), i % 3 == 0 { blocks.release(block, sizeClass: i % 4) }
        }
        let written = [
            OneSection.bytes { arena.write(to: &$0) }, OneSection.bytes { keys.write(to: &$0) },
            OneSection.bytes { table.write(to: &$0) }, OneSection.bytes { blocks.write(to: &$0) },
        ]
        var refused = 0
        for _ in 0..<4000 {
            let which = Int.random(in: 0..<4, using: &random)
            let bytes = FaultyState.resealed(written[which], flipping: Int.random(in: 0..<(1 << 20), using: &random))
            do {
                try OneSection.read(bytes) { (section) throws(StateError) in
                    switch which {
                    case 0:
                        var copy = Arena()
                        try copy.read(from: &section)
                        var census = try copy.census()
                        try copy.checkFreeBlocks(&census)
                    case 1:
                        var copy = KeyTable()
                        try copy.read(from: &section)
                    case 2:
                        var copy = OldestFirstTable<UInt64>(limit: 64)
                        try copy.read(from: &section)
                    default:
                        var copy = MemberBlocks(wordsPerMember: 1, limitWords: 4096)
                        try copy.read(from: &section)
                        var census = try copy.census()
                        try copy.checkFreeBlocks(&census)
                    }
                }
            } catch {
                refused += 1
            }
        }
        #expect(refused > 1000)
    }
}

/// The digest of whatever `fold` folds.
func digest(_ fold: (inout UInt64) -> Void) -> UInt64 {
    var digest: UInt64 = 0
    fold(&digest)
    return digest
}
