import CYAML
import RuleLanguage

/// One node of a YAML document with the place where it stands.
struct YAMLNode: Sendable {
    enum Content: Sendable {
        /// `isQuoted`: written in quotes or as a block, so it is text even when it looks like a number.
        case scalar(String, isQuoted: Bool)
        case sequence([YAMLNode])
        case mapping([YAMLEntry])
    }
    var content: Content
    var mark: SourceMark

    /// A key without a value: nothing, `null` or `~`.
    var isEmpty: Bool {
        if case .scalar(let text, false) = content { return text.isEmpty || text == "null" || text == "~" }
        return false
    }
}

/// One key of a mapping with its value.
struct YAMLEntry: Sendable {
    var key: String
    var mark: SourceMark
    var value: YAMLNode
}

/// A YAML document as a tree of marked nodes, read from libyaml's event stream.
///
/// Only what a configuration needs: one document of mappings, sequences and scalars. Anchors, aliases and tags are refused, which
/// rules out alias bombs and hidden types; nodes and depth are bounded, and the tree is built with an explicit stack, so no input
/// can exhaust memory or the call stack.
struct YAMLDocument: Sendable {
    static let maximumNodes = 50_000
    static let maximumDepth = 16

    var root: YAMLNode
    var lines: SourceLines

    /// Throws one diagnostic: after a syntax error what follows is guesswork.
    ///
    /// Duplicate keys are reported all together.
    init(bytes: [UInt8], path: String) throws(DiagnosticError) {
        let content = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
        guard let text = String(validating: content, as: UTF8.self) else {
            let place = YAMLDocument.place(ofInvalidByteIn: content)
            throw DiagnosticError([
                Diagnostic(
                    path: path,
                    line: place.line,
                    column: place.column,
                    message: "the file is not valid UTF-8",
                    suggestion: "save the file as UTF-8"
                )
            ])
        }
        lines = SourceLines(text)
        var parser = YAMLEventParser()
        switch parser.tree(content) {
        case .success(let node): root = node
        case .failure(let problems):
            let lines = lines
            throw DiagnosticError(
                problems.list.map {
                    lines.diagnostic(path: path, mark: $0.mark, message: $0.message, suggestion: $0.suggestion)
                }
            )
        }
    }

    static func place(ofInvalidByteIn bytes: [UInt8]) -> (line: Int, column: Int) {
        // Replacement keeps everything before the first bad byte; a genuine U+FFFD is three bytes that re-encode to themselves.
        var line = 1
        var column = 1
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        while true {
            switch decoder.decode(&iterator) {
            case .scalarValue(let scalar):
                if scalar == "\n" {
                    line += 1
                    column = 1
                } else {
                    column += 1
                }
            case .emptyInput, .error: return (line, column)
            }
        }
    }
}

/// What is wrong with the YAML itself.
struct YAMLProblem {
    var mark: SourceMark
    var message: String
    var suggestion: String?
}

struct YAMLProblems: Error {
    var list: [YAMLProblem]
}

/// Drives `yaml_parser_parse` and stacks its events into a tree.
struct YAMLEventParser {
    /// A collection whose end has not been seen.
    private struct Open {
        var mark: SourceMark
        var isMapping: Bool
        var items: [YAMLNode] = []
        var entries: [YAMLEntry] = []
        var seen: [String: Int] = [:]
        /// The key that waits for its value.
        var key: (text: String, mark: SourceMark)?
    }

    private var stack: [Open] = []
    private var root: YAMLNode?
    private var nodes = 0
    private var duplicates: [YAMLProblem] = []

    init() {}

    mutating func tree(_ bytes: [UInt8]) -> Result<YAMLNode, YAMLProblems> {
        var parser = yaml_parser_t()
        guard yaml_parser_initialize(&parser) == 1 else {
            return .failure(
                YAMLProblems(list: [YAMLProblem(mark: SourceMark(line: 1, column: 1), message: "out of memory")])
            )
        }
        defer { yaml_parser_delete(&parser) }
        // libyaml keeps the address of the parser's own input state: the bytes and the parser stay where they are inside this
        // closure.
        let outcome = bytes.withUnsafeBufferPointer { input in
            withUnsafeMutablePointer(to: &parser) { parser -> YAMLProblem? in
                guard let base = input.baseAddress else { return nil }
                yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
                yaml_parser_set_input_string(parser, base, input.count)
                return run(parser, bytes)
            }
        }
        if let outcome { return .failure(YAMLProblems(list: duplicates + [outcome])) }
        if !duplicates.isEmpty { return .failure(YAMLProblems(list: duplicates)) }
        guard let root else {
            return .failure(
                YAMLProblems(list: [
                    YAMLProblem(
                        mark: SourceMark(line: 1, column: 1),
                        message: "the file is empty",
                        suggestion: "start with 'topology: NAME' and 'events:'"
                    )
                ])
            )
        }
        return .success(root)
    }

    private mutating func run(_ parser: UnsafeMutablePointer<yaml_parser_t>, _ bytes: [UInt8]) -> YAMLProblem? {
        var documents = 0
        while true {
            var event = yaml_event_t()
            guard yaml_parser_parse(parser, &event) == 1 else { return syntaxProblem(parser.pointee, bytes) }
            defer { yaml_event_delete(&event) }
            let mark = SourceMark(
                start: event.start_mark,
                end: event.end_mark,
                isCollection: event.type != YAML_SCALAR_EVENT
            )
            switch event.type {
            case YAML_STREAM_END_EVENT: return nil
            case YAML_DOCUMENT_START_EVENT:
                documents += 1
                if documents > 1 {
                    return YAMLProblem(
                        mark: mark,
                        message: "a second document starts here",
                        suggestion: "a topology is one document: remove '---' and what follows"
                    )
                }
            case YAML_ALIAS_EVENT:
                return YAMLProblem(
                    mark: mark,
                    message: "aliases (*name) are not allowed",
                    suggestion: "write the value out again"
                )
            case YAML_SCALAR_EVENT:
                let scalar = event.data.scalar
                if let problem = refuse(anchor: scalar.anchor != nil, tag: scalar.tag != nil, mark) { return problem }
                let text = String(
                    decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.value == nil ? 0 : scalar.length),
                    as: UTF8.self
                )
                let isQuoted = scalar.style != YAML_PLAIN_SCALAR_STYLE && scalar.style != YAML_ANY_SCALAR_STYLE
                if let problem = add(YAMLNode(content: .scalar(text, isQuoted: isQuoted), mark: mark)) {
                    return problem
                }
            case YAML_SEQUENCE_START_EVENT:
                let start = event.data.sequence_start
                if let problem = refuse(anchor: start.anchor != nil, tag: start.tag != nil, mark) { return problem }
                if let problem = begin(Open(mark: mark, isMapping: false)) { return problem }
            case YAML_MAPPING_START_EVENT:
                let start = event.data.mapping_start
                if let problem = refuse(anchor: start.anchor != nil, tag: start.tag != nil, mark) { return problem }
                if let problem = begin(Open(mark: mark, isMapping: true)) { return problem }
            case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
                guard let open = stack.popLast() else { continue }
                let content: YAMLNode.Content = open.isMapping ? .mapping(open.entries) : .sequence(open.items)
                if let problem = add(YAMLNode(content: content, mark: open.mark)) { return problem }
            default: break
            }
        }
    }

    private func refuse(anchor: Bool, tag: Bool, _ mark: SourceMark) -> YAMLProblem? {
        if anchor {
            return YAMLProblem(
                mark: mark,
                message: "anchors (&name) are not allowed",
                suggestion: "write the value out where it is needed"
            )
        }
        if tag {
            return YAMLProblem(mark: mark, message: "tags (!name) are not allowed", suggestion: "remove the tag")
        }
        return nil
    }

    private mutating func begin(_ open: Open) -> YAMLProblem? {
        if let top = stack.last, top.isMapping, top.key == nil {
            return YAMLProblem(
                mark: open.mark,
                message: "a key must be plain text",
                suggestion: "put quotes around text that starts with '{' or '['"
            )
        }
        guard stack.count < YAMLDocument.maximumDepth else {
            return YAMLProblem(mark: open.mark, message: "nested more than \(YAMLDocument.maximumDepth) deep")
        }
        stack.append(open)
        return nil
    }

    /// Puts a finished node where it belongs: into the innermost open collection, or as the root.
    private mutating func add(_ node: YAMLNode) -> YAMLProblem? {
        nodes += 1
        guard nodes <= YAMLDocument.maximumNodes else {
            return YAMLProblem(mark: node.mark, message: "more than \(YAMLDocument.maximumNodes) values in one file")
        }
        guard var top = stack.popLast() else {
            root = node
            return nil
        }
        if !top.isMapping {
            top.items.append(node)
        } else if let key = top.key {
            top.entries.append(YAMLEntry(key: key.text, mark: key.mark, value: node))
            top.key = nil
        } else if case .scalar(let text, _) = node.content {
            if let first = top.seen[text] {
                duplicates.append(
                    YAMLProblem(
                        mark: node.mark,
                        message: "the key '\(text)' is written twice, first in line \(first)",
                        suggestion: "keep one of the two"
                    )
                )
            } else {
                top.seen[text] = node.mark.line
            }
            top.key = (text, node.mark)
        }
        stack.append(top)
        return nil
    }

    private func syntaxProblem(_ parser: yaml_parser_t, _ bytes: [UInt8]) -> YAMLProblem {
        let problem = parser.problem.map { String(cString: $0) } ?? "not valid YAML"
        if parser.error == YAML_READER_ERROR {
            // The reader counts bytes only.
            let before = String(decoding: bytes.prefix(parser.problem_offset), as: UTF8.self).unicodeScalars
            let line = before.count { $0 == "\n" } + 1
            let column = before.reversed().prefix { $0 != "\n" }.count + 1
            return YAMLProblem(
                mark: SourceMark(line: line, column: column),
                message: "not valid YAML: \(problem)",
                suggestion: "remove the control character"
            )
        }
        let mark = SourceMark(start: parser.problem_mark, end: parser.problem_mark, isCollection: false)
        let here = parser.problem_mark.index
        let scalars = String(decoding: bytes, as: UTF8.self).unicodeScalars
        let at = scalars.dropFirst(here).first
        var message = "not valid YAML: \(problem)"
        if let context = parser.context, parser.context_mark.line != parser.problem_mark.line {
            message += " (\(String(cString: context)) from line \(parser.context_mark.line + 1))"
        }
        if at == "\t" {
            return YAMLProblem(mark: mark, message: "a tab cannot indent YAML", suggestion: "indent with spaces")
        }
        var suggestion: String?
        if problem.contains("mapping values are not allowed") {
            suggestion = "put quotes around text that contains ': ', and check the indentation"
        } else if problem.contains("could not find expected ':'") {
            suggestion = "write 'key: value' with a blank after the colon"
        } else if problem.contains("did not find expected key") || problem.contains("<block end>") {
            suggestion = "keys of one block start in the same column"
        } else if problem.contains("cannot start any token") {
            suggestion = "put quotes around text that starts with a special character"
        } else if problem.contains("unexpected end of stream") || problem.contains("',' or '}'")
            || problem.contains("',' or ']'")
        {
            suggestion = "close the quote or bracket"
        }
        return YAMLProblem(mark: mark, message: message, suggestion: suggestion)
    }
}

extension SourceMark {
    /// From libyaml's marks, which count from 0.
    ///
    /// A collection is marked at its first character, a scalar at its first line.
    init(start: yaml_mark_t, end: yaml_mark_t, isCollection: Bool) {
        let isOneLine = start.line == end.line && !isCollection
        self.init(
            line: start.line + 1,
            column: start.column + 1,
            length: isOneLine ? max(1, Int(end.column) - Int(start.column)) : 1
        )
    }
}
