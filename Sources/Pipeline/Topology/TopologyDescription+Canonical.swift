import Detection
import RuleLanguage

extension TopologyDescription {
    /// One line per setting, `key value`, in a fixed order.
    ///
    /// Free text is preceded by its length in bytes, so that no two topologies share a form. Left out, since no output depends on
    /// them: description, folder, marks and the place of the key file; and what belongs to a ``Release``: the rules, and what a
    /// model reads. What the key of pseudonyms is, ``Deployment`` adds when it has read it.
    func makeCanonicalText() -> String {
        var out = "weir-topology 1\n"
        func line(_ key: String, _ value: some CustomStringConvertible) { out += "\(key) \(value)\n" }
        line("name", name)
        line("version", version)
        line("seed", seed)
        line("tick", time.tickMilliseconds)
        line("lateness", time.latenessMilliseconds)
        if time.setsLateAside { line("late", "set_aside") }
        line("future", time.futureMilliseconds)
        line("earliest", time.earliest)
        line("latest", time.latest)
        line("idle", time.idleMilliseconds)
        line("sort", sortsReplay)
        line("keys", limits.keys)
        line("entries_per_key", limits.entriesPerKey)
        if limits.dedupeIds != LimitSettings().dedupeIds { line("dedupe_ids", limits.dedupeIds) }
        line("text_bytes", limits.textBytes)
        line("record_bytes", limits.recordBytes)
        line("window", limits.windowMilliseconds)
        line("source", quoted(verdictSource))
        if limits.eventsPerRecord != LimitSettings().eventsPerRecord {
            line("events_per_record", limits.eventsPerRecord)
        }
        for (topic, reading) in readings.sorted(by: { $0.key < $1.key }) {
            if reading.isFramed { line("framing \(topic)", "registry") }
            if reading.ignoresOtherTypes { line("ignore \(topic)", "other_types") }
            if reading.ignoresTombstones { line("ignore \(topic)", "tombstones") }
        }
        for event in events {
            line("event", event.name)
            line(" topic", event.topics.joined(separator: " "))
            line(" format", event.format.rawValue)
            if event.csv != .standard { line(" csv", event.csv.canonical) }
            if let when = event.discriminator { line(" when", "\(when.path.canonical) = \(quoted(when.value))") }
            if let envelope = event.envelope { line(" envelope", envelope.canonical) }
            if let each = event.each { line(" each", each.canonical) }
            switch event.time {
            case .field(let index): line(" time", index)
            case .append: line(" time", "append")
            case .rows(let first, let step): line(" time", "from \(first) every \(step)")
            }
            line(" id", event.idField.map(String.init) ?? "-")
            line(" subject", event.subjectField)
            line(" emit", event.emission.rawValue)
            if !event.contextFields.isEmpty { line(" context", event.contextFields) }
            if let dedupe = event.dedupe { line(" dedupe", "\(dedupe.fields) \(dedupe.overMilliseconds)") }
            for field in event.fields {
                line(" field", "\(field.name) \(field.type.rawValue) \(field.path.canonical)")
                var flags: [String] = []
                if field.isRequired { flags.append("required") }
                if field.rejectsDamage { flags.append("on_error=reject") }
                if field.isClosed { flags.append("closed") }
                if field.isPersonal { flags.append("personal") }
                if field.isPseudonymised { flags.append("pseudonymise") }
                if let entity = field.entity { flags.append("entity=\(entity)") }
                if let minimum = field.minimum { flags.append("min=\(minimum)") }
                if let maximum = field.maximum { flags.append("max=\(maximum)") }
                if field.type == .timestamp { flags.append("format=\(field.timeFormat.canonical)") }
                if field.type == .money { flags.append("scale=\(field.moneyScale)") }
                flags.append("max_length=\(field.maximumLength)")
                line("  is", flags.joined(separator: " "))
                for value in field.allowedValues { line("  enum", quoted(value)) }
                let conversion = field.conversion
                for known in Coercions.words where conversion.coercions.contains(known.coercion) {
                    line("  coerce", known.word)
                }
                for word in conversion.nullWords { line("  null", quoted(word)) }
                if conversion.roundsDecimals { line("  decimals", "round") }
                if let currency = conversion.currencyField { line("  currency", currency) }
                if let zone = conversion.zone { line("  zone", "\(zone.name) \(zone.digest)") }
            }
        }
        for detector in detectors {
            line(type(of: detector).kind, detector.name)
            for (key, value) in detector.canonical { line(" \(key)", value) }
        }
        for model in models {
            line(type(of: model).kind, model.name)
            for (key, value) in model.canonical { line(" \(key)", value) }
            line(" events", model.inputs.events)
        }
        return out
    }
}

/// A text behind its length.
private func quoted(_ text: String) -> String { "\(text.utf8.count):\(text)" }

extension FieldPath {
    fileprivate var canonical: String {
        switch origin {
        case .recordKey: return "@key"
        case .header(let name): return "@header \(quoted(name))"
        case .value, .around: break
        }
        let steps = steps.map { step in
            switch step {
            case .key(let key): quoted(key)
            case .index(let index): "[\(index)]"
            case .each: "[]"
            }
        }
        return (origin == .around ? "@ " : "") + steps.joined(separator: " ")
    }
}

extension Envelope {
    fileprivate var canonical: String {
        switch self {
        case .cloudEvents: "cloudevents"
        case .debezium(let changes): "debezium \(changes.map(\.rawValue).sorted().joined(separator: " "))"
        }
    }
}

extension TimeFormat {
    /// In a fixed form, for the digest: a pattern may hold blanks.
    fileprivate var canonical: String {
        if case .pattern(let pattern) = self { "\(pattern.text.utf8.count):\(pattern.text)" } else { name }
    }
}
