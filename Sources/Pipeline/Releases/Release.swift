public import RuleLanguage

/// What is in force: the rules with their thresholds and policy, and what each model reads; immutable, named by its digest.
///
/// It stands apart from the topology, which says what the state looks like (events, detectors, limits), and from the state itself:
/// an engine adopts another release between two epochs and keeps all that both ask for. The journal names the release of each
/// epoch, so that recovery and audit judge it again by the one that judged it.
public struct Release: Sendable {
    public let rules: RuleSet
    /// Per model of the topology, in its order: the names of its inputs, as ``ModelInputs/features`` has them.
    public let modelInputs: [[String]]
    /// SHA-256, hex, of a text that holds everything above in a fixed form: equal digests decide alike on one topology and state.
    public let digest: String
    /// SHA-256, hex, of what decides by it how the state goes on: its windows, who reads them, and the numbers that models read.
    ///
    /// On one topology, releases of equal shape have the same state after the same events, to the byte.
    let stateShape: String

    init(rules: RuleSet, models: [any ModelSettings]) {
        self.rules = rules
        modelInputs = models.map(\.inputs.features)
        // Free text is preceded by its length in bytes, so that no two releases share a form.
        var text = "weir-release 1\nrules \(rules.canonicalText.utf8.count):\(rules.canonicalText)\n"
        for (number, inputs) in modelInputs.enumerated() {
            text += "model \(number)\n"
            for name in inputs { text += " input \(name.utf8.count):\(name)\n" }
        }
        digest = SHA256.hex(of: Array(text.utf8))
        stateShape = Release.stateShape(rules, modelInputs)
    }

    private static func stateShape(_ rules: RuleSet, _ modelInputs: [[String]]) -> String {
        var text = "weir-state-shape 1\n"
        for feature in rules.features {
            // A look-up moves a key's time on, and so has a part in which key goes when a table is full.
            let readers = feature.readers.map { $0 == nil ? "-" : "r" }.joined()
            text += "window \(readers) \(feature.canonical.utf8.count):\(feature.canonical)\n"
        }
        for (number, inputs) in modelInputs.enumerated() {
            text += "model \(number)\n"
            for name in inputs {
                // A name that is no declared feature's is a field's, and those are the topology's.
                let meaning = rules.features.first { $0.isDeclared && $0.name == name }?.canonical ?? ""
                text += " input \(name.utf8.count):\(name) \(meaning.utf8.count):\(meaning)\n"
            }
        }
        return SHA256.hex(of: Array(text.utf8))
    }

    /// The part of the digest that people and verdicts are shown: sixteen digits tell releases apart.
    public var shortDigest: Substring { digest.prefix(16) }
}
