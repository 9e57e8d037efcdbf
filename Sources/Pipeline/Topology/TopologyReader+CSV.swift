import RuleLanguage

/// Names that people give to delimiters and quotes, each with what to write.
private let namedCharacters: [String: String] = [
    "comma": "\",\"", "semicolon": "\";\"", "pipe": "\"|\"", "bar": "\"|\"", "space": "blanks", "whitespace": "blanks",
    "spaces": "blanks", "blank": "blanks", "tabulator": "tab", "tabs": "tab", "\\t": "tab", "double": "'\"'",
    "single": "\"'\"", "doublequote": "'\"'", "singlequote": "\"'\"", "false": "none", "off": "none", "no": "none",
    "null": "none",
]

/// Other names of the encodings, each with ours.
private let foreignEncodings: [String: String] = [
    "utf8": "utf-8", "ascii": "utf-8", "us-ascii": "utf-8", "latin1": "iso-8859-1", "latin-1": "iso-8859-1",
    "iso8859-1": "iso-8859-1", "iso_8859-1": "iso-8859-1", "l1": "iso-8859-1", "cp1252": "windows-1252",
    "windows1252": "windows-1252", "win-1252": "windows-1252", "ansi": "windows-1252",
]

extension TopologyReader {
    /// How the files of an event type are written (`csv:`).
    mutating func readCSV(_ node: YAMLNode?, what: String, format: InputFormat) -> CSVDialect {
        var dialect = CSVDialect.standard
        guard let node else { return dialect }
        if format != .csv {
            note(node.mark, "\(what) has 'csv', but its format is \(format.rawValue)", "remove one of the two")
        }
        let keys = object(node, of: "'csv' of \(what)", keys: TopologyKeys.csv)
        if let node = keys["delimiter"], let delimiter = readDelimiter(node) { dialect.delimiter = delimiter }
        if let node = keys["header"], let header = readHeader(node) { dialect.header = header }
        if let node = keys["quote"], let quote = text(node, "quote") {
            dialect.quote = quote == "none" ? nil : character(node, quote, "quote", or: "none")
        }
        if let node = keys["comment"], let comment = text(node, "comment") {
            dialect.comment = comment == "none" ? nil : character(node, comment, "comment", or: "none")
        }
        if let node = keys["encoding"], let encoding = readEncoding(node) { dialect.encoding = encoding }
        if let trims = keys["trim"].flatMap({ boolean($0, "trim") }) { dialect.trims = trims }
        if let node = keys["decimal"], let decimal = text(node, "decimal") {
            if decimal == "." || decimal == "," {
                dialect.decimal = decimal.utf8.first ?? dialect.decimal
            } else {
                note(node.mark, "'\(decimal)' is no decimal sign", "write \".\" or \",\"")
            }
        }
        if let node = keys["thousands"], let thousands = text(node, "thousands"), thousands != "none" {
            if [",", ".", "'", " "].contains(thousands) {
                dialect.thousands = thousands.utf8.first
            } else {
                note(node.mark, "'\(thousands)' separates no thousands", "write \",\", \".\", \"'\", \" \" or none")
            }
        }
        checkCharacters(dialect, node.mark, keys)
        return dialect
    }

    private mutating func readDelimiter(_ node: YAMLNode) -> CSVDialect.Delimiter? {
        guard let delimiter = text(node, "delimiter") else { return nil }
        switch delimiter {
        case "tab", "\t": return .byte(0x09)
        case "blanks": return .blanks
        case " ": return .byte(0x20)
        default: return character(node, delimiter, "delimiter", or: "tab or blanks").map { .byte($0) }
        }
    }

    /// One ASCII character that neither a name nor a number holds.
    private mutating func character(_ node: YAMLNode, _ text: String, _ key: String, or words: String) -> UInt8? {
        let byte = text.utf8.count == 1 ? text.utf8.first : nil
        if let byte, 0x21...0x7E ~= byte, !isLetterOrDigit(byte), ![0x2B, 0x2D, 0x2E, 0x5F].contains(byte) {
            return byte
        }
        note(
            node.mark,
            "'\(text)' is no \(key)",
            namedCharacters[text.lowercased()].map { "write '\(key): \($0)'" }
                ?? "one character such as \(key == "quote" ? "'\"'" : key == "comment" ? "\"#\"" : "\";\""), or \(words); no letter or digit, and none of + - . _"
        )
        return nil
    }

    private mutating func readHeader(_ node: YAMLNode) -> CSVDialect.Header? {
        if case .scalar(let word, _) = node.content {
            if word == "present" { return .present }
            note(
                node.mark,
                "'header' must be present, or a list of the columns' names, found \(describe(node))",
                "where the file has none, name its columns: 'header: [id, ts, amount]'"
            )
            return nil
        }
        var names: [String] = []
        for item in list(node, "header", example: "header: [id, ts, amount]") {
            guard let name = text(item, "header") else { continue }
            if name != CSVDialect.unread, names.contains(name) {
                note(
                    item.mark,
                    "column '\(name)' stands twice in 'header'",
                    "write \"\(CSVDialect.unread)\" for a column that nobody reads"
                )
            }
            names.append(name)
        }
        return names.isEmpty ? nil : .names(names)
    }

    private mutating func readEncoding(_ node: YAMLNode) -> CSVDialect.Encoding? {
        guard let word = text(node, "encoding") else { return nil }
        if let encoding = CSVDialect.Encoding(rawValue: word.lowercased()) { return encoding }
        let known = CSVDialect.Encoding.allCases.map(\.rawValue)
        let isWide = word.lowercased().hasPrefix("utf-16") || word.lowercased().hasPrefix("utf-32")
        note(
            node.mark,
            "unknown encoding '\(word)'",
            isWide
                ? "convert the file first: iconv -f \(word) -t utf-8"
                : foreignEncodings[word.lowercased()].map { "did you mean '\($0)'?" }
                    ?? meant(word, among: known, "known")
        )
        return nil
    }

    /// One character cannot mean two things.
    private mutating func checkCharacters(_ dialect: CSVDialect, _ mark: SourceMark, _ keys: [String: YAMLNode]) {
        func shown(_ byte: UInt8) -> String { byte == 0x09 ? "a tab" : "'\(String(Unicode.Scalar(byte)))'" }
        var taken: [(key: String, byte: UInt8)] = []
        if case .byte(let delimiter) = dialect.delimiter { taken.append(("delimiter", delimiter)) }
        for (key, byte) in [("quote", dialect.quote), ("comment", dialect.comment)] {
            guard let byte else { continue }
            if let other = taken.first(where: { $0.byte == byte }) {
                note(
                    keys[key]?.mark ?? keys[other.key]?.mark ?? mark,
                    "'\(other.key)' and '\(key)' are both \(shown(byte))",
                    "write another character for one of them"
                )
            }
            taken.append((key, byte))
        }
        if dialect.thousands == dialect.decimal {
            note(
                keys["thousands"]?.mark ?? mark,
                "'decimal' and 'thousands' are both \(shown(dialect.decimal))",
                dialect.decimal == UInt8(ascii: ",") ? "write 'thousands: \".\"'" : "write 'decimal: \",\"'"
            )
        }
    }

    /// What fields cannot be read from files so written: a column that `header` does not name, a list among semicolons.
    mutating func checkColumns(
        _ node: YAMLNode?,
        _ dialect: CSVDialect,
        _ declared: [Declared],
        _ whenNode: YAMLNode?,
        _ when: FieldPath?
    ) {
        guard node != nil else { return }
        if let names = dialect.names {
            let known = names.filter { $0 != CSVDialect.unread }
            for field in declared where !known.contains(field.schema.path.column) {
                note(
                    field.mark,
                    "field '\(field.schema.name)' is column '\(field.schema.path.column)', which 'header' does not name",
                    meant(field.schema.path.column, among: known, "its columns")
                )
            }
            if let when, let whenNode, !known.contains(when.column) {
                note(
                    whenNode.mark,
                    "'when' reads column '\(when.column)', which 'header' does not name",
                    meant(when.column, among: known, "its columns")
                )
            }
        }
        guard dialect.delimiter == .byte(UInt8(ascii: ";")) else { return }
        for field in declared where field.schema.type == .stringList {
            note(
                field.mark,
                "the elements of list '\(field.schema.name)' are separated by ';', and so are the columns",
                "declare it as string"
            )
        }
    }
}

extension CSVDialect {
    /// Each setting in a fixed form, for the digest.
    var canonical: String {
        func byte(_ byte: UInt8?) -> String { byte.map { "\($0)" } ?? "-" }
        let parts: [String]
        switch delimiter {
        case .byte(let delimiter): parts = ["delimiter=\(delimiter)"]
        case .blanks: parts = ["delimiter=blanks"]
        }
        return
            (parts + [
                "quote=\(byte(quote))", "comment=\(byte(comment))", "encoding=\(encoding.rawValue)", "trim=\(trims)",
                "decimal=\(decimal)", "thousands=\(byte(thousands))",
                "header=" + (names?.map { "\($0.utf8.count):\($0)" }.joined(separator: " ") ?? "present"),
            ]).joined(separator: " ")
    }
}
