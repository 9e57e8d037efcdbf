public import RuleLanguage

extension TopologyDescription {
    /// The mistakes in the models' lists of features, which only show once the rules are compiled.
    ///
    /// A name means the scored event's own numeric field, else a feature declared by a `feature` block whose value is a number and
    /// whose key the event has.
    public func featureDiagnostics(compiled features: [Feature]) -> [Diagnostic] {
        featureDiagnostics(
            declared: features.filter(\.isDeclared).map { feature in
                DeclaredFeature(
                    name: feature.name,
                    type: feature.resultType,
                    readingEvents: feature.readers.indices.filter { feature.readers[$0] != nil }
                )
            }
        )
    }

    /// What a model needs to know of a feature.
    struct DeclaredFeature {
        var name: String
        var type: ValueType
        /// Indices of the events that have its key.
        var readingEvents: [Int]
    }

    func featureDiagnostics(declared: [DeclaredFeature]) -> [Diagnostic] {
        var diagnostics: [Diagnostic] = []
        for inputs in models.map(\.inputs) {
            for (name, mark) in zip(inputs.features, inputs.marks) {
                for event in inputs.events where events[event].field(named: name) == nil {
                    guard let problem = problem(with: name, event: event, declared: declared) else { continue }
                    diagnostics.append(diagnostic(at: mark, message: problem.message, suggestion: problem.suggestion))
                    break
                }
            }
        }
        return diagnostics
    }

    private func problem(
        with name: String,
        event: Int,
        declared: [DeclaredFeature]
    ) -> (message: String, suggestion: String)? {
        let eventName = events[event].name
        guard let feature = declared.first(where: { $0.name == name }) else {
            let numbers = events[event].fields.filter { [.int, .double, .money, .bool].contains($0.type) }.map(\.name)
            let near = Diagnostic.nearest(to: name, among: declared.map(\.name) + numbers)
            return (
                "'\(name)' is neither a declared feature nor a numeric field of event '\(eventName)'",
                near.map { "did you mean '\($0)'?" }
                    ?? "declare it in a rule file: feature \(name) = count() of \(eventName) by KEY over 1h"
            )
        }
        guard [.int, .double, .bool].contains(feature.type) else {
            return (
                "the model needs numbers, but feature '\(name)' is a \(feature.type)", "name a count, sum or average"
            )
        }
        guard feature.readingEvents.contains(event) else {
            return (
                "feature '\(name)' cannot be read in event '\(eventName)', which has no field for its key",
                "remove '\(eventName)' from 'events', or declare the key's field there"
            )
        }
        return nil
    }
}
