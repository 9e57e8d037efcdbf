import Glibc

/// Bytes of an input file as they come: a mapped file, or a stream, compressed with gzip or zstd or not at all.
final class ByteSource {
    enum Shape {
        /// The whole plain file.
        case mapped(UnsafeRawBufferPointer)
        /// Asks for ``read(into:)``.
        case stream
    }

    private(set) var shape = Shape.stream
    private let path: String
    private let shouldStop: () -> Bool
    private let descriptor: Int32
    private let owned: Bool
    private var reserved = 0
    private var decompressor: (any Decompressor)?
    /// Compressed bytes, and for a plain stream those read to see what it is.
    private let chunk: UnsafeMutableRawBufferPointer
    private var chunkAt = 0
    private var chunkEnd = 0
    private var atEnd = false
    /// Bytes of the file before the chunk.
    private var chunkStart: Int64 = 0
    /// True between the members of a compressed file.
    private var betweenMembers = false
    /// Where in the file the member in hand began.
    private var memberStart: Int64 = 0
    /// The target was filled to its end, so there may be more without further input.
    private var holdsBack = false
    /// What ends the reading, once what lay before it has been given.
    private var failure: LogError?

    /// Bytes that can be read behind a mapped file's end, all zero.
    static let margin = 16

    /// How long a wait for bytes may last before somebody is asked whether to stop, in milliseconds; a signal ends the wait at
    /// once.
    private static let patience: Int32 = 200

    /// Opens a file, `-` for stdin, and looks at its first bytes, for which a pipe may keep it waiting.
    ///
    /// - Parameter shouldStop: asked before each read and while there is nothing to read; true ends it with an error of the kind
    ///   `.stopped`.
    init(path: String, shouldStop: @escaping () -> Bool = { false }) throws(LogError) {
        self.path = path == "-" ? "stdin" : path
        self.shouldStop = shouldStop
        owned = path != "-"
        // A named pipe is opened without waiting for its writer: the wait for its first bytes can be ended.
        descriptor = owned ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : STDIN_FILENO
        chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
        guard descriptor >= 0 else {
            throw LogError(.refused, "cannot open the input \(path): \(systemText(errno)).")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw cannotRead() }
        if status.st_mode & S_IFMT == S_IFDIR {
            throw LogError(.refused, "the input \(path) is a directory. Name its files.")
        }
        try fill(atLeast: 4)
        let beginning = UnsafeRawBufferPointer(rebasing: chunk[0..<chunkEnd])
        if GzipDecompressor.isBeginning(beginning) {
            decompressor = GzipDecompressor()
            if decompressor == nil { throw LogError(.transient, "\(path): zlib could not start.") }
        } else if ZstdDecompressor.isBeginning(beginning) {
            decompressor = ZstdDecompressor()
            if decompressor == nil { throw LogError(.transient, "\(path): libzstd could not start.") }
        } else if owned, status.st_mode & S_IFMT == S_IFREG, status.st_size > 0 {
            try map(Int(status.st_size))
        }
    }

    deinit {
        if case .mapped(let bytes) = shape { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), reserved) }
        chunk.deallocate()
        if owned, descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// Maps the file over a larger, empty mapping: so the bytes behind its end can be read even when it fills its last page.
    private func map(_ size: Int) throws(LogError) {
        let page = Int(getpagesize())
        reserved = (size + page - 1) / page * page + page
        guard let base = mmap(nil, reserved, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), base != MAP_FAILED else {
            throw cannotRead()
        }
        guard mmap(base, size, PROT_READ, MAP_PRIVATE | MAP_FIXED, descriptor, 0) != MAP_FAILED else {
            munmap(base, reserved)
            return  // Some file systems cannot map; reading works everywhere.
        }
        madvise(base, size, MADV_SEQUENTIAL)
        shape = .mapped(UnsafeRawBufferPointer(start: base, count: size))
    }

    /// Gives mapped pages before an offset back, so that reading a large file leaves the process small.
    func release(_ range: Range<Int>) {
        guard case .mapped(let bytes) = shape, let base = bytes.baseAddress else { return }
        madvise(UnsafeMutableRawPointer(mutating: base + range.lowerBound), range.count, MADV_DONTNEED)
    }

    /// Reads at least one byte into the target; 0 at the end of the input.
    ///
    /// What lies before a damaged place is given first, the error with the next call.
    func read(into target: UnsafeMutableRawBufferPointer) throws(LogError) -> Int {
        guard let decompressor else {
            if chunkAt == chunkEnd { try fill() }
            let count = min(target.count, chunkEnd - chunkAt)
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: chunk[chunkAt..<(chunkAt + count)]))
            chunkAt += count
            return count
        }
        while true {
            if let failure { throw failure }
            // What the decompressor holds back is asked for before more is waited for.
            if chunkAt == chunkEnd, !holdsBack { try fill() }
            if betweenMembers, try skipToNextMember(decompressor) == false { return 0 }
            let input = UnsafeRawBufferPointer(rebasing: chunk[chunkAt..<(holdsBack ? chunkAt : chunkEnd)])
            let step = decompressor.decompress(input, into: target)
            let isStuck = input.isEmpty && step.given == 0 && !holdsBack
            chunkAt += step.taken
            holdsBack = step.given == target.count
            switch step.outcome {
            case .goesOn: if isStuck { failure = brokenOff() }
            case .memberEnded:
                betweenMembers = true
                holdsBack = false
            case .isNoMember: failure = notAMember(at: memberStart, of: decompressor)
            case .damaged(let why):
                failure = refused(
                    "the compressed data is damaged near byte \(position): \(why). Test it with `\(decompressor.name) -t`."
                )
            case .tooLarge(let what): failure = refused("the compressed data at byte \(memberStart) \(what).")
            }
            if step.given > 0 { return step.given }
        }
    }

    /// How far the compressed file has been read.
    private var position: Int64 { chunkStart + Int64(chunkAt) }

    /// A compressed file may be several, one behind the other (RFC 1952, 2.2; RFC 8878, 3).
    ///
    /// Zeros behind the last one are padding from tapes and block devices.
    private func skipToNextMember(_ decompressor: any Decompressor) throws(LogError) -> Bool {
        while true {
            while chunkAt < chunkEnd, chunk[chunkAt] == 0 { chunkAt += 1 }
            if chunkAt < chunkEnd { break }
            try fill()
            if chunkAt == chunkEnd { return false }
        }
        memberStart = position
        guard decompressor.mayBegin(with: chunk[chunkAt]) else { throw notAMember(at: position, of: decompressor) }
        decompressor.restart()
        betweenMembers = false
        return true
    }

    private func refused(_ what: String) -> LogError { LogError(.refused, "\(path): \(what)") }

    private func brokenOff() -> LogError {
        refused("the compressed data breaks off at byte \(position). The file is cut short; copy it again.")
    }

    private func notAMember(at offset: Int64, of decompressor: any Decompressor) -> LogError {
        refused("something that is not \(decompressor.name) follows the compressed data at byte \(offset).")
    }

    /// Refills the empty chunk; leaves it empty at the end of the file.
    ///
    /// - Parameter count: bytes to wait for where a pipe gives one at a time: what the first look needs to tell the form.
    private func fill(atLeast count: Int = 1) throws(LogError) {
        chunkStart += Int64(chunkEnd)
        chunkAt = 0
        chunkEnd = 0
        while chunkEnd < count, !atEnd {
            if shouldStop() { throw LogError(.stopped, "stopped while reading \(path).") }
            var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = poll(&wanted, 1, ByteSource.patience)
            if ready == 0 || (ready < 0 && errno == EINTR) { continue }
            let got = Glibc.read(descriptor, chunk.baseAddress.map { $0 + chunkEnd }, chunk.count - chunkEnd)
            if got < 0 {
                if errno == EINTR || errno == EAGAIN { continue }
                throw cannotRead()
            }
            if got == 0 { atEnd = true }
            chunkEnd += got
        }
    }

    private func cannotRead() -> LogError { LogError(.refused, "cannot read the input \(path): \(systemText(errno)).") }
}
