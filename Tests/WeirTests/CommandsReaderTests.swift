import Foundation
import Pipeline
import Testing

/// Somebody who may not write to what a test makes: root becomes nobody, anybody else takes the rights away.
private enum Reader {
    /// Whether who has no rights can start the program.
    static let canStart: Bool = {
        guard let path = WeirProgram.path else { return false }
        return (try? start(path, ["version"]).wait().code) == 0
    }()

    static func start(_ path: String, _ arguments: [String]) throws -> RunningProgram {
        guard geteuid() == 0 else { return try RunningProgram(path, arguments) }
        let asNobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups", path]
        return try RunningProgram("/usr/bin/setpriv", asNobody + arguments)
    }
}

/// Commands that only look at an embedded log, run by somebody who may not write to it.
@Suite(
    .enabled(if: WeirProgram.path != nil, Commands.absence),
    .enabled(if: Reader.canStart, "nobody may not start weir")
)
struct CommandsReaderTests {
    private let folder: Commands.Folder
    private let log: String

    init() throws {
        folder = try Commands.Folder()
        log = try Commands.judgedLog(folder)
        unlink(log + "-turn")
        chmod(log, 0o444)
        chmod(folder.url.path, 0o555)
    }

    private func start(_ arguments: String...) throws -> RunningProgram {
        try Reader.start(try #require(WeirProgram.path), arguments + ["--log", log])
    }

    private func files() throws -> [String: Data] {
        var files: [String: Data] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.url.path) {
            files[name] = try Data(contentsOf: folder.url.appendingPathComponent(name))
        }
        return files
    }

    @Test func `audit, doctor and tail read a log that they may not write, and leave it as it is`() throws {
        defer { chmod(folder.url.path, 0o755) }
        let before = try files()
        let audit = try start("audit", "--topology", Commands.topology("marketplace")).wait()
        #expect(audit.code == 0 && audit.output.contains("missing    0"), "\(audit)")
        let doctor = try start("doctor", "--topology", Commands.topology("marketplace")).wait()
        #expect(doctor.code == 0 && doctor.output.contains("without a gap"), "\(doctor)")
        let tail = try start("tail", "--since", "7d", "--json")
        #expect(tail.wait { $0.output.contains("\"decision\"") }, "\(tail.errors)")
        tail.send(SIGTERM)
        #expect(try tail.wait().code == 143)
        #expect(try files() == before)
    }

    @Test func `tail follows a log that somebody begins to write to, and sees it end`() throws {
        defer { chmod(folder.url.path, 0o755) }
        let tail = try start("tail", "--json")
        // It has begun on a log that nobody writes to.
        #expect(tail.wait { $0.isUsing(log) }, "\(tail.errors)")
        // The writer has the rights, for which others must have them for a moment.
        func write(_ body: (EmbeddedLog) throws -> Void) throws {
            chmod(folder.url.path, 0o755)
            chmod(log, 0o644)
            let writer = try EmbeddedLog(path: log)
            defer { writer.close() }
            try body(writer)
        }
        try write { try Commands.mark($0, until: tail) }
        for round in 1...3 {
            try write {
                try Commands.append($0, OutputTopics.verdicts, key: nil, value: Array("{\"round\":\(round)}".utf8))
                if round == 2 {
                    #expect(tail.wait { $0.output.contains("\"round\":2") }, "\(tail.errors)")
                }
            }
            #expect(tail.wait { $0.output.contains("\"round\":\(round)") }, "\(tail.errors)")
        }
        tail.send(SIGTERM)
        #expect(try tail.wait().code == 143)
    }

    @Test(.enabled(if: geteuid() == 0, "whoever owns the files may read them"))
    func `a log whose writer's files nobody may read is refused with what is needed`() throws {
        chmod(folder.url.path, 0o755)
        chmod(log, 0o644)
        let writer = try EmbeddedLog(path: log)
        try Commands.append(writer, OutputTopics.verdicts, key: nil, value: Array("{}".utf8))
        for name in ["-wal", "-shm"] { chmod(log + name, 0o600) }
        for command in [["tail"], ["doctor"], ["audit", "--topology", Commands.topology("marketplace")]] {
            let result = try Reader.start(
                try #require(WeirProgram.path),
                command + ["--log", log]
            ).wait()
            #expect(result.code == 6, "\(result)")
            #expect((result.errors + result.output).contains("shop.db-shm"), "\(result)")
        }
        writer.close()
    }
}
