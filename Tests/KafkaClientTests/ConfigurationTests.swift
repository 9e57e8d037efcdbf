import CRdKafka
@testable import KafkaClient
import Testing

struct ConfigurationTests {
    @Test func `a properties file is read as Java reads it`() throws {
        let text = """
            # comment
            ! another
            bootstrap.servers = a:1,\\
                b:2
            sasl.password=p\\=q\\u0041  
              client.id: me
            linger.ms 5
            empty=
            url=http://x:1/=y
            client.id=you\r
            """
        let configuration = try KafkaConfiguration(parsing: text)
        #expect(configuration["bootstrap.servers"] == "a:1,b:2")
        #expect(configuration["sasl.password"] == "p=qA")
        #expect(configuration["client.id"] == "you")
        #expect(configuration["linger.ms"] == "5")
        #expect(configuration["empty"]?.isEmpty == true)
        #expect(configuration["url"] == "http://x:1/=y")
    }

    @Test func `lines that end with CR LF are lines, and a password among them stays one`() throws {
        let text = "bootstrap.servers=a:1\r\nclient.id=b,\\\r\n  c\r\n\r\n# comment\r\nsasl.password=hunter2\r\n"
        let configuration = try KafkaConfiguration(parsing: text)
        #expect(configuration.properties.map(\.name) == ["bootstrap.servers", "client.id", "sasl.password"])
        #expect(configuration["bootstrap.servers"] == "a:1")
        #expect(configuration["client.id"] == "b,c")
        #expect(configuration["sasl.password"] == "hunter2")
        #expect(!configuration.description.contains("hunter2"))
    }

    @Test(arguments: [
        ("a=1\rb=2\r", "line 1 holds a carriage return"), ("a=1\nb=\02", "line 2 holds"), ("=x", "needs a name"),
        ("acks", "'acks' has no value"), ("alone", "line 1 is no name=value"), ("a=1\nb=\\u00", "line 2"),
    ])
    func `a broken line is named`(text: String, said: String) throws {
        let error = #expect(throws: KafkaError.self) { try KafkaConfiguration(parsing: text) }
        #expect(error?.text.contains(said) == true, "\(error?.text ?? "")")
    }

    /// A private key of several lines, of which only the first was meant to have a name.
    @Test(arguments: ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7", "c2VjcmV0==", "c2VjcmV0=more", "hunter2"])
    func `a line of a secret is not shown`(line: String) throws {
        let text = "bootstrap.servers=a:1\nssl.key.pem=-----BEGIN PRIVATE KEY-----\n\(line)\n"
        let error = #expect(throws: KafkaError.self) { try KafkaConfiguration(parsing: text).validate() }
        let said = "\(error?.text ?? "") \(error?.description ?? "")"
        #expect(!said.contains("c2V") && !said.contains("MII") && !said.contains("hunter"), "\(said)")
        #expect(said.contains("PEM"), "\(said)")
    }

    @Test func `who logs in has no place in the address, and is not shown`() {
        let error = #expect(throws: KafkaError.self) {
            try KafkaConfiguration(["bootstrap.servers": "ada:hunter2@host:9092"]).validate()
        }
        #expect(error?.text.contains("sasl.username") == true && error?.text.contains("hunter2") == false)
    }

    @Test(arguments: [
        (["security.protocol": "ssl"], 0), (["enable.ssl.certificate.verification": "false"], 1),
        (["ssl.endpoint.identification.algorithm": "none"], 1),
        (["security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"], 1),
        (["security.protocol": "sasl_plaintext", "sasl.mechanisms": "SCRAM-SHA-512"], 0),
    ])
    func `what weakens a connection is told`(properties: [String: String], count: Int) {
        #expect(KafkaConfiguration(properties).weaknesses.count == count)
        #expect(!KafkaConfiguration(properties).holdsSecrets)
        #expect(KafkaConfiguration(["sasl.password": "x"]).holdsSecrets)
    }

    @Test(arguments: [
        ("bootstrap.server", "did you mean 'bootstrap.servers'?"), ("sasl.pasword", "did you mean 'sasl.password'?"),
        ("sasl.jaas.config", "sasl.username and sasl.password"), ("fraud.window.minutes", "has no such property"),
    ])
    func `an unknown property is named, with the nearest known one`(name: String, said: String) throws {
        let error = #expect(throws: KafkaError.self) {
            try KafkaConfiguration(["bootstrap.servers": "127.0.0.1:9092", name: "hunter2"]).validate()
        }
        #expect(error?.kind == .configuration)
        #expect(error?.text.contains(said) == true, "\(error?.text ?? "")")
        #expect(error?.description.contains("hunter2") == false)
    }

    @Test
    func
        `an impossible value is refused, properties of Weir's own are left alone, the bootstrap address must be there`()
        throws
    {
        #expect(throws: KafkaError.self) {
            try KafkaConfiguration(["bootstrap.servers": "x", "acks": "perhaps"]).validate()
        }
        try KafkaConfiguration(["bootstrap.servers": "x", "weir.application": "shop"]).validate()
        let error = #expect(throws: KafkaError.self) { try KafkaConfiguration([:]).validate() }
        #expect(error?.text.contains("bootstrap.servers is missing") == true)
    }

    @Test func `no dump shows a secret`() {
        let secrets = [
            "sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem", "sasl.oauthbearer.config",
            "sasl.oauthbearer.client.secret", "sasl.jaas.config",
        ]
        var configuration = KafkaConfiguration(["bootstrap.servers": "127.0.0.1:9092"])
        for name in secrets { configuration[name] = "hunter2" }
        #expect(!configuration.description.contains("hunter2"))
        #expect(configuration.description.contains("sasl.password=[redacted]"))
        #expect(configuration.description.contains("bootstrap.servers=127.0.0.1:9092"))
    }

    @Test func `an old library is warned about by name, a recommended one not at all`() {
        let old = KafkaLibrary.warnings(for: KafkaLibrary.Version(2, 0, 2))
        #expect(old.first?.contains("older than the recommended 2.12.0") == true)
        #expect(old.contains { $0.contains("KIP-320") })
        #expect(KafkaLibrary.warnings(for: KafkaLibrary.Version(2, 12, 0)) == [])
        #expect(KafkaLibrary.warnings(for: KafkaLibrary.Version(2, 10, 0)).contains { $0.contains("#5088") })
    }

    @Test func `hidden retries never wait less than the clock rule counts with`() {
        let rows: [(properties: [String: String], version: KafkaLibrary.Version, pinned: String?)] = [
            ([:], .init(2, 16, 0), nil),
            (["retry.backoff.max.ms": "100"], .init(2, 16, 0), "500"),
            (["retry.backoff.ms": "2000"], .init(2, 16, 0), "2000"),
            (["retry.backoff.ms": "200", "retry.backoff.max.ms": "200"], .init(2, 16, 0), nil),
            (["retry.backoff.ms": "200", "retry.backoff.max.ms": "199"], .init(2, 3, 0), "200"),
            (["retry.backoff.ms": "2000"], .init(2, 0, 2), nil),
        ]
        for row in rows {
            let pinned = KafkaLibrary.pinnedRetries(
                KafkaConfiguration(row.properties),
                defaults: [("retry.backoff.ms", "500")],
                version: row.version
            )
            #expect(pinned.map(\.0) == (row.pinned == nil ? [] : ["retry.backoff.max.ms"]), "\(row)")
            #expect(pinned.first?.1 == row.pinned, "\(row)")
        }
    }

    @Test func `what a client does not know is asked again, what a broker says is not there is not`() {
        let rows: [(code: rd_kafka_resp_err_t, kind: KafkaError.Kind, disposition: KafkaError.Disposition)] = [
            (RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, .unreachable, .retry),
            (RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, .unreachable, .retry),
            (rd_kafka_resp_err_t(rawValue: -137), .unreachable, .retry),
            (RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, .unknownTopic, .stop),
            (rd_kafka_resp_err_t(rawValue: -139), .outOfRange, .stop),
            (RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, .authorisation, .stop),
        ]
        for row in rows {
            let error = KafkaError(code: row.code, "ask")
            #expect(error.kind == row.kind && error.disposition == row.disposition, "\(error)")
        }
    }
}
