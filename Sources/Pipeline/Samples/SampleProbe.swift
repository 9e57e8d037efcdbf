import RuleLanguage

/// What records hold, path by path, read without a schema: of JSON the keys there are, of CSV the columns.
///
/// For the control plane: looks at some thousand records and allocates as it likes.
struct SampleProbe: Sendable {
    /// Records seen, and how many of them could not be taken apart.
    private(set) var records = 0
    private(set) var unreadable = 0
    /// In the order in which they were met.
    private(set) var facts: [PathFacts] = []

    private struct Node {
        var children: [String: Int] = [:]
        var facts: Int
    }

    private var nodes = [Node(facts: -1)]

    /// Most paths that are told apart; records with more of them use values as keys.
    static let pathsMax = 2000
    /// Elements of an array that are looked into.
    private static let elementsMax = 100
    /// As deep as paths of a topology may lead, and further for what only must be passed.
    private static let depthMax = 16

    init() {}

    subscript(path: SamplePath) -> PathFacts? { facts.first { $0.path == path } }

    /// Whether no array on the way to a path ever had a second element.
    func isSingle(_ path: SamplePath) -> Bool {
        path.steps.indices.allSatisfy { index in
            path.steps[index] != SamplePath.element
                || (self[SamplePath(steps: Array(path.steps[..<index]))]?.elements ?? 2) < 2
        }
    }

    /// Takes in one record of JSON.
    mutating func see(json record: UnsafeRawBufferPointer) {
        records += 1
        var scan = JSONScan(record)
        scan.skipBlanks()
        guard scan.peek == UInt8(ascii: "{"), seeObject(&scan, 0, 0), scan.isAtEnd else {
            unreadable += 1
            return
        }
    }

    /// Takes in one row of CSV; nil: it could not be taken apart.
    mutating func see(row: [[UInt8]]?, columns: [String]) {
        records += 1
        guard let row, row.count <= columns.count else {
            unreadable += 1
            return
        }
        for (column, value) in zip(columns, row) where column != "-" && !column.isEmpty {
            guard let place = child(of: 0, key: column) else { continue }
            value.withUnsafeBytes { seeColumn($0, at: nodes[place].facts) }
        }
    }

    private mutating func seeColumn(_ value: UnsafeRawBufferPointer, at index: Int) {
        if value.isEmpty { return markEmpty(index) }
        markPresent(index)
        if let shape = NumberShape(value) {
            facts[index].add(number: value, shape)
        } else if value.elementsEqual("true".utf8) || value.elementsEqual("false".utf8) {
            facts[index].words += 1
        } else {
            facts[index].add(text: value)
        }
    }

    private mutating func markPresent(_ index: Int) {
        if facts[index].lastRecord == records { return }
        facts[index].lastRecord = records
        facts[index].present += 1
    }

    private mutating func markEmpty(_ index: Int) {
        if facts[index].lastEmpty == records { return }
        facts[index].lastEmpty = records
        facts[index].empty += 1
    }

    /// The node of a key below another; nil where there are too many.
    private mutating func child(of node: Int, key: String) -> Int? {
        if let found = nodes[node].children[key] { return found }
        guard facts.count < SampleProbe.pathsMax else { return nil }
        let above = nodes[node].facts < 0 ? [] : facts[nodes[node].facts].path.steps
        facts.append(PathFacts(path: SamplePath(steps: above + [key])))
        nodes.append(Node(facts: facts.count - 1))
        nodes[node].children[key] = nodes.count - 1
        return nodes.count - 1
    }

    private mutating func seeObject(_ scan: inout JSONScan, _ node: Int, _ depth: Int) -> Bool {
        scan.advance()
        scan.skipBlanks()
        if scan.take(UInt8(ascii: "}")) { return true }
        while true {
            scan.skipBlanks()
            guard let key = scan.text() else { return false }
            scan.skipBlanks()
            guard scan.take(UInt8(ascii: ":")) else { return false }
            scan.skipBlanks()
            let isKnown = depth < SampleProbe.depthMax && !key.contains(UInt8(ascii: "\\"))
            if isKnown, let below = child(of: node, key: String(decoding: key, as: UTF8.self)) {
                guard seeValue(&scan, below, depth + 1) else { return false }
            } else {
                guard scan.skipValue() else { return false }
            }
            scan.skipBlanks()
            if scan.take(UInt8(ascii: "}")) { return true }
            guard scan.take(UInt8(ascii: ",")) else { return false }
        }
    }

    private mutating func seeValue(_ scan: inout JSONScan, _ node: Int, _ depth: Int) -> Bool {
        let index = nodes[node].facts
        switch scan.peek {
        case UInt8(ascii: "\""):
            guard let text = scan.text() else { return false }
            if text.isEmpty {
                markEmpty(index)
            } else {
                markPresent(index)
                facts[index].add(text: text)
            }
            return true
        case UInt8(ascii: "{"):
            markPresent(index)
            facts[index].objects += 1
            return seeObject(&scan, node, depth)
        case UInt8(ascii: "["):
            return seeArray(&scan, node, depth)
        default:
            let word = scan.word()
            if word.isEmpty { return false }
            if word.elementsEqual("null".utf8) {
                markEmpty(index)
            } else if word.elementsEqual("true".utf8) || word.elementsEqual("false".utf8) {
                markPresent(index)
                facts[index].words += 1
            } else if let shape = NumberShape(word) {
                markPresent(index)
                facts[index].add(number: word, shape)
            } else {
                markPresent(index)
                facts[index].add(text: word)
            }
            return true
        }
    }

    private mutating func seeArray(_ scan: inout JSONScan, _ node: Int, _ depth: Int) -> Bool {
        let index = nodes[node].facts
        scan.advance()
        scan.skipBlanks()
        if scan.take(UInt8(ascii: "]")) {
            markEmpty(index)
            return true
        }
        markPresent(index)
        var count = 0
        var texts = 0
        var integers = 0
        while true {
            scan.skipBlanks()
            let first = scan.peek
            if first == UInt8(ascii: "{"), depth < SampleProbe.depthMax, count < SampleProbe.elementsMax,
                let below = child(of: node, key: SamplePath.element)
            {
                markPresent(nodes[below].facts)
                guard seeObject(&scan, below, depth + 1) else { return false }
            } else if first == UInt8(ascii: "\"") {
                guard let text = scan.text() else { return false }
                texts += 1
                facts[index].longest = max(facts[index].longest, text.count)
                if facts[index].example.isEmpty { facts[index].example = "[\(MaskedExample.text(text))]" }
            } else if first == UInt8(ascii: "-") || first &- UInt8(ascii: "0") <= 9 {
                let word = scan.word()
                guard !word.isEmpty else { return false }
                if let shape = NumberShape(word), shape.isInteger, !shape.hasLeadingZero { integers += 1 }
            } else {
                guard scan.skipValue() else { return false }
            }
            count += 1
            scan.skipBlanks()
            if scan.take(UInt8(ascii: "]")) { break }
            guard scan.take(UInt8(ascii: ",")) else { return false }
        }
        facts[index].elements = max(facts[index].elements, count)
        if texts == count {
            facts[index].textLists += 1
        } else if texts + integers == count {
            facts[index].idLists += 1
        } else {
            facts[index].otherLists += 1
        }
        return true
    }
}
