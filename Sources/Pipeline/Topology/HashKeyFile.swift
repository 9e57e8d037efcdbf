import CPlatform
import Glibc
public import RuleLanguage

/// Why a hash key cannot be used or made, and what to do.
public struct HashKeyError: Error, Sendable, Equatable {
    /// What is wrong, for who must tell one from the other.
    public enum Kind: Sendable {
        case absent
        /// The file system does not let us.
        case forbidden
        /// Others may know the key, or may have chosen it.
        case exposed
        /// The file holds something else.
        case malformed
        /// The file system fails otherwise: no such folder, no space.
        case failed
    }
    public var kind: Kind
    public var message: String
    public var remedy: String
}

/// The file of a deployment's hash key: 32 hexadecimal digits and a line end, for its owner alone.
///
/// Whoever reads the key can make identifiers that are taken for others, so a file that others may read or write, that somebody
/// else owns, or that is a symbolic link is refused rather than used. Results do not depend on the key: one that was lost or may be
/// known is replaced by removing the file.
public struct HashKeyFile: Sendable, Equatable {
    public let path: String

    public init(path: String) { self.path = path }

    /// - Throws: ``HashKeyError``: `absent` where there is none.
    public func read() throws(HashKeyError) -> HashKey {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ELOOP {
                throw HashKeyError(
                    kind: .exposed,
                    message: "the hash key must not be a symbolic link: \(path)",
                    remedy: "name the file itself"
                )
            }
            throw HashKeyFile.failure("the hash key cannot be read", path, errno)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw HashKeyFile.failure("the hash key cannot be read", path, errno)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw HashKeyError(
                kind: .malformed,
                message: "the hash key must be a file: \(path) is none",
                remedy: "openssl rand -hex 16 makes a key"
            )
        }
        // Whoever owns the folder can put there what he likes; in one such as /tmp others can as well.
        var folder = stat()
        let isFolders = stat(HashKeyFile.folder(of: path), &folder) == 0 && folder.st_uid == status.st_uid
        guard status.st_uid == geteuid() || status.st_uid == 0 || isFolders else {
            throw HashKeyError(
                kind: .exposed,
                message: "the hash key belongs to another user, who may have chosen it: \(path)",
                remedy: "remove the file, or take it over with chown and chmod 600 if the user is trusted"
            )
        }
        guard status.st_mode & 0o077 == 0 else {
            let digits = String(status.st_mode & 0o777, radix: 8)
            throw HashKeyError(
                kind: .exposed,
                message: "the hash key may be read or changed by others than its owner (mode \(digits)): \(path)",
                remedy: "chmod 600 \(path); if somebody may know the key, remove the file: results do not depend on it"
            )
        }
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        guard count >= 0 else { throw HashKeyFile.failure("the hash key cannot be read", path, errno) }
        guard let key = HashKey(hexadecimal: bytes[..<count]) else {
            throw HashKeyError(
                kind: .malformed,
                message: "this is no hash key, which is 32 hexadecimal digits and a line end: \(path)",
                remedy: "openssl rand -hex 16 makes one"
            )
        }
        return key
    }

    /// The key; made from the system's random source, with its folder, where there is none.
    ///
    /// Of two that start together both get the key of the one that was first.
    public func readOrMake() throws(HashKeyError) -> (key: HashKey, isNew: Bool) { try readOrMake { link($0, $1) } }

    /// - Parameter naming: gives a file its second name, as `link` does; a test's own may refuse.
    func readOrMake(
        naming: (_ file: String, _ name: String) -> Int32
    ) throws(HashKeyError) -> (key: HashKey, isNew: Bool) {
        do throws(HashKeyError) { return (try read(), false) } catch { if error.kind != .absent { throw error } }
        var random = SystemRandomNumberGenerator()
        let key = HashKey(random.next(), random.next())
        return try write(key, name: random.next(), naming) ? (key, true) : (try read(), false)
    }

    /// Writes the file whole or not at all; returns false when there is one by now.
    ///
    /// A hard link gives the finished file its name, as a rename would, but replaces nothing. Where the file system has none it is
    /// a rename that replaces nothing; where it has neither, no key is kept.
    private func write(
        _ key: HashKey,
        name: UInt64,
        _ naming: (_ file: String, _ name: String) -> Int32
    ) throws(HashKeyError) -> Bool {
        let folder = HashKeyFile.folder(of: path)
        try HashKeyFile.make(folder)
        let temporary = "\(path).\(String(name, radix: 16)).new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw HashKeyFile.failure("the hash key cannot be kept", path, errno) }
        defer { unlink(temporary) }
        let text = Array((key.hexadecimal + "\n").utf8)
        let written = text.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        let isKept = written == text.count && fchmod(descriptor, 0o600) == 0 && fsync(descriptor) == 0
        let reason = written >= 0 && written < text.count ? ENOSPC : errno
        close(descriptor)
        guard isKept else { throw HashKeyFile.failure("the hash key cannot be kept", path, reason) }
        var refusal = naming(temporary, path) == 0 ? 0 : errno
        if [EPERM, EOPNOTSUPP, ENOSYS, EMLINK].contains(refusal) { refusal = weir_rename_to_new(temporary, path) }
        if refusal == EEXIST { return false }
        guard refusal == 0 else { throw HashKeyFile.failure("the hash key cannot be kept", path, refusal) }
        let opened = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if opened >= 0 {
            fsync(opened)
            close(opened)
        }
        return true
    }

    private static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Makes a folder and those above it, for their owner alone.
    private static func make(_ folder: String) throws(HashKeyError) {
        var status = stat()
        if stat(folder, &status) == 0 { return }
        if folder != ".", folder != "/" { try make(self.folder(of: folder)) }
        if mkdir(folder, 0o700) != 0, errno != EEXIST {
            throw failure("the folder of the hash key cannot be made", folder, errno)
        }
    }

    private static func failure(_ what: String, _ path: String, _ code: Int32) -> HashKeyError {
        let kind: HashKeyError.Kind =
            switch code {
            case ENOENT: .absent
            case EACCES, EPERM, EROFS: .forbidden
            default: .failed
            }
        return HashKeyError(
            kind: kind,
            message: "\(what): \(path): \(String(cString: strerror(code)))",
            remedy:
                "--state DIR names a folder that may be written, --hash-key-file FILE a key that somebody else keeps"
        )
    }
}

extension HashKey {
    private static let digits = 32

    /// Tells keys apart and gives nothing of them away: eight bytes of an HMAC-SHA-256 under the key, hexadecimal.
    public var fingerprint: String {
        String(HMACSHA256(key: bytes).hex(of: Array("weir hash key".utf8)).prefix(16))
    }

    private var bytes: [UInt8] {
        [words.0, words.1].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) } }
    }

    /// The key's bytes, as its file holds them.
    var hexadecimal: String { Hexadecimal.text(of: bytes) }

    /// Nil unless the text is 32 hexadecimal digits, with a line end or without.
    init?(hexadecimal text: some Sequence<UInt8>) {
        var text = Array(text)
        if text.last == UInt8(ascii: "\n") { text.removeLast() }
        if text.last == UInt8(ascii: "\r") { text.removeLast() }
        guard text.count == HashKey.digits else { return nil }
        var words: [UInt64] = [0, 0]
        for (place, digit) in text.enumerated() {
            guard let value = Character(UnicodeScalar(digit)).hexDigitValue else { return nil }
            // The high digit of a byte stands first, the low byte of a word.
            let byte = place / 2
            words[byte / 8] |= UInt64(value) << UInt64(8 * (byte % 8) + (place % 2 == 0 ? 4 : 0))
        }
        self.init(words[0], words[1])
    }
}
