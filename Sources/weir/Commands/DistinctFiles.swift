import Glibc

/// Which files a command reads and writes, compared before any of them is opened: an output that is also an input would destroy it
/// at the end, and two outputs in one file would do so to each other.
struct DistinctFiles {
    /// A file and the flag that names it, such as `--input`.
    struct Named {
        var flag: String
        var path: String
        init(_ flag: String, _ path: String) {
            self.flag = flag
            self.path = path
        }
    }

    /// Where bytes go to or come from, whatever it is called.
    private enum Place: Hashable {
        /// Something that is there: a file, a pipe, a socket.
        case existing(device: UInt, inode: UInt)
        /// A name in a folder where nothing is yet.
        case absent(String)
        case stdin
        case stdout
    }

    private var inputs: [Named] = []
    private var outputs: [Named] = []

    /// Adds an input; nil is none.
    mutating func read(_ flag: String, _ path: String?) { if let path { inputs.append(Named(flag, path)) } }

    /// Adds an output; nil is none.
    mutating func write(_ flag: String, _ path: String?) { if let path { outputs.append(Named(flag, path)) } }

    /// Refuses (exit 2) what names one file twice, unless both only read it.
    ///
    /// Devices such as `/dev/null` take everything. Standard input can be read once.
    func check() throws(CommandFailure) {
        var read: [Place: Named] = [:]
        for input in inputs {
            guard let place = DistinctFiles.place(ofInput: input.path) else { continue }
            if place == .stdin, read[place] != nil {
                throw .usage("standard input can be read once", hint: "name it in one \(input.flag) only")
            }
            read[place] = input
        }
        var written: [Place: Named] = [:]
        for output in outputs {
            for place in DistinctFiles.places(ofOutput: output.path) {
                if let input = read[place] {
                    throw .usage(
                        "\(input.flag) \(input.path) and \(output.flag) \(output.path) name the same file",
                        hint: "\(output.flag) would replace it: give it a file of its own"
                    )
                }
                if let other = written[place] { throw DistinctFiles.twice(other, output) }
                written[place] = output
            }
        }
    }

    private static func twice(_ first: Named, _ second: Named) -> CommandFailure {
        .usage(
            first.path == "-" && second.path == "-"
                ? "\(first.flag) and \(second.flag) are both standard output"
                : "\(first.flag) \(first.path) and \(second.flag) \(second.path) name the same file",
            hint: "give each a file of its own"
        )
    }

    private static func place(ofInput path: String) -> Place? {
        if path == "-" { return .stdin }
        var status = stat()
        // Only what can be replaced: a pipe or a device that is read and written is none.
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        return .existing(device: UInt(status.st_dev), inode: UInt(status.st_ino))
    }

    /// The place itself, and for standard output the file behind it.
    private static func places(ofOutput path: String) -> [Place] {
        if path == "-" {
            var status = stat()
            // `--output - > all.jsonl` and `--features all.jsonl` are one file as well.
            guard fstat(STDOUT_FILENO, &status) == 0, !isDevice(status) else { return [.stdout] }
            return [.stdout, .existing(device: UInt(status.st_dev), inode: UInt(status.st_ino))]
        }
        var status = stat()
        if stat(path, &status) == 0 {
            if isDevice(status) { return [] }
            return [.existing(device: UInt(status.st_dev), inode: UInt(status.st_ino))]
        }
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        // Without a folder the output cannot be opened, which is told elsewhere.
        guard let folder = resolved(folder) else { return [] }
        return [.absent(folder + "/" + name)]
    }

    private static func isDevice(_ status: stat) -> Bool {
        let kind = status.st_mode & S_IFMT
        return kind == S_IFCHR || kind == S_IFBLK
    }

    private static func resolved(_ path: String) -> String? {
        guard let found = realpath(path, nil) else { return nil }
        defer { free(found) }
        return String(cString: found)
    }
}
