import Glibc
import Telemetry

/// Writes lines to a file or stdout (`-`) through one buffer of 256 KiB.
///
/// A file appears under its name only when ``close()`` returns: the lines go to a new file beside it, `<path>.XXXXXX.tmp` with a
/// name that nobody else has, which is synced and renamed. So whoever reads the path sees the old file or the whole new one, and of
/// two writers the last to close wins. Devices, pipes and stdout are written as they are. When a pipe's reader leaves (`| head`),
/// ``readerIsGone`` turns true and what follows is dropped: the caller stops and ends cleanly. A writer that goes without
/// ``close()`` leaves nothing behind. On a terminal what could steer it is written as JSON escapes it (``TerminalText``).
public final class LineWriter {
    /// The path as given.
    public let path: String
    /// True when nobody reads what we write any more.
    public private(set) var readerIsGone = false
    /// Bytes taken so far.
    public private(set) var byteCount: Int64 = 0
    /// Whether it appears under its name as a whole at the end, and not at all when it is given up.
    public var isFile: Bool { temporaryPath != nil }
    /// Lines taken so far.
    public private(set) var lineCount: Int64 = 0

    private var descriptor: Int32
    private let isTerminal: Bool
    /// Where the lines go until the end; nil: to the path itself.
    private let temporaryPath: String?
    private let finalPath: String
    private let buffer: UnsafeMutableRawBufferPointer
    private var filled = 0

    /// Opens the output; an unwritable one fails here, before any work is done.
    public init(path: String) throws(LogError) {
        self.path = path
        // Without this a reader that leaves would end the process before it could say what it did.
        signal(SIGPIPE, SIG_IGN)
        var status = stat()
        let exists = path != "-" && stat(path, &status) == 0
        if path == "-" {
            finalPath = "-"
            temporaryPath = nil
            descriptor = STDOUT_FILENO
        } else if exists, status.st_mode & S_IFMT != S_IFREG {
            finalPath = path
            temporaryPath = nil
            descriptor = open(path, O_WRONLY | O_CLOEXEC)
        } else {
            // A symbolic link stays one: its target is replaced.
            var target = path
            if exists, let resolved = realpath(path, nil) {
                target = String(cString: resolved)
                free(resolved)
            }
            // A file nobody may write is not replaced behind its owner's back, though the folder would allow it.
            if exists, access(target, W_OK) != 0 {
                throw LogError(.refused, "cannot write \(path): \(systemText(errno)).")
            }
            finalPath = target
            (descriptor, temporaryPath) = LineWriter.makeTemporary(beside: target)
            // A name of mkstemp is for its owner alone: the file gets the mode of the old one, or the one a plain `open` would
            // give.
            if descriptor >= 0 {
                fchmod(descriptor, exists ? status.st_mode & 0o7777 : 0o666 & ~LineWriter.creationMask)
            }
        }
        isTerminal = descriptor >= 0 && isatty(descriptor) == 1
        buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 64)
        if descriptor < 0 { throw LogError(.refused, "cannot write \(path): \(systemText(errno)).") }
    }

    deinit {
        abandon()
        buffer.deallocate()
    }

    /// What the process takes from the mode of files it makes.
    ///
    /// Setting it is the only way to ask; for that moment new files of other threads are for their owner alone.
    private static let creationMask: mode_t = {
        let mask = umask(0o077)
        umask(mask)
        return mask
    }()

    /// Makes a file of a new name, `NAME.XXXXXX.tmp`, in the folder of another, for its owner alone; -1 when it cannot.
    ///
    /// The name is nobody else's: a link that somebody has laid there beforehand is not followed.
    public static func makeTemporary(beside target: String) -> (descriptor: Int32, path: String) {
        // The longest name there is leaves no room for more: then it gives way.
        var folder = ""
        var name = target
        if let slash = target.lastIndex(of: "/") {
            folder = String(target[...slash])
            name = String(target[target.index(after: slash)...])
        }
        while name.utf8.count + 11 > Int(NAME_MAX) { name.removeLast() }
        var template = Array("\(folder)\(name).XXXXXX.tmp".utf8CString)
        let descriptor = template.withUnsafeMutableBufferPointer { bytes in
            bytes.baseAddress.map { mkstemps($0, 4) } ?? -1
        }
        if descriptor >= 0 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        let path = template.withUnsafeBufferPointer { bytes in bytes.baseAddress.map { String(cString: $0) } ?? "" }
        return (descriptor, path)
    }

    /// Writes the bytes and a line end.
    public func writeLine(_ line: UnsafeRawBufferPointer) throws(LogError) {
        try write(line)
        if filled == buffer.count { try flush() }
        buffer[filled] = 0x0a
        filled += 1
        byteCount += 1
        lineCount += 1
    }

    /// Writes the text and a line end.
    public func writeLine(_ line: String) throws(LogError) {
        let bytes = Array(line.utf8)
        try bytes.withUnsafeBufferPointer { (bytes) throws(LogError) in try writeLine(UnsafeRawBufferPointer(bytes)) }
    }

    /// Writes bytes, of whole characters: as they are, but to a terminal.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(LogError) {
        byteCount += Int64(bytes.count)
        if !isTerminal { return try put(bytes) }
        let harmless = Array(TerminalText.escapedJSON(String(decoding: bytes, as: UTF8.self)).utf8)
        try harmless.withUnsafeBufferPointer { (bytes) throws(LogError) in try put(UnsafeRawBufferPointer(bytes)) }
    }

    private func put(_ bytes: UnsafeRawBufferPointer) throws(LogError) {
        if bytes.count > buffer.count - filled {
            try flush()
            if bytes.count >= buffer.count {
                try writeOut(bytes)
                return
            }
        }
        guard let from = bytes.baseAddress, let to = buffer.baseAddress else { return }
        memcpy(to + filled, from, bytes.count)
        filled += bytes.count
    }

    /// Hands everything to the system; for output somebody watches.
    public func flush() throws(LogError) {
        let count = filled
        filled = 0
        try writeOut(UnsafeRawBufferPointer(rebasing: buffer[0..<count]))
    }

    /// Writes the rest and, for a file, syncs it and gives it its name; a second call does nothing.
    public func close() throws(LogError) {
        guard descriptor >= 0 else { return }
        try flush()
        guard let temporaryPath else {
            if descriptor != STDOUT_FILENO { Glibc.close(descriptor) }
            descriptor = -1
            return
        }
        // Some file systems tell that the disk is full only here.
        guard fsync(descriptor) == 0 else { throw cannotWrite() }
        let closed = Glibc.close(descriptor)
        descriptor = -1
        guard closed == 0, rename(temporaryPath, finalPath) == 0 else {
            let error = cannotWrite()
            unlink(temporaryPath)
            throw error
        }
        // The new name is on disk only when the folder is.
        let folder = finalPath.lastIndex(of: "/").map { String(finalPath[..<finalPath.index(after: $0)]) } ?? "."
        let handle = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if handle >= 0 {
            fsync(handle)
            Glibc.close(handle)
        }
    }

    /// Gives up: what was written to a file is thrown away and the path keeps what it had; a pipe gets the lines taken so far.
    public func abandon() {
        guard descriptor >= 0 else { return }
        // A reader that has seen half a line should see the rest; why it cannot, whoever gives up has told already.
        if temporaryPath == nil { try? flush() }
        if descriptor != STDOUT_FILENO { Glibc.close(descriptor) }
        if let temporaryPath { unlink(temporaryPath) }
        descriptor = -1
        filled = 0
    }

    private func writeOut(_ bytes: UnsafeRawBufferPointer) throws(LogError) {
        guard !readerIsGone, let base = bytes.baseAddress else { return }
        precondition(descriptor >= 0, "the writer is closed")
        var at = 0
        while at < bytes.count {
            let wrote = Glibc.write(descriptor, base + at, bytes.count - at)
            if wrote >= 0 {
                at += wrote
            } else if errno == EPIPE {
                readerIsGone = true
                return
            } else if errno == EAGAIN {
                // A pipe somebody made non-blocking: wait for room.
                var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = Glibc.poll(&wanted, 1, -1)
            } else if errno != EINTR {
                throw cannotWrite()
            }
        }
    }

    private func cannotWrite() -> LogError { LogError(.refused, "cannot write \(path): \(systemText(errno)).") }
}
