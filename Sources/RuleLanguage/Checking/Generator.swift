/// Checks an expression's types and writes its instructions, in one walk.
///
/// One generator makes one program. A wrong expression is reported once and gets the type `failed`, which nobody complains about
/// again.
struct Generator {
    /// A checked expression: its type, and the operand that holds it.
    struct Value {
        var type: StaticType
        var operand: UInt16
        /// Shows a personal field, so people see it masked.
        var isPersonal = false

        static var failed: Value { Value(type: .failed, operand: Generator.idle) }
        var isFailed: Bool { type == .failed }
        var isConstant: Bool { Bank.bank(of: operand) == Bank.constants }
    }

    /// An operand that may always be loaded.
    static let idle = Bank.operand(Bank.registers, 0)

    var scope: Scope
    let builder: CodeBuilder
    let sink: DiagnosticSink
    private(set) var code: [Instruction] = []
    private(set) var constants: [Slot] = []
    private var constantIndex: [Slot: Int] = [:]
    /// Register 0 is never a result.
    private var nextRegister = 1
    private(set) var registersUsed = 1
    private var isTooLarge = false
    /// Last place a jump leads to.
    private var landing = 0
    /// Variables of macros, innermost last.
    var variables: [(name: String, value: Value)] = []
    /// Values of lets computed already in this program.
    var letValues: [String: Value] = [:]
    /// Names read, in order of first use: for explanations and for finding unused lets.
    private(set) var reads: [Read] = []

    struct Read: Equatable {
        var name: String
        var operand: UInt16
        var type: StaticType
        var isPersonal: Bool
    }
    private(set) var usedLets: Set<String> = []

    /// The event's fields among what was read.
    var fieldsRead: [Int] {
        reads.compactMap { Bank.bank(of: $0.operand) == Bank.fields ? Bank.index(of: $0.operand) : nil }
    }

    init(_ scope: Scope, _ builder: CodeBuilder, _ sink: DiagnosticSink) {
        self.scope = scope
        self.builder = builder
        self.sink = sink
    }

    // MARK: Writing

    mutating func allocate() -> UInt16 {
        guard nextRegister < Bank.capacity else {
            isTooLarge = true
            return Generator.idle
        }
        nextRegister += 1
        registersUsed = max(registersUsed, nextRegister)
        return Bank.operand(Bank.registers, nextRegister - 1)
    }

    /// Registers taken so far; giving the mark back frees those taken since.
    var mark: Int { nextRegister }
    mutating func release(_ mark: Int) { nextRegister = mark }

    mutating func constant(_ slot: Slot) -> UInt16 {
        if let known = constantIndex[slot] { return Bank.operand(Bank.constants, known) }
        guard constants.count < Bank.capacity else {
            isTooLarge = true
            return Generator.idle
        }
        constants.append(slot)
        constantIndex[slot] = constants.count - 1
        return Bank.operand(Bank.constants, constants.count - 1)
    }

    /// Elements side by side, as a list's constant must hold them.
    mutating func constantList(_ elements: [Slot]) -> UInt16 {
        guard constants.count + elements.count < Bank.capacity else {
            isTooLarge = true
            return Generator.idle
        }
        let start = constants.count
        constants += elements
        return constant(Slot(bits: 1, aux: UInt64(start) << 32 | UInt64(elements.count)))
    }

    func slot(ofConstant operand: UInt16) -> Slot { constants[Bank.index(of: operand)] }

    @discardableResult
    mutating func emit(
        _ opcode: Opcode,
        result: UInt16 = Generator.idle,
        _ a: UInt16 = Generator.idle,
        _ b: UInt16 = Generator.idle,
        target: Int = 0,
        extra: Int = 0
    ) -> Int {
        code.append(
            Instruction(
                opcode: opcode,
                result: UInt16(Bank.index(of: result)),
                a: a,
                b: b,
                target: Int32(truncatingIfNeeded: target),
                extra: Int32(truncatingIfNeeded: extra)
            )
        )
        return code.count - 1
    }

    /// Joins a condition to the result so far of `&&` or `||`; returns the jump taken when that decides.
    ///
    /// A comparison written just before becomes one step with the joining, if no jump leads behind it and no let keeps its outcome.
    mutating func join(_ value: Value, to result: UInt16, isAnd: Bool) -> Int {
        if let last = code.last, last.result == UInt16(Bank.index(of: value.operand)),
            Bank.bank(of: value.operand) == Bank.registers, value.operand != result, landing < code.count,
            !letValues.values.contains(where: { $0.operand == value.operand }),
            let fused = last.opcode.joined(isAnd: isAnd)
        {
            code[code.count - 1].opcode = fused
            code[code.count - 1].result = UInt16(Bank.index(of: result))
            return code.count - 1
        }
        return emit(isAnd ? .andJump : .orJump, result: result, result, value.operand)
    }

    var position: Int { code.count }
    /// Lets a jump written earlier lead here.
    mutating func land(_ jump: Int) {
        code[jump].target = Int32(code.count)
        landing = code.count
    }
    mutating func landExtra(_ jump: Int) {
        code[jump].extra = Int32(code.count)
        landing = code.count
    }

    /// Ends the program with its value.
    ///
    /// Nil when the expression was wrong or has no type a stage can hold.
    mutating func finish(_ value: Value, at span: Span) -> Program? {
        guard !value.isFailed, let type = value.type.valueType else { return nil }
        emit(.result, value.operand)
        return store(type, at: span)
    }

    /// Stores what was written.
    mutating func store(_ type: ValueType, at span: Span) -> Program? {
        guard !isTooLarge else {
            error(
                span,
                "this needs more than \(Bank.capacity) constants or intermediate values",
                suggestion: "split the rule"
            )
            return nil
        }
        return builder.program(code, constants: constants, registers: registersUsed, type: type)
    }

    func error(_ span: Span, _ message: String, suggestion: String? = nil) {
        sink.error(scope.source, span, message, suggestion: suggestion)
    }

    func text(_ expression: Expression) -> String { scope.source.text(expression.span) }

    // MARK: Expressions

    /// Writes the instructions of an expression.
    ///
    /// The result is in `into` when given and computed here, else wherever it is cheapest.
    mutating func generate(_ expression: Expression, into: UInt16? = nil) -> Value {
        if let chain = expression.nameChain { return name(chain, expression) }
        switch expression.kind {
        case .int(let value): return Value(type: .int, operand: constant(Slot(value)))
        case .double(let value): return Value(type: .double, operand: constant(Slot(value)))
        case .bool(let value): return Value(type: .bool, operand: constant(Slot(value)))
        case .string(let bytes): return Value(type: .string, operand: constant(builder.literal(bytes)))
        case .uint: return unsupported(expression, "unsigned numbers", "write the number without u")
        case .bytes: return unsupported(expression, "bytes", "write a text without b")
        case .null: return unsupported(expression, "null", "has(field) tells whether a field is there")
        case .map: return unsupported(expression, "maps", nil)
        case .identifier: return .failed
        case .select(let operand, let member):
            let value = generate(operand)
            if !value.isFailed { error(expression.span, "\(value.type.withArticle) has no field '\(member)'") }
            return .failed
        case .has(let operand): return presence(operand, into)
        case .index(let list, let index): return element(list, index, into)
        case .call(let target, let name, let nameSpan, let arguments):
            return call(expression, target, name, nameSpan, arguments, into)
        case .list(let items): return list(items, expression, into)
        case .unary(let operation, let operand): return unary(operation, operand, expression, into)
        case .binary(let operation, let a, let b): return binary(operation, a, b, expression, into)
        case .and(let items): return logic(items, isAnd: true, into)
        case .or(let items): return logic(items, isAnd: false, into)
        case .conditional(let condition, let yes, let no): return conditional(condition, yes, no, expression, into)
        case .comprehension(let macro, let target, let variable, let arguments):
            return comprehension(macro, target, variable, arguments, into)
        }
    }

    func unsupported(_ expression: Expression, _ what: String, _ suggestion: String?) -> Value {
        error(expression.span, "\(what) are not supported in rules yet".replacingNull, suggestion: suggestion)
        return .failed
    }

    /// Writes an expression that has to be a condition.
    mutating func condition(_ expression: Expression, into: UInt16? = nil) -> Value {
        let value = generate(expression, into: into)
        guard !value.isFailed, value.type != .bool else { return value }
        let suggestion: String? =
            switch value.type {
            case .int, .double: "compare it: \(text(expression)) > 0"
            case .string: "compare it: \(text(expression)) == \"…\""
            case .list: "write size(\(text(expression))) > 0, or \(text(expression)).exists(x, x == \"…\")"
            default: nil
            }
        error(expression.span, "this is \(value.type.withArticle) where a condition is needed", suggestion: suggestion)
        return .failed
    }

    // MARK: Names

    private mutating func name(_ chain: [String], _ expression: Expression) -> Value {
        if let variable = variables.last(where: { $0.name == chain[0] }) {
            guard chain.count == 1 else {
                error(
                    expression.span,
                    "'\(chain[0])' is \(variable.value.type.withArticle) and has no field '\(chain[1])'"
                )
                return .failed
            }
            return variable.value
        }
        let whole = chain.joined(separator: ".")
        if let meaning = scope.meaning(of: whole) { return value(of: meaning, whole, expression) }
        // The longest declared name decides what the rest was meant to be.
        for length in stride(from: chain.count - 1, to: 0, by: -1) {
            let prefix = chain[..<length].joined(separator: ".")
            guard let meaning = scope.meaning(of: prefix) else { continue }
            let known = value(of: meaning, prefix, expression)
            if known.isFailed { return .failed }
            let nearest = Diagnostic.nearest(to: whole, among: scope.names)
            error(
                expression.span,
                "'\(prefix)' is \(known.type.withArticle) and has no field '\(chain[length])'",
                suggestion: nearest.map { "did you mean '\($0)'?" }
            )
            return .failed
        }
        unknown(whole, expression.span)
        return .failed
    }

    func unknown(_ name: String, _ span: Span) {
        let nearest = Diagnostic.nearest(to: name, among: scope.names).map { "did you mean '\($0)'?" }
        guard let schema = scope.schema, !schema.fields.isEmpty else {
            error(span, "nothing here is called '\(name)'", suggestion: nearest)
            return
        }
        if !scope.seesFeatures,
            scope.hidden.contains(name) || scope.table.declared[name] != nil || scope.table.broken.contains(name)
                || scope.environment.signals.contains(where: { $0.name == name })
        {
            error(
                span,
                "'\(name)' is not a field of event '\(schema.name)'",
                suggestion: scope.isKey
                    ? "a key is found before windows and signals: it reads the event's own fields only"
                    : "an aggregate reads fields of the counted event only"
            )
            return
        }
        if scope.letsBelow.contains(name) {
            error(span, "'\(name)' is given its value further down", suggestion: "move its let above this one")
            return
        }
        if name.hasPrefix("lists.") {
            error(span, "lists come with a later version")
            return
        }
        if let property = name.split(separator: ".").last.map(String.init), looksLikeSignal(name, property) {
            error(
                span,
                "no field or signal '\(name)' in event '\(schema.name)'",
                suggestion: nearest ?? signalHint(property)
            )
            return
        }
        error(span, "no field '\(name)' in event '\(schema.name)'", suggestion: nearest ?? quoteHint(name))
    }

    /// Whether a name that means nothing was meant for a detector's or model's value: `NAME.size` where no field begins with
    /// `NAME.`.
    private func looksLikeSignal(_ name: String, _ property: String) -> Bool {
        guard name.contains("."), RuleEnvironment.Signal.properties.contains(property) else { return false }
        let owner = name.dropLast(property.utf8.count)
        return !(scope.schema?.fields.contains { $0.name.hasPrefix(owner) } ?? false)
    }

    /// How signals are called here; those of one property, or all.
    func signalHint(_ property: String? = nil) -> String {
        let names = scope.environment.signals.map(\.name)
        if names.isEmpty { return "the topology declares no detector and no model" }
        let alike = property.map { property in names.filter { $0.hasSuffix(".\(property)") } } ?? []
        return "signals are named after their detector or model: \(list(of: alike.isEmpty ? names : alike))"
    }

    private func quoteHint(_ name: String) -> String? {
        name.contains(".") ? nil : "fields are \(list(of: scope.names)); a text stands in quotes: \"\(name)\""
    }

    func list(of names: [String]) -> String {
        let shown = names.prefix(6).joined(separator: ", ")
        return names.count > 6 ? shown + ", …" : shown
    }

    private mutating func value(of meaning: Scope.Meaning, _ name: String, _ expression: Expression) -> Value {
        switch meaning {
        case .field(let index):
            guard let field = scope.schema?.fields[index] else { return .failed }
            let value = Value(
                type: StaticType(field.type),
                operand: Bank.operand(Bank.fields, index),
                isPersonal: field.isPersonal
            )
            note(name, value)
            return value
        case .feature(let index):
            let feature = scope.table.features[index]
            if scope.lets[name] != nil { usedLets.insert(name) }
            if let event = scope.event, feature.readers[event] == nil {
                let reader = scope.schema?.name ?? ""
                error(
                    expression.span,
                    "event '\(reader)' cannot read feature '\(name)': it lacks a field for its key",
                    suggestion: "declare the fields in the topology, or use let with 'by key = expression'"
                )
                return .failed
            }
            let value = Value(
                type: StaticType(feature.resultType),
                operand: Bank.operand(Bank.features, feature.column),
                isPersonal: scope.table.isPersonal[index]
            )
            note(name, value)
            return value
        case .signal(let index):
            let value = Value(
                type: StaticType(scope.environment.signals[index].type),
                operand: Bank.operand(Bank.signals, index)
            )
            note(name, value)
            return value
        case .letExpression(let name, let expression):
            usedLets.insert(name)
            if let known = letValues[name] { return known }
            let outer = variables
            variables = []
            let value = generate(expression)
            variables = outer
            return value
        case .failed:
            if scope.lets[name] != nil { usedLets.insert(name) }
            return .failed
        }
    }

    private mutating func note(_ name: String, _ value: Value) {
        let read = Read(name: name, operand: value.operand, type: value.type, isPersonal: value.isPersonal)
        if !reads.contains(read) { reads.append(read) }
    }

    /// Computes the lets an expression reads, those first that others read in turn, so that each is computed once however often it
    /// is read.
    ///
    /// To be called where the code is sure to pass, not inside a branch.
    mutating func prepare(_ expression: Expression) {
        var pending = [expression]
        while let next = pending.popLast() {
            if case .identifier(let name) = next.kind, letValues[name] == nil,
                case .expression(let value)? = scope.lets[name]
            {
                prepare(value)
                materialise(name, value)
            }
            pending += next.children.reversed()
        }
    }

    /// Writes a whole expression, the lets it reads included.
    mutating func generateWhole(_ expression: Expression) -> Value {
        prepare(expression)
        return generate(expression)
    }

    /// Computes a let into a register of its own, so that all its readers share it.
    private mutating func materialise(_ name: String, _ expression: Expression) {
        guard letValues[name] == nil else { return }
        let register = allocate()
        var value = generate(expression, into: register)
        release(Bank.index(of: register) + 1)
        if Bank.bank(of: value.operand) == Bank.registers, value.operand != register, !value.isFailed {
            emit(.move, result: register, value.operand)
            value.operand = register
        }
        letValues[name] = value
    }

    private mutating func presence(_ operand: Expression, _ into: UInt16?) -> Value {
        let value = generate(operand)
        if value.isFailed { return .failed }
        let result = into ?? allocate()
        emit(.isPresent, result: result, value.operand)
        return Value(type: .bool, operand: result)
    }
}

extension String {
    /// "null are" reads badly.
    fileprivate var replacingNull: String { hasPrefix("null are") ? "null is" + dropFirst(8) : self }
}
