/// A parsed CEL expression.
///
/// Immutable; nesting never exceeds ``Expression/depthLimit``, so walks may recurse.
final class Expression: Sendable {
    enum Unary: String, Sendable { case not = "!", negate = "-" }
    enum Binary: String, Sendable {
        case less = "<", lessOrEqual = "<=", greater = ">", greaterOrEqual = ">=", equal = "==", notEqual = "!="
        case isIn = "in", add = "+", subtract = "-", multiply = "*", divide = "/", remainder = "%"
    }
    enum Macro: String, Sendable { case all, exists, existsOne = "exists_one", map, filter }

    indirect enum Kind: Sendable {
        case int(Int64)
        case uint(UInt64)
        case double(Double)
        case bool(Bool)
        case string([UInt8])
        case bytes([UInt8])
        case null
        case identifier(String)
        case select(Expression, String)
        case has(Expression)
        case index(Expression, Expression)
        case call(target: Expression?, name: String, nameSpan: Span, arguments: [Expression])
        case list([Expression])
        case map([(key: Expression, value: Expression)])
        case unary(Unary, Expression)
        case binary(Binary, Expression, Expression)
        case and([Expression])
        case or([Expression])
        case conditional(Expression, Expression, Expression)
        /// `target.macro(variable, arguments…)`.
        case comprehension(Macro, Expression, variable: String, arguments: [Expression])
    }

    static let depthLimit = 250

    let kind: Kind
    let span: Span
    let depth: Int

    init(_ kind: Kind, _ span: Span) {
        self.kind = kind
        self.span = span
        depth = 1 + (Expression.children(of: kind).map(\.depth).max() ?? 0)
    }

    var children: [Expression] { Expression.children(of: kind) }

    private static func children(of kind: Kind) -> [Expression] {
        switch kind {
        case .int, .uint, .double, .bool, .string, .bytes, .null, .identifier: []
        case .select(let operand, _), .has(let operand), .unary(_, let operand): [operand]
        case .index(let a, let b), .binary(_, let a, let b): [a, b]
        case .call(let target, _, _, let arguments): (target.map { [$0] } ?? []) + arguments
        case .list(let items), .and(let items), .or(let items): items
        case .map(let entries): entries.flatMap { [$0.key, $0.value] }
        case .conditional(let a, let b, let c): [a, b, c]
        case .comprehension(_, let target, _, let arguments): [target] + arguments
        }
    }

    var isLiteral: Bool {
        switch kind {
        case .int, .uint, .double, .bool, .string, .bytes, .null: true
        default: false
        }
    }

    /// `a.b.c` as its parts, or nil when it is not a plain chain of names.
    var nameChain: [String]? {
        switch kind {
        case .identifier(let name): [name]
        case .select(let operand, let name): operand.nameChain.map { $0 + [name] }
        default: nil
        }
    }
}

extension Expression {
    /// The expression in one fixed notation: every operator in parentheses, texts in double quotes.
    ///
    /// Equal trees give equal texts.
    ///
    /// `rename` may replace a chain of names, for example an entity by the field that holds it.
    func canonical(_ rename: @escaping (String) -> String = { $0 }) -> String {
        if let chain = nameChain { return rename(chain.joined(separator: ".")) }
        func join(_ items: [Expression], _ separator: String) -> String {
            items.map { $0.canonical(rename) }.joined(separator: separator)
        }
        switch kind {
        case .int(let value): return String(value)
        case .uint(let value): return "\(value)u"
        case .double(let value): return "\(value)"
        case .bool(let value): return value ? "true" : "false"
        case .string(let bytes): return Expression.quoted(bytes)
        case .bytes(let bytes): return "b" + Expression.quoted(bytes)
        case .null: return "null"
        case .identifier(let name): return name
        case .select(let operand, let name): return operand.canonical(rename) + "." + name
        case .has(let operand): return "has(\(operand.canonical(rename)))"
        case .index(let a, let b): return "\(a.canonical(rename))[\(b.canonical(rename))]"
        case .call(let target, let name, _, let arguments):
            return (target.map { $0.canonical(rename) + "." } ?? "") + name + "(" + join(arguments, ", ") + ")"
        case .list(let items): return "[" + join(items, ", ") + "]"
        case .map(let entries):
            let texts = entries.map { "\($0.key.canonical(rename)): \($0.value.canonical(rename))" }
            return "{" + texts.joined(separator: ", ") + "}"
        case .unary(let operation, let operand): return operation.rawValue + operand.canonical(rename)
        case .binary(let operation, let a, let b):
            return "(\(a.canonical(rename)) \(operation.rawValue) \(b.canonical(rename)))"
        case .and(let items): return "(" + join(items, " && ") + ")"
        case .or(let items): return "(" + join(items, " || ") + ")"
        case .conditional(let a, let b, let c):
            return "(\(a.canonical(rename)) ? \(b.canonical(rename)) : \(c.canonical(rename)))"
        case .comprehension(let macro, let target, let variable, let arguments):
            // A variable of a macro hides a field of the same name.
            let inner: (String) -> String = {
                $0 == variable || $0.hasPrefix(variable + ".") ? $0 : rename($0)
            }
            let texts = arguments.map { $0.canonical(inner) }.joined(separator: ", ")
            return "\(target.canonical(rename)).\(macro.rawValue)(\(variable), \(texts))"
        }
    }

    static func quoted(_ bytes: [UInt8]) -> String {
        var out: [UInt8] = [UInt8(ascii: "\"")]
        let hex = Array("0123456789abcdef".utf8)
        for byte in bytes {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                out += [UInt8(ascii: "\\"), byte]
            } else if byte < 0x20 || byte == 0x7F {
                out += [UInt8(ascii: "\\"), UInt8(ascii: "x"), hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            } else {
                out.append(byte)
            }
        }
        out.append(UInt8(ascii: "\""))
        return String(decoding: out, as: UTF8.self)
    }
}
