import Foundation
import Testing

/// The house's rules, held over the whole package.
///
/// How each rule fails: `TidyRuleTests`.
@Suite struct TidyTests {
    @Test func `the text of the package keeps the rules`() throws {
        let repository = try Repository()
        let files = try repository.files()
        var requirements: Set<String> = []
        for path in files where path.hasPrefix("Sources/") && path.hasSuffix(".swift") {
            requirements.formUnion(TidyRules.protocolRequirements(try repository.text(path) ?? ""))
        }
        var found: [Finding] = []
        for path in files {
            // Data (gzip, databases) has no text to look at.
            guard let text = try repository.text(path) else { continue }
            found += TidyRules.findings(path: path, text: text, requirements: requirements)
        }
        report(found)
    }

    @Test func `every file lies where people look for it`() throws {
        let repository = try Repository()
        report(
            Repository.misplaced(try repository.files()) { path in
                FileManager.default.isExecutableFile(atPath: repository.root.appendingPathComponent(path).path)
            }
        )
    }

    @Test func `the sources read what they declare`() throws {
        let repository = try Repository()
        let paths = try repository.files().filter { $0.hasPrefix("Sources/") && $0.hasSuffix(".swift") }
        report(UnreadMembers.findings(try paths.map { ($0, SwiftText(try repository.text($0) ?? "")) }))
    }

    @Test func `what comments refer to is there`() throws {
        let repository = try Repository()
        let paths = try repository.files()
        let files = try paths.filter { $0.hasSuffix(".swift") && $0 != "Package.swift" }
            .map { ($0, SwiftText(try repository.text($0) ?? "")) }
        report(StaleReferences.findings(files, paths: paths))
    }

    @Test func `no list of exceptions names a file that is gone`() throws {
        let files = Set(try Repository().files())
        let named =
            SizeRules.longFunctions.keys.map { String($0.prefix { $0 != ":" }) } + SizeRules.longFiles.keys
            + ClockRules.exceptions.keys
        #expect(Set(named).subtracting(files) == [])
    }

    @Test func `every file that a map names is there`() throws {
        let repository = try Repository()
        let files = try repository.files()
        for map in ["Sources/Detection/README.md", "Sources/Pipeline/README.md"] {
            report(Repository.missing(map, try #require(try repository.text(map)), files: files))
        }
    }

    @Test(arguments: ["Events/Decode", "Windows/Aggregate", "Graphs/Relate", "Scoring/Score", "Verdicts/Decide"])
    func `a stage is the way into its folder`(stage: String) throws {
        let repository = try Repository()
        let map = try #require(try repository.text("Sources/Detection/README.md"))
        let (folder, file) = (stage.prefix { $0 != "/" }, "\(stage)Stage.swift")
        let text = try #require(try repository.text("Sources/Detection/\(file)"))
        #expect(text.contains("struct \(file.dropFirst(folder.count + 1).dropLast(6))"))
        // Of all files of the folder the map names it first.
        let first = try #require(map.firstRange(of: "`\(folder)/"))
        #expect(
            map[first.lowerBound...].hasPrefix("`\(file)`"),
            "before \(file) the map names another file of \(folder)/"
        )
    }

    @Test func `every link in the documents leads somewhere`() throws {
        let repository = try Repository()
        report(try repository.brokenLinks(try repository.files()))
    }

    @Test func `each C library has one door`() {
        let doors = ImportArrows.allowed.values.flatMap { $0 }.filter { $0.hasPrefix("C") && $0 != "Console" }
        #expect(Set(doors).count == doors.count)
    }

    @Test func `the arrows have no circle`() {
        /// Whether a walk along imports from `target` comes back to one on the way.
        func circles(_ target: String, _ way: [String]) -> Bool {
            way.contains(target) || (ImportArrows.allowed[target] ?? []).contains { circles($0, way + [target]) }
        }
        for target in ImportArrows.allowed.keys { #expect(!circles(target, []), "\(target)") }
    }

    private func report(_ found: [Finding]) {
        #expect(found.isEmpty, "\n\(found.map(\.description).joined(separator: "\n"))")
    }
}
