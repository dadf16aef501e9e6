"""What kcat cannot ask of Apache Kafka and a JVM each time would take seconds of both cores for: another group's offsets, log
ends, settings, deletion of records. In Kafka's own protocol, its versions without tagged fields."""
import socket
import struct
import time


class Unavailable(Exception):
    pass


def string(s):
    return struct.pack(">h", len(s)) + s.encode()


class _Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        got = struct.unpack_from(">" + fmt, self.data, self.at)
        self.at += struct.calcsize(">" + fmt)
        return got[0]

    def string(self):
        size = self.take("h")
        if size < 0:
            return None
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def array(self, item):
        return [item() for _ in range(self.take("i"))]


def _receive(sock, size):
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise Unavailable("connection closed")
        data += piece
    return data


def ask(address, key, version, body, timeout):
    host, port = address.rsplit(":", 1)
    head = struct.pack(">hhi", key, version, 1) + string("fault")
    try:
        with socket.create_connection((host, int(port)), timeout=timeout) as sock:
            sock.sendall(struct.pack(">i", len(head + body)) + head + body)
            size = struct.unpack(">i", _receive(sock, 4))[0]
            return _Reader(_receive(sock, size)[4:])
    except (OSError, struct.error) as e:
        raise Unavailable(f"{address}: {e}") from e


class Offsets:
    def __init__(self, servers, group, topic, timeout=1.5):
        self.servers, self.group, self.topic, self.timeout = servers.split(","), group, topic, timeout

    def _any(self, key, version, body):
        for i, server in enumerate(list(self.servers)):
            try:
                return ask(server, key, version, body, self.timeout)
            except Unavailable:
                if i == len(self.servers) - 1:
                    raise
                self.servers.append(self.servers.pop(0))    # the one that answers stays in front
        raise Unavailable("no server")

    def _coordinator(self):
        r = self._any(10, 0, string(self.group))
        error, _, host, port = r.take("h"), r.take("i"), r.string(), r.take("i")
        if error:
            raise Unavailable(f"coordinator: error {error}")
        return f"{host}:{port}"

    def committed(self):
        """partition → committed offset; partitions without a commit are left out."""
        coordinator = self._coordinator()
        partitions = sorted(self.leaders())
        body = string(self.group) + struct.pack(">i", 1) + string(self.topic)
        body += struct.pack(">i", len(partitions)) + b"".join(struct.pack(">i", p) for p in partitions)
        r = ask(coordinator, 9, 1, body, self.timeout)
        found = {}

        def partition():
            p, offset, _, error = r.take("i"), r.take("q"), r.string(), r.take("h")
            if error:
                raise Unavailable(f"committed: error {error}")
            if offset >= 0:
                found[p] = offset
        r.array(lambda: (r.string(), r.array(partition)))
        return found

    def leaders(self):
        """partition → (leader's address, in-sync replicas)."""
        r = self._any(3, 1, struct.pack(">i", 1) + string(self.topic))
        brokers = {}

        def broker():
            node, host, port, _ = r.take("i"), r.string(), r.take("i"), r.string()
            brokers[node] = f"{host}:{port}"
        r.array(broker)
        r.take("i")
        out = {}

        def partition():
            _, p, leader = r.take("h"), r.take("i"), r.take("i")
            r.array(lambda: r.take("i"))
            out[p] = (brokers.get(leader), len(r.array(lambda: r.take("i"))))
        r.array(lambda: (r.take("h"), r.string(), r.take("b"), r.array(partition)))
        return out

    def ends(self, stable=True):
        """partition → the offset behind the last record of an ended transaction, or behind the last record."""
        by_leader = {}
        for p, (leader, _) in self.leaders().items():
            by_leader.setdefault(leader, []).append(p)
        found = {}
        for leader, partitions in by_leader.items():
            if leader is None:
                raise Unavailable("a partition has no leader")
            body = struct.pack(">ibi", -1, stable, 1) + string(self.topic) + struct.pack(">i", len(partitions))
            body += b"".join(struct.pack(">iq", p, -1) for p in partitions)
            r = ask(leader, 2, 2, body, self.timeout)
            r.take("i")

            def partition():
                p, error, _, offset = r.take("i"), r.take("h"), r.take("q"), r.take("q")
                if error:
                    raise Unavailable(f"end of a partition: error {error}")
                found[p] = offset
            r.array(lambda: (r.string(), r.array(partition)))
        return found

    def lag(self):
        """partition → records between commit and end, where there are some."""
        committed, ends = self.committed(), self.ends()
        return {p: end - committed.get(p, 0) for p, end in ends.items() if end != committed.get(p, 0)}

    def commit(self, offsets):
        """For a group that has no member now."""
        body = string(self.group) + struct.pack(">i", -1) + string("") + struct.pack(">q", -1)
        body += struct.pack(">i", 1) + string(self.topic) + struct.pack(">i", len(offsets))
        body += b"".join(struct.pack(">iq", p, offset) + string("") for p, offset in offsets.items())
        r = ask(self._coordinator(), 8, 2, body, self.timeout)
        r.array(lambda: (r.string(), r.array(lambda: (r.take("i"), self._check("commit", r.take("h"))))))

    def delete_records(self, before):
        """partition → the offset its log is to begin with; -1: behind the last record. The brokers' answer comes first."""
        for p, offset in before.items():
            body = struct.pack(">i", 1) + string(self.topic) + struct.pack(">iiqi", 1, p, offset, 5000)
            r = ask(self.leaders()[p][0], 21, 0, body, 6)
            r.take("i")
            r.array(lambda: (r.string(), r.array(lambda: (r.take("i"), r.take("q"), self._check("delete", r.take("h"))))))

    def configure(self, **settings):
        """Settings of the topic; `_` stands for `.` in their names."""
        body = struct.pack(">ib", 1, 2) + string(self.topic) + struct.pack(">i", len(settings))
        body += b"".join(string(name.replace("_", ".")) + b"\0" + string(str(value)) for name, value in settings.items())
        r = self._any(44, 0, body + b"\0")
        r.take("i")
        r.array(lambda: (self._check("configure", r.take("h")), r.string(), r.take("b"), r.string()))
        wanted = {name.replace("_", "."): str(value) for name, value in settings.items()}
        end = time.monotonic() + 10
        while not wanted.items() <= self.configuration().items():
            if time.monotonic() > end:
                raise Unavailable(f"configure: {wanted} is not in force")

    def configuration(self):
        r = self._any(32, 0, struct.pack(">ib", 1, 2) + string(self.topic) + struct.pack(">i", -1))
        r.take("i")
        found = r.array(lambda: (self._check("configuration", r.take("h")), r.string(), r.take("b"), r.string(), r.array(
            lambda: (r.string(), r.string(), r.take("b"), r.take("b"), r.take("b")))))
        return {name: value for name, value, *_ in found[0][4]}

    @staticmethod
    def _check(what, error):
        if error:
            raise Unavailable(f"{what}: error {error}")
