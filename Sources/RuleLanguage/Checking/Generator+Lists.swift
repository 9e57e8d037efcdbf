extension Generator {
    mutating func list(_ items: [Expression], _ expression: Expression, _ into: UInt16?) -> Value {
        let outer = mark
        let result = into ?? allocate()
        let inner = mark
        let values = items.map { generate($0) }
        if values.contains(where: \.isFailed) {
            release(outer)
            return .failed
        }
        var element = StaticType.nothing
        for (index, value) in values.enumerated() {
            guard value.type.agrees(with: element) else {
                let suggestion =
                    value.type.isNumber && element.isNumber
                    ? "write all of them as doubles: \(asDouble(items[value.type == .int ? index : 0]))" : nil
                error(
                    items[index].span,
                    "a list holds values of one type; this is \(value.type.withArticle) among \(element.name)s",
                    suggestion: suggestion
                )
                release(outer)
                return .failed
            }
            if element == .nothing || element == .list(.nothing) { element = value.type }
        }
        let isPersonal = values.contains(where: \.isPersonal)
        if values.allSatisfy(\.isConstant) {
            release(outer)
            let slots = values.map { slot(ofConstant: $0.operand) }
            return Value(type: .list(element), operand: constantList(slots), isPersonal: isPersonal)
        }
        emit(.newList, result: result, target: values.count)
        for value in values { emit(.append, result: result, value.operand) }
        release(inner)
        return Value(type: .list(element), operand: result, isPersonal: isPersonal)
    }

    mutating func element(_ list: Expression, _ index: Expression, _ into: UInt16?) -> Value {
        let mark = mark
        let source = generate(list)
        let position = generate(index)
        release(mark)
        if source.isFailed || position.isFailed { return .failed }
        guard case .list(let element) = source.type else {
            error(list.span, "\(source.type.withArticle) has no elements")
            return .failed
        }
        guard position.type == .int else {
            error(index.span, "an index is an int, and this is \(position.type.withArticle)")
            return .failed
        }
        guard element != .nothing else {
            error(list.span, "an empty list has no elements")
            return .failed
        }
        let result = into ?? allocate()
        emit(.element, result: result, source.operand, position.operand)
        return Value(type: element, operand: result, isPersonal: source.isPersonal)
    }

    /// The macros over lists, as loops: at most ``Machine/ruleLimit`` rounds per evaluation.
    mutating func comprehension(
        _ macro: Expression.Macro,
        _ target: Expression,
        _ variable: String,
        _ arguments: [Expression],
        _ into: UInt16?
    ) -> Value {
        let outer = mark
        let result = into ?? allocate()
        // `result` may stand for a register that the target's own value is computed in, so the list gets its own.
        let list = generate(target)
        if list.isFailed {
            release(outer)
            return .failed
        }
        guard case .list(let element) = list.type else {
            error(target.span, "'\(macro.rawValue)' works on a list, and this is \(list.type.withArticle)")
            release(outer)
            return .failed
        }
        let source = allocate()
        emit(.move, result: source, list.operand)
        let counter = allocate()
        let item = allocate()
        emit(.move, result: counter, constant(Slot(Int64(0))))
        variables.append((variable, Value(type: element, operand: item, isPersonal: list.isPersonal)))
        let inner = mark
        let value = loop(macro, result, source, counter, item, arguments, inner)
        variables.removeLast()
        release(outer)
        if into == nil { _ = allocate() }
        return value
    }

    private mutating func loop(
        _ macro: Expression.Macro,
        _ result: UInt16,
        _ source: UInt16,
        _ counter: UInt16,
        _ item: UInt16,
        _ arguments: [Expression],
        _ inner: Int
    ) -> Value {
        let element = variables[variables.count - 1].value
        var leaving: [Int] = []
        // The list itself may be missing: then the result is that failure.
        emit(.move, result: result, source)
        leaving.append(emit(.jumpIfMissing, source))
        switch macro {
        case .all, .exists: emit(.move, result: result, constant(Slot(macro == .all)))
        case .existsOne: emit(.move, result: result, constant(Slot(Int64(0))))
        case .map, .filter: emit(.newList, result: result, source, extra: 1)
        }
        let start = position
        let next = emit(.loopNext, result: item, source, counter, extra: Bank.index(of: result))
        var type = StaticType.bool
        var failed = false
        var isPersonal = false
        switch macro {
        case .all, .exists:
            let test = condition(arguments[0])
            failed = test.isFailed
            leaving.append(join(test, to: result, isAnd: macro == .all))
        case .existsOne:
            let test = condition(arguments[0])
            failed = test.isFailed
            emit(.countTrue, result: result, test.operand)
        case .filter:
            let test = condition(arguments[0])
            failed = test.isFailed
            // A failed condition fails the list, as the element would.
            let skip = emit(.branch, result: result, test.operand)
            emit(.append, result: result, item)
            land(skip)
            landExtra(skip)
            type = .list(element.type)
            isPersonal = element.isPersonal
        case .map:
            var skip: Int?
            if arguments.count == 2 {
                let test = condition(arguments[0])
                failed = test.isFailed
                skip = emit(.branch, result: result, test.operand)
            }
            release(inner)
            let value = generate(arguments[arguments.count - 1])
            failed = failed || value.isFailed
            emit(.append, result: result, value.operand)
            if let skip {
                land(skip)
                landExtra(skip)
            }
            type = .list(value.type)
            isPersonal = value.isPersonal
        }
        release(inner)
        emit(.jump, target: start)
        land(next)
        if macro == .existsOne { emit(.countIsOne, result: result, result) }
        for jump in leaving { land(jump) }
        return failed ? .failed : Value(type: type, operand: result, isPersonal: isPersonal)
    }
}
