import RuleLanguage

/// Gathers the tables of a plan.
struct PlanBuilder {
    /// One JSON object that some path passes.
    struct Level {
        var keys: [(bytes: [UInt8], field: Int32, child: Int?, array: Int32, path: Int32)] = []
    }

    let hash: TextHash
    var types: [DecodePlan.TypePlan] = []
    var nodes: [DecodePlan.Node] = []
    var keys: [DecodePlan.Key] = []
    var reaches: [DecodePlan.Reach] = []
    var keyBytes: [UInt8] = []
    var keyTable: [Int16] = []
    var fields: [DecodePlan.Field] = []
    var allowed: [UInt64] = []
    var paths: [DecodePlan.Path] = []
    var arrayPaths: [DecodePlan.ArrayPath] = []
    var pathSteps: [DecodePlan.PathStep] = []
    var besideFields: [DecodePlan.BesideField] = []
    var partsBeside: [FieldPath.Origin] = []
    /// Of types whose records hold several events: the type, the keys of an element, and its plan.
    var pendingElements: [(type: Int, levels: [Level], plan: DecodePlan.TypePlan)] = []
    /// Fields that stand for another at a second place of its path.
    var twins: [(twin: Int, field: Int)] = []
    var sharing = 1
    /// Most paths into arrays that a type has.
    var arraySharing = 0

    mutating func add(_ schema: EventSchema, type: Int, topic: Int, limits: DecodeLimits) {
        var levels = [Level()]
        var elementLevels = [Level()]
        let firstField = fields.count
        let firstBeside = besideFields.count
        let firstArrayPath = arrayPaths.count
        let required = addFields(of: schema, type: type, limits)
        // Behind all fields, which follow each other: a path may need a copy of its field.
        for (index, field) in schema.fields.enumerated() where !field.path.isBeside {
            let path = fields[firstField + index].path
            if let inside = schema.each.flatMap({ field.path.inside(elementsOf: $0) }) {
                insert(inside, field: firstField + index, path: path, into: &elementLevels, first: false)
            } else {
                insert(field.path, of: schema, field: firstField + index, path: path, into: &levels)
            }
        }
        let elementsPath = insertMarks(of: schema, into: &levels)
        if let discriminator = schema.discriminator, !discriminator.path.isBeside {
            // Its own path would hide the field's in messages, so it borrows the one that is there.
            let path = addPath(discriminator.path, field: nil)
            fields.append(DecodePlan.Field(kind: .discriminator, slot: -1, path: path))
            insert(discriminator.path, of: schema, field: fields.count - 1, path: path, into: &levels, first: true)
        }
        arraySharing = max(arraySharing, arrayPaths.count - firstArrayPath)
        let lists = schema.fields.count { $0.type == .stringList }
        let operations = PlanBuilder.operations(of: schema)
        if schema.each != nil {
            let plan = DecodePlan.TypePlan(
                root: 0,
                // Its row holds the record's own fields already.
                fieldCount: 0,
                firstField: Int32(firstField),
                requiredLow: required.inside.low,
                requiredHigh: required.inside.high,
                timeField: -1,
                topic: UInt16(topic),
                discriminator: 0,
                seenWords: 0,
                listElements: 0
            )
            pendingElements.append((type, elementLevels, plan))
        }
        finish(
            levels,
            DecodePlan.TypePlan(
                root: 0,
                fieldCount: Int32(schema.fields.count),
                firstField: Int32(firstField),
                requiredLow: required.ofRecord.low,
                requiredHigh: required.ofRecord.high,
                timeField: schema.time.fieldIndex.map { Int32($0) } ?? -1,
                topic: UInt16(topic),
                discriminator: schema.discriminator.map { hash($0.value) } ?? 0,
                seenWords: 0,
                listElements: Int32(lists * limits.listElements),
                firstBeside: Int32(firstBeside),
                besideCount: Int32(besideFields.count - firstBeside),
                isPlain: schema.each == nil && besideFields.count == firstBeside && operations == 0,
                elementsPath: elementsPath,
                operations: operations
            )
        )
    }

    /// Adds the fields of a type, and returns which of them a record must have in itself and which in an element, a bit each.
    private mutating func addFields(of schema: EventSchema, type: Int, _ limits: DecodeLimits)
        -> (ofRecord: (low: UInt64, high: UInt64), inside: (low: UInt64, high: UInt64))
    {
        var required: (low: UInt64, high: UInt64) = (0, 0)
        var requiredInside = required
        for (index, field) in schema.fields.enumerated() {
            let path = addPath(field.path, field: (type, index))
            let isTime = index == schema.time.fieldIndex
            fields.append(compile(field, slot: index, path: path, isTime: isTime, limits: limits))
            let isRequired = field.isRequired || isTime || index == schema.subjectField
            fields[fields.count - 1].isNeeded = isRequired || field.rejectsDamage
            fields[fields.count - 1].isSubject = index == schema.subjectField
            if field.path.isBeside {
                addBeside(field.path, field: fields.count - 1, isRequired: isRequired)
                continue
            }
            func note(_ required: inout (low: UInt64, high: UInt64)) {
                if index < 64 { required.low |= 1 << UInt64(index) } else { required.high |= 1 << UInt64(index - 64) }
            }
            let isInside = schema.each.map { field.path.inside(elementsOf: $0) != nil } ?? false
            if isRequired { isInside ? note(&requiredInside) : note(&required) }
        }
        return (required, requiredInside)
    }

    /// The types of a topic, with a selector where there is something to select.
    mutating func group(_ members: [Int], of schemas: [EventSchema]) -> DecodePlan.Group {
        if let group = groupBeside(members, of: schemas) { return group }
        let undiscriminated = members.filter { schemas[$0].discriminator == nil }
        if members.count == 1, undiscriminated.count == 1 {
            return DecodePlan.Group(types: members, selector: -1, selectorSlots: [-1], isGuessable: false)
        }
        // Two types without a discriminator cannot be told apart: neither is taken.
        let candidates = undiscriminated.count > 1 ? members.filter { schemas[$0].discriminator != nil } : members
        var levels = [Level()]
        var distinct: [[FieldPath]] = []
        let firstField = fields.count
        var slots: [Int] = []
        var selectors: [(path: FieldPath, type: Int, field: Int, id: Int32)] = []
        for type in candidates {
            guard let path = schemas[type].discriminator?.path else {
                slots.append(-1)
                continue
            }
            let places = schemas[type].places(of: path)
            if let known = distinct.firstIndex(of: places) {
                slots.append(known)
                continue
            }
            slots.append(distinct.count)
            distinct.append(places)
            let id = addPath(path, field: nil)
            fields.append(DecodePlan.Field(kind: .discriminator, slot: Int32(distinct.count - 1), path: id))
            selectors.append((path, type, fields.count - 1, id))
        }
        for (path, type, field, id) in selectors {
            insert(path, of: schemas[type], field: field, path: id, into: &levels)
        }
        finish(
            levels,
            DecodePlan.TypePlan(
                root: 0,
                fieldCount: Int32(distinct.count),
                firstField: Int32(firstField),
                requiredLow: 0,
                requiredHigh: 0,
                timeField: -1,
                topic: 0,
                discriminator: 0,
                seenWords: 0,
                listElements: 0
            )
        )
        return DecodePlan.Group(
            types: candidates,
            selector: types.count - 1,
            selectorSlots: slots,
            isGuessable: distinct.count == 1 && undiscriminated.isEmpty
        )
    }

    mutating func addPath(_ path: FieldPath, field: (type: Int, index: Int)?) -> Int32 {
        paths.append(DecodePlan.Path(text: path.description, field: field))
        return Int32(paths.count - 1)
    }

    mutating func insert(_ path: FieldPath, field: Int, path id: Int32, into levels: inout [Level], first: Bool) {
        var level = 0
        let keys = path.leadingKeys
        let entersArray = keys.count < path.steps.count
        for (depth, part) in keys.enumerated() {
            let bytes = Array(part.utf8)
            let isLast = depth == keys.count - 1
            let at: Int
            if let known = levels[level].keys.firstIndex(where: { $0.bytes == bytes }) {
                at = known
            } else {
                at = levels[level].keys.count
                let isField = isLast && !entersArray
                let name = isField ? id : addPath(FieldPath(keys: Array(keys.prefix(depth + 1))), field: nil)
                levels[level].keys.append((bytes, -1, nil, -1, name))
            }
            if isLast, entersArray {
                addArrayPath(path.steps[keys.count...], field: field, after: &levels[level].keys[at].array)
            } else if isLast {
                let head = levels[level].keys[at].field
                if head < 0 {
                    levels[level].keys[at].field = Int32(field)
                } else if first {
                    fields[field].next = head
                    levels[level].keys[at].field = Int32(field)
                } else {
                    var last = Int(head)
                    var length = 2
                    while fields[last].next >= 0 {
                        last = Int(fields[last].next)
                        length += 1
                    }
                    fields[last].next = Int32(field)
                    sharing = max(sharing, length)
                }
                levels[level].keys[at].path = id
            } else if let child = levels[level].keys[at].child {
                level = child
            } else {
                levels.append(Level())
                levels[level].keys[at].child = levels.count - 1
                level = levels.count - 1
            }
        }
    }

    mutating func finish(_ levels: [Level], _ plan: DecodePlan.TypePlan) {
        let firstNode = nodes.count
        var seen: Int32 = 0
        for level in levels {
            var size = 4
            while size < level.keys.count * 2 { size *= 2 }
            let table = keyTable.count
            keyTable.append(contentsOf: repeatElement(-1, count: size))
            for key in level.keys {
                let padded = key.bytes + [UInt8](repeating: 0, count: 8)
                func word(at start: Int) -> UInt64 {
                    (0..<8).reduce(0) { $0 | UInt64(padded[start + $1]) << UInt64($1 * 8) }
                }
                let mask: UInt64 = key.bytes.count >= 8 ? .max : (1 << UInt64(key.bytes.count * 8)) - 1
                var entry = DecodePlan.Key(
                    word: word(at: 0) & mask,
                    mask: mask,
                    tail: key.bytes.count > 8 ? word(at: key.bytes.count - 8) : 0,
                    length: Int32(key.bytes.count),
                    bytes: Int32(keyBytes.count),
                    field: key.field,
                    child: key.child.map { Int32(firstNode + $0) } ?? -1,
                    array: key.array,
                    path: key.path,
                    seen: seen
                )
                seen += 1
                if key.field >= 0, case let field = fields[Int(key.field)], field.kind == .string, !field.isSpecial,
                    field.next < 0
                {
                    entry.textSlot = field.slot
                    entry.textMinimum = field.isIdentifier ? 1 : 0
                    entry.textMaximum = field.maximumLength
                }
                keyBytes.append(contentsOf: key.bytes)
                var at = Int(keyTableHash(word: entry.word, length: key.bytes.count)) & (size - 1)
                while keyTable[table + at] >= 0 { at = (at + 1) & (size - 1) }
                keyTable[table + at] = Int16(truncatingIfNeeded: keys.count)
                keys.append(entry)
                reaches.append(reach(key, levels))
            }
            nodes.append(DecodePlan.Node(table: Int32(table), tableMask: UInt32(size - 1), start: Int32(nodes.count)))
        }
        var plan = plan
        plan.root = Int32(firstNode)
        plan.seenWords = (seen + 63) / 64
        types.append(plan)
    }

    /// The fields of a key and of the keys below it.
    private func reach(_ key: (bytes: [UInt8], field: Int32, child: Int?, array: Int32, path: Int32), _ levels: [Level])
        -> DecodePlan.Reach
    {
        var reach = DecodePlan.Reach()
        var index = key.field
        while index >= 0 {
            let field = fields[Int(index)]
            if field.slot < 0 || field.kind == .discriminator {
                // Of two neither counts, as of two discriminators.
                reach.tellsType = true
            } else {
                reach.fields.insert(Int(field.slot))
                reach.isNeeded = reach.isNeeded || field.isNeeded
            }
            index = field.next
        }
        var path = key.array
        while path >= 0 {
            let field = fields[Int(arrayPaths[Int(path)].field)]
            // Where the record's events should be, nothing else may be.
            if field.slot >= 0 { reach.fields.insert(Int(field.slot)) }
            reach.isNeeded = reach.isNeeded || field.isNeeded || field.kind == .elements
            path = arrayPaths[Int(path)].next
        }
        for below in key.child.map({ levels[$0].keys }) ?? [] {
            let other = self.reach(below, levels)
            reach.fields.formUnion(other.fields)
            reach.isNeeded = reach.isNeeded || other.isNeeded
            reach.tellsType = reach.tellsType || other.tellsType
        }
        return reach
    }

    private mutating func compile(_ field: FieldSchema, slot: Int, path: Int32, isTime: Bool, limits: DecodeLimits)
        -> DecodePlan.Field
    {
        var result = DecodePlan.Field(kind: .string, slot: Int32(slot), path: path)
        result.maximumLength = Int32(clamping: min(field.maximumLength, limits.textBytes))
        result.isPseudonymised = field.isPseudonymised
        result.isIdentifier = field.entity != nil
        result.isSpecial = field.isPseudonymised || !field.allowedValues.isEmpty
        result.isClosed = field.isClosed
        result.allowedStart = Int32(allowed.count)
        result.allowedCount = Int32(field.allowedValues.count)
        allowed.append(contentsOf: field.allowedValues.map { hash($0) })
        result.minimumDouble = field.minimum ?? -.infinity
        result.maximumDouble = field.maximum ?? .infinity
        result.minimum = field.minimum.map { Int64(clampingUp: $0) } ?? .min
        result.maximum = field.maximum.map { Int64(clampingDown: $0) } ?? .max
        switch field.type {
        case .string: result.kind = .string
        case .int: result.kind = .int
        case .double: result.kind = .double
        case .bool: result.kind = .bool
        case .stringList: result.kind = .list
        case .money:
            result.kind = .money
            result.shift = Int8(field.moneyScale)
        case .timestamp:
            result.kind = field.timeFormat.isNumber ? .instant : .textTime
            result.shift = field.timeFormat == .seconds ? 3 : field.timeFormat == .microseconds ? -3 : 0
        }
        if field.type == .timestamp {
            result.minimum = max(result.minimum, TimeText.minimum, isTime ? limits.earliest : .min)
            result.maximum = min(result.maximum, TimeText.maximum, isTime ? limits.latest : .max)
        }
        return result
    }
}

extension Int64 {
    /// The smallest integer not below.
    init(clampingUp value: Double) {
        let rounded = value.rounded(.up)
        self = rounded >= 0x1p63 ? .max : rounded < -0x1p63 ? .min : Int64(rounded)
    }

    /// The largest integer not above.
    init(clampingDown value: Double) {
        let rounded = value.rounded(.down)
        self = rounded >= 0x1p63 ? .max : rounded < -0x1p63 ? .min : Int64(rounded)
    }
}
