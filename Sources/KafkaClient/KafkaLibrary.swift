import CRdKafka

/// The librdkafka this process runs with: its version, what it can do, what is known to be wrong with it.
///
/// The library is loaded at run time and may be newer than the headers of the build; every decision is taken on the
/// version running.
public enum KafkaLibrary {
    /// A version of librdkafka.
    public struct Version: Sendable, Comparable, CustomStringConvertible {
        public var major: Int
        public var minor: Int
        public var patch: Int

        public init(_ major: Int, _ minor: Int, _ patch: Int) {
            self.major = major
            self.minor = minor
            self.patch = patch
        }

        public static func < (a: Version, b: Version) -> Bool {
            (a.major, a.minor, a.patch) < (b.major, b.minor, b.patch)
        }
        public var description: String { "\(major).\(minor).\(patch)" }
    }

    /// The version running.
    public static let version: Version = {
        let packed = Int(rd_kafka_version())
        return Version(packed >> 24 & 0xFF, packed >> 16 & 0xFF, packed >> 8 & 0xFF)
    }()

    /// The oldest version whose transactions were proven against a broker.
    public static let oldestForTransactions = Version(2, 0, 2)
    /// From here on no fault is known that this library does not work around.
    public static let recommended = Version(2, 12, 0)

    /// What a person should know about running on this version, one sentence each; empty from ``recommended`` on.
    public static func warnings(for version: Version = KafkaLibrary.version) -> [String] {
        var found: [String] = []
        if version < recommended {
            found.append(
                "librdkafka \(version) is older than the recommended \(recommended): install a newer one when you can."
            )
        }
        for fault in faults where version >= fault.since && version < fault.repaired {
            found.append("librdkafka \(version): \(fault.text) (repaired in \(fault.repaired)).")
        }
        return found
    }

    /// Refuses what this version cannot do right.
    ///
    /// - Throws: ``KafkaError`` of kind `incompatible`: transactions below 2.0.2; SASL/SCRAM below 2.6.1, whose clients
    ///   send a wrong nonce that brokers with the repair of CVE-2024-56128 refuse as "invalid credentials", whatever
    ///   the password.
    public static func check(
        _ configuration: KafkaConfiguration,
        transactions: Bool,
        version: Version = KafkaLibrary.version
    ) throws(KafkaError) {
        if transactions && version < oldestForTransactions {
            throw KafkaError(
                .incompatible,
                "check librdkafka",
                "transactions need librdkafka \(oldestForTransactions) or newer; install one (this is \(version))"
            )
        }
        let mechanism = (configuration["sasl.mechanisms"] ?? configuration["sasl.mechanism"] ?? "").uppercased()
        if mechanism.hasPrefix("SCRAM") && version < Version(2, 6, 1) {
            throw KafkaError(
                .incompatible,
                "check librdkafka",
                """
                \(mechanism) does not work with librdkafka \(version): before 2.6.1 it sends a wrong nonce, which \
                brokers refuse since CVE-2024-56128 as "invalid credentials" even when the password is right; use \
                sasl.mechanisms=PLAIN over TLS, client certificates, or librdkafka 2.6.1 or newer
                """
            )
        }
    }

    /// Keeps `retry.backoff.max.ms` from being less than `retry.backoff.ms`: a smaller one makes retries that librdkafka hides
    /// faster than who times its calls can tell from an answer.
    ///
    /// - Parameter defaults: what stands where the user says nothing.
    static func pinnedRetries(
        _ configuration: KafkaConfiguration,
        defaults: [(String, String)],
        version: Version = KafkaLibrary.version
    ) -> [(String, String)] {
        // Before that there was no such property, and the time between retries never grew.
        if version < Version(2, 3, 0) { return [] }
        func value(_ name: String, _ otherwise: Int) -> Int {
            (configuration[name] ?? defaults.last { $0.0 == name }?.1).flatMap { Int($0) } ?? otherwise
        }
        let least = value("retry.backoff.ms", 100)
        return value("retry.backoff.max.ms", 1000) < least ? [("retry.backoff.max.ms", String(least))] : []
    }

    private static let faults: [(since: Version, repaired: Version, text: String)] = [
        (
            Version(0, 0, 0), Version(2, 1, 0),
            "no detection of log truncation after an unclean leader election (KIP-320)"
        ),
        (
            Version(0, 0, 0), Version(2, 2, 0),
            "an unclean TLS close counts as a permanent error; no SASL re-authentication (KIP-368)"
        ),
        (Version(0, 0, 0), Version(2, 2, 0), "a full fetch queue pauses fetching for up to one second"),
        (
            Version(0, 0, 0), Version(2, 3, 0),
            "an idempotent producer may fail with a false OUT_OF_ORDER_SEQUENCE_NUMBER after a lost connection"
        ),
        (
            Version(0, 0, 0), Version(2, 4, 0),
            "a consumer may resume from an older position after its subscription changes"
        ),
        (
            Version(2, 2, 0), Version(2, 5, 0),
            "an idempotent producer may fail with \"Unable to reconstruct MessageSet\""
        ),
        (Version(0, 0, 0), Version(2, 6, 1), "SASL/SCRAM is refused by brokers since CVE-2024-56128"),
        (Version(2, 5, 0), Version(2, 5, 1), "an assertion in client telemetry may end the process"),
        (Version(2, 6, 0), Version(2, 6, 1), "fetching from brokers older than 2.7 fails"),
        (Version(2, 10, 0), Version(2, 10, 1), "a known regression of this very release (#5088)"),
        (Version(0, 0, 0), Version(2, 11, 0), "SASL/GSSAPI does not work with Apache Kafka 4"),
    ]
}
