import Foundation
import Glibc
import KafkaTestBroker
import Models
import Synchronization
import Waiting

/// A TCP proxy in front of one broker that keeps single requests back and delivers them later: the network of the bad
/// day.
///
/// Kafka's frames are `int32 length, int16 api, int16 version, int32 correlation`. Replies that name the broker's
/// address (Metadata, FindCoordinator) are rewritten to the proxy's, so that no client goes round it.
final class KafkaLogProxy: Sendable {
    enum Api {
        static let metadata: Int16 = 3
        static let findCoordinator: Int16 = 10
        static let addPartitions: Int16 = 24
        static let addOffsets: Int16 = 25
        static let endTransaction: Int16 = 26
        static let offsetCommit: Int16 = 28
    }
    /// What happens to the next request of one kind.
    enum Fault {
        /// The request and all that follow on its connection are kept from the broker.
        case hold
        /// The same, and the client's side is closed: it connects anew and asks again.
        case cut
        /// The request is delivered; its answer and all that follow on its connection are dropped.
        case dropAnswer
    }

    private struct State {
        var armed: [Int16: Fault] = [:]
        var held: [Held] = []
        /// A held request is delivered before the next request of this kind goes on.
        var releaseBefore: Int16?
        var seen: [Int16: Int] = [:]
        var storm: Storm?
        /// Requests of the storm that were delivered late.
        var late = 0
        /// Requests of these kinds are answered with success and kept from the broker.
        var pretended: Set<Int16> = []
        /// The clients' ends of the connections.
        var clients: [Int32] = []
        /// Those of them that have hung up.
        var gone: Set<Int32> = []
    }

    /// A share of the requests of some kinds is cut, and delivered some time later.
    struct Storm {
        var apis: Set<Int16>
        var share: Double
        var seconds: ClosedRange<Double>
        var chance: SplitMix64

        init(_ apis: Set<Int16>, share: Double, seconds: ClosedRange<Double>, seed: UInt64) {
            (self.apis, self.share, self.seconds, chance) = (apis, share, seconds, SplitMix64(seed: seed))
        }
    }

    private struct Held {
        var bytes: [UInt8]
        var upstream: Int32
        var connection: Pending
    }

    let port: UInt16
    private let brokerPort: UInt16
    private let listener: Int32
    private let state = Mutex(State())

    init(broker: String) throws {
        guard let brokerPort = UInt16(broker.split(separator: ":").last ?? "") else {
            throw TestBroker.Failure(text: broker)
        }
        self.brokerPort = brokerPort
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = KafkaLogProxy.loopback(0)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        var actual = size
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(listener, raw, size) == 0 && listen(listener, 64) == 0 && getsockname(listener, raw, &actual) == 0
            }
        }
        if !bound { throw TestBroker.Failure(text: "the proxy has no port") }
        self.listener = listener
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                if client < 0 { return }
                serve(client)
            }
        }
    }

    var address: String { "127.0.0.1:\(port)" }

    func close() { _ = shutdown(listener, Int32(SHUT_RDWR)) }

    func arm(_ api: Int16, _ fault: Fault) { state.withLock { $0.armed[api] = fault } }
    /// Until it is switched off, answers ``Api/addPartitions`` and ``Api/addOffsets`` itself, with success: the
    /// coordinator never learns of them, and calls the transaction complete without a marker there.
    func pretend(_ api: Int16, _ isOn: Bool) {
        state.withLock { state in
            if isOn { state.pretended.insert(api) } else { state.pretended.remove(api) }
        }
    }
    /// Breaks all connections, until the clients have noticed; new ones are served.
    func cut() {
        let clients = state.withLock { state in
            defer { state.clients = [] }
            return state.clients
        }
        // Who reads an end hangs up.
        for client in clients { _ = shutdown(client, Int32(SHUT_WR)) }
        Waiting.until { state.withLock { $0.gone.isSuperset(of: clients) } }
    }
    /// Lets requests meet a storm; nil: no more.
    func meet(_ storm: Storm?) { state.withLock { $0.storm = storm } }
    var lateCount: Int { state.withLock { $0.late } }
    func release(before api: Int16) { state.withLock { $0.releaseBefore = api } }
    var heldCount: Int { state.withLock { $0.held.count } }
    func count(_ api: Int16) -> Int { state.withLock { $0.seen[api] ?? 0 } }

    /// Delivers what was held, and waits for the broker's answers to it.
    func release() {
        let held = state.withLock { state in
            defer { state.held = [] }
            return state.held
        }
        for item in held { KafkaLogProxy.write(item.upstream, item.bytes) }
        Waiting.until { held.allSatisfy { $0.connection.hasAnswered(KafkaLogProxy.int32($0.bytes, 8)) } }
    }

    private func deliver(_ held: Held, after seconds: Double) {
        Thread.detachNewThread { [self] in
            Waiting.fault(seconds: seconds)
            KafkaLogProxy.write(held.upstream, held.bytes)
            state.withLock { $0.late += 1 }
        }
    }

    private static func loopback(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return address
    }

    private func serve(_ client: Int32) {
        let upstream = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = KafkaLogProxy.loopback(brokerPort)
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(upstream, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        if connected != 0 {
            _ = Glibc.close(client)
            return
        }
        state.withLock { $0.clients.append(client) }
        let pending = Pending()
        Thread.detachNewThread { [self] in
            defer { state.withLock { _ = $0.gone.insert(client) } }
            while let frame = KafkaLogProxy.readFrame(client) {
                let api = Int16(bitPattern: UInt16(frame[4]) << 8 | UInt16(frame[5]))
                let correlation = KafkaLogProxy.int32(frame, 8)
                let (fault, seconds, releases) = state.withLock { state -> (Fault?, Double?, Bool) in
                    state.seen[api, default: 0] += 1
                    let releases = state.releaseBefore == api && !state.held.isEmpty
                    if releases { state.releaseBefore = nil }
                    if let fault = state.armed.removeValue(forKey: api) { return (fault, nil, releases) }
                    guard var storm = state.storm, storm.apis.contains(api) else { return (nil, nil, releases) }
                    defer { state.storm = storm }
                    guard Double.random(in: 0..<1, using: &storm.chance) < storm.share else {
                        return (nil, nil, releases)
                    }
                    return (.cut, Double.random(in: storm.seconds, using: &storm.chance), releases)
                }
                if releases { release() }
                if fault == .hold || fault == .cut {
                    let held = Held(bytes: frame, upstream: upstream, connection: pending)
                    if let seconds { deliver(held, after: seconds) } else { state.withLock { $0.held.append(held) } }
                    if fault == .cut { _ = shutdown(client, Int32(SHUT_RDWR)) }
                    // The rest of what the client sends goes nowhere; the broker's side of the connection stays open.
                    while KafkaLogProxy.readFrame(client) != nil {}
                    return
                }
                if state.withLock({ $0.pretended.contains(api) }) {
                    KafkaLogProxy.write(client, KafkaLogProxy.success(frame, api))
                    continue
                }
                pending.apis.withLock { $0[correlation] = api }
                if case .dropAnswer = fault { pending.isDeaf.withLock { $0 = true } }
                KafkaLogProxy.write(upstream, frame)
            }
            _ = shutdown(upstream, Int32(SHUT_RDWR))
        }
        Thread.detachNewThread { [self] in
            defer { pending.end() }
            while var frame = KafkaLogProxy.readFrame(upstream) {
                pending.answer(KafkaLogProxy.int32(frame, 4))
                if pending.isDeaf.withLock({ $0 }) { continue }
                let api = pending.apis.withLock { $0.removeValue(forKey: KafkaLogProxy.int32(frame, 4)) }
                if api == Api.metadata || api == Api.findCoordinator { rewrite(&frame) }
                KafkaLogProxy.write(client, frame)
            }
            _ = shutdown(client, Int32(SHUT_RDWR))
        }
    }

    private final class Pending: Sendable {
        let apis = Mutex<[Int32: Int16]>([:])
        let isDeaf = Mutex(false)
        /// Correlations that the broker has answered; nil once it has hung up.
        private let answered = Mutex<Set<Int32>?>([])

        func answer(_ correlation: Int32) { answered.withLock { _ = $0?.insert(correlation) } }
        func end() { answered.withLock { $0 = nil } }
        /// Whether nothing more is to come for a request.
        func hasAnswered(_ correlation: Int32) -> Bool { answered.withLock { $0?.contains(correlation) ?? true } }
    }

    private func rewrite(_ frame: inout [UInt8]) {
        let host = Array("127.0.0.1".utf8)
        let from = host + [0, 0, UInt8(brokerPort >> 8), UInt8(brokerPort & 0xFF)]
        var at = 0
        while at + from.count <= frame.count {
            if frame[at] == from[0], frame[at..<(at + from.count)].elementsEqual(from) {
                frame[at + host.count + 2] = UInt8(port >> 8)
                frame[at + host.count + 3] = UInt8(port & 0xFF)
                at += from.count
            } else {
                at += 1
            }
        }
    }

    /// The answer of version 0 that says OK to a request to add partitions or a group's offsets to a transaction.
    private static func success(_ frame: [UInt8], _ api: Int16) -> [UInt8] {
        func string(_ at: inout Int) -> ArraySlice<UInt8> {
            let count = Int(Int16(bitPattern: UInt16(frame[at]) << 8 | UInt16(frame[at + 1])))
            defer { at += 2 + max(0, count) }
            return frame[at..<(at + 2 + max(0, count))]
        }
        // The correlation, no throttling.
        var body = Array(frame[8..<12]) + [0, 0, 0, 0]
        if api == Api.addPartitions {
            var at = 12
            _ = string(&at)
            _ = string(&at)
            // Producer id and epoch.
            at += 10
            let topics = int32(frame, at)
            body += frame[at..<(at + 4)]
            at += 4
            for _ in 0..<topics {
                body += string(&at)
                let partitions = int32(frame, at)
                body += frame[at..<(at + 4)]
                at += 4
                for _ in 0..<partitions {
                    body += frame[at..<(at + 4)] + [0, 0]
                    at += 4
                }
            }
        } else {
            body += [0, 0]
        }
        let count = UInt32(body.count)
        return [UInt8(count >> 24), UInt8(count >> 16 & 0xFF), UInt8(count >> 8 & 0xFF), UInt8(count & 0xFF)] + body
    }

    private static func int32(_ bytes: [UInt8], _ at: Int) -> Int32 {
        Int32(bitPattern: bytes[at..<(at + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
    }

    private static func readFrame(_ descriptor: Int32) -> [UInt8]? {
        guard var frame = readExactly(descriptor, 4) else { return nil }
        guard let body = readExactly(descriptor, Int(int32(frame, 0))) else { return nil }
        frame += body
        return frame
    }

    private static func readExactly(_ descriptor: Int32, _ count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        var got = 0
        while got < count {
            let now = bytes.withUnsafeMutableBytes {
                recv(descriptor, $0.baseAddress?.advanced(by: got), count - got, 0)
            }
            if now <= 0 { return nil }
            got += now
        }
        return bytes
    }

    private static func write(_ descriptor: Int32, _ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let now = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress?.advanced(by: sent), bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            if now <= 0 { return }
            sent += now
        }
    }
}
