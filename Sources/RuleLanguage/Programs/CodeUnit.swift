import CRE2

/// The programs of one rule set in one piece of memory: instructions, constants, literal text, regular expressions.
///
/// `@unchecked Sendable`: written once by ``CodeBuilder``, then immutable; RE2 objects may be matched from several threads (their
/// own cache is locked).
final class CodeUnit: @unchecked Sendable {
    struct Header {
        var instructions: UnsafeMutablePointer<Instruction>
        var constants: UnsafeMutablePointer<Slot>
        var text: UnsafeMutablePointer<UInt8>
        var expressions: UnsafeMutablePointer<OpaquePointer>
        var expressionCount: Int
        /// Most registers any program needs.
        var registers: Int
        var hash: TextHash
    }

    /// Behind a pointer, so that a reader pays no exclusivity check; filled by ``freeze(_:)`` before anybody reads it.
    let header: UnsafeMutablePointer<Header>

    /// Differs between rule sets that are alive at the same time.
    var stamp: UInt64 { UInt64(UInt(bitPattern: header)) }

    init(hash: TextHash) {
        header = .allocate(capacity: 1)
        header.initialize(
            to: Header(
                instructions: .allocate(capacity: 1),
                constants: .allocate(capacity: 1),
                text: .allocate(capacity: 1),
                expressions: .allocate(capacity: 1),
                expressionCount: 0,
                registers: 0,
                hash: hash
            )
        )
    }

    deinit {
        for index in 0..<header.pointee.expressionCount { weir_re2_free(header.pointee.expressions[index]) }
        releaseBuffers()
        header.deallocate()
    }

    private func releaseBuffers() {
        header.pointee.instructions.deallocate()
        header.pointee.constants.deallocate()
        header.pointee.text.deallocate()
        header.pointee.expressions.deallocate()
    }

    /// Takes over what the builder gathered.
    ///
    /// Called once, before any program is run.
    func freeze(_ builder: CodeBuilder) {
        func copy<T>(_ items: [T]) -> UnsafeMutablePointer<T> {
            let pointer = UnsafeMutablePointer<T>.allocate(capacity: max(1, items.count))
            pointer.initialize(from: items, count: items.count)
            return pointer
        }
        releaseBuffers()
        header.pointee.instructions = copy(builder.instructions)
        header.pointee.constants = copy(builder.constants)
        header.pointee.text = copy(builder.text)
        header.pointee.expressions = copy(builder.expressions)
        header.pointee.expressionCount = builder.expressions.count
        header.pointee.registers = builder.registers
    }
}

/// Gathers programs, constants and patterns while a rule set is compiled.
final class CodeBuilder {
    let unit: CodeUnit
    let hash: TextHash
    fileprivate(set) var instructions: [Instruction] = []
    fileprivate(set) var constants: [Slot] = []
    fileprivate(set) var text: [UInt8] = []
    fileprivate(set) var expressions: [OpaquePointer] = []
    fileprivate(set) var registers = 1
    private var patterns: [String: Int] = [:]
    private var literals: [[UInt8]: Slot] = [:]
    private var isFrozen = false

    init(hash: TextHash) {
        self.hash = hash
        unit = CodeUnit(hash: hash)
    }

    deinit {
        // A compilation that failed still owns its patterns.
        if !isFrozen { for expression in expressions { weir_re2_free(expression) } }
    }

    func literal(_ bytes: [UInt8]) -> Slot {
        if let known = literals[bytes] { return known }
        let value = bytes.withUnsafeBufferPointer { buffer in
            withUnsafePointer(to: UInt8(0)) { empty in
                hash(UnsafeRawPointer(buffer.baseAddress ?? empty), count: buffer.count)
            }
        }
        let slot = Slot(hash: value, offset: text.count, length: bytes.count, bank: .constants)
        text += bytes
        literals[bytes] = slot
        return slot
    }

    /// Index of a compiled pattern, or RE2's complaint.
    func pattern(_ bytes: [UInt8]) -> Result<Int, PatternError> {
        let key = String(decoding: bytes, as: UTF8.self)
        if let known = patterns[key] { return .success(known) }
        if bytes.count > RuleLimits.patternBytes {
            return .failure(PatternError(message: "a pattern has at most \(RuleLimits.patternBytes) bytes"))
        }
        if expressions.count >= RuleLimits.patterns {
            return .failure(PatternError(message: "a rule set has at most \(RuleLimits.patterns) patterns"))
        }
        var message = [CChar](repeating: 0, count: 200)
        let compiled = bytes.withUnsafeBufferPointer { buffer in
            buffer.withMemoryRebound(to: CChar.self) { pattern in
                withUnsafePointer(to: CChar(0)) { empty in
                    weir_re2_compile(pattern.baseAddress ?? empty, pattern.count, 1 << 20, &message, message.count)
                }
            }
        }
        guard let compiled else {
            let length = message.firstIndex(of: 0) ?? message.count
            let text = String(decoding: message[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            return .failure(PatternError(message: text))
        }
        expressions.append(compiled)
        patterns[key] = expressions.count - 1
        return .success(expressions.count - 1)
    }

    struct PatternError: Error { var message: String }

    /// Stores a finished program.
    func program(_ code: [Instruction], constants used: [Slot], registers needed: Int, type: ValueType) -> Program {
        let program = Program(
            unit: unit,
            start: instructions.count,
            count: code.count,
            constants: constants.count,
            type: type
        )
        instructions += code
        constants += used
        registers = max(registers, needed)
        return program
    }

    func freeze() {
        isFrozen = true
        unit.freeze(self)
    }
}
