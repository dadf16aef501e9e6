"""The real parts on loopback: Apache Kafka, redis-server, the programs, the simulator's LLM. Ports are free ones; every
process dies with the tests (PDEATHSIG) and is only ever signalled by its own pid."""
import ctypes
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from wecom import Bot, request

ROOT = Path(__file__).resolve().parents[2]
BUILD = os.environ.get("BOTBRIDGE_BUILD", "release")
BIN = Path(os.environ.get("BOTBRIDGE_BIN") or ROOT / "build" / BUILD / "bin")
SLOW = 3 if BUILD in ("asan", "tsan") else 1    # sanitizers and two cores
SANITIZER = re.compile(rb"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehavior|runtime error:")
_libc = ctypes.CDLL(None)


def _die_with_parent():
    _libc.prctl(1, signal.SIGKILL)


_reserved = []      # names of ports, held until this process ends


def _reserve(port):
    """Among all test processes of this machine: a port is free for a while before its program binds it, and when it is killed."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0botbridge-test-port-{port}")
        with socket.socket() as s:
            s.bind(("127.0.0.1", port))
        _reserved.append(name)
        return True
    except OSError:
        name.close()
        return False


def free_ports(n):
    """Below the ephemeral range: no outgoing connection takes one before its program binds it."""
    ports = []
    while len(ports) < n:
        port = 10000 + secrets.randbelow(20000)
        if _reserve(port):
            ports.append(port)
    return ports


def wait_for(what, condition, seconds=20, every=0.05):
    """Polls until condition() is truthy and returns it; fails with `what` otherwise."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(every)


def freeze(pid):
    """SIGSTOP, and until it counts: on a busy machine the other threads may go on for a while."""
    def still(task):
        try:
            return (task / "stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
        except OSError:
            return True     # ended
    os.kill(pid, signal.SIGSTOP)
    wait_for(f"process {pid} to stand still", lambda: all(map(still, Path(f"/proc/{pid}/task").iterdir())), 10, 0.002)


class Process:
    def __init__(self, name, argv, directory, ready=None, env=None):
        self.name, self.argv, self.ready, self.env = name, [str(a) for a in argv], ready, env or {}
        self.log = Path(directory) / f"{name}.log"
        self.popen, self.frozen, self.offset, self.expected = None, False, 0, set()

    @property
    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def start(self, wait=True):
        self.offset = self.log.stat().st_size if self.log.exists() else 0
        self.frozen = False
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env={**os.environ, **self.env}, preexec_fn=_die_with_parent)
        if wait and self.ready:
            self.wait_ready()
        return self

    def output(self):
        with open(self.log, "rb") as f:
            f.seek(self.offset)
            return f.read().decode("utf-8", "replace")

    def wait_ready(self, seconds=25):
        def seen():
            found = re.search(self.ready, self.output())
            assert found or self.alive, f"{self.name} exited with {self.popen.returncode}: {self.output()[-2000:]}"
            return found
        return wait_for(f"{self.name} to be ready; it said: {self.output()[-1000:]}", seen, seconds)

    def signal(self, signum):
        os.kill(self.popen.pid, signum)

    def freeze(self):
        self.frozen = True
        freeze(self.popen.pid)

    def thaw(self):
        if self.frozen and self.alive:
            self.signal(signal.SIGCONT)
        self.frozen = False

    def kill(self):
        if self.alive:
            self.signal(signal.SIGKILL)
        if self.popen:
            self.popen.wait()
            self.popen = None

    def terminate(self, seconds=45):
        """SIGTERM; the exit code."""
        self.thaw()
        self.signal(signal.SIGTERM)
        code = self.popen.wait(seconds)
        self.popen = None
        return code


class Kafka:
    """One KRaft node. BOTBRIDGE_TEST_KAFKA names a running one that tests which only talk to it may share."""

    def __init__(self, directory):
        self.dir, self.pid, self.servers = Path(directory), None, None

    def start(self):
        out = subprocess.run([ROOT / "tests" / "kafka.sh", "start", self.dir], check=True, stdout=subprocess.PIPE, timeout=180).stdout.decode()
        found = re.search(r"bootstrap\.servers=(\S+) pid=(\d+)", out)
        self.servers, self.pid = found.group(1), int(found.group(2))
        return self

    def freeze(self):
        freeze(self.pid)

    def thaw(self):
        os.kill(self.pid, signal.SIGCONT)

    def stop(self):
        self.thaw()
        subprocess.run([ROOT / "tests" / "kafka.sh", "stop", self.dir], check=True, timeout=60)

    @classmethod
    def shared(cls):
        k = cls("/nonexistent")
        k.servers = os.environ["BOTBRIDGE_TEST_KAFKA"]
        return k


class Cluster(Kafka):
    """Nodes of one KRaft cluster, each with all roles."""

    def __init__(self, directory, nodes):
        super().__init__(directory)
        self.nodes, self.pids = nodes, []

    def start(self):
        out = subprocess.run([ROOT / "tests" / "kafka.sh", "start", self.dir, str(self.nodes)], check=True, stdout=subprocess.PIPE,
                             timeout=300).stdout.decode()
        found = re.search(r"bootstrap\.servers=(\S+) pid=(\S+)", out)
        self.servers, self.pids = found.group(1), [int(p) for p in found.group(2).split(",")]
        return self

    def signal(self, i, signum):
        os.kill(self.pids[i], signum)

    def await_end(self, i, seconds=20):
        """Of a node that was told to end."""
        def ended():
            try:
                return Path(f"/proc/{self.pids[i]}/cmdline").read_bytes() == b""    # a process that nobody waited for
            except FileNotFoundError:
                return True
        wait_for(f"node {i} to end", ended, seconds)

    def restart(self, i):
        out = subprocess.run([ROOT / "tests" / "kafka.sh", "restart", self.dir, str(i + 1)], check=True, stdout=subprocess.PIPE, timeout=120)
        self.pids[i] = int(re.search(r"pid=(\d+)", out.stdout.decode()).group(1))

    def thaw(self):
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass


class Redis:
    """`clock_off_s`: how far its wall clock is off."""

    def __init__(self, directory, clock_off_s=0):
        self.port = free_ports(1)[0]
        env = {}
        if clock_off_s:
            library = Path(directory) / "clock_off.so"
            subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, ROOT / "tests" / "wire" / "clock_off.c"], check=True, timeout=60)
            env = {"LD_PRELOAD": str(library), "CLOCK_OFF_S": str(clock_off_s)}
        self.process = Process("redis", ["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                         "--dir", directory], directory, env=env)

    def start(self):
        self.process.start()
        wait_for("redis to answer", lambda: self.cmd("PING", check=False) == "PONG")
        return self

    def cmd(self, *args, check=True):
        run = subprocess.run(["redis-cli", "-p", str(self.port), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             timeout=10)
        if check:
            assert run.returncode == 0, run.stdout
        return run.stdout.decode().strip()


class Llm:
    """botbridge-sim llm: a question carries its own directives, e.g. "你好 {tokens=40 rate=10}"; the answer is a pure
    function of the question."""

    def __init__(self, directory):
        self.process = Process("llm", [BIN / "botbridge-sim", "llm", "--listen", "127.0.0.1:0"], directory, r"ready listen=127\.0\.0\.1:(\d+)")

    def start(self):
        self.process.start(wait=False)
        self.port = int(self.process.wait_ready().group(1))
        return self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def answer(self, question):
        return subprocess.run([BIN / "botbridge-sim", "llm", "--answer", question], check=True, stdout=subprocess.PIPE, timeout=20).stdout.decode()

    def calls(self, question):
        """What arrived for this very question: [{"authorization", "model", "stream", "status", "is_complete"}, …]."""
        reply = request(self.port, "GET", "/calls?question=" + quote(question, safe=""))
        assert reply.status == 200
        return json.loads(reply.body)


class Stack:
    """N ingresses and M workers with a store of their own. `settings` are merged over the configuration per section."""

    def __init__(self, kafka, ingresses=1, workers=1, bots=None, settings=None, pipelines=None, bot_settings=None,
                 partitions=4, clock_off_s=0, replication=1):
        self.temp = tempfile.TemporaryDirectory(prefix="botbridge-wire-")
        self.dir = Path(self.temp.name)
        self.kafka, self.redis, self.llm = kafka, Redis(self.dir, clock_off_s), Llm(self.dir)
        self.partitions, self.replication = partitions, replication
        self.bots = bots or [Bot("main"), Bot("other")]
        self.bot = self.bots[0]
        self.prefix = "t" + secrets.token_hex(5)
        self.llm_key = "sk-" + secrets.token_urlsafe(20)
        ports = free_ports(2 * ingresses + workers)
        self.ports, self.admin_ports, self.worker_ports = ports[:ingresses], ports[ingresses:2 * ingresses], ports[2 * ingresses:]
        self.settings, self.bot_settings, self.pipelines = settings or {}, bot_settings or {}, pipelines
        self.ingresses = [self._program("ingress", i) for i in range(ingresses)]
        self.workers = [self._program("worker", i) for i in range(workers)]
        self.texts = []     # message texts that no log may hold

    def config(self, kind="ingress", i=0):
        c = {"ingress": {"listen": f"127.0.0.1:{self.ports[i] if kind == 'ingress' else 1}",
                         "admin": f"127.0.0.1:{self.admin_ports[i] if kind == 'ingress' else 2}"},
             "worker": {"admin": f"127.0.0.1:{self.worker_ports[i] if kind == 'worker' else 1}", "lease_ms": 4000},
             "kafka": {"bootstrap.servers": self.kafka.servers, "topic_prefix": self.prefix, "allow_unsafe_durability": True,
                       "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000},
             "store": {"url": f"redis://127.0.0.1:{self.redis.port}/0"},
             "bots": [b.config(**self.bot_settings) for b in self.bots],
             "pipelines": self.pipelines or {"main": {"type": "openai", "url": "${LLM_URL}", "model": "test-model", "api_key": "${LLM_KEY}"}}}
        for section, keys in self.settings.items():
            c.setdefault(section, {}).update(keys)
        return c

    def config_file(self, kind="ingress", i=0):
        return self.dir / f"{kind}{i}.json"

    def write_config(self, kind="ingress", i=0, config=None):
        path = self.config_file(kind, i)
        path.write_text(json.dumps(config or self.config(kind, i), ensure_ascii=False, indent=1))
        return path

    def _program(self, kind, i):
        return Process(f"{kind}{i}", [BIN / f"botbridge-{kind}", "--config", self.config_file(kind, i)], self.dir, r"(?m)^ready\b")

    @property
    def programs(self):
        return self.ingresses + self.workers

    def start(self):
        self.redis.start()
        self.llm.start()
        env = {"LLM_URL": self.llm.url, "LLM_KEY": self.llm_key}
        for kind, programs in (("ingress", self.ingresses), ("worker", self.workers)):
            for i, p in enumerate(programs):
                p.env = env
                self.write_config(kind, i)
        self.env = env
        subprocess.run([BIN / "botbridge", "topics", "create", self.config_file(), "--replication", str(self.replication), "--partitions",
                        str(self.partitions)], check=True, timeout=100, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
        for p in self.programs:
            p.start(wait=False)
        for p in self.programs:
            p.wait_ready()
        for port in self.admin_ports + self.worker_ports:
            wait_for("/readyz", lambda: request(port, "GET", "/readyz").status == 200)
        return self

    def note_text(self, text):
        self.texts.append(text)
        return text

    def records(self, topic, want=None, seconds=10):
        """Records of {prefix}.topic from the beginning as kcat's JSON objects with headers as a dictionary; waits until
        want(record) is true for one of them when given."""
        def read():
            out = subprocess.run(["kcat", "-C", "-q", "-b", self.kafka.servers, "-t", f"{self.prefix}.{topic}", "-o", "beginning", "-e", "-J"],
                                 check=True, stdout=subprocess.PIPE, timeout=30).stdout.decode("utf-8", "replace")
            found = []
            for line in out.split("\n")[:-1]:  # splitlines() knows more line ends, which JSON leaves as they are
                r = json.loads(line)
                flat = r.get("headers") or []
                r["headers"] = dict(zip(flat[::2], flat[1::2]))
                found.append(r)
            return found
        if want is None:
            return read()
        return wait_for(f"a record in {topic}", lambda: [r for r in read() if want(r)], seconds)

    def metric(self, port, name):
        """Sum of a metric's samples."""
        total = 0.0
        for line in request(port, "GET", "/metrics").body.decode().splitlines():
            m = re.match(rf"{name}(\{{[^}}]*\}})? (\S+)$", line)
            total += float(m.group(2)) if m else 0
        return total

    def close(self):
        """Stops everything and says what went wrong on the way: exit codes, sanitizers, secrets in logs."""
        wrong = []
        self.redis.process.thaw()
        for p in self.programs:
            if p.popen is None:
                continue
            if not p.alive:
                wrong.append(f"{p.name} exited by itself with {p.popen.returncode}: {p.output()[-1500:]}")
                continue
            code = p.terminate()
            if code != 0:
                wrong.append(f"{p.name} exited with {code} after SIGTERM: {p.output()[-1500:]}")
        for p in [self.llm.process, self.redis.process]:
            p.kill()
        secrets_ = [self.llm_key] + [s for b in self.bots for s in (b.token, b.aes_key)] + self.texts
        for p in self.programs:
            log = p.log.read_bytes() if p.log.exists() else b""
            found = SANITIZER.search(log)
            if found:
                wrong.append(f"{p.name}: {log[max(0, found.start() - 200):found.start() + 3000].decode('utf-8', 'replace')}")
            wrong += [f"{p.name} logged a secret or a message's text: {s[:12]}…" for s in secrets_ if s.encode() in log]
        self.temp.cleanup()
        return wrong


@contextmanager
def serving(parts):
    """Starts a Stack, or what is built on one; it must end well: exit code 0, no sanitizer report, no secret in a log."""
    try:
        yield parts.start()
    finally:
        wrong = parts.close()
    assert not wrong, "\n".join(wrong)
