import Glibc
import RuleLanguage
import Synchronization
import Testing

@testable import Pipeline

/// The secret by which identifiers are told apart: made once, kept for its owner alone, and never shown.
@Suite struct HashKeyFileTests {
    private static let text = "00112233445566778899aabbccddeeff"

    private static func mode(_ path: String) -> mode_t {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
    }

    private static func error(_ body: () throws(HashKeyError) -> Void) -> HashKeyError? {
        do throws(HashKeyError) { try body() } catch { return error }
        return nil
    }

    @Test func `a key is made once, with its folder, for its owner alone`() throws {
        let folder = TemporaryFolder()
        let before = umask(0)
        defer { umask(before) }
        let file = HashKeyFile(path: folder.file("state/shop/hash-key"))
        #expect(Self.error { () throws(HashKeyError) in _ = try file.read() }?.kind == .absent)
        let made = try file.readOrMake()
        #expect(made.isNew && made.key != .fixed)
        #expect(Self.mode(file.path) == 0o600)
        #expect(Self.mode(folder.file("state")) == 0o700 && Self.mode(folder.file("state/shop")) == 0o700)
        #expect(FileText.names(in: folder.file("state/shop")) == ["hash-key"])
        #expect(try file.read() == made.key)
        let again = try file.readOrMake()
        #expect(!again.isNew && again.key == made.key)
        let other = try HashKeyFile(path: folder.file("other")).readOrMake()
        #expect(other.key != made.key && other.key.fingerprint != made.key.fingerprint)
    }

    @Test func `what is in the file is the key in hexadecimal digits, low byte first`() throws {
        let folder = TemporaryFolder()
        for (content, key) in [
            (Self.text + "\n", HashKey(0x7766_5544_3322_1100, 0xFFEE_DDCC_BBAA_9988)),
            (Self.text.uppercased(), HashKey(0x7766_5544_3322_1100, 0xFFEE_DDCC_BBAA_9988)),
            (String(repeating: "0", count: 31) + "1\r\n", HashKey(0, 0x0100_0000_0000_0000)),
        ] {
            folder.write(content, "key")
            chmod(folder.file("key"), 0o400)
            #expect(try HashKeyFile(path: folder.file("key")).read() == key)
            unlink(folder.file("key"))
            #expect(
                key.hexadecimal + "\n" == content.lowercased() || key.hexadecimal == content.lowercased().prefix(32)
            )
        }
        // hmac.new(bytes(range(16)), b"weir hash key", "sha256").hexdigest()[:16]
        #expect(HashKey(0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908).fingerprint == "6194736fa0cc4f3f")
    }

    @Test(arguments: [
        "", "\n", "0011", text + "0", text + "\n\n", "g" + text.dropFirst(), text + " " + text,
        "-----BEGIN PRIVATE KEY-----",
    ])
    func `what is no key is refused and not shown`(_ content: String) {
        let folder = TemporaryFolder()
        folder.write(content, "key")
        chmod(folder.file("key"), 0o600)
        let found = Self.error { () throws(HashKeyError) in _ = try HashKeyFile(path: folder.file("key")).readOrMake() }
        #expect(found?.kind == .malformed && found?.message.contains(folder.file("key")) == true)
        #expect(content.count < 5 || found?.message.contains(content) == false)
    }

    @Test(arguments: [0o640, 0o604, 0o620, 0o602, 0o610, 0o666] as [mode_t])
    func `a key that others may read or change is refused with what to do`(_ mode: mode_t) {
        let folder = TemporaryFolder()
        let path = folder.file("key")
        folder.write(Self.text + "\n", "key")
        chmod(path, mode)
        let found = Self.error { () throws(HashKeyError) in _ = try HashKeyFile(path: path).readOrMake() }
        #expect(
            found?.kind == .exposed && found?.remedy.contains("chmod 600 \(path)") == true,
            "\(String(describing: found))"
        )
        #expect(found?.message.contains(String(mode, radix: 8)) == true && found?.message.contains(Self.text) == false)
        chmod(path, 0o600)
        #expect(Self.error { () throws(HashKeyError) in _ = try HashKeyFile(path: path).readOrMake() } == nil)
    }

    @Test func `a symbolic link is not followed, neither to a key nor to where one could be made`() {
        let folder = TemporaryFolder()
        folder.write(Self.text + "\n", "key")
        chmod(folder.file("key"), 0o600)
        for target in ["key", "nowhere"] {
            symlink(folder.file(target), folder.file("link"))
            let file = HashKeyFile(path: folder.file("link"))
            #expect(Self.error { () throws(HashKeyError) in _ = try file.readOrMake() }?.kind == .exposed)
            unlink(folder.file("link"))
        }
        #expect(FileText.names(in: folder.path) == ["key"])
    }

    @Test func `folders and pipes are no keys, and nobody waits for one`() {
        let folder = TemporaryFolder()
        folder.makeFolder("folder")
        mkfifo(folder.file("pipe"), 0o600)
        for name in ["folder", "pipe"] {
            let file = HashKeyFile(path: folder.file(name))
            #expect(Self.error { () throws(HashKeyError) in _ = try file.readOrMake() }?.kind == .malformed)
        }
        // A file stands where a folder must be.
        folder.write("", "file")
        let below = HashKeyFile(path: folder.file("file/hash-key"))
        #expect(Self.error { () throws(HashKeyError) in _ = try below.readOrMake() }?.kind == .failed)
    }

    /// By hard links, and where the file system has none.
    @Test(arguments: [0, EPERM, EOPNOTSUPP])
    func `many that start together get one key`(refusal: Int32) {
        let folder = TemporaryFolder()
        let file = HashKeyFile(path: folder.file("state/hash-key"))
        let keys = Mutex<[HashKey?]>([])
        let makers = Mutex(0)
        let team = ThreadTeam(lanes: 8)
        team.run(lanes: 8) { _ in
            let made = try? file.readOrMake { old, new in
                if refusal == 0 { return link(old, new) }
                errno = refusal
                return -1
            }
            keys.withLock { $0.append(made?.key) }
            if made?.isNew == true { makers.withLock { $0 += 1 } }
        }
        team.stop()
        let all = keys.withLock { $0 }
        #expect(all.count == 8 && all.allSatisfy { $0 != nil && $0 == all[0] })
        #expect(makers.withLock { $0 } == 1)
        #expect(FileText.names(in: folder.file("state")) == ["hash-key"])
    }
}
