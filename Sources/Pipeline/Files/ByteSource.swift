import CZlib
import Glibc

/// Bytes of an input file as they come: a mapped file, or a stream with or without gzip around it.
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
    private var inflater: UnsafeMutablePointer<z_stream>?
    /// Compressed bytes, and for a plain stream those read to see what it is.
    private let chunk: UnsafeMutableRawBufferPointer
    private var chunkAt = 0
    private var chunkEnd = 0
    private var atEnd = false
    /// Bytes of the file before the chunk.
    private var chunkStart: Int64 = 0
    /// True between the members of a gzip file.
    private var betweenMembers = false

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
        try fill()
        if chunkEnd >= 2, chunk[0] == 0x1f, chunk[1] == 0x8b {
            let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
            stream.initialize(to: z_stream())
            // 15 bits of window, and 16 more for "gzip around it".
            guard inflateInit2_(stream, 31, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
                stream.deallocate()
                throw LogError(.transient, "\(path): zlib could not start.")
            }
            inflater = stream
        } else if owned, status.st_mode & S_IFMT == S_IFREG, status.st_size > 0 {
            try map(Int(status.st_size))
        }
    }

    deinit {
        if case .mapped(let bytes) = shape { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), reserved) }
        if let inflater {
            inflateEnd(inflater)
            inflater.deallocate()
        }
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
    func read(into target: UnsafeMutableRawBufferPointer) throws(LogError) -> Int {
        guard let inflater else {
            if chunkAt == chunkEnd { try fill() }
            let count = min(target.count, chunkEnd - chunkAt)
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: chunk[chunkAt..<(chunkAt + count)]))
            chunkAt += count
            return count
        }
        while true {
            if chunkAt == chunkEnd { try fill() }
            if betweenMembers {
                if try skipToNextMember(inflater) == false { return 0 }
                continue
            }
            if chunkAt == chunkEnd {
                throw LogError(
                    .refused,
                    "\(path): the compressed data breaks off at byte \(chunkStart + Int64(chunkAt)). The file is cut short; copy it again."
                )
            }
            inflater.pointee.next_in = chunk.baseAddress.map { ($0 + chunkAt).assumingMemoryBound(to: UInt8.self) }
            inflater.pointee.avail_in = UInt32(chunkEnd - chunkAt)
            inflater.pointee.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
            inflater.pointee.avail_out = UInt32(clamping: target.count)
            let code = inflate(inflater, Z_NO_FLUSH)
            let produced = Int(UInt32(clamping: target.count) - inflater.pointee.avail_out)
            chunkAt = chunkEnd - Int(inflater.pointee.avail_in)
            switch code {
            case Z_STREAM_END: betweenMembers = true
            case Z_OK, Z_BUF_ERROR: break
            default:
                let why = inflater.pointee.msg.map { String(cString: $0) } ?? "error \(code)"
                throw LogError(
                    .refused,
                    "\(path): the compressed data is damaged near byte \(chunkStart + Int64(chunkAt)): \(why). Test it with `gzip -t`."
                )
            }
            if produced > 0 { return produced }
        }
    }

    /// A gzip file may be several, one behind the other (RFC 1952, 2.2).
    ///
    /// Zeros behind the last one are padding from tapes and block devices.
    private func skipToNextMember(_ inflater: UnsafeMutablePointer<z_stream>) throws(LogError) -> Bool {
        while true {
            while chunkAt < chunkEnd, chunk[chunkAt] == 0 { chunkAt += 1 }
            if chunkAt < chunkEnd { break }
            try fill()
            if chunkAt == chunkEnd { return false }
        }
        guard chunk[chunkAt] == 0x1f else {
            throw LogError(
                .refused,
                "\(path): something that is not gzip follows the compressed data at byte \(chunkStart + Int64(chunkAt))."
            )
        }
        inflateReset(inflater)
        betweenMembers = false
        return true
    }

    /// Refills the empty chunk; leaves it empty at the end of the file.
    private func fill() throws(LogError) {
        chunkStart += Int64(chunkEnd)
        chunkAt = 0
        chunkEnd = 0
        // Two bytes at least, so that the first look can tell gzip from text even when a pipe gives one byte at a time.
        while chunkEnd < 2, !atEnd {
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
