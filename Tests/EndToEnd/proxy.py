"""A TCP proxy before Kafka brokers: the network of the bad day.

It keeps single requests back, chosen by their kind, and delivers them later; it loses answers, and parts the clients from the brokers,
in one direction or both. Kafka's frames are `int32 length, int16 kind, int16 version, int32 correlation`. Answers that name a broker's
address are rewritten to the proxy's, so that no client goes round it.
"""
import collections
import random
import socket
import threading
import time

PRODUCE, METADATA, FIND_COORDINATOR, INIT_PRODUCER_ID = 0, 3, 10, 22
ADD_PARTITIONS, ADD_OFFSETS, END_TXN, TXN_OFFSET_COMMIT, DESCRIBE_CLUSTER = 24, 25, 26, 28, 60
NAMES_BROKERS = {METADATA, FIND_COORDINATOR, DESCRIBE_CLUSTER}

#: The request, and what follows on its connection, is kept from the broker, and nothing is answered.
HOLD = "hold"
#: The same, and the client's side is closed: it connects anew and asks again.
CUT = "cut"
#: The request is delivered; its answer, and all that follow on its connection, are dropped.
DROP_ANSWER = "drop answer"
#: The request is delivered; where its answer should go the client's side is closed.
CUT_ANSWER = "cut answer"

Kept = collections.namedtuple("Kept", "frame connection owner kind")


def kind_of(frame):
    return int.from_bytes(frame[4:6], "big")


#: From these versions on a request is flexible: tagged fields end its header, and a text's length is one more, as a varint.
FLEXIBLE = {PRODUCE: 9, INIT_PRODUCER_ID: 2, ADD_PARTITIONS: 3, ADD_OFFSETS: 3, END_TXN: 3, TXN_OFFSET_COMMIT: 3}


def owner_of(frame):
    """The transactional id that a request of a transaction begins with."""
    at = 14 + max(0, int.from_bytes(frame[12:14], "big", signed=True))
    if int.from_bytes(frame[6:8], "big") >= FLEXIBLE.get(kind_of(frame), 1 << 15):
        return frame[at + 2:at + 1 + frame[at + 1]]
    return frame[at + 2:at + 2 + max(0, int.from_bytes(frame[at:at + 2], "big", signed=True))]


def asks_to_commit(frame):
    """What a request to end a transaction decides."""
    flexible = int.from_bytes(frame[6:8], "big") >= FLEXIBLE[END_TXN]
    return frame[-2 if flexible else -1] == 1


def read(stream):
    """The next frame; None once the other side has hung up."""
    try:
        head = stream.read(4)
        if len(head) < 4:
            return None
        size = int.from_bytes(head, "big")
        body = stream.read(size)
        return head + body if len(body) == size else None
    except (OSError, ValueError):
        return None


def hang_up(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Proxy:
    """Before all brokers of a cluster on loopback; `with` closes it."""

    def __init__(self, bootstrap):
        brokers = [int(address.rsplit(":", 1)[1]) for address in bootstrap.split(",")]
        self.lock = threading.Lock()
        self.armed = collections.defaultdict(list)
        self.held, self.storm_of = [], None
        self.release_at = {}
        # How many requests of each kind came, were kept back, and were delivered late.
        self.seen, self.faults, self.late = collections.Counter(), collections.Counter(), collections.Counter()
        # Requests to abort among those to end a transaction.
        self.aborts = 0
        self.requests, self.answers = threading.Event(), threading.Event()
        self.requests.set()
        self.answers.set()
        self.connections = []
        self.listeners = {}
        self.is_closed = False
        for broker in brokers:
            listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            self.listeners[broker] = listener
        self.ports = {broker: listener.getsockname()[1] for broker, listener in self.listeners.items()}
        self.bootstrap = ",".join(f"127.0.0.1:{self.ports[broker]}" for broker in brokers)
        for broker, listener in self.listeners.items():
            threading.Thread(target=self.accept, args=(broker, listener), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.is_closed = True
        self.heal()
        for listener in self.listeners.values():
            hang_up(listener)
            listener.close()
        for connection in list(self.connections):
            connection.close()

    def accept(self, broker, listener):
        while not self.is_closed:
            try:
                client, _ = listener.accept()
                upstream = socket.create_connection(("127.0.0.1", broker))
            except OSError:
                if self.is_closed:
                    return
                # The broker is away, and so is what stands before it.
                client.close()
                continue
            connection = Connection(self, client, upstream)
            with self.lock:
                self.connections.append(connection)
            connection.start()

    # Single requests.

    def arm(self, kind, fault, times=1):
        """The next request of a kind meets a fault."""
        with self.lock:
            self.armed[kind] += [fault] * times

    def release_before(self, kind):
        """What is held is delivered before the next request of a kind, of the same transactional id, goes on."""
        with self.lock:
            for kept in self.held:
                self.release_at[kept.owner] = kind

    def release(self, owner=None):
        """Delivers what was held, of one owner or of all, and waits for the broker's answers."""
        with self.lock:
            going = [kept for kept in self.held if owner in (None, kept.owner)]
            self.held = [kept for kept in self.held if kept not in going]
            for kept in going:
                self.release_at.pop(kept.owner, None)
        for kept in going:
            kept.connection.deliver(kept.frame)
            with self.lock:
                self.late[kept.kind] += 1

    def storm(self, kinds, share, least, most, seed=1):
        """Until `calm`, a share of the requests of these kinds is cut, and delivered between `least` and `most` seconds later."""
        with self.lock:
            self.storm_of = (set(kinds), share, least, most, random.Random(seed))

    def calm(self):
        with self.lock:
            self.storm_of = None

    def fault(self, frame):
        """What happens to a request: its fault, and after how many seconds it is delivered by itself."""
        kind = kind_of(frame)
        with self.lock:
            self.seen[kind] += 1
            if kind == END_TXN and not asks_to_commit(frame):
                self.aborts += 1
            if self.armed[kind]:
                self.faults[kind] += 1
                return self.armed[kind].pop(0), None
            if self.storm_of and kind in self.storm_of[0] and self.storm_of[4].random() < self.storm_of[1]:
                self.faults[kind] += 1
                return CUT, self.storm_of[4].uniform(*self.storm_of[2:4])
        return None, None

    def keep(self, frame, connection, after):
        kept = Kept(frame, connection, owner_of(frame), kind_of(frame))
        with self.lock:
            self.held.append(kept)
        if after is not None:
            timer = threading.Timer(after, self.release_one, [kept])
            timer.daemon = True
            timer.start()

    def release_one(self, kept):
        with self.lock:
            if kept not in self.held:
                return
            self.held.remove(kept)
        kept.connection.deliver(kept.frame)
        with self.lock:
            self.late[kept.kind] += 1

    # The whole network.

    def part(self, requests=True, answers=True):
        """Until `heal` nothing gets through in these directions; connections stay open, as they do where packets are lost."""
        if requests:
            self.requests.clear()
        if answers:
            self.answers.clear()

    def heal(self, forgets=False):
        """What waited goes on, as TCP sends it again; or is forgotten with its connections, as TCP gives up."""
        if forgets:
            for connection in list(self.connections):
                connection.close()
        self.requests.set()
        self.answers.set()


class Connection:
    """One client's connection to one broker."""

    def __init__(self, proxy, client, upstream):
        self.proxy, self.client, self.upstream = proxy, client, upstream
        for end in (client, upstream):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lock = threading.Lock()
        # By correlation: what was asked, of the questions whose answers name brokers or are to be lost.
        self.asked, self.lost = {}, {}
        self.late = {}
        self.is_deaf = False

    def start(self):
        threading.Thread(target=self.up, daemon=True).start()
        threading.Thread(target=self.down, daemon=True).start()

    def close(self):
        hang_up(self.client)
        hang_up(self.upstream)

    def deliver(self, frame):
        """Sends what was kept, and waits until the broker has answered it or hung up."""
        done = threading.Event()
        with self.lock:
            self.late[frame[8:12]] = done
        try:
            self.upstream.sendall(frame)
        except OSError:
            return
        # Long after a broker that is up has answered; one that is not has lost the request.
        done.wait(30)
        hang_up(self.upstream)

    def up(self):
        stream = self.client.makefile("rb", buffering=1 << 16)
        proxy = self.proxy
        while (frame := read(stream)) is not None:
            fault, after = proxy.fault(frame)
            proxy.requests.wait()
            kind = kind_of(frame)
            if proxy.release_at and proxy.release_at.get(owner_of(frame)) == kind:
                proxy.release(owner_of(frame))
            if fault in (HOLD, CUT):
                proxy.keep(frame, self, after)
                if fault == CUT:
                    hang_up(self.client)
                while read(stream) is not None:
                    pass
                self.client.close()
                # The broker's side stays open until what is kept has been delivered.
                return
            with self.lock:
                if kind in NAMES_BROKERS:
                    self.asked[frame[8:12]] = kind
                if fault:
                    self.lost[frame[8:12]] = fault
            try:
                self.upstream.sendall(frame)
            except OSError:
                break
        hang_up(self.upstream)

    def down(self):
        stream = self.upstream.makefile("rb", buffering=1 << 16)
        proxy = self.proxy
        while (frame := read(stream)) is not None:
            correlation = frame[4:8]
            with self.lock:
                kind, fault, late = (held.pop(correlation, None) for held in (self.asked, self.lost, self.late))
            if late:
                late.set()
                continue
            if fault == DROP_ANSWER:
                self.is_deaf = True
            if fault == CUT_ANSWER:
                hang_up(self.client)
            if self.is_deaf or fault:
                continue
            proxy.answers.wait()
            if kind is not None:
                for broker, port in proxy.ports.items():
                    frame = frame.replace(b"127.0.0.1" + broker.to_bytes(4, "big"), b"127.0.0.1" + port.to_bytes(4, "big"))
            try:
                self.client.sendall(frame)
            except OSError:
                # A client that was cut may be gone, and what was kept of it still be answered.
                continue
        with self.lock:
            for done in self.late.values():
                done.set()
        hang_up(self.client)
        with proxy.lock:
            if self in proxy.connections:
                proxy.connections.remove(self)
