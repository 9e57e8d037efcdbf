/// Checks text against Prometheus' exposition format 0.0.4, as `promtool check metrics` would, written from the format's
/// description and not from the renderer: every line has a known form, every series belongs to the family above it, no series
/// stands twice, names fit their type, and the buckets of a histogram agree with its count.
public struct ExpositionChecker {
    /// What is wrong, in the order of the lines; empty when the text is what Prometheus reads.
    public private(set) var problems: [String] = []
    /// Values by series as written, such as `a_total{b="c"}`.
    public private(set) var samples: [String: Double] = [:]
    private var types: [String: String] = [:]
    private var current = ""
    /// Cumulative counts by histogram name and labels without `le`, in order.
    private var buckets: [String: [(bound: Double, count: Double)]] = [:]

    public init(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        if !Array(text.utf8).elementsEqual(bytes) { problems.append("not UTF-8") }
        if !text.isEmpty, !text.hasSuffix("\n") { problems.append("the last line has no line feed") }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() { check(String(line)) }
        for (series, buckets) in buckets { check(buckets, of: series) }
    }

    private mutating func check(_ line: String) {
        if line.hasPrefix("# HELP ") {
            let words = line.dropFirst(7).split(separator: " ", maxSplits: 1)
            guard let name = words.first, words.count == 2, isName(name) else { return complain(line) }
            current = String(name)
            if types[current] != nil { problems.append("family \(current) stands twice") }
            // In help only \\ and \n are escapes.
            var escaped = false
            for character in words[1] {
                if escaped, character != "\\", character != "n" { complain(line) }
                escaped = !escaped && character == "\\"
            }
        } else if line.hasPrefix("# TYPE ") {
            let words = line.dropFirst(7).split(separator: " ")
            guard words.count == 2, words[0] == current, ["counter", "gauge", "histogram"].contains(words[1]) else {
                return complain(line)
            }
            types[current] = String(words[1])
            if words[1] == "counter", !current.hasSuffix("_total") {
                problems.append("counter \(current) without _total")
            }
        } else {
            checkSample(line)
        }
    }

    private mutating func checkSample(_ line: String) {
        var rest = Substring(line)
        let name = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == ":" }
        rest = rest.dropFirst(name.count)
        var labels: [(String, String)] = []
        if rest.first == "{" {
            rest = rest.dropFirst()
            while rest.first != "}" {
                let label = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
                rest = rest.dropFirst(label.count)
                guard isName(label), rest.hasPrefix("=\"") else { return complain(line) }
                rest = rest.dropFirst(2)
                var value = ""
                while let character = rest.popFirst(), character != "\"" {
                    if character == "\\" {
                        guard let escape = rest.popFirst(), "\\\"n".contains(escape) else { return complain(line) }
                        value.append(escape == "n" ? "\n" : escape)
                    } else {
                        value.append(character)
                    }
                }
                if labels.contains(where: { $0.0 == label }) { complain(line) }
                labels.append((String(label), value))
                if rest.first == "," { rest = rest.dropFirst() } else if rest.first != "}" { return complain(line) }
            }
            rest = rest.dropFirst()
        }
        let word = rest.dropFirst()
        guard isName(name), rest.first == " ", let value = number(word), let type = types[current] else {
            return complain(line)
        }
        let series = String(line.dropLast(rest.count))
        if samples.updateValue(value, forKey: series) != nil { problems.append("series \(series) stands twice") }
        guard type == "histogram" else {
            if name != current { complain(line) }
            return
        }
        let key = current + labels.filter { $0.0 != "le" }.map { "\($0.0)=\($0.1)" }.joined(separator: ",")
        switch name.dropFirst(current.count) {
        case "_bucket":
            guard let bound = labels.first(where: { $0.0 == "le" }).flatMap({ number($0.1[...]) }) else {
                return complain(line)
            }
            buckets[key, default: []].append((bound, value))
        case "_count":
            if buckets[key]?.last?.count != value { problems.append("the count of \(key) is not its last bucket") }
        case "_sum": break
        default: complain(line)
        }
    }

    private mutating func check(_ buckets: [(bound: Double, count: Double)], of series: String) {
        if buckets.last?.bound != .infinity { problems.append("\(series) has no bucket +Inf") }
        for (a, b) in zip(buckets, buckets.dropFirst()) where a.bound >= b.bound || a.count > b.count {
            problems.append("the buckets of \(series) do not ascend")
        }
    }

    private mutating func complain(_ line: String) { problems.append("wrong line: \(line)") }

    private func isName(_ name: Substring) -> Bool {
        guard let first = name.first else { return false }
        return first.isASCII && !first.isNumber
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") }
    }

    private func number(_ text: Substring) -> Double? {
        switch text {
        case "+Inf": .infinity
        case "-Inf": -.infinity
        case "NaN": .nan
        default: Double(text)
        }
    }
}
