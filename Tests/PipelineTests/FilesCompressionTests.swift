import Glibc
import Models
import Testing

@testable import Pipeline

/// Lines that compress badly, so that a file of some size has many blocks.
private func lines(_ count: Int, seed: UInt64 = 5) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    return bytes((0..<count).map { "{\"id\":\($0),\"h\":\"\(random.next())\"}\n" }.joined())
}

private func texts(_ content: [UInt8]) -> [String] {
    content.split(separator: 0x0a).map { String(decoding: $0, as: UTF8.self) }
}

/// A frame that readers pass over (RFC 8878, 3.1.2), as parallel compressors write them.
private func skippable(_ content: [UInt8], kind: UInt8 = 0) -> [UInt8] {
    let size = UInt32(content.count)
    return [0x50 + kind, 0x2a, 0x4d, 0x18] + (0..<4).map { UInt8(truncatingIfNeeded: size >> (8 * $0)) } + content
}

@Suite struct FilesCompression {
    private let folder = TemporaryFolder()

    /// The rows of a file with this content, and what ended them; also when the error comes with the opening.
    private func read(_ content: [UInt8]) throws -> (texts: [String], error: LogError?) {
        let path = folder.file("input.zst")
        save(content, path)
        do {
            let read = try rows(path)
            return (read.rows.map(\.text), read.error)
        } catch let error as LogError {
            return ([], error)
        }
    }

    @Test func `frames, empty ones, ones to skip and padding follow one another`() throws {
        let parts: [[UInt8]] = [
            skippable([1, 2, 3]), zstd(bytes("1\n2")), skippable([], kind: 15), zstd([]),
            zstd(bytes("2\n"), hasChecksum: false), skippable([UInt8](repeating: 0x28, count: 300_000), kind: 7),
            zstd(bytes("3"), level: 19), [0, 0, 0],
        ]
        let read = try read(parts.flatMap { $0 })
        #expect(read.texts == ["1", "22", "3"])
        #expect(read.error == nil)
        #expect(try self.read(skippable([1])).texts == [])
        #expect(try self.read(zstd([])).error == nil)
    }

    @Test func `gzip members and padding follow one another; other bytes behind them are told`() throws {
        let first = try gzip(bytes("1\n2"), folder)
        let second = try gzip(bytes("\n3\n"), folder)
        let path = folder.file("members.gz")
        save(first + second + (try gzip([], folder)) + [0, 0, 0], path)
        let read = try rows(path)
        #expect(read.rows.map(\.text) == ["1", "2", "3"])
        #expect(read.error == nil)
        save(first + bytes("rubbish"), path)
        let spoiled = try rows(path)
        #expect(spoiled.rows.map(\.text) == ["1"])
        #expect(spoiled.error?.kind == .refused)
        #expect(spoiled.error?.message.contains("at byte \(first.count)") == true)
    }

    @Test func `a gzip file cut short gives its whole records and then says where it breaks off`() throws {
        let content = (0..<5000).map { "{\"id\":\($0),\"h\":\"\(($0 &* 2_654_435_761) % 1_000_003)\"}\n" }.joined()
        let whole = try gzip(bytes(content), folder)
        let path = folder.file("short.gz")
        for cut in [3, 10, 11, whole.count / 2, whole.count - 9, whole.count - 1] {
            save(Array(whole.prefix(cut)), path)
            do {
                let read = try rows(path)
                #expect(read.error?.message.contains("breaks off at byte \(cut)") == true)
                #expect(
                    read.rows.enumerated().allSatisfy { $1.text.hasPrefix("{\"id\":\($0),") && $1.text.hasSuffix("}") }
                )
            } catch let error as LogError {
                #expect(error.message.contains("breaks off at byte \(cut)"))
            }
        }
    }

    @Test func `a flipped byte in a gzip file is found`() throws {
        let content = (0..<5000).map { "{\"id\":\($0),\"h\":\"\(($0 &* 2_654_435_761) % 1_000_003)\"}\n" }.joined()
        let whole = try gzip(bytes(content), folder)
        let path = folder.file("flipped.gz")
        for at in stride(from: 12, to: whole.count, by: 997) {
            var damaged = whole
            damaged[at] ^= 0x10
            save(damaged, path)
            let error: LogError?
            do { error = try rows(path).error } catch let thrown as LogError { error = thrown }
            #expect(error?.kind == .refused, "byte \(at)")
        }
    }

    @Test func `content dealt out to frames of any size is read as it was`() throws {
        var random = SplitMix64(seed: 3)
        for _ in 0..<20 {
            let content = lines(200 + random.below(3000), seed: random.next())
            var compressed: [UInt8] = []
            var at = 0
            while at < content.count {
                let end = min(content.count, at + random.below(60_000))
                let part = Array(content[at..<end])
                compressed += zstd(part, level: Int32(1 + random.below(7)), hasChecksum: random.below(2) == 0)
                if random.below(3) == 0 { compressed += skippable(Array(repeating: 9, count: random.below(50))) }
                at = end
            }
            let read = try read(compressed)
            #expect(read.texts == texts(content))
            #expect(read.error == nil)
        }
    }

    @Test(arguments: ["rubbish", "(rubbish", "Vrubbish", "\u{1f}\u{8}"])
    func `what is no frame behind a frame is told with its place`(rubbish: String) throws {
        let first = zstd(bytes("1\n2\n"))
        let read = try read(first + bytes(rubbish))
        #expect(read.texts == ["1", "2"])
        #expect(read.error?.kind == .refused)
        #expect(
            read.error?.message.contains(
                "input.zst: something that is not zstd follows the compressed data at byte \(first.count)"
            )
                == true,
            "\(read.error?.message ?? "no error")"
        )
    }

    @Test func `a file cut at any byte gives its whole records and then says where it breaks off`() throws {
        let content = lines(40)
        let whole = zstd(content)
        // With fewer bytes than the mark of the form it is a text like another.
        for cut in 4..<whole.count {
            let read = try read(Array(whole.prefix(cut)))
            #expect(read.error?.kind == .refused)
            #expect(read.error?.message.contains("input.zst: the compressed data breaks off at byte \(cut)") == true)
            #expect(texts(content).starts(with: read.texts))
        }
        #expect(try read(whole).texts == texts(content))
    }

    @Test func `all that lies before a damaged or missing block is read`() throws {
        let content = lines(60_000)
        let expected = texts(content)
        // Each block holds 128 KiB of content at most.
        let perBlock = (128 << 10) / (content.count / expected.count) + 1
        let whole = zstd(content)
        let blocks = content.count / (128 << 10)
        #expect(blocks > 15)
        for part in [0.3, 0.6, 0.99] {
            let at = Int(Double(whole.count) * part)
            var damaged = whole
            for i in at..<(at + 64) { damaged[i] ^= 0x55 }
            for (what, file) in [("is damaged near", damaged), ("breaks off at", Array(whole.prefix(at)))] {
                let read = try read(file)
                let message = read.error?.message ?? "none"
                #expect(message.contains("input.zst: the compressed data \(what) byte"), "\(message)")
                let certain = Int(Double(expected.count) * part) - 2 * perBlock
                #expect(read.texts.count >= certain, "\(what) at \(part)")
                #expect(expected.starts(with: read.texts.prefix(certain)))
            }
        }
    }

    @Test func `a checksum that does not hold ends the file behind its content, of both forms`() throws {
        let content = lines(5000)
        var ofZstd = zstd(content)
        ofZstd[ofZstd.count - 1] ^= 1
        var ofGzip = try gzip(content, folder)
        ofGzip[ofGzip.count - 5] ^= 1
        for (name, file) in [("zstd", ofZstd), ("gzip", ofGzip)] {
            let read = try read(file)
            #expect(read.texts == texts(content), "\(name)")
            #expect(read.error?.message.contains("Test it with `\(name) -t`") == true)
        }
    }

    @Test func `a frame whose window is too large for the memory is refused with what to do`() throws {
        // Magic number, no content size, a window of 2^log bytes, one raw block that is the last: RFC 8878, 3.1.1.
        func frame(windowLog: UInt8) -> [UInt8] {
            [0x28, 0xb5, 0x2f, 0xfd, 0, (windowLog - 10) << 3, 2 << 3 | 1, 0, 0] + bytes("1\n")
        }
        #expect(try read(frame(windowLog: 27)).texts == ["1"])
        let refused = try read(frame(windowLog: 28))
        #expect(refused.texts == [])
        #expect(refused.error?.kind == .refused)
        #expect(refused.error?.message.contains("more than 128 MiB: decompress it first (`zstd -d --long=31`)") == true)
    }

    @Test func `a stream is read the same in pieces of any size, into targets of any size`() throws {
        var random = SplitMix64(seed: 8)
        let content = lines(3000)
        for round in 0..<40 {
            let isZstd = round % 2 == 0
            let compressed = isZstd ? zstd(content) : try gzip(content, folder)
            let made: (any Decompressor)? = isZstd ? ZstdDecompressor() : GzipDecompressor()
            let decompressor = try #require(made)
            var target = [UInt8](repeating: 0, count: [1, 7, 1000, 1 << 18][round / 2 % 4])
            var found: [UInt8] = []
            var at = 0
            reading: while true {
                let end = min(compressed.count, at + 1 + random.below([1, 40, 5000][round % 3]))
                let step = target.withUnsafeMutableBytes { target in
                    compressed.withUnsafeBytes { bytes in
                        decompressor.decompress(UnsafeRawBufferPointer(rebasing: bytes[at..<end]), into: target)
                    }
                }
                found += target.prefix(step.given)
                at += step.taken
                switch step.outcome {
                case .goesOn: continue
                case .memberEnded: break reading
                default:
                    Issue.record("\(step.outcome)")
                    break reading
                }
            }
            #expect(found == content)
            #expect(at == compressed.count)
        }
    }

    @Test func `what the tool zstd writes is read, from its file and through a pipe`() throws {
        guard system("command -v zstd >/dev/null") == 0 else { return print("skipped: no zstd in PATH") }
        let content = lines(20_000)
        let plain = folder.file("plain")
        save(content, plain)
        for flags in ["-1", "-19 --long=27", "--no-check -3", "-T2 --rsyncable"] {
            let path = folder.file("tool.zst")
            #expect(system("zstd -q -f \(flags) '\(plain)' -o '\(path)'") == 0)
            #expect(try rows(path).rows.map(\.text) == texts(content), "\(flags)")
            let fifo = folder.file("pipe")
            unlink(fifo)
            #expect(mkfifo(fifo, 0o600) == 0)
            #expect(system("cat '\(path)' > '\(fifo)' &") == 0)
            #expect(try rows(fifo).rows.map(\.text) == texts(content), "\(flags)")
        }
    }
}
