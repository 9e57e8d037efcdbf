import RuleLanguage

/// How the records of a topic are read, beyond what its event types say.
public struct TopicReading: Sendable, Equatable {
    /// Five bytes of a schema registry, a zero and the schema's number, stand before the JSON.
    public var isFramed = false
    /// Records that are of no event type are nobody's concern.
    public var ignoresOtherTypes = false
    /// So are records without a value.
    public var ignoresTombstones = false

    public init() {}
}

// What a path has besides the keys of objects: elements of arrays, and what stands beside a record's value.

extension DecodePlan {
    /// A path into an array, from the array on.
    struct ArrayPath {
        /// Index in ``DecodePlan/fields``.
        var field: Int32
        /// Its steps: so many from there in ``DecodePlan/pathSteps``.
        var firstStep: Int32
        var stepCount: Int32
        /// The next path into the same array, or -1.
        var next: Int32
        /// It passes all elements of an array, so what it leads to is gathered.
        var isList: Bool
    }

    /// What a topic, or the merged group, does with records that are no events.
    struct Ignoring {
        var otherTypes: Bool
        var tombstones: Bool
    }

    /// One step of a path into an array.
    struct PathStep {
        enum Kind: UInt8 { case key, index, each }
        var kind: Kind
        /// Which element.
        var index: Int32 = 0
        /// The key's bytes: so many from there in ``DecodePlan/keyBytes``.
        var bytes: Int32 = 0
        var length: Int32 = 0
    }

    /// A field that stands beside the value.
    struct BesideField {
        /// Index in ``DecodePlan/fields``.
        var field: Int32
        /// Index in ``DecodePlan/partsBeside``.
        var part: Int32
        var isRequired: Bool
    }
}

extension PlanBuilder {
    /// Inserts a path wherever it may lead: the field itself at the first place, copies of it at the others.
    mutating func insert(
        _ path: FieldPath,
        of schema: EventSchema,
        field: Int,
        path id: Int32,
        into levels: inout [Level],
        first: Bool = false
    ) {
        for (number, place) in schema.places(of: path).enumerated() {
            var copy = field
            if number > 0 {
                copy = fields.count
                var twin = fields[field]
                twin.next = -1
                fields.append(twin)
                twins.append((copy, field))
            }
            insert(place, field: copy, path: id, into: &levels, first: first)
        }
    }

    /// What a type needs beside its fields: where its elements begin, and what was done to a row.
    mutating func insertMarks(of schema: EventSchema, into levels: inout [Level]) -> Int32 {
        var elements: Int32 = -1
        if let each = schema.each {
            elements = addPath(each, field: nil)
            fields.append(DecodePlan.Field(kind: .elements, slot: -1, path: elements))
            let path = FieldPath(origin: each.origin, steps: each.steps + [.each])
            insert(path, of: schema, field: fields.count - 1, path: elements, into: &levels)
        }
        if case .debezium = schema.envelope {
            let path = FieldPath(origin: .around, steps: [.key("op")])
            let id = addPath(path, field: nil)
            fields.append(DecodePlan.Field(kind: .operation, slot: -1, path: id))
            insert(path, of: schema, field: fields.count - 1, path: id, into: &levels)
        }
        return elements
    }

    /// Adds the plans by which the elements of records are scanned; after all event types, whose numbers they must not take.
    mutating func finishElements() {
        for (type, levels, plan) in pendingElements {
            finish(levels, plan)
            types[type].element = Int32(types.count - 1)
        }
        pendingElements = []
    }

    /// The operations that make events of a type, a bit each by the letter's place in the alphabet; 0: a record has none.
    static func operations(of schema: EventSchema) -> UInt32 {
        guard case .debezium(let operations) = schema.envelope else { return 0 }
        return operations.reduce(0) { $0 | 1 << UInt32($1.letter - UInt8(ascii: "a")) }
    }

    /// - Parameters:
    ///   - steps: from the array on.
    ///   - head: of the array's paths, -1 before the first.
    mutating func addArrayPath(_ steps: ArraySlice<FieldPath.Step>, field: Int, after head: inout Int32) {
        let firstStep = pathSteps.count
        for step in steps {
            switch step {
            case .key(let key):
                pathSteps.append(
                    DecodePlan.PathStep(kind: .key, bytes: Int32(keyBytes.count), length: Int32(key.utf8.count))
                )
                keyBytes.append(contentsOf: key.utf8)
            case .index(let index): pathSteps.append(DecodePlan.PathStep(kind: .index, index: Int32(index)))
            case .each: pathSteps.append(DecodePlan.PathStep(kind: .each))
            }
        }
        let made = Int32(arrayPaths.count)
        arrayPaths.append(
            DecodePlan.ArrayPath(
                field: Int32(field),
                firstStep: Int32(firstStep),
                stepCount: Int32(steps.count),
                next: -1,
                isList: steps.contains(.each)
            )
        )
        if head < 0 {
            head = made
        } else {
            var last = Int(head)
            while arrayPaths[last].next >= 0 { last = Int(arrayPaths[last].next) }
            arrayPaths[last].next = made
        }
    }

    mutating func addBeside(_ path: FieldPath, field: Int, isRequired: Bool) {
        besideFields.append(
            DecodePlan.BesideField(field: Int32(field), part: Int32(part(path.origin)), isRequired: isRequired)
        )
    }

    private mutating func part(_ origin: FieldPath.Origin) -> Int {
        if let known = partsBeside.firstIndex(of: origin) { return known }
        partsBeside.append(origin)
        return partsBeside.count - 1
    }

    /// The types of a topic that the key or a header tells apart; nil when something else does, or there is nothing to tell.
    ///
    /// In a file of all topics these types are never found, as it has neither.
    mutating func groupBeside(_ members: [Int], of schemas: [EventSchema]) -> DecodePlan.Group? {
        guard let first = members.first, let path = schemas[first].discriminator?.path, path.isBeside,
            members.allSatisfy({ schemas[$0].discriminator?.path == path })
        else { return nil }
        return DecodePlan.Group(
            types: members,
            selector: 0,
            selectorSlots: [],
            isGuessable: false,
            besidePart: part(path.origin)
        )
    }
}
