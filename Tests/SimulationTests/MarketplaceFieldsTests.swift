import FoundationEssentials
import Simulation
import Testing

/// The fields that `topology.yaml` declares, read line by line: enough for a file whose fields stand on one line each.
private struct DeclaredField {
    var name: String
    var path: [String]
    var type: String
    var isRequired: Bool
    var allowed: [String]
}

private func packageRoot() -> String {
    var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
    parts.removeLast(3)
    return parts.joined(separator: "/")
}

private func declaredEvents() throws -> [String: (topic: String, fields: [DeclaredField])] {
    let data = try Data(contentsOf: URL(filePath: packageRoot() + "/topologies/marketplace/topology.yaml"))
    var events: [String: (topic: String, fields: [DeclaredField])] = [:]
    var event: String?
    var isInEvents = false
    for line in String(decoding: data, as: UTF8.self).split(separator: "\n") {
        let indent = line.prefix { $0 == " " }.count
        let text = line.dropFirst(indent)
        if text.hasPrefix("#") { continue }
        if indent == 0 { isInEvents = text.hasPrefix("events:") }
        guard isInEvents, let colon = text.firstIndex(of: ":") else { continue }
        let name = String(text[..<colon])
        let rest = text[text.index(after: colon)...].drop { $0 == " " }
        if indent == 2 {
            event = name
            events[name] = ("", [])
        } else if indent == 4, name == "topic", let event {
            events[event]?.topic = String(rest)
        } else if indent == 6, let event {
            func value(_ key: String) -> String? {
                guard let at = rest.firstRange(of: "\(key): ") else { return nil }
                return String(rest[at.upperBound...].prefix { $0 != "," && $0 != " " && $0 != "}" })
            }
            var allowed: [String] = []
            if let open = rest.firstIndex(of: "["), let close = rest.firstIndex(of: "]") {
                allowed = rest[rest.index(after: open)..<close].split(separator: ",")
                    .map { String($0.drop { $0 == " " }) }
            }
            events[event]?.fields.append(
                DeclaredField(
                    name: name,
                    path: (value("path") ?? name).split(separator: ".").map(String.init),
                    type: value("type") ?? "",
                    isRequired: value("required") == "true" || name == "ts",
                    allowed: allowed
                )
            )
        }
    }
    return events
}

struct MarketplaceFieldsTests {
    @Test func `every simulated line is JSON with the fields the marketplace declares`() throws {
        let events = try declaredEvents()
        #expect(events.values.map(\.topic).sorted() == TrafficSimulator.topics)
        var simulator = TrafficSimulator(.init(scenario: .marketplace, events: 20_000, seed: 4))
        var line: [UInt8] = []
        var seen: [String: Set<String>] = [:]
        var bytes = 0
        while let event = simulator.next(into: &line) {
            bytes += line.count
            let json = try #require(JSON.parse(line), "\(String(decoding: line, as: UTF8.self))")
            let declared = try #require(events[event.eventType])
            let says = [declared.topic, json["type"]?.text, json["id"]?.text, json["ts"]?.digits]
            if says != [event.topic, event.eventType, event.id, "\(event.time)"] {
                Issue.record("\(String(decoding: line, as: UTF8.self)) is not what the simulator says it is")
            }
            for field in declared.fields {
                var value: JSON? = json
                for key in field.path { value = value?[key] }
                guard let value else {
                    if field.isRequired { Issue.record("\(event.eventType).\(field.name) is missing") }
                    continue
                }
                seen[event.eventType, default: []].insert(field.name)
                if !isOf(field, value) {
                    Issue.record("\(event.eventType).\(field.name) is \(value), not \(field.type) \(field.allowed)")
                }
            }
        }
        for (name, event) in events {
            let unseen = Set(event.fields.map(\.name)).subtracting(seen[name] ?? [])
            #expect(unseen.isEmpty, "\(name) never has \(unseen.sorted())")
        }
        #expect((250...350).contains(bytes / 20_000))
    }

    private func isOf(_ field: DeclaredField, _ value: JSON) -> Bool {
        switch (field.type, value) {
        case ("string", .string(let text)): !text.isEmpty && (field.allowed.isEmpty || field.allowed.contains(text))
        case ("int", .number(let digits)), ("timestamp", .number(let digits)): Int64(digits) != nil
        case ("double", .number): true
        case ("money", .number(let digits)): digits.split(separator: ".").last?.utf8.count == 2
        case ("bool", .bool): true
        case ("list<string>", .list(let elements)): elements.allSatisfy { $0.text != nil }
        default: false
        }
    }
}
