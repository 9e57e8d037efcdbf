// swift-tools-version: 6.2
import PackageDescription

// No package from outside: a clean clone builds from Debian's archive alone and gets the distribution's security updates without a
// release of ours. Each system library is imported by one target only; the tidy tests hold the arrows.

let base: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]
/// Where pointers are the exception, every use of one is marked `unsafe` and argued.
let strict = base + [.strictMemorySafety()]

let package = Package(
    name: "weir",
    products: [
        .executable(name: "weir", targets: ["weir"]),
        // Kafka for other programs too: consumers, transactions, administration; knows nothing of fraud.
        .library(name: "KafkaClient", targets: ["KafkaClient"]),
    ],
    targets: [
        // The doors to C, each to a well-kept library that was chosen for this field.
        // Kafka: the client the field runs on, with transactions and every setting documented; ≥ 2.0.2 to build, ≥ 2.12 to run.
        .systemLibrary(
            name: "CRdKafka",
            path: "Sources/CLibraries/CRdKafka",
            pkgConfig: "rdkafka",
            providers: [.apt(["librdkafka-dev"]), .brew(["librdkafka"])]
        ),
        // The embedded log: the most tested embedded store there is.
        .systemLibrary(
            name: "CSQLite",
            path: "Sources/CLibraries/CSQLite",
            pkgConfig: "sqlite3",
            providers: [.apt(["libsqlite3-dev"]), .brew(["sqlite"])]
        ),
        // Topology files: the reference parser, with line and column for diagnostics.
        .systemLibrary(
            name: "CYAML",
            path: "Sources/CLibraries/CYAML",
            pkgConfig: "yaml-0.1",
            providers: [.apt(["libyaml-dev"]), .brew(["libyaml"])]
        ),
        // Keyed hashes of identifiers, digests: OpenSSL is audited, and FIPS builds exist.
        .systemLibrary(
            name: "CCrypto",
            path: "Sources/CLibraries/CCrypto",
            pkgConfig: "libcrypto",
            providers: [.apt(["libssl-dev"]), .brew(["openssl@3"])]
        ),
        // `.gz` input: what the files out there use.
        .systemLibrary(
            name: "CZlib",
            path: "Sources/CLibraries/CZlib",
            pkgConfig: "zlib",
            providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]
        ),
        // `.zst` input: what larger files out there use; bounded memory, and a checksum in most files.
        .systemLibrary(
            name: "CZstd",
            path: "Sources/CLibraries/CZstd",
            pkgConfig: "libzstd",
            providers: [.apt(["libzstd-dev"]), .brew(["zstd"])]
        ),
        // Regular expressions in rules: linear time, whatever the pattern.
        .target(
            name: "CRE2",
            path: "Sources/CLibraries/CRE2",
            linkerSettings: [.linkedLibrary("re2")]
        ),
        .target(name: "CPlatform", path: "Sources/CLibraries/CPlatform"),

        // The house. Imports run one way, downwards in this list to upwards.
        .target(name: "Telemetry", swiftSettings: strict),
        .target(name: "KafkaClient", dependencies: ["CRdKafka"], swiftSettings: base),
        .target(name: "RuleLanguage", dependencies: ["CRE2"], swiftSettings: base),
        .target(name: "Models", swiftSettings: base),
        .target(
            name: "Detection",
            dependencies: ["RuleLanguage", "Models"],
            exclude: ["README.md"],
            swiftSettings: base
        ),
        .target(
            name: "Pipeline",
            dependencies: [
                "KafkaClient", "Detection", "RuleLanguage", "Models", "Telemetry", "CPlatform", "CSQLite", "CYAML",
                "CCrypto", "CZlib", "CZstd",
            ],
            exclude: ["README.md"],
            swiftSettings: base
        ),
        .target(name: "Simulation", dependencies: ["RuleLanguage", "Models"], swiftSettings: base),
        .executableTarget(
            name: "weir",
            dependencies: ["Pipeline", "Simulation", "Detection", "RuleLanguage", "KafkaClient", "Telemetry"],
            exclude: ["README.md", "alerts.yaml"],
            swiftSettings: base
        ),

        .target(name: "Waiting", path: "Tests/Waiting", swiftSettings: base),
        .target(name: "ExpositionFormat", path: "Tests/ExpositionFormat", swiftSettings: base),
        .target(
            name: "KafkaTestBroker",
            dependencies: ["KafkaClient"],
            path: "Tests/KafkaTestBroker",
            swiftSettings: base
        ),
        // Not part of the product: the decode section of scripts/bench.
        .executableTarget(
            name: "DecodeBenchmark",
            dependencies: ["Detection", "RuleLanguage"],
            path: "Tests/Benchmarks/Decode",
            swiftSettings: base
        ),
        .executableTarget(
            name: "DedupeBenchmark",
            dependencies: ["Detection", "RuleLanguage"],
            path: "Tests/Benchmarks/Dedupe",
            swiftSettings: base
        ),
        .testTarget(name: "TelemetryTests", dependencies: ["Telemetry", "ExpositionFormat"], swiftSettings: base),
        .testTarget(
            name: "KafkaClientTests",
            dependencies: ["KafkaClient", "KafkaTestBroker", "Waiting"],
            swiftSettings: base
        ),
        .testTarget(name: "RuleLanguageTests", dependencies: ["RuleLanguage", "Models"], swiftSettings: base),
        .testTarget(name: "ModelsTests", dependencies: ["Models"], swiftSettings: base),
        .testTarget(
            name: "DetectionTests",
            dependencies: ["Detection", "RuleLanguage", "Models"],
            swiftSettings: base
        ),
        .testTarget(
            name: "PipelineTests",
            dependencies: [
                "Pipeline", "Detection", "RuleLanguage", "Models", "KafkaClient", "Simulation", "Telemetry",
                "ExpositionFormat", "KafkaTestBroker", "Waiting", "CZstd",
            ],
            exclude: ["Fixtures"],
            swiftSettings: base
        ),
        .testTarget(
            name: "SimulationTests",
            dependencies: ["Simulation", "RuleLanguage"],
            swiftSettings: base
        ),
        .testTarget(
            name: "WeirTests",
            dependencies: [
                "weir", "Pipeline", "Simulation", "KafkaClient", "Telemetry", "ExpositionFormat", "KafkaTestBroker",
                "Waiting",
            ],
            swiftSettings: base
        ),
        .testTarget(name: "Tidy", swiftSettings: base),
    ],
    cxxLanguageStandard: .cxx17
)
