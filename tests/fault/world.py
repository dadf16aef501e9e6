"""Everything that runs: brokers, redis-server, the simulator's LLM, ingresses, workers, and a breakable link in front of the
store for each process and in front of the LLM for all."""
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "wire"))

from stack import BIN, SLOW, Cluster, Redis, Stack, request, wait_for  # noqa: E402
from wecom import Bot  # noqa: E402

from history import answer_of  # noqa: E402
from kafka_protocol import Offsets  # noqa: E402
from proxy import Link  # noqa: E402

DEADLINE_S, MARGIN_S, LEASE_S, UNKNOWN_S, DRAIN_S, ATTEMPTS = 45, 8, 3.5, 15, 2, 3
FIRST_TEXT_S, GAP_S = 8, 10     # a link may be broken for 9 s: silence for as long is no end of an answer


class Store(Redis):
    """redis-server with an append-only file: a restart keeps what was acknowledged, unless it is to lose it."""

    def __init__(self, directory):
        super().__init__(directory)
        self.files = Path(directory) / "redis-data"
        self.process.argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                             "--appendfsync", "no", "--dir", str(self.files)]

    def start(self):
        self.files.mkdir(exist_ok=True)
        return super().start()

    def empty(self):
        shutil.rmtree(self.files, ignore_errors=True)

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def records(self, streams, link):
        """stream → [state, owed, epoch, text], each None where there is none. Raises OSError when the store does not answer."""
        reader, writer = link

        async def ask():
            if writer.transport.is_closing():
                raise ConnectionResetError("the store is gone")
            writer.write(b"".join(b"MULTI\r\n" + self._command("HMGET", f"bb:{{{s}}}:m", "state", "owed", "epoch")
                                  + self._command("GET", f"bb:{{{s}}}:t") + b"EXEC\r\n" for s in streams))
            out = {}
            for s in streams:
                for _ in range(3):      # OK, QUEUED, QUEUED
                    await self._value(reader)
                fields, text = await self._value(reader)
                out[s] = [*fields, text]
            return out
        try:
            return await asyncio.wait_for(ask(), 1.5)
        except (asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError) as e:
            raise OSError(f"the store does not answer: {e!r}") from e

    @staticmethod
    def _command(*args):
        return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in (x.encode() for x in args))

    async def _value(self, reader):
        line = await reader.readuntil(b"\r\n")
        size = line[1:-2]
        if line[:1] == b"*":
            return [await self._value(reader) for _ in range(int(size))]
        if line[:1] == b"$":
            return None if size == b"-1" else (await reader.readexactly(int(size) + 2))[:-2].decode()
        if line[:1] == b"-":
            raise ValueError(line)
        return size.decode()


class World(Stack):
    def __init__(self, directory, ingresses, workers, nodes, is_static, settings=None):
        self.is_static = is_static      # workers have names of their own in the group
        bot = Bot("main")
        # A failing minority must not keep the others waiting for longer than the deadlines here are long.
        limits = {"breaker_open_ms": 2000, "attempts": ATTEMPTS, "first_text_timeout_ms": FIRST_TEXT_S * 1000, "gap_timeout_ms": GAP_S * 1000}
        pipelines = {"main": {"type": "openai", "url": "${LLM_URL}", "model": "test-model", "api_key": "${LLM_KEY}", **limits}}
        super().__init__(Cluster(Path(directory) / "kafka", nodes), ingresses, workers, [bot], settings, pipelines,
                         {"stream_deadline_ms": DEADLINE_S * 1000, "handover_margin_ms": MARGIN_S * 1000})
        self.temp.cleanup()
        self.dir = Path(directory)
        self.redis = Store(self.dir)
        self.llm.process.log = self.dir / "llm.log"
        for p in self.programs:
            p.log = self.dir / f"{p.name}.log"
            kind, i = re.fullmatch(r"(\w+?)(\d+)", p.name).groups()
            p.argv[2] = str(self.config_file(kind, int(i)))
        self.links, self.llm_link = {}, None
        self.by_name = {p.name: p for p in self.programs}
        self.base = {}      # process name → (pid, resources) when it was idle

    def config(self, kind="ingress", i=0):
        c = super().config(kind, i)
        c["store"]["url"] = f"redis://127.0.0.1:{self.links[f'{kind}{i}'].port}/0"
        c["ingress"]["unknown_ms"] = UNKNOWN_S * 1000
        c["worker"].update(lease_ms=int(LEASE_S * 1000), drain_ms=DRAIN_S * 1000, alone_ms=4000)
        if self.is_static:
            c["worker"]["slot"] = f"slot-{i}"
        c["kafka"]["allow_unsafe_durability"] = self.kafka.nodes < 3
        c["response_url"] = {"hosts": ["127.0.0.1"], "allow_http": True, "allow_private": True, "timeout_ms": 4000}
        return c

    async def begin(self):
        """Starts all of it and waits until every part is ready."""
        await asyncio.to_thread(self.kafka.start)
        await asyncio.to_thread(self.redis.start)
        await asyncio.to_thread(self.llm.start)
        for p in self.programs:
            self.links[p.name] = await Link(self.redis.port).start()
        self.llm_link = await Link(self.llm.port).start()
        await asyncio.to_thread(self._begin_programs)
        self.offsets = Offsets(self.kafka.servers, f"{self.prefix}.worker", f"{self.prefix}.requests")
        self.late_offsets = Offsets(self.kafka.servers, f"{self.prefix}.worker.late", f"{self.prefix}.late")
        probe = "探针 {tokens=25 rate=5}"
        assert self.llm.answer(probe) == answer_of(probe, 25), "answer_of() differs from the simulator"
        for p in self.programs:
            self.base[p.name] = (p.popen.pid, self.resources(p))

    def _begin_programs(self):
        self.env = {"LLM_URL": f"http://127.0.0.1:{self.llm_link.port}/v1", "LLM_KEY": self.llm_key}
        for p in self.programs:
            p.env = self.env
        for kind, programs in (("ingress", self.ingresses), ("worker", self.workers)):
            for i in range(len(programs)):
                self.write_config(kind, i)
        replication = ["--replication", "1"] if self.kafka.nodes < 3 else []
        subprocess.run([BIN / "botbridge", "topics", "create", self.config_file(), *replication], check=True, timeout=60,
                       env={**os.environ, **self.env}, stdout=subprocess.DEVNULL)
        for p in self.programs:
            p.start(wait=False)
        for p in self.programs:
            p.wait_ready(30 * SLOW)
        for port in self.admin_ports + self.worker_ports:
            wait_for("/readyz", lambda: request(port, "GET", "/readyz").status == 200, 30 * SLOW)

    def resources(self, p):
        """fds less the connections to Kafka and the LLM, which are kept for reuse; resident bytes."""
        peers = {int(a.rsplit(":", 1)[1]) for a in self.kafka.servers.split(",")} | {self.llm_link.port}
        pooled = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            f = line.split()
            if int(f[2].split(":")[1], 16) in peers:
                pooled.add(f"socket:[{f[9]}]")
        fds = 0
        for fd in Path(f"/proc/{p.popen.pid}/fd").iterdir():
            try:
                fds += os.readlink(fd) not in pooled
            except FileNotFoundError:
                pass
        rss = int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{p.popen.pid}/status").read_text()).group(1)) * 1024
        return fds, rss

    def resource_findings(self):
        """Processes that lived through the whole run and did not come back to where they started."""
        out = []
        for p in self.programs:
            pid, (fds, rss) = self.base[p.name]
            if not p.alive or p.popen.pid != pid:
                continue
            end = time.monotonic() + 15     # idle connections of users go within the listener's time-out
            while True:
                fds_now, rss_now = self.resources(p)
                if fds_now <= fds + 2 or time.monotonic() > end:
                    break
                time.sleep(0.5)
            if fds_now > fds + 2:
                out.append(f"{p.name} had {fds} fds before and {fds_now} after")
            if SLOW == 1 and rss_now > 1.5 * rss + 24e6:
                out.append(f"{p.name} had {rss / 1e6:.1f} MB before and {rss_now / 1e6:.1f} MB after")
        return out

    def read_topic(self, topic):
        """All records of {prefix}.topic; headers as a dictionary."""
        out = subprocess.run(["kcat", "-C", "-q", "-b", self.kafka.servers, "-t", f"{self.prefix}.{topic}", "-o", "beginning", "-e", "-J"],
                             check=True, stdout=subprocess.PIPE, timeout=60).stdout.decode("utf-8", "replace")
        found = []
        for line in out.splitlines():
            r = json.loads(line)
            flat = r.get("headers") or []
            r["headers"] = dict(zip(flat[::2], flat[1::2]))
            found.append(r)
        return found

    def all_calls(self):
        reply = request(self.llm.port, "GET", "/calls", timeout=30)
        assert reply.status == 200
        return json.loads(reply.body)

    def lag(self):
        """(topic, partition) → records that are not committed."""
        return {(name, p): n for name, offsets in (("requests", self.offsets), ("late", self.late_offsets)) for p, n in offsets.lag().items()}

    def lines_about(self, stream):
        """What the programs logged about a stream."""
        out = []
        for p in self.programs:
            if p.log.exists():
                out += [f"{p.name}: {line}" for line in p.log.read_text(errors="replace").splitlines() if stream in line]
        return out

    async def end(self):
        """Stops everything; what was wrong at the end."""
        for p in self.programs:
            p.thaw()
        wrong = await asyncio.to_thread(self.close)
        for link in [*self.links.values(), self.llm_link]:
            if link and link.server:
                await link.stop()
        await asyncio.to_thread(self.kafka.stop)
        return wrong
