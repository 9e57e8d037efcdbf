import Foundation

/// The files of this package, as they lie on disk.
struct Repository {
    let root: URL

    /// The folder above this file that holds Package.swift.
    init() throws {
        var folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        while !FileManager.default.fileExists(atPath: folder.appendingPathComponent("Package.swift").path) {
            let parent = folder.deletingLastPathComponent()
            guard parent.path != folder.path else { throw CocoaError(.fileNoSuchFile) }
            folder = parent
        }
        root = folder
    }

    init(root: URL) { self.root = root }

    /// Made by tools on a developer's machine and ignored by git.
    static let ignored: Set<String> = [".git", ".build", ".swiftpm", ".vscode", ".idea", ".DS_Store", "__pycache__"]

    /// Paths of all files relative to the root, sorted: what git tracks or would add, so that nobody's private files matter.
    func files() throws -> [String] {
        if let listed = listedByGit() { return listed.sorted() }
        return try walked()
    }

    /// What git lists; nil where this is no clone, or git is missing or refuses.
    private func listedByGit() -> [String]? {
        guard FileManager.default.fileExists(atPath: root.appendingPathComponent(".git").path) else { return nil }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        process.currentDirectoryURL = root
        let output = Pipe()
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return nil }
        let data = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { return nil }
        let paths = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        // A file that was deleted but not yet committed is still listed.
        return paths.filter { FileManager.default.fileExists(atPath: root.appendingPathComponent($0).path) }
    }

    private func walked() throws -> [String] {
        var found: [String] = []
        func walk(_ folder: String) throws {
            let place = folder.isEmpty ? root : root.appendingPathComponent(folder)
            for name in try FileManager.default.contentsOfDirectory(atPath: place.path).sorted() {
                guard !Repository.ignored.contains(name) else { continue }
                let path = folder.isEmpty ? name : folder + "/" + name
                var isFolder: ObjCBool = false
                guard
                    FileManager.default.fileExists(
                        atPath: root.appendingPathComponent(path).path,
                        isDirectory: &isFolder
                    )
                else {
                    continue
                }
                if isFolder.boolValue { try walk(path) } else { found.append(path) }
            }
        }
        try walk("")
        return found
    }

    /// The content of a file, or nil when it is not UTF-8.
    func text(_ path: String) throws -> String? {
        String(data: try Data(contentsOf: root.appendingPathComponent(path)), encoding: .utf8)
    }

    /// Whether a file in a folder of tests neither says that it holds tests nor lies where help for them does.
    private static func isMisnamedTest(_ path: String) -> Bool {
        let parts = path.split(separator: "/")
        guard parts.count == 3, parts[0] == "Tests", parts[1].hasSuffix("Tests") else { return false }
        return parts[2].hasSuffix(".swift") && !parts[2].hasSuffix("Tests.swift")
    }

    /// Links of Markdown files that lead to no file of the package.
    func brokenLinks(_ files: [String]) throws -> [Finding] {
        let known = Set(files)
        var found: [Finding] = []
        for path in files where path.hasSuffix(".md") {
            let lines = (try text(path) ?? "").split(separator: "\n", omittingEmptySubsequences: false)
            for (index, line) in lines.enumerated() {
                for target in Repository.links(line) {
                    let place = Repository.resolve(target, from: path)
                    if known.contains(place) || files.contains(where: { $0.hasPrefix(place + "/") }) { continue }
                    let message = "the link to \(target) leads nowhere: there is no \(place)"
                    found.append(Finding(path: path, line: index + 1, message: message))
                }
            }
        }
        return found
    }

    /// Files and folders that a map (`Sources/*/README.md`) names in back-ticks and that are not there.
    ///
    /// A name is a path from the map's folder or from the root; a name with `*`, a blank or a bracket is none.
    static func missing(_ map: String, _ text: String, files: [String]) -> [Finding] {
        let folder = map.split(separator: "/").dropLast().joined(separator: "/") + "/"
        var found: [Finding] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            for (part, name) in line.split(separator: "`", omittingEmptySubsequences: false).enumerated()
            where part % 2 == 1 {
                let isPath = name.hasSuffix(".swift") || (name.contains("/") && name.allSatisfy(isOfPath))
                guard isPath, name.allSatisfy(isOfPath) else { continue }
                let isThere = files.contains { file in
                    [folder + name, String(name)].contains {
                        file == $0 || file.hasPrefix($0.hasSuffix("/") ? $0 : $0 + "/")
                    }
                }
                if isThere { continue }
                let message = "the map names \(name), which is not there: say where it is now"
                found.append(Finding(path: map, line: index + 1, message: message))
            }
        }
        return found
    }

    private static func isOfPath(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || "/._+-".contains(character)
    }

    /// The targets of the links in a line of Markdown that are places in the package, without what follows `#`.
    static func links(_ line: some StringProtocol) -> [String] {
        String(line).split(separator: "](", omittingEmptySubsequences: false).dropFirst().compactMap { rest in
            let target = String(rest.prefix { $0 != ")" }.prefix { $0 != "#" })
            return target.isEmpty || target.contains(":") ? nil : target
        }
    }

    /// A place as seen from the folder of a file.
    static func resolve(_ target: String, from path: String) -> String {
        var parts = path.split(separator: "/").dropLast().map(String.init)
        for part in target.split(separator: "/") {
            if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(String(part)) }
        }
        return parts.joined(separator: "/")
    }

    /// Names that may stand at the top.
    static let topLevel: Set<String> = [
        "Package.swift", "Sources", "Tests", "topologies", "scripts", "README.md", "CHANGELOG.md", "LICENSE",
        ".gitignore",
        ".swift-format", ".ci",
    ]

    /// What is wrong with the places of these files; `isExecutable` is asked for scripts only.
    static func misplaced(_ files: [String], isExecutable: (String) -> Bool) -> [Finding] {
        var found: [Finding] = []
        func add(_ path: String, _ message: String) { found.append(Finding(path: path, line: 1, message: message)) }
        for path in files {
            let top = path.split(separator: "/").first.map(String.init) ?? path
            if path == "Package.resolved" {
                add(
                    path,
                    "there are no outside packages to resolve: remove the dependency; system libraries stand in Package.swift"
                )
            } else if !topLevel.contains(top) {
                add(
                    path,
                    "\(top) does not belong at the top: code in Sources, tests in Tests, examples in topologies, tools in scripts"
                )
            } else if isMisnamedTest(path) {
                add(path, "a file of tests ends in Tests.swift; what tests share lies in Support/ beside them")
            } else if path.hasPrefix("scripts/") || path == ".ci/run", !isExecutable(path) {
                add(path, "not executable: chmod +x, so that it runs from a fresh clone")
            }
        }
        return found
    }
}
