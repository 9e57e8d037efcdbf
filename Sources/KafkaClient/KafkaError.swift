import CRdKafka

/// What went wrong, and what a caller may do about it.
///
/// Carries librdkafka's own code and text, and a judgement in ``disposition``: *retry* the same call, *abort* (the
/// transaction is lost, a new one may work), or *stop* (nothing this process does will help). The judgement follows the
/// protocol's documentation and what a real broker was seen to do, not librdkafka's flags alone.
public struct KafkaError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What to do next.
    public enum Disposition: Sendable, Equatable {
        /// The same call may succeed later.
        case retry
        /// The current transaction is lost; throw the producer away and begin again.
        case abort
        /// Do not go on: a person or another configuration is needed.
        case stop
    }

    /// What it is about.
    public enum Kind: Sendable, Equatable {
        /// No broker answers, or not in time, or the one asked is not in charge (yet).
        case unreachable
        /// The broker does not accept our name or password, or not the mechanism.
        case authentication
        /// An access control entry is missing.
        case authorisation
        /// A newer producer or group member has our identity.
        case fenced
        /// The topic or partition does not exist, as a broker said: that a client does not know it is ``unreachable``.
        case unknownTopic
        /// A record is larger than the client's or the topic's limit.
        case tooLarge
        /// The offset asked for is not (or no longer) there.
        case outOfRange
        /// A property is unknown or has an impossible value.
        case configuration
        /// This librdkafka cannot do what is asked.
        case incompatible
        /// Somebody asked for an end while it was waited for: nothing is wrong.
        case stopped
        /// Anything else.
        case other
    }

    /// librdkafka's code: negative for its own errors, positive for the broker's, 0 for errors of this library.
    public var code: Int32
    /// librdkafka's name for the code, such as `_TRANSPORT` or `TOPIC_AUTHORIZATION_FAILED`.
    public var name: String
    /// What happened, in librdkafka's or the broker's words where they gave some.
    public var text: String
    /// The call that failed, such as `commit transaction`.
    public var operation: String
    public var kind: Kind
    public var disposition: Disposition
    /// The client instance is unusable from now on.
    public var isFatal: Bool
    /// librdkafka says that the call may be repeated.
    public var isRetriable: Bool

    public var description: String {
        code == 0 ? "\(operation): \(text)" : "\(operation): \(text) (\(name), \(code))"
    }
}

extension KafkaError {
    /// An error of this library, or of its caller, rather than of librdkafka: its code is 0.
    public init(_ kind: Kind, _ operation: String, _ text: String, disposition: Disposition = .stop) {
        self.init(
            code: 0,
            name: "",
            text: text,
            operation: operation,
            kind: kind,
            disposition: disposition,
            isFatal: false,
            isRetriable: disposition == .retry
        )
    }

    /// From a bare code and, where there is one, the text that came with it.
    init(
        code: rd_kafka_resp_err_t,
        _ operation: String,
        text: String? = nil,
        isFatal: Bool = false,
        isRetriable: Bool = false,
        requiresAbort: Bool = false
    ) {
        let kind = Kind(code)
        self.init(
            code: code.rawValue,
            name: String(cString: rd_kafka_err2name(code)),
            text: text ?? String(cString: rd_kafka_err2str(code)),
            operation: operation,
            kind: kind,
            disposition: KafkaError.judge(
                kind,
                isFatal: isFatal,
                isRetriable: isRetriable,
                requiresAbort: requiresAbort
            ),
            isFatal: isFatal,
            isRetriable: isRetriable
        )
    }

    /// From an error object of librdkafka, which it destroys.
    init(consuming error: OpaquePointer, _ operation: String) {
        defer { rd_kafka_error_destroy(error) }
        self.init(
            code: rd_kafka_error_code(error),
            operation,
            text: String(cString: rd_kafka_error_string(error)),
            isFatal: rd_kafka_error_is_fatal(error) != 0,
            isRetriable: rd_kafka_error_is_retriable(error) != 0,
            requiresAbort: rd_kafka_error_txn_requires_abort(error) != 0
        )
    }

    /// A missing right or a wrong password does not heal by trying again, whatever librdkafka's flags say; a lost
    /// connection does.
    private static func judge(_ kind: Kind, isFatal: Bool, isRetriable: Bool, requiresAbort: Bool) -> Disposition {
        switch kind {
        case .authentication, .authorisation, .fenced, .configuration, .incompatible, .outOfRange, .stopped: .stop
        case .unreachable: requiresAbort ? .abort : .retry
        case .tooLarge: .abort
        case .unknownTopic, .other: isFatal ? .stop : isRetriable ? .retry : requiresAbort ? .abort : .stop
        }
    }
}

extension KafkaError.Kind {
    init(_ code: rd_kafka_resp_err_t) {
        switch code {
        case RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__RESOLVE, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
            RD_KAFKA_RESP_ERR__TIMED_OUT, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE, RD_KAFKA_RESP_ERR__MSG_TIMED_OUT,
            RD_KAFKA_RESP_ERR__SSL, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
            RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR__WAIT_COORD, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT,
            RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
            // What a client does not know it has not been told, or has forgotten with the brokers it lost.
            RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, .destroyBroker:
            self = .unreachable
        case RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED,
            RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM, RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
            self = .authentication
        case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
            self = .authorisation
        case RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
            RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
            self = .fenced
        case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
            self = .unknownTopic
        case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
            self = .tooLarge
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, .logTruncation:
            self = .outOfRange
        case RD_KAFKA_RESP_ERR__INVALID_ARG:
            self = .configuration
        case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
            self = .incompatible
        default:
            self = .other
        }
    }
}

/// Codes of libraries newer than the headers of the build.
extension rd_kafka_resp_err_t {
    /// `_LOG_TRUNCATION`, since 2.1.
    fileprivate static let logTruncation = rd_kafka_resp_err_t(rawValue: -139)
    /// `_DESTROY_BROKER`, since 2.12.
    fileprivate static let destroyBroker = rd_kafka_resp_err_t(rawValue: -137)
}
