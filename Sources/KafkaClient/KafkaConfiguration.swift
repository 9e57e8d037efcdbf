import CRdKafka
import Glibc

/// Settings of a client: librdkafka's own property names and values, passed on as they are.
///
/// Made from a dictionary or from the text of a `kafka.properties` file (the syntax of Java's properties: `name=value`,
/// `#` and `!` comments, `\` at the end of a line continues it). Properties that begin with `weir.` are left to the
/// caller. Everything else goes to librdkafka; a name it does not know is an error with the nearest one it does know.
/// Printing a configuration never shows a secret.
public struct KafkaConfiguration: Sendable, CustomStringConvertible {
    /// Names and values in the order given; a later value replaces an earlier one of the same name.
    public private(set) var properties: [(name: String, value: String)] = []

    public init(_ properties: [String: String] = [:]) {
        for name in properties.keys.sorted() { self[name] = properties[name] }
    }

    /// Reads the text of a properties file.
    ///
    /// - Throws: ``KafkaError`` of kind `configuration` naming the line.
    public init(parsing text: String) throws(KafkaError) {
        var logical = ""
        var start = 0
        var continued = false
        // By scalars: to a String, CR LF is one character and no line feed.
        for (index, raw) in text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            var line = raw.drop { $0 == " " || $0 == "\t" || $0 == "\u{FEFF}" || $0 == "\u{c}" }
            if line.last == "\r" { line = line.dropLast() }
            // Else what was meant as further lines, a password among them, would be taken for a part of this value and shown with
            // it.
            if line.contains(where: { $0 == "\r" || $0 == "\0" }) {
                throw KafkaError(
                    .configuration,
                    "read properties",
                    "line \(index + 1) holds a carriage return or NUL; end the lines with LF or CR LF"
                )
            }
            if !continued {
                if line.isEmpty || line.first == "#" || line.first == "!" { continue }
                start = index + 1
                logical = ""
            }
            let slashes = line.reversed().prefix { $0 == "\\" }.count
            continued = slashes % 2 == 1
            logical.unicodeScalars.append(contentsOf: continued ? line.dropLast() : line)
            if !continued { try add(line: logical, number: start) }
        }
        if continued { try add(line: logical, number: start) }
    }

    /// Reads a properties file.
    ///
    /// - Throws: ``KafkaError`` of kind `configuration` when it cannot be read (with the system's reason) or a line is
    ///   wrong.
    public init(contentsOf path: String) throws(KafkaError) {
        guard let file = fopen(path, "r") else {
            throw KafkaError(.configuration, "read \(path)", String(cString: strerror(errno)))
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { break }
            bytes.append(contentsOf: buffer[0..<count])
            if bytes.count > 1 << 20 {
                throw KafkaError(.configuration, "read \(path)", "a properties file has at most 1 MiB")
            }
        }
        if ferror(file) != 0 { throw KafkaError(.configuration, "read \(path)", String(cString: strerror(errno))) }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw KafkaError(.configuration, "read \(path)", "not valid UTF-8")
        }
        do { try self.init(parsing: text) } catch { throw KafkaError(.configuration, "read \(path)", error.text) }
    }

    /// The value of a property, the last one given; setting nil removes it.
    public subscript(name: String) -> String? {
        get { properties.last { $0.name == name }?.value }
        set {
            properties.removeAll { $0.name == name }
            if let newValue { properties.append((name, newValue)) }
        }
    }

    /// The bootstrap addresses as given; empty when there are none.
    public var bootstrapServers: String { self["bootstrap.servers"] ?? self["metadata.broker.list"] ?? "" }

    /// Names and values fit to be shown: secrets are `[redacted]`.
    public var redacted: [(name: String, value: String)] {
        properties.map { ($0.name, KafkaConfiguration.isSecret($0.name) ? "[redacted]" : $0.value) }
    }

    /// One `name=value` per line, secrets redacted.
    public var description: String { redacted.map { "\($0.name)=\($0.value)" }.joined(separator: "\n") }

    /// Whether the property's value must never be shown.
    public static func isSecret(_ name: String) -> Bool {
        let name = name.lowercased()
        let marks = [
            "password", "secret", "token", "key.pem", "private", "jaas", "credential", "oauthbearer.config",
            "ssl.key.string",
        ]
        return marks.contains { name.contains($0) }
    }

    /// Whether a line's name may be shown: what is none may be a part of a secret of several lines.
    ///
    /// Names of properties have a dot between words, which Base64 has not, or are one word in small letters.
    static func isShowable(name: String) -> Bool {
        let isWord = name.utf8.allSatisfy { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }
        return name.utf8.count <= 64 && (name.contains(".") || isWord)
    }

    /// What in the settings lets somebody between here and the brokers read or change what is sent, one sentence each.
    public var weaknesses: [String] {
        var found: [String] = []
        if self["enable.ssl.certificate.verification"] == "false" {
            found.append(
                "enable.ssl.certificate.verification=false: whoever is between here and the brokers can pose as one"
            )
        }
        if self["ssl.endpoint.identification.algorithm"] == "none" {
            found.append(
                "ssl.endpoint.identification.algorithm=none: any certificate of the same authority passes for a broker's"
            )
        }
        if self["security.protocol"]?.lowercased() == "sasl_plaintext" {
            let mechanism = self["sasl.mechanism"] ?? self["sasl.mechanisms"] ?? ""
            if mechanism.uppercased() == "PLAIN" {
                found.append(
                    "security.protocol=sasl_plaintext with sasl.mechanism=PLAIN: the password goes in clear over the network"
                )
            }
        }
        return found
    }

    /// Whether some value must not be seen by others.
    public var holdsSecrets: Bool { properties.contains { KafkaConfiguration.isSecret($0.name) && !$0.value.isEmpty } }

    /// Checks every property with librdkafka, without connecting to anything.
    ///
    /// - Throws: ``KafkaError`` of kind `configuration`.
    public func validate() throws(KafkaError) {
        if bootstrapServers.isEmpty {
            throw KafkaError(
                .configuration,
                "read the configuration",
                "bootstrap.servers is missing; say bootstrap.servers=host:port"
            )
        }
        if bootstrapServers.contains("@") {
            throw KafkaError(
                .configuration,
                "read the configuration",
                "bootstrap.servers holds an @; it takes host:port, and who logs in stands in sasl.username and sasl.password"
            )
        }
        rd_kafka_conf_destroy(try makeConf(defaults: [], optional: [], fixed: []))
    }

    /// A librdkafka configuration: defaults, then what the user set, then what must not be otherwise.
    ///
    /// The order makes aliases (`linger.ms`, `queue.buffering.max.ms`) come right. `optional` are set where this
    /// librdkafka knows them.
    func makeConf(
        defaults: [(String, String)],
        optional: [(String, String)],
        fixed: [(String, String)]
    ) throws(KafkaError) -> OpaquePointer {
        guard let conf = rd_kafka_conf_new() else { throw KafkaError(.other, "make a configuration", "out of memory") }
        do throws(KafkaError) {
            for (name, value) in defaults { try KafkaConfiguration.set(conf, name, value) }
            for (name, value) in optional { _ = rd_kafka_conf_set(conf, name, value, nil, 0) }
            for (name, value) in properties where !name.hasPrefix("weir.") {
                try KafkaConfiguration.set(conf, name, value)
            }
            for (name, value) in fixed { try KafkaConfiguration.set(conf, name, value) }
            return conf
        } catch {
            rd_kafka_conf_destroy(conf)
            throw error
        }
    }

    private mutating func add(line: String, number: Int) throws(KafkaError) {
        var name = ""
        var value = ""
        var inValue = false
        var separatorSeen = false
        var equalsSeen = false
        var scalars = line.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            if scalar == "\\" {
                guard let next = scalars.next() else { break }
                var decoded = next
                switch next {
                case "n": decoded = "\n"
                case "t": decoded = "\t"
                case "r": decoded = "\r"
                case "f": decoded = "\u{c}"
                case "u":
                    var digits = ""
                    for _ in 0..<4 { if let digit = scalars.next() { digits.unicodeScalars.append(digit) } }
                    guard digits.utf8.count == 4, let number_ = UInt32(digits, radix: 16),
                        let unicode = Unicode.Scalar(number_)
                    else {
                        throw KafkaError(
                            .configuration,
                            "read properties",
                            "line \(number): \\u needs four hexadecimal digits"
                        )
                    }
                    decoded = unicode
                default: break
                }
                if separatorSeen { inValue = true }
                if inValue { value.unicodeScalars.append(decoded) } else { name.unicodeScalars.append(decoded) }
                continue
            }
            if inValue {
                value.unicodeScalars.append(scalar)
            } else if separatorSeen {
                // Between name and value: blanks, and one = or :.
                if scalar == " " || scalar == "\t" { continue }
                if (scalar == "=" || scalar == ":") && !equalsSeen {
                    equalsSeen = true
                    continue
                }
                inValue = true
                value.unicodeScalars.append(scalar)
            } else if scalar == "=" || scalar == ":" || scalar == " " || scalar == "\t" {
                separatorSeen = true
                equalsSeen = scalar == "=" || scalar == ":"
            } else {
                name.unicodeScalars.append(scalar)
            }
        }
        if name.isEmpty {
            throw KafkaError(.configuration, "read properties", "line \(number): a property needs a name before the =")
        }
        if !separatorSeen {
            throw KafkaError(
                .configuration,
                "read properties",
                KafkaConfiguration.javaEquivalents[name] != nil || KafkaConfiguration.nearestName(to: name) != nil
                    ? "line \(number): '\(name)' has no value; write \(name)=value"
                    : "line \(number) is no name=value; a value of several lines, such as a PEM, ends each but its last with \\"
            )
        }
        while let last = value.unicodeScalars.last, last == " " || last == "\t" { value.unicodeScalars.removeLast() }
        self[name] = value
    }

    private static func set(_ conf: OpaquePointer, _ name: String, _ value: String) throws(KafkaError) {
        var reason = [CChar](repeating: 0, count: 512)
        let result = rd_kafka_conf_set(conf, name, value, &reason, reason.count)
        if result == RD_KAFKA_CONF_OK { return }
        guard isShowable(name: name) else {
            throw KafkaError(
                .configuration,
                "read the configuration",
                "a line's name is none that librdkafka could have; a value of several lines, such as a PEM, ends each but its last with \\"
            )
        }
        var text = "unknown property '\(name)'"
        if let ours = javaEquivalents[name] {
            text += ": a setting of Kafka's Java clients; here it is \(ours)"
        } else if result != RD_KAFKA_CONF_UNKNOWN {
            text = isSecret(name) ? "the value of '\(name)' is not accepted" : string(reason)
        } else if let near = nearestName(to: name) {
            text += "; did you mean '\(near)'?"
        } else {
            text += "; librdkafka \(KafkaLibrary.version) has no such property"
        }
        throw KafkaError(.configuration, "read the configuration", text)
    }

    /// What people copy from Java clients, and what to write instead.
    private static let javaEquivalents: [String: String] = [
        "sasl.jaas.config": "sasl.username and sasl.password",
        "ssl.truststore.location": "ssl.ca.location (a PEM file)",
        "ssl.truststore.password": "not needed: ssl.ca.location names a PEM file",
        "ssl.truststore.type": "not needed: ssl.ca.location names a PEM file",
        "ssl.keystore.type": "not needed: ssl.keystore.location names a PKCS#12 file",
        "key.serializer": "not needed", "value.serializer": "not needed",
        "key.deserializer": "not needed", "value.deserializer": "not needed",
        "buffer.memory": "queue.buffering.max.kbytes",
        "max.request.size": "message.max.bytes",
        "max.poll.records": "not needed",
        "max.block.ms": "not needed",
    ]

    /// The known name with the fewest edits between, if few enough to be a slip.
    static func nearestName(to name: String) -> String? {
        let wanted = Array(name.utf8)
        var best: (name: String, distance: Int)?
        for candidate in knownNames() {
            let distance = editDistance(wanted, Array(candidate.utf8))
            if distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        guard let best, best.distance <= max(2, wanted.count / 4) else { return nil }
        return best.name
    }

    /// Every property this librdkafka knows, read from its own table of documentation.
    static func knownNames() -> [String] {
        var text: UnsafeMutablePointer<CChar>?
        var size = 0
        guard let stream = open_memstream(&text, &size) else { return [] }
        rd_kafka_conf_properties_show(stream)
        fclose(stream)
        defer { free(text) }
        guard let text else { return [] }
        return String(cString: text).split(separator: "\n").compactMap { line in
            let cells = line.split(separator: "|", omittingEmptySubsequences: false)
            guard cells.count > 3 else { return nil }
            let name = cells[0].filter { $0 != " " }
            return name.isEmpty || name.hasPrefix("-") || name == "Property" ? nil : name
        }
    }

    private static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var row = Array(0...b.count)
        for i in 0..<a.count {
            var diagonal = row[0]
            row[0] = i + 1
            for j in 0..<b.count {
                let substituted = diagonal + (a[i] == b[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(substituted, row[j] + 1, diagonal + 1)
            }
        }
        return row[b.count]
    }
}

/// The text in a C buffer up to its first NUL.
func string(_ buffer: [CChar]) -> String {
    String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
