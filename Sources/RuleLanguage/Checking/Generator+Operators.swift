extension Generator {
    mutating func unary(
        _ operation: Expression.Unary,
        _ operand: Expression,
        _ expression: Expression,
        _ into: UInt16?
    ) -> Value {
        let mark = mark
        let value = operation == .not ? condition(operand) : generate(operand)
        if value.isFailed { return .failed }
        release(mark)
        let opcode: Opcode
        switch (operation, value.type) {
        case (.not, _): opcode = .not
        case (.negate, .int): opcode = .negateInt
        case (.negate, .double): opcode = .negateDouble
        default:
            error(expression.span, "\(value.type.withArticle) cannot be negated")
            return .failed
        }
        let result = into ?? allocate()
        emit(opcode, result: result, value.operand)
        return Value(type: value.type, operand: result, isPersonal: value.isPersonal)
    }

    /// `&&` and `||`: stop at the first operand that decides; one that decides absorbs a failure of another (CEL, Logical
    /// Operators).
    mutating func logic(_ items: [Expression], isAnd: Bool, _ into: UInt16?) -> Value {
        let result = into ?? allocate()
        let inner = mark
        var jumps: [Int] = []
        var failed = false
        for (index, item) in items.enumerated() {
            release(inner)
            let value = condition(item, into: index == 0 ? result : nil)
            if value.isFailed {
                failed = true
                continue
            }
            if index == 0 {
                if value.operand != result { emit(.move, result: result, value.operand) }
                jumps.append(emit(isAnd ? .jumpIfFalse : .jumpIfTrue, result))
            } else {
                jumps.append(join(value, to: result, isAnd: isAnd))
            }
        }
        release(inner)
        for jump in jumps { land(jump) }
        return failed ? .failed : Value(type: .bool, operand: result)
    }

    mutating func conditional(
        _ condition: Expression,
        _ yes: Expression,
        _ no: Expression,
        _ expression: Expression,
        _ into: UInt16?
    ) -> Value {
        let result = into ?? allocate()
        let inner = mark
        let test = self.condition(condition)
        release(inner)
        let branch = emit(.branch, result: result, test.operand)
        let a = generate(yes)
        release(inner)
        emit(.move, result: result, a.operand)
        let jump = emit(.jump)
        land(branch)
        let b = generate(no)
        release(inner)
        emit(.move, result: result, b.operand)
        land(jump)
        landExtra(branch)
        if test.isFailed || a.isFailed || b.isFailed { return .failed }
        guard a.type.agrees(with: b.type) else {
            var suggestion: String?
            if a.type == .int, b.type == .double { suggestion = "write \(asDouble(yes)) before the ':'" }
            if a.type == .double, b.type == .int { suggestion = "write \(asDouble(no)) after the ':'" }
            error(
                expression.span,
                "the two results of '?' differ: \(a.type.name) and \(b.type.name)",
                suggestion: suggestion
            )
            return .failed
        }
        let type = a.type == .list(.nothing) ? b.type : a.type
        return Value(type: type, operand: result, isPersonal: a.isPersonal || b.isPersonal)
    }

    /// `x` written so that it is a double.
    func asDouble(_ expression: Expression) -> String {
        if case .int(let value) = expression.kind { return "\(value).0" }
        return "double(\(text(expression)))"
    }

    mutating func binary(
        _ operation: Expression.Binary,
        _ left: Expression,
        _ right: Expression,
        _ expression: Expression,
        _ into: UInt16?
    ) -> Value {
        let mark = mark
        var a = generate(left)
        var b = generate(right)
        if a.isFailed || b.isFailed {
            release(mark)
            return .failed
        }
        warnOfTraps(operation, left, a, right, b)
        // The variable of a loop over `[]` is whatever it stands beside.
        if a.type == .nothing { a.type = b.type }
        if b.type == .nothing { b.type = a.type }
        // A literal beside a double is made a double once, here.
        if operation != .isIn, operation.isComparison {
            a = widened(a, beside: b)
            b = widened(b, beside: a)
        }
        let found: (opcode: Opcode, swaps: Bool, type: StaticType, extra: Int32)?
        switch operation {
        case .equal, .notEqual: found = equality(operation, a.type, b.type)
        case .less, .lessOrEqual, .greater, .greaterOrEqual: found = ordering(operation, a.type, b.type)
        case .isIn: found = membership(a.type, b.type)
        case .add, .subtract, .multiply, .divide, .remainder: found = arithmetic(operation, a.type, b.type)
        }
        release(mark)
        guard let found else {
            mismatch(operation, left, a.type, right, b.type, expression)
            return .failed
        }
        let result = into ?? allocate()
        emit(
            found.opcode,
            result: result,
            found.swaps ? b.operand : a.operand,
            found.swaps ? a.operand : b.operand,
            extra: Int(found.extra)
        )
        let keeps = found.type != .bool && (a.isPersonal || b.isPersonal)
        return Value(type: found.type, operand: result, isPersonal: keeps)
    }

    private mutating func widened(_ value: Value, beside other: Value) -> Value {
        guard value.type == .int, other.type == .double, value.isConstant else { return value }
        let number = slot(ofConstant: value.operand).int
        guard let exact = Double(exactly: number) else { return value }
        return Value(type: .double, operand: constant(Slot(exact)))
    }

    private typealias Choice = (opcode: Opcode, swaps: Bool, type: StaticType, extra: Int32)

    private func equality(_ operation: Expression.Binary, _ a: StaticType, _ b: StaticType) -> Choice? {
        let isEqual = operation == .equal
        switch (a, b) {
        case (.int, .double): return (isEqual ? .equalIntDouble : .notEqualIntDouble, false, .bool, 0)
        case (.double, .int): return (isEqual ? .equalIntDouble : .notEqualIntDouble, true, .bool, 0)
        case (.double, .double): return (isEqual ? .equalDouble : .notEqualDouble, false, .bool, 0)
        case (.list(let x), .list(let y)) where x.agrees(with: y):
            let kind = (x == .nothing ? y : x).listComparison
            return (isEqual ? .equalList : .notEqualList, false, .bool, kind)
        default:
            guard a == b, a.comparesByBits else { return nil }
            return (isEqual ? .equalBits : .notEqualBits, false, .bool, 0)
        }
    }

    private func ordering(_ operation: Expression.Binary, _ a: StaticType, _ b: StaticType) -> Choice? {
        let swaps = operation == .greater || operation == .greaterOrEqual
        let isStrict = operation == .less || operation == .greater
        switch swaps ? (b, a) : (a, b) {
        case (.int, .int), (.bool, .bool), (.timestamp, .timestamp), (.duration, .duration):
            return (isStrict ? .lessInt : .lessOrEqualInt, swaps, .bool, 0)
        case (.double, .double): return (isStrict ? .lessDouble : .lessOrEqualDouble, swaps, .bool, 0)
        case (.int, .double): return (isStrict ? .lessIntDouble : .lessOrEqualIntDouble, swaps, .bool, 0)
        case (.double, .int): return (isStrict ? .lessDoubleInt : .lessOrEqualDoubleInt, swaps, .bool, 0)
        case (.string, .string): return (isStrict ? .lessText : .lessOrEqualText, swaps, .bool, 0)
        default: return nil
        }
    }

    private func membership(_ a: StaticType, _ b: StaticType) -> Choice? {
        guard case .list(let element) = b else { return nil }
        switch (a, element) {
        case (.double, .double): return (.inDouble, false, .bool, 0)
        case (.int, .double): return (.inIntDouble, false, .bool, 0)
        case (.double, .int): return (.inDoubleInt, false, .bool, 0)
        case (.list(let x), .list(let y)) where x.agrees(with: y):
            return (.inList, false, .bool, (x == .nothing ? y : x).listComparison)
        default: return a.agrees(with: element) ? (.inBits, false, .bool, 0) : nil
        }
    }

    private func arithmetic(_ operation: Expression.Binary, _ a: StaticType, _ b: StaticType) -> Choice? {
        switch (a, operation, b) {
        case (.int, .add, .int): (.addInt, false, .int, 0)
        case (.int, .subtract, .int): (.subtractInt, false, .int, 0)
        case (.int, .multiply, .int): (.multiplyInt, false, .int, 0)
        case (.int, .divide, .int): (.divideInt, false, .int, 0)
        case (.int, .remainder, .int): (.remainderInt, false, .int, 0)
        case (.double, .add, .double): (.addDouble, false, .double, 0)
        case (.double, .subtract, .double): (.subtractDouble, false, .double, 0)
        case (.double, .multiply, .double): (.multiplyDouble, false, .double, 0)
        case (.double, .divide, .double): (.divideDouble, false, .double, 0)
        case (.string, .add, .string): (.joinTexts, false, .string, 0)
        case (.timestamp, .add, .duration): (.addTime, false, .timestamp, 0)
        case (.duration, .add, .timestamp): (.addTime, true, .timestamp, 0)
        case (.timestamp, .subtract, .duration): (.subtractTime, false, .timestamp, 0)
        case (.timestamp, .subtract, .timestamp): (.differenceOfTimes, false, .duration, 0)
        case (.duration, .add, .duration): (.addDuration, false, .duration, 0)
        case (.duration, .subtract, .duration): (.subtractDuration, false, .duration, 0)
        case (.list(let x), .add, .list(let y)) where x.agrees(with: y):
            (.joinLists, false, .list(x == .nothing ? y : x), 0)
        default: nil
        }
    }

    private func mismatch(
        _ operation: Expression.Binary,
        _ left: Expression,
        _ a: StaticType,
        _ right: Expression,
        _ b: StaticType,
        _ expression: Expression
    ) {
        let sign = operation.rawValue
        if a.isNumber, b.isNumber, a != b {
            let fixed =
                a == .int
                ? "\(asDouble(left)) \(sign) \(text(right))" : "\(text(left)) \(sign) \(asDouble(right))"
            error(expression.span, "\(text(expression)) mixes int and double", suggestion: "write \(fixed)")
            return
        }
        if operation == .isIn {
            guard case .list(let element) = b else {
                error(
                    right.span,
                    "'in' looks into a list, and this is \(b.withArticle)",
                    suggestion: b == .string && !right.isLiteral
                        ? "write \(text(right)).contains(\(text(left)))" : "write [\(text(right))]"
                )
                return
            }
            error(
                expression.span,
                "\(a.withArticle) is never in a \(StaticType.list(element).name)",
                suggestion: conversion(left, a, to: element)
            )
            return
        }
        if operation == .remainder, a == .double {
            error(expression.span, "'%' works on ints only", suggestion: "write int(\(text(left))) % …")
            return
        }
        let verb =
            operation.isComparison
            ? "cannot compare \(a.name) with \(b.name)" : "no '\(sign)' for \(a.name) and \(b.name)"
        error(expression.span, verb, suggestion: conversion(left, a, to: b) ?? conversion(right, b, to: a))
    }

    /// How to write `expression` so that it has the other type.
    private func conversion(_ expression: Expression, _ type: StaticType, to other: StaticType) -> String? {
        switch (expression.kind, other) {
        case (.string, .timestamp): "write timestamp(\(text(expression)))"
        case (.string, .duration): "write duration(\(text(expression)))"
        case (.string(let bytes), .int) where Int64(String(decoding: bytes, as: UTF8.self)) != nil,
            (.string(let bytes), .double) where Double(String(decoding: bytes, as: UTF8.self)) != nil:
            "write it without quotes: \(String(decoding: bytes, as: UTF8.self))"
        case (.string(let bytes), .bool) where ["true", "false"].contains(String(decoding: bytes, as: UTF8.self)):
            "write it without quotes: \(String(decoding: bytes, as: UTF8.self))"
        case (.int(let value), .string): "write it in quotes: \"\(value)\""
        case (.bool(let value), .string): "write it in quotes: \"\(value)\""
        case (.int(let value), .duration): "write duration(\"\(value)s\")"
        default: nil
        }
    }
}

extension Expression.Binary {
    var isComparison: Bool {
        switch self {
        case .less, .lessOrEqual, .greater, .greaterOrEqual, .equal, .notEqual: true
        default: false
        }
    }
}
