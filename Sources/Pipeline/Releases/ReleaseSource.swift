public import RuleLanguage

/// Gives releases by their digest: what recovery and audit ask for the release that a journaled epoch was judged by.
public protocol ReleaseSource: Sendable {
    /// The release of that digest, for the topology that runs; nil when it is not to be found here.
    func release(digest: String) -> Release?

    /// Where was looked, for a message about one that is missing.
    var places: String { get }
}

/// The releases of topology folders: of the one that runs, and of folders as they were before.
///
/// All are of one topology: equal events, detectors and limits. A former folder is a checkout of the revision that judged the
/// epochs.
public struct FolderReleases: ReleaseSource {
    private let releases: [Release]
    public let places: String

    /// - Parameters:
    ///   - deployment: the folder that runs.
    ///   - former: what its folder was before, with the same topology and the same key.
    public init(_ deployment: Deployment, former: [Deployment] = []) {
        precondition(
            former.allSatisfy { $0.hashKey == deployment.hashKey },
            "rules compare texts under the events' key"
        )
        let all = [deployment] + former
        releases = all.map(\.release)
        places = all.map(\.description.folder).joined(separator: ", ")
    }

    /// - Parameter former: paths of folders with the same topology and other rules; each is compiled here.
    /// - Throws: the mistakes of a former folder, or that it holds another topology.
    public init(_ deployment: Deployment, former: [String]) throws(DiagnosticError) {
        var others: [Deployment] = []
        for folder in former {
            // Texts in rules are compared by their hashes: under the key of the events.
            let other = try Deployment(folder: folder, hashKey: deployment.hashKey)
            guard other.topologyDigest == deployment.topologyDigest else {
                throw DiagnosticError([
                    Diagnostic(
                        path: other.description.path,
                        line: 1,
                        column: 1,
                        message: "this is not the topology of \(deployment.description.path): its digest is "
                            + "\(other.topologyDigest.prefix(16)), not \(deployment.topologyDigest.prefix(16))",
                        suggestion: "a former release differs in rules and in what models read, and in nothing else; "
                            + "`weir check` shows the digests"
                    )
                ])
            }
            others.append(other)
        }
        self.init(deployment, former: others)
    }

    public func release(digest: String) -> Release? { releases.first { $0.digest == digest } }
}
