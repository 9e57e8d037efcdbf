import Glibc
import KafkaClient

extension LogError {
    /// What a Kafka error means to whoever runs Weir: the kind decides the exit code, the message says what to do.
    init(_ error: KafkaError, configuration: KafkaConfiguration, application: String) {
        let servers = configuration.bootstrapServers
        let user = configuration["sasl.username"].map { "User:\($0)" } ?? "our principal"
        switch error.kind {
        case .authentication:
            let mechanism = configuration["sasl.mechanisms"] ?? configuration["sasl.mechanism"] ?? "none"
            self.init(
                .notAuthorised,
                """
                Kafka at \(servers) refused us: \(error.text). Check sasl.username, sasl.password and sasl.mechanisms \
                (now \(mechanism)) in the Kafka properties.
                """
            )
        case .authorisation:
            self.init(
                .notAuthorised,
                """
                Kafka refused us: \(error.text) (\(error.operation)). \(LogError.missingRight(error, user, application))
                """
            )
        case .unreachable:
            self.init(
                .unreachable,
                "No Kafka at \(servers) (\(error.operation)): \(error.text). \(LogError.hint(error, configuration))"
            )
        case .fenced:
            self.init(
                .fenced,
                """
                Another process took over the name '\(application)' (\(error.operation): \(error.text)), or our own \
                transaction ran out of time. This one stops; make sure that only one worker of this name runs, then \
                start it again.
                """
            )
        case .unknownTopic:
            self.init(
                .refused,
                "\(error.operation): \(error.text). Create the topic, or name the right one in the topology."
            )
        case .tooLarge:
            self.init(
                .refused,
                """
                \(error.operation): \(error.text). Raise message.max.bytes in the Kafka properties and \
                max.message.bytes of the topic, or shorten the record.
                """
            )
        case .outOfRange:
            self.init(
                .outOfRange,
                """
                \(error.operation): \(error.text). What must be read again is gone from the topic: raise its retention \
                (retention.ms, retention.bytes) and start from a newer state.
                """
            )
        case .configuration:
            self.init(.refused, "Kafka properties: \(error.text).")
        case .incompatible:
            self.init(.incompatible, "\(error.text).")
        case .stopped:
            self.init(.stopped, "\(error.operation): \(error.text).")
        case .other:
            self.init(error.disposition == .stop ? .refused : .transient, "Kafka: \(error).")
        }
    }

    private static func hint(_ error: KafkaError, _ configuration: KafkaConfiguration) -> String {
        let said = error.text
        if said.contains("security.protocol") || said.contains("handshake") || error.name == "_SSL"
            || said.contains("SSL")
        {
            let now = configuration["security.protocol"] ?? "plaintext"
            return "Does the port speak another protocol? Check security.protocol (now \(now))."
        }
        if said.contains("resolve") || error.name == "_RESOLVE" { return "Check the host name in bootstrap.servers." }
        let now = configuration["security.protocol"] ?? "plaintext"
        return "Is it running? Check bootstrap.servers, the network, and security.protocol (now \(now))."
    }

    private static func missingRight(_ error: KafkaError, _ user: String, _ application: String) -> String {
        switch error.name {
        case "TRANSACTIONAL_ID_AUTHORIZATION_FAILED":
            return
                """
                Grant \(user) the operations Write and Describe on transactional ids that begin with '\(application)' \
                (kafka-acls --add --transactional-id \(application) --resource-pattern-type prefixed).
                """
        case "GROUP_AUTHORIZATION_FAILED":
            return
                "Grant \(user) the operation Read on group '\(application)' (kafka-acls --add --group \(application))."
        case "CLUSTER_AUTHORIZATION_FAILED":
            return
                """
                Grant \(user) the operation Create on the cluster, or have the topics made by an administrator \
                (kafka-acls --add --cluster).
                """
        default:
            let topic = error.operation.split(separator: " ").last.map { $0.prefix { $0 != "/" } } ?? ""
            let writes =
                error.operation.hasPrefix("deliver") || error.operation.hasPrefix("produce")
                || error.operation.contains("transaction")
            let right =
                writes
                ? "operations Write and Describe"
                : error.operation.hasPrefix("describe the settings")
                    ? "operation DescribeConfigs" : "operations Read and Describe"
            let name =
                error.operation.contains("transaction") || topic.isEmpty ? "the output topics" : "topic '\(topic)'"
            return "Grant \(user) the \(right) on \(name) (kafka-acls --add --topic)."
        }
    }
}
