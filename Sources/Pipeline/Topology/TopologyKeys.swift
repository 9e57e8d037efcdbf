/// The keys of `topology.yaml`, section by section: what the reader knows, and what `topologies/README.md` must explain.
enum TopologyKeys {
    static let topology = [
        "topology", "version", "description", "seed", "time", "replay", "limits", "identifiers", "events", "detectors",
        "models",
        "topics", "verdicts", "rules", "values",
    ]
    static let time = ["tick", "lateness", "late", "future", "earliest", "latest", "idle"]
    static let replay = ["sort"]
    static let limits = [
        "keys", "entries_per_key", "dedupe_ids", "text_bytes", "record_bytes", "window", "events_per_record",
    ]
    static let identifiers = ["key_file"]
    static let event = [
        "topic", "format", "csv", "envelope", "each", "when", "time", "id", "subject", "emit", "context", "dedupe",
        "fields", "values",
    ]
    /// Of an event's `time` that its records' places give.
    static let eventTime = ["from", "every"]
    static let topics = ["ignore", "framing"]
    static let dedupe = ["by", "over"]
    static let csv = ["delimiter", "header", "quote", "comment", "encoding", "trim", "decimal", "thousands"]
    static let field = [
        "type", "path", "entity", "required", "on_error", "personal", "pseudonymise", "enum", "closed", "min", "max",
        "max_length", "format", "scale", "currency", "decimals", "coerce", "null_values", "zone",
    ]
    static let values = ["coerce", "null_values", "decimals", "zone"]
    static let verdicts = ["source"]

    /// The sections that have a table of their own in the reference.
    static let sections: [(name: String, keys: [String])] =
        [
            ("topology", topology), ("event", event), ("topics", topics), ("csv", csv), ("dedupe", dedupe),
            ("field", field), ("values", values),
            ("identifiers", identifiers),
            ("time", time),
            ("replay", replay), ("limits", limits), ("verdicts", verdicts),
        ] + SignalKinds.standard.detectors.map { ($0.kind, $0.keys) }
        + SignalKinds.standard.models.map { ($0.kind, $0.keys) }
}
