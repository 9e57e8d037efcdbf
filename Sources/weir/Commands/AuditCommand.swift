import Pipeline

/// `weir audit`: whether the committed verdicts are those that journal and inputs give.
enum AuditCommand {
    /// The command's body.
    static func run(_ arguments: ParsedArguments, _ terminal: Terminal) throws -> ExitCode {
        var deployment = try Deployment(folder: arguments.required("topology"))
        try InputTopics.requireJSON(deployment)
        // Under the key of the one that runs, as what a full table forgets follows from it.
        if let key = try HashKeyPlace(arguments, topology: deployment.description.name)?.readIfThere() {
            deployment = try deployment.keyed(by: key)
        }
        let releases = try FolderReleases(deployment, former: arguments.strings("release"))
        StopSignal.install()
        let log = try LogOpening.require(
            arguments,
            .reader,
            application: LogOpening.application(deployment.description.name),
            terminal
        )
        defer { log.close() }
        deployment = try InputTopics.bound(deployment, to: log)
        var progress = ProgressReport(terminal, unit: "epochs", total: nil)
        let audit = JournalAudit(deployment, log: log, releases: releases, threads: Cores.available)
        let result = try audit.run { epochs in
            progress.update(Int(epochs))
            return StopSignal.received == nil
        }
        if let stopped = StopSignal.received, !result.isComplete {
            terminal.note("stopped before the end; nothing can be said about the rest")
            return stopped
        }
        if let key = result.otherKey {
            terminal.warn(
                "\(result.otherKeyEpochs) epochs were judged under another hash key (\(key)) than the audit's "
                    + "(\(deployment.keyFingerprint)): where a table was full, verdicts may differ for that "
                    + "alone. --state DIR or --hash-key-file FILE names the key they were judged under"
            )
        }
        warn(of: result, terminal)
        terminal.line(arguments.isSet("json") ? json(result) : table(result))
        for finding in result.findings { terminal.note("  \(finding.verdict)  \(Terminal.escaped(finding.reason))") }
        let all = result.missing + result.repeated + result.different
        if all > result.findings.count {
            terminal.note("  … and \(ProgressReport.grouped(Int(all) - result.findings.count)) more")
        }
        if result.isClean { return .ok }
        if result.mayBeByKey {
            terminal.fail(
                "every verdict that differs is of an epoch that was judged under another hash key",
                hint: "audit again with the run's key file (--hash-key-file FILE or --state DIR): "
                    + "only then can be said whether they are as computed"
            )
            return .incompatible
        }
        if result.faults == 0, result.otherKeyDifferences == 0 {
            terminal.fail(
                "the replay gives other verdicts than those that were judged: \(result.otherwiseEpochs) epochs",
                hint:
                    "the inputs are the same, and so are release and version: find out what of the program or the machine is not"
            )
            return .stateCorrupt
        }
        terminal.fail(
            "the verdicts in the log are not those of the replay",
            hint:
                "keep the log as it is; find out who else writes to weir.verdicts and whether inputs were deleted or replaced"
        )
        return .stateCorrupt
    }

    /// Says what was not compared, or only in part.
    private static func warn(of result: JournalAudit.Result, _ terminal: Terminal) {
        if result.otherReleaseEpochs > 0 {
            terminal.warn(
                "\(result.otherReleaseEpochs) epochs were judged by releases that are not to be found, and their verdicts are not "
                    + "compared: \(result.otherReleases). --release DIR names a folder as it was then"
            )
        }
        if let engine = result.otherEngine {
            terminal.warn(
                "\(result.otherEngineEpochs) epochs were judged by weir \(engine), and this is \(weirVersion): their verdicts are compared "
                    + "without versions, and \(result.otherEngineDifferences) that this version gives otherwise are no fault of the log"
            )
        }
        if result.unprovenEpochs > 0 {
            terminal.warn(
                "\(result.unprovenEpochs) epochs were journaled by an earlier version, without digests: of their inputs only the "
                    + "numbers are proven"
            )
        }
        for position in result.shortened {
            terminal.warn(
                "\(position.source) begins at offset \(position.next): verdicts before it were deleted by retention"
            )
        }
    }

    private static func json(_ result: JournalAudit.Result) -> String {
        "{\"epochs\":\(result.epochs),\"inputs\":\(result.inputs),\"verdicts\":\(result.verdicts),"
            + "\"revisions\":\(result.revisions),\"missing\":\(result.missing),\"repeated\":\(result.repeated),\"different\":\(result.different),"
            + "\"expired\":\(result.expired),"
            + "\"other_key_epochs\":\(result.otherKeyEpochs),\"other_key_differences\":\(result.otherKeyDifferences),"
            + "\"other_engine_epochs\":\(result.otherEngineEpochs),\"other_engine_differences\":\(result.otherEngineDifferences),"
            + "\"other_release_epochs\":\(result.otherReleaseEpochs),\"not_compared\":\(result.notCompared),"
            + "\"unproven_epochs\":\(result.unprovenEpochs),\"otherwise_judged_epochs\":\(result.otherwiseEpochs)}"
    }

    private static func table(_ result: JournalAudit.Result) -> String {
        """
        epochs     \(result.epochs)
        inputs     \(result.inputs)
        verdicts   \(result.verdicts)
        revisions  \(result.revisions)
        missing    \(result.missing)
        repeated   \(result.repeated)
        different  \(result.different)
        expired    \(result.expired)
        """
    }
}

extension AuditCommand: Command {
    static var definition: CommandDefinition {
        CommandDefinition(
            name: "audit",
            summary: "replay the journal from the inputs and compare with the committed verdicts",
            discussion: """
                Reads only committed records and writes nothing; it may run beside weir run. First the inputs: records that are not
                those an epoch was made from, by the digests in the journal, are exit 7 with their topic and partition. Then every
                byte of every verdict is compared. With --json it prints one object with the keys epochs,
                inputs, verdicts, revisions (the same verdict given anew by a later epoch, as the replay does; nothing is judged
                again yet, so 0), missing, repeated (twice in one epoch), different, expired (older than what retention has left of
                its partition: no fault), other_key_epochs (judged under another hash key than the audit's) and
                other_key_differences (of the missing and the different, those in such epochs), other_engine_epochs and
                other_engine_differences (the same of epochs that another version of weir judged: no fault), other_release_epochs
                and not_compared (epochs whose release is not to be found, and their verdicts), unproven_epochs (journaled without
                digests), otherwise_judged_epochs (in which the replay does not give what the same version judged).

                Each epoch is judged by the release that the journal names: the folder's, or one of those given with --release.
                Epochs whose release is not among them are named, and their verdicts are not compared; when that leaves none, the
                audit ends with exit 8. Folders whose windows or models differ each take the memory of a state of their own, up to
                their last epoch.

                Identifiers are hashed under the key of weir run, found as there. Without it, or under another than the journal
                names, the audit says so: what a full table forgets follows from the key, and nothing else does. Where all that
                differs lies in epochs of another key it ends with exit 8, as nobody can say whether they are as computed: audit
                again under the run's. A difference in any other epoch is exit 7.
                """,
            flags: [.topology, .former] + FlagDefinition.logs + [.state, .hashKeyFile, .json("the result as JSON")],
            alternatives: [.log(required: true, "which log to audit")],
            examples: [
                .init(
                    line: "weir audit --topology topologies/marketplace --kafka kafka.properties",
                    effect: "after an incident: is every verdict there, once, and as computed?"
                ),
                .init(
                    line: "weir audit --topology topologies/marketplace --release before/marketplace --log shop.db",
                    effect: "the rules were changed on the way: before is a checkout of the revision from before"
                ),
            ],
            exitCodes: [.invalid] + ExitCode.ofLogs + ExitCode.ofStops
        )
    }
}
