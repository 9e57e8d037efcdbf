import RuleLanguage

extension TopologyReader {
    /// Fields that together make an id.
    static let maximumDedupeFields = 4
    /// How long an id may be remembered.
    static let dedupeMilliseconds: ClosedRange<Int64> = 1000...(90 * 86_400_000)

    /// `dedupe: { by: order_id, over: 24h }`: what makes two events of a type one, and for how long that is remembered.
    mutating func readDedupe(_ node: YAMLNode, _ schema: EventSchema) -> DedupeSchema? {
        let what = "'dedupe' of event '\(schema.name)'"
        let keys = object(node, of: what, keys: TopologyKeys.dedupe)
        guard case .mapping = node.content else { return nil }
        if keys["by"] == nil, !misspelt.contains("by") {
            note(
                node.mark,
                "\(what) has no 'by'",
                "add 'by: FIELD', the field that is the same in an event and its repetition"
            )
        }
        if keys["over"] == nil, !misspelt.contains("over") {
            note(node.mark, "\(what) has no 'over'", "add 'over: 24h', how long a repetition is known as one")
        }
        var fields: [Int] = []
        if let by = keys["by"] {
            for item in list(by, "by", example: "by: [order, line]") {
                guard let index = readReference(item, "by", in: schema) else { continue }
                let field = schema.fields[index]
                if field.type != .string && field.type != .int {
                    note(
                        item.mark,
                        "'by' names '\(field.name)', which is \(article(field.type))",
                        "name fields of type string or int"
                    )
                } else if fields.contains(index) {
                    note(item.mark, "'\(field.name)' stands twice in 'by'", "remove one")
                }
                fields.append(index)
            }
            if fields.count > Self.maximumDedupeFields {
                note(by.mark, "\(fields.count) fields in 'by', more than \(Self.maximumDedupeFields)")
            }
            if let each = schema.each, !fields.isEmpty,
                !fields.contains(where: { schema.fields[$0].path.inside(elementsOf: each) != nil })
            {
                note(by.mark, "\(what) takes all elements of a record for one event", "name a field of the element too")
            }
        }
        guard let over = keys["over"].flatMap({ duration($0, "over", Self.dedupeMilliseconds) }), !fields.isEmpty else {
            return nil
        }
        return DedupeSchema(fields: fields, overMilliseconds: over)
    }
}
