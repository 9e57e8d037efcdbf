import RuleLanguage

/// A place in records: JSON keys from the outside inwards, with a step into arrays; of CSV one column.
public struct SamplePath: Sendable, Hashable, Comparable {
    /// The keys; ``element`` stands for each element of an array.
    public var steps: [String]

    /// A step from an array to its elements; no key can be it, as it is no valid Unicode text in a record.
    static let element = "\u{0}[]"

    /// As topologies write it: `account.id`, `line_items[].sku`.
    public var text: String {
        var text = ""
        for step in steps {
            if step == SamplePath.element {
                text += "[]"
            } else {
                text += text.isEmpty ? step : ".\(step)"
            }
        }
        return text
    }

    init(steps: [String]) { self.steps = steps }

    /// Where a probe finds what a declared path leads to: elements are not told apart, and a list of texts is found at the list
    /// itself.
    ///
    /// Nil for what stands beside the value.
    init?(_ path: FieldPath) {
        guard !path.isBeside else { return nil }
        steps = path.steps.map { step in if case .key(let key) = step { key } else { SamplePath.element } }
        while steps.last == SamplePath.element { steps.removeLast() }
    }

    /// Whether it leads through an array.
    var isInArray: Bool { steps.contains(SamplePath.element) }

    public static func < (a: SamplePath, b: SamplePath) -> Bool { a.steps.lexicographicallyPrecedes(b.steps) }
}

/// What a sample of records holds at one path, and how it is written there.
public struct PathFacts: Sendable {
    public var path: SamplePath
    /// Records that hold something there, empty texts and `null` apart.
    public var present = 0
    /// Records that hold `null`, or an empty column or text.
    public var empty = 0
    public var texts = 0
    /// Numbers without a fraction or exponent, and others.
    public var integers = 0
    public var decimals = 0
    public var words = 0
    /// Arrays of nothing but texts, other arrays, and objects.
    public var textLists = 0
    public var otherLists = 0
    public var objects = 0
    /// Of texts that look like RFC 3339, and of those written as numbers are.
    var times = 0
    var numericTexts = 0
    /// Of columns that are `0` or `1`.
    var bits = 0
    /// Of whole numbers that begin with a zero, or have more digits than an `int` holds.
    var codes = 0
    /// Numbers, in the order of the records: bounds, digits behind the point, and how often one was smaller than the one before.
    var lowest = Double.infinity
    var highest = -Double.infinity
    var fractionDigits = 0
    /// Numbers with more digits behind the point than money has.
    var longFractions = 0
    var decreases = 0
    /// Longest text in bytes.
    var longest = 0
    /// Hashes of different values, up to ``distinctMax``.
    var distinct: Set<Int> = []
    /// The first few different texts.
    var examples: [String] = []
    /// The first value, masked.
    public var example = ""

    private var last = -Double.infinity
    private var lastText: [UInt8] = []
    fileprivate var lastRecord = -1
    fileprivate var lastEmpty = -1

    static let distinctMax = 65_536
    static let examplesMax = 33

    init(path: SamplePath) { self.path = path }

    /// Values of all sorts but `null` and empty ones.
    var values: Int { texts + integers + decimals + words + textLists + otherLists + objects }
    /// Whether each value was another.
    var isUnique: Bool { values > 0 && distinct.count == min(values, PathFacts.distinctMax) }

    /// The sorts of values, the most frequent first, with how many there were of each.
    public var kinds: [(name: String, count: Int)] {
        [
            ("text", texts), ("number", integers + decimals), ("bool", words), ("list of texts", textLists),
            ("list", otherLists), ("object", objects),
        ].filter { $0.1 > 0 }.sorted { $0.1 > $1.1 }.map { (name: $0.0, count: $0.1) }
    }

    mutating func add(text bytes: UnsafeRawBufferPointer) {
        texts += 1
        longest = max(longest, bytes.count)
        if NumberShape(bytes) != nil { numericTexts += 1 }
        if isRFC3339(bytes) { times += 1 }
        if bytes.count <= 32 {
            if bytes.lexicographicallyPrecedes(lastText) { decreases += 1 }
            lastText.removeAll(keepingCapacity: true)
            lastText.append(contentsOf: bytes)
        }
        note(bytes)
        if examples.count < PathFacts.examplesMax, bytes.count <= 64 {
            let text = String(decoding: bytes, as: UTF8.self)
            if !examples.contains(text) { examples.append(text) }
        }
    }

    mutating func add(number bytes: UnsafeRawBufferPointer, _ shape: NumberShape) {
        if shape.isInteger { integers += 1 } else { decimals += 1 }
        if shape.isCode { codes += 1 }
        if bytes.count == 1, bytes[0] == UInt8(ascii: "0") || bytes[0] == UInt8(ascii: "1") { bits += 1 }
        fractionDigits = max(fractionDigits, shape.fractionDigits)
        if shape.fractionDigits > 4 { longFractions += 1 }
        longest = max(longest, bytes.count)
        if shape.value < last { decreases += 1 }
        last = shape.value
        lowest = min(lowest, shape.value)
        highest = max(highest, shape.value)
        note(bytes)
    }

    private mutating func note(_ bytes: UnsafeRawBufferPointer) {
        if example.isEmpty { example = MaskedExample.text(bytes) }
        guard distinct.count < PathFacts.distinctMax else { return }
        var hasher = Hasher()
        hasher.combine(bytes: bytes)
        distinct.insert(hasher.finalize())
    }
}

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
        var areTexts = true
        while true {
            scan.skipBlanks()
            let first = scan.peek
            if first != UInt8(ascii: "\"") { areTexts = false }
            if first == UInt8(ascii: "{"), depth < SampleProbe.depthMax, count < SampleProbe.elementsMax,
                let below = child(of: node, key: SamplePath.element)
            {
                markPresent(nodes[below].facts)
                guard seeObject(&scan, below, depth + 1) else { return false }
            } else if first == UInt8(ascii: "\"") {
                guard let text = scan.text() else { return false }
                facts[index].longest = max(facts[index].longest, text.count)
                if facts[index].example.isEmpty { facts[index].example = "[\(MaskedExample.text(text))]" }
            } else {
                guard scan.skipValue() else { return false }
            }
            count += 1
            scan.skipBlanks()
            if scan.take(UInt8(ascii: "]")) { break }
            guard scan.take(UInt8(ascii: ",")) else { return false }
        }
        if areTexts { facts[index].textLists += 1 } else { facts[index].otherLists += 1 }
        return true
    }
}
