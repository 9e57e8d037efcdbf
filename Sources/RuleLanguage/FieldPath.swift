/// Where a field's value stands: in the record's value, or beside it.
///
/// As text: `a.b` is a key in an object, `items[0].sku` a key in the first element of an array, `tags[]` and `items[].sku` all of
/// an array as a list, `@key` the record's key and `@headers.NAME` one of its headers. As an array literal, keys alone.
public struct FieldPath: Sendable, Hashable, ExpressibleByArrayLiteral, CustomStringConvertible {
    /// One level inwards.
    public enum Step: Sendable, Hashable {
        /// The value under a key of an object.
        case key(String)
        /// An element of an array, counted from 0.
        case index(Int)
        /// Every element of an array.
        case each
    }

    /// Where the steps begin.
    public enum Origin: Sendable, Hashable {
        /// In the record's value, inside its envelope where the event type has one.
        case value
        /// In the record's value, outside its envelope.
        case around
        /// The record's key; without steps.
        case recordKey
        /// The last header of this name; without steps.
        case header(String)
    }

    /// Most steps of a path.
    public static let stepsMax = 16
    /// Largest index of an element.
    public static let indexMax = 9_999

    public var origin: Origin
    public var steps: [Step]

    public init(origin: Origin = .value, steps: [Step] = []) {
        self.origin = origin
        self.steps = steps
    }

    public init(arrayLiteral keys: String...) { self.init(keys: keys) }

    /// Keys of objects from the outermost inwards, or the one column of CSV.
    public init(keys: [String]) { self.init(steps: keys.map { .key($0) }) }

    /// Whether it leads nowhere.
    public var isEmpty: Bool { origin == .value && steps.isEmpty }
    /// Whether it leads through all elements of an array, and so to a list.
    public var hasEach: Bool { steps.contains(.each) }
    /// Whether the value stands beside the record's value: its key or a header.
    public var isBeside: Bool { origin != .value && origin != .around }
    /// The keys it begins with, up to the first array.
    public var leadingKeys: [String] {
        var keys: [String] = []
        for case .key(let key) in steps.prefix(while: { if case .key = $0 { true } else { false } }) {
            keys.append(key)
        }
        return keys
    }

    /// The CSV column it names.
    public var column: String { leadingKeys.first ?? "" }

    /// The path from an element on where this one leads through all elements of the array at another, else nil.
    public func inside(elementsOf array: FieldPath) -> FieldPath? {
        let head = array.steps + [.each]
        guard origin == array.origin, steps.starts(with: head) else { return nil }
        return FieldPath(origin: origin, steps: Array(steps[head.count...]))
    }

    /// Whether one leads to, or through, the place of the other.
    public func overlaps(_ other: FieldPath) -> Bool {
        origin == other.origin
            && (steps.count <= other.steps.count ? other.steps.starts(with: steps) : steps.starts(with: other.steps))
    }

    /// As people write it.
    public var description: String {
        switch origin {
        case .recordKey: return "@key"
        case .header(let name): return "@headers.\(name)"
        case .value, .around: break
        }
        var text = ""
        for step in steps {
            switch step {
            case .key(let key): text += text.isEmpty ? key : ".\(key)"
            case .index(let index): text += "[\(index)]"
            case .each: text += "[]"
            }
        }
        if origin == .around { text = "@" + text }
        return text
    }
}

/// Why a text is no path, and what to write instead.
public struct FieldPathError: Error, Sendable, Equatable {
    public var message: String
    public var suggestion: String
}

extension FieldPath {
    /// Reads the text form.
    ///
    /// - Parameter hasEnvelope: `@NAME` then leads outside it.
    /// - Throws: ``FieldPathError``, which knows JSONPath and JSON pointers.
    public init(text: String, hasEnvelope: Bool = false) throws(FieldPathError) {
        if let foreign = FieldPath.foreign(text) { throw foreign }
        if text.hasPrefix("@") {
            do throws(FieldPathError) {
                self = try FieldPath.beside(text)
            } catch {
                guard hasEnvelope, text.utf8.count > 1 else { throw error }
                try self.init(text: String(text.dropFirst()))
                origin = .around
            }
            return
        }
        self.init(steps: [])
        for part in text.split(separator: ".", omittingEmptySubsequences: false) {
            let key = part.prefix { $0 != "[" }
            if key.isEmpty { throw FieldPath.noPath(text) }
            steps.append(.key(String(key)))
            var rest = part[key.endIndex...]
            while !rest.isEmpty {
                guard rest.first == "[", let close = rest.firstIndex(of: "]") else { throw FieldPath.noPath(text) }
                let inside = rest[rest.index(after: rest.startIndex)..<close]
                if inside.isEmpty {
                    steps.append(.each)
                } else if let index = Int(inside), (0...FieldPath.indexMax).contains(index), inside.first != "+" {
                    steps.append(.index(index))
                } else {
                    throw FieldPathError(
                        message: "'[\(inside)]' of '\(text)' is no element",
                        suggestion:
                            "write '[0]' for the first one, up to '[\(FieldPath.indexMax)]', or '[]' for all of them"
                    )
                }
                rest = rest[rest.index(after: close)...]
            }
        }
        if steps.count > FieldPath.stepsMax {
            throw FieldPathError(
                message: "'\(text)' has \(steps.count) steps, more than \(FieldPath.stepsMax)",
                suggestion: "each key and each '[…]' is a step"
            )
        }
    }

    private static func noPath(_ text: String) -> FieldPathError {
        FieldPathError(
            message: "'\(text)' is no path",
            suggestion:
                "keys from the outside inwards, joined by dots, '[0]' or '[]' behind an array; a key that holds a dot or a bracket needs a list: [a, b.c]"
        )
    }

    /// `@key` and `@headers.NAME`.
    private static func beside(_ text: String) throws(FieldPathError) -> FieldPath {
        if text == "@key" { return FieldPath(origin: .recordKey) }
        let headers = "@headers."
        if text.hasPrefix(headers), text.utf8.count > headers.utf8.count {
            return FieldPath(origin: .header(String(text.dropFirst(headers.count))))
        }
        throw FieldPathError(
            message: "'\(text)' is neither the record's key nor one of its headers",
            suggestion:
                "write '@key' or '@headers.NAME'; a key of the value that begins with '@' needs a list: [\"\(text)\"]"
        )
    }

    /// What other languages write, with the same in ours.
    private static func foreign(_ text: String) -> FieldPathError? {
        if text == "$" || text.hasPrefix("$.") || text.hasPrefix("$[") {
            var rest = text.dropFirst()
            if rest.first == "." { rest = rest.dropFirst() }
            let ours = rest.replacing("[*]", with: "[]").replacing("['", with: ".").replacing("']", with: "")
            return FieldPathError(
                message: "'\(text)' is JSONPath",
                suggestion: ours.isEmpty
                    ? "name a key of the record" : "write '\(ours.first == "." ? ours.dropFirst() : ours)'"
            )
        }
        if text.contains("[*]") {
            return FieldPathError(
                message: "'[*]' of '\(text)' is JSONPath",
                suggestion: "write '\(text.replacing("[*]", with: "[]"))'"
            )
        }
        if text.hasPrefix("/"), text.utf8.count > 1 {
            var ours = ""
            for part in text.dropFirst().split(separator: "/") {
                let key = part.replacing("~1", with: "/").replacing("~0", with: "~")
                if !ours.isEmpty, Int(key) != nil { ours += "[\(key)]" } else { ours += ours.isEmpty ? key : ".\(key)" }
            }
            return FieldPathError(message: "'\(text)' is a JSON pointer", suggestion: "write '\(ours)'")
        }
        return nil
    }
}
