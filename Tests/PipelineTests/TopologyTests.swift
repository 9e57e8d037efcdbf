import Glibc
import RuleLanguage
import Testing

@testable import Pipeline

@Suite struct TopologyTests {
    static let folders = ["quickstart", "online-retail", "ad-clicks", "bench-12"]

    @Test(arguments: folders) func `every topology folder loads and holds what it should`(_ name: String) throws {
        let folder = "\(PackageFolder.root)/topologies/\(name)"
        let topology: TopologyDescription
        do {
            topology = try TopologyDescription.load(folder: folder + "/")
        } catch {
            Issue.record("\(error.diagnostics.map(\.rendered).joined())")
            return
        }
        #expect(topology.name == name)
        #expect(topology.folder == folder)
        #expect(!topology.events.isEmpty && !topology.topics.isEmpty && !topology.rules.isEmpty)
        #expect(topology.rules.map(\.path) == topology.rules.map(\.path).sorted())
        for event in topology.events {
            let time = event.fields[try #require(event.time.fieldIndex)]
            #expect(time.type == .timestamp && time.isRequired)
            #expect(event.fields[event.subjectField].entity != nil && event.fields[event.subjectField].isRequired)
        }
        #expect(FileText.kind(of: "\(folder)/README.md") == .file)
        #expect(FileText.names(in: "\(folder)/samples")?.isEmpty == false)
    }

    @Test func `every shipped topology compiles without a warning`() throws {
        let names = try #require(FileText.names(in: "\(PackageFolder.root)/topologies")).filter {
            FileText.kind(of: "\(PackageFolder.root)/topologies/\($0)") == .folder
        }
        #expect(names.count >= 5)
        for name in names {
            do {
                let deployment = try Deployment(folder: "\(PackageFolder.root)/topologies/\(name)")
                let warnings = deployment.release.rules.warnings.map(\.rendered)
                #expect(warnings.isEmpty, "\(name): \(warnings.joined())")
                #expect(!deployment.release.rules.rules.isEmpty || !deployment.release.rules.features.isEmpty)
            } catch {
                Issue.record("\(name): \(error.diagnostics.map(\.rendered).joined())")
            }
        }
    }

    @Test func `every key of the format arrives in its place`() throws {
        let topology = try TopologyText.load(
            """
            topology: marketplace
            version: 3
            description: one line
            seed: 7091
            time: { tick: 250ms, lateness: 10m, future: 2h, earliest: 2001-01-01, latest: 2099-12-31, idle: 1s }
            replay: { sort: true }
            limits: { keys: 10, entries_per_key: 20, dedupe_ids: 30, text_bytes: 512, record_bytes: 4096, window: 30d }
            identifiers: { key_file: secret.key }
            events:
              order:
                topic: shop
                format: json
                when: { meta.type: order }
                time: ts
                id: id
                subject: account
                emit: all
                dedupe: { by: [id, account], over: 36h }
                fields:
                  id: string
                  ts: { type: timestamp, format: us }
                  buyer: { type: string, path: buyer.id, entity: account, personal: true, pseudonymise: true, max_length: 64 }
                  amount: { type: money, scale: 3, min: 0, max: 99.5 }
                  channel: { type: string, enum: [web, app] }
                  tags: list<string>
                  ship.city: { type: string, path: [ship, "city.name"] }
              coupon:
                topic: coupons
                time: ts
                subject: account
                fields:
                  ts: timestamp
                  account: { type: string, entity: account }
                  coupon: { type: string, entity: coupon }
              refund:
                topic: shop
                when: { meta.type: refund }
                time: ts
                subject: account
                fields: { ts: { type: timestamp, format: rfc3339 }, account: { type: string, entity: account } }
            detectors:
              lockstep:
                - { name: r, events: [coupon], actor: account, target: coupon, window: 6h, minimum_actors: 4, minimum_targets: 1 }
            models:
              anomaly: { features: [f, amount], events: [order], trees: 5, depth: 6, window: 70 }
            verdicts: { source: urn:shop }
            rules: [rules/b.weir, rules/*.weir]
            """
        )
        #expect(
            topology.version == 3 && topology.summary == "one line" && topology.seed == 7091 && topology.sortsReplay
        )
        #expect(topology.time.latenessMilliseconds == 600_000 && topology.time.futureMilliseconds == 7_200_000)
        #expect(topology.time.earliest == 978_307_200_000 && topology.time.latest == 4_102_358_400_000)
        #expect(topology.time.idleMilliseconds == 1000 && topology.time.tickMilliseconds == 250)
        #expect(topology.limits.keys == 10 && topology.limits.entriesPerKey == 20 && topology.limits.textBytes == 512)
        #expect(topology.limits.dedupeIds == 30)
        #expect(topology.limits.recordBytes == 4096 && topology.limits.windowMilliseconds == 30 * 86_400_000)
        #expect(topology.identifierKeyFile == "shop/secret.key")
        #expect(topology.topics == ["coupons", "shop"])
        #expect(topology.events.map(\.name) == ["order", "coupon", "refund"])
        let order = topology.events[0]
        #expect(order.dedupe == DedupeSchema(fields: [0, 2], overMilliseconds: 36 * 3_600_000))
        #expect(topology.events[1].dedupe == nil)
        #expect(order.discriminator?.path == ["meta", "type"] && order.discriminator?.value == "order")
        #expect(order.time == .field(1) && order.idField == 0 && order.subjectField == 2 && order.emission == .all)
        #expect(order.fields[0] == FieldSchema(name: "id", path: ["id"], type: .string, maximumLength: 512))
        #expect(order.fields[1].timeFormat == .microseconds && order.fields[1].isRequired)
        #expect(
            order.fields[2]
                == FieldSchema(
                    name: "buyer",
                    path: ["buyer", "id"],
                    type: .string,
                    isRequired: true,
                    entity: "account",
                    isPersonal: true,
                    isPseudonymised: true,
                    maximumLength: 64
                )
        )
        #expect(order.fields[3].minimum == 0 && order.fields[3].maximum == 99_500 && order.fields[3].moneyScale == 3)
        #expect(order.fields[4].allowedValues == ["web", "app"] && order.fields[5].type == .stringList)
        #expect(order.fields[6].path == ["ship", "city.name"])
        let lockstep = try #require(topology.detectors.first as? LockstepSettings)
        #expect(
            lockstep.name == "r" && lockstep.events == [1] && lockstep.actor == "account" && lockstep.target == "coupon"
        )
        #expect(
            lockstep.windowMilliseconds == 21_600_000 && lockstep.minimumActors == 4 && lockstep.minimumTargets == 1
        )
        let anomaly = try #require(topology.models.first as? AnomalySettings)
        #expect(anomaly.inputs.features == ["f", "amount"] && anomaly.inputs.events == [0])
        #expect(anomaly.trees == 5 && anomaly.depth == 6 && anomaly.window == 70)
        #expect(topology.verdictSource == "urn:shop")
        #expect(topology.rules.map(\.path) == ["shop/rules/a.weir", "shop/rules/b.weir"])
    }

    static let pseudonymous = """
        topology: shop
        identifiers: { key_file: secret.key }
        events:
          order:
            { topic: o, time: ts, subject: a, fields: { ts: timestamp, a: { type: string, entity: account, pseudonymise: true } } }

        """

    @Test func `a key file is looked for in the topology's folder, wherever that is named from`() throws {
        let folder = TemporaryFolder()
        folder.write(TopologyTests.pseudonymous, "topology.yaml")
        folder.write("0123456789abcdef", "secret.key")
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let here = try #require(getcwd(&buffer, buffer.count).map { String(cString: $0) })
        let up = String(repeating: "../", count: here.split(separator: "/").count)
        for path in [folder.path, folder.path + "/", up + folder.path.dropFirst()] {
            do { _ = try Deployment(folder: path) } catch {
                Issue.record("\(error.diagnostics.map(\.rendered).joined())")
            }
        }
        func complaint() -> String {
            do {
                _ = try Deployment(folder: folder.path)
                return "none"
            } catch {
                return error.diagnostics.map(\.rendered).joined().replacing(folder.path, with: "shop")
            }
        }
        folder.write("0123456789abcde\n", "secret.key")
        #expect(
            complaint() == """
                shop/topology.yaml:2:26: error: the key of the pseudonyms has fewer than 16 bytes: shop/secret.key
                   2 | identifiers: { key_file: secret.key }
                     |                          ^~~~~~~~~~
                     = openssl rand -hex 32 > shop/secret.key makes one

                """
        )
        #expect(unlink("\(folder.path)/secret.key") == 0)
        #expect(
            complaint() == """
                shop/topology.yaml:2:26: error: the key of the pseudonyms cannot be read: shop/secret.key: No such file or directory
                   2 | identifiers: { key_file: secret.key }
                     |                          ^~~~~~~~~~
                     = openssl rand -hex 32 > shop/secret.key makes one

                """
        )
    }

    @Test func `another key gives the topology another digest, and nothing of a key is shown`() throws {
        let folder = TemporaryFolder()
        folder.write(TopologyTests.pseudonymous, "topology.yaml")
        func deployment(_ key: String) throws -> Deployment {
            folder.write(key, "secret.key")
            return try Deployment(folder: folder.path)
        }
        let first = try deployment("0123456789abcdef")
        // What ends the line is no part of the key.
        #expect(try deployment("0123456789abcdef \r\n").topologyDigest == first.topologyDigest)
        #expect(try deployment("0123456789abcdeg").topologyDigest != first.topologyDigest)
        let plain = try TopologyDescription.load(folder: folder.path).canonicalText
        let code = HMACSHA256(key: Array("0123456789abcdef".utf8)).hex(of: Array("weir topology digest".utf8))
        #expect(first.description.canonicalText == plain + "pseudonyms \(code)\n")
        #expect(!first.description.canonicalText.contains("0123456789abcdef"))
    }

    static let small = """
        topology: shop
        events:
          order: { topic: o, time: ts, subject: a, fields: { ts: timestamp, a: { type: string, entity: account } } }

        """

    @Test func `what is not written has the documented default`() throws {
        let topology = try TopologyText.load(TopologyTests.small)
        #expect(topology.time == TimeSettings() && topology.limits == LimitSettings() && !topology.sortsReplay)
        #expect(topology.verdictSource == "weir/shop" && topology.version == 1 && topology.identifierKeyFile == nil)
        #expect(topology.detectors.isEmpty && topology.models.isEmpty)
        #expect(topology.time.earliest == DateText.milliseconds("2000-01-01"))
        #expect(topology.time.latest == DateText.milliseconds("2100-01-01"))
        #expect(topology.events[0].emission == .flagged && topology.events[0].idField == nil)
    }

    @Test func `a seed that nobody wrote is the same on every machine and another for another name`() throws {
        let topology = try TopologyText.load(TopologyTests.small)
        #expect(topology.seed == TopologyTests.seedOfShop)
        var other = TopologyTests.small
        other.replace("topology: shop", with: "topology: market")
        #expect(try TopologyText.load(other).seed != topology.seed)
    }
    static let seedOfShop: UInt64 = 13_230_548_980_232_079_698

    @Test func `layout, comments and the folder do not change the canonical text, every setting does`() throws {
        let base = try TopologyText.load(TopologyTests.small).canonicalText
        let relaid = """
            # The same, written at length.
            topology: "shop"
            description: words only
            events:
                order:
                    fields:
                        ts: { type: timestamp }
                        a: { entity: account, type: string, required: true }
                    subject: account
                    time: ts
                    topic: o
            """
        #expect(try TopologyText.load(relaid).canonicalText == base)
        let moved = try TopologyDescription.read(
            bytes: Array(TopologyTests.small.utf8),
            path: "/srv/x/topology.yaml",
            folder: "/srv/x",
            files: FakeRuleFiles()
        )
        #expect(moved.canonicalText == base)
        for (from, to) in [
            ("topology: shop", "topology: market"), ("topology: shop", "topology: shop\nversion: 2"),
            ("topology: shop", "topology: shop\nseed: 1"), ("topology: shop", "topology: shop\ntime: { idle: 31s }"),
            ("topology: shop", "topology: shop\ntime: { tick: 2s }"),
            ("topic: o", "topic: p"), ("topic: o", "topic: o, emit: all"),
            ("topic: o", "topic: o, dedupe: { by: a, over: 1h }"),
            ("topology: shop", "topology: shop\nlimits: { dedupe_ids: 5 }"), ("topic: o", "topic: o, when: { t: x }"),
            ("entity: account", "entity: user"), ("entity: account", "entity: account, max_length: 9"),
            ("ts: timestamp", "ts: { type: timestamp, format: s }"), ("ts: timestamp", "ts: timestamp, b: int"),
        ] {
            var changed = TopologyTests.small
            changed.replace(from, with: to)
            #expect(try TopologyText.load(changed).canonicalText != base, "\(to)")
        }
        let otherRules = try TopologyText.load(
            TopologyTests.small,
            files: FakeRuleFiles(files: ["rules/a.weir": "// a\n", "rules/b.weir": "// c\n"])
        )
        // What is in force is a release's, with a digest of its own.
        #expect(otherRules.canonicalText == base)
    }

    @Test func `a byte-order mark and Windows line ends do no harm`() throws {
        var windows = TopologyTests.small
        windows.replace("\n", with: "\r\n")
        let bytes: [UInt8] = [0xEF, 0xBB, 0xBF] + Array(windows.utf8)
        #expect(
            try TopologyText.load(bytes: bytes).canonicalText == TopologyText.load(TopologyTests.small).canonicalText
        )
    }

    @Test func `durations are whole numbers with a unit`() {
        let table: [(String, Int64?)] = [
            ("0s", 0), ("1ms", 1), ("90s", 90_000), ("5m", 300_000), ("24h", 86_400_000), ("7d", 604_800_000),
            ("2w", 1_209_600_000), ("", nil), ("5", nil), ("m", nil), ("-5m", nil), ("+5m", nil), ("1.5h", nil),
            ("5 m", nil),
            ("5M", nil), ("5min", nil), ("9223372036854775807ms", .max), ("9223372036854775808ms", nil),
            ("9223372036854775807s", nil), ("٥m", nil),
        ]
        for (text, expected) in table { #expect(DurationText.milliseconds(text) == expected, "\(text)") }
        for value: Int64 in [0, 1, 999, 1000, 90_000, 3_600_000, 86_400_000, 1_209_600_000] {
            #expect(DurationText.milliseconds(DurationText.text(milliseconds: value)) == value)
        }
        #expect(DurationText.text(milliseconds: 1_209_600_000) == "14d")
    }

    @Test func `days are those of the calendar`() {
        let table: [(String, Int64?)] = [
            ("1970-01-01", 0), ("1969-12-31", -86_400_000), ("2000-02-29", 951_782_400_000),
            ("2100-01-01", 4_102_444_800_000),
            ("0001-01-01", -62_135_596_800_000), ("9999-12-31", 253_402_214_400_000), ("1900-02-29", nil),
            ("2023-13-01", nil),
            ("2023-00-10", nil), ("2023-04-31", nil), ("2023-4-30", nil), ("2023/04/30", nil), ("", nil),
        ]
        for (text, expected) in table { #expect(DateText.milliseconds(text) == expected, "\(text)") }
    }

    @Test func `a pattern matches as in a shell and never takes exponential time`() {
        let table: [(String, String, Bool)] = [
            ("a.weir", "*.weir", true), (".weir", "*.weir", true), ("a.weir~", "*.weir", false), ("ab", "a?", true),
            ("a", "a?", false), ("abcbd", "a*b?", true), ("", "*", true), ("", "", true), ("x", "", false),
        ]
        for (name, pattern, expected) in table {
            #expect(Wildcard.matches(name, pattern) == expected, "\(name) \(pattern)")
        }
        let hostile = String(repeating: "*a", count: 200) + "b"
        #expect(!Wildcard.matches(String(repeating: "a", count: 2000), hostile))
    }

    @Test(arguments: folders) func `a topology cut short anywhere is refused or read, never a crash`(_ name: String) {
        let bytes = Array(PackageFolder.text("topologies/\(name)/topology.yaml").utf8)
        #expect(!bytes.isEmpty)
        var refused = 0
        for count in 0..<bytes.count {
            do {
                _ = try TopologyText.load(bytes: Array(bytes[..<count]))
            } catch {
                refused += 1
                #expect(
                    !error.diagnostics.isEmpty && error.diagnostics.allSatisfy { !$0.message.isEmpty && $0.line > 0 }
                )
                _ = error.diagnostics.map(\.rendered)
            }
        }
        #expect(refused > bytes.count / 2)
    }

    @Test(arguments: folders) func `a topology with any byte replaced is refused or read, never a crash`(_ name: String)
    {
        let bytes = Array(PackageFolder.text("topologies/\(name)/topology.yaml").utf8)
        // A fixed stride through positions and replacements: the same run every time.
        let replacements: [UInt8] = [
            0x00, 0x09, 0x0A, 0x20, 0x22, 0x23, 0x26, 0x27, 0x2A, 0x2C, 0x2D, 0x3A, 0x5B, 0x5D, 0x7B, 0x7D, 0xC3, 0xFF,
        ]
        var seed = 1
        for at in bytes.indices {
            seed = (seed &* 1_103_515_245 &+ 12_345) & 0x7FFF_FFFF
            var changed = bytes
            changed[at] = replacements[(seed >> 8) % replacements.count]
            do { _ = try TopologyText.load(bytes: changed) } catch { _ = error.diagnostics.map(\.rendered) }
        }
    }
}
