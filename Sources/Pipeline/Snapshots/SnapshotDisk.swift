import Glibc

/// The system calls by which a folder's snapshots are written; a simulator's own fail.
///
/// Each returns what the system's does: -1 where it fails, and `errno` says why.
struct SnapshotDisk {
    /// Makes a file anew, for its owner alone, and opens it for writing.
    var create: (_ path: String) -> Int32 = {
        open($0, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
    }
    var write: (_ file: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int = { Glibc.write($0, $1, $2) }
    /// Makes safe what was written to a file, or renamed in a folder.
    var sync: (_ file: Int32) -> Int32 = { fsync($0) }
    var rename: (_ from: String, _ to: String) -> Int32 = { Glibc.rename($0, $1) }
    var remove: (_ path: String) -> Int32 = { unlink($0) }
}
