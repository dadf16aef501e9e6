"""All measurements of run.sh, one table. README.md tells the method."""
import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "wire")]
import rig                                                          # noqa: E402
import traffic                                                      # noqa: E402
from bosshi_app import App                                           # noqa: E402
from stack import BIN, Kafka, Process, Redis, free_ports, wait_for   # noqa: E402
from wecom import Bot, Broken, post, request, stream_of              # noqa: E402

PEER = "WeCom plugin"
SIZES = {"300 B": 300, "700 B": 700, "2 KB": 2048, "20 KB": 20480}
QUICK = ("700 B", "20 KB")
STREAMS, USERS = 10000, 2000
POLL_CONNECTIONS, MESSAGE_CONNECTIONS = 32, 128
IDLE_SECONDS = 5
HEAD = f"{'what':<24} {'answered by':<14} {'per second':>10} {'min–max':>17} {'p50 ms':>7} {'p99 ms':>7} {'CPU µs':>7} {'core':>5} {'full core':>9}  load core"


class Subject:
    def __init__(self, name, port, process):
        self.name, self.port, self.process = name, port, process
        self.runs, self.reply = {}, {}

    @property
    def pid(self):
        return self.process.popen.pid


class Bench:
    def __init__(self, directory, args):
        self.dir, self.args = Path(directory), args
        self.rounds, self.seconds = (1, 1) if args.quick else (3, 3)  # wrk takes whole seconds
        self.bot = Bot("bench", token="benchtoken", receive_id="")
        self.app = App("bench-bosshi", encrypt_key="benchkey")
        self.ids = traffic.stream_ids(self.bot, STREAMS)
        self.notes, self.rates = [], {}
        ports = free_ports(5)
        self.port, self.admin, self.empty_port, self.peer_port, self.worker_admin = ports
        self.redis, self.kafka, self.started = Redis(self.dir), Kafka(self.dir / "kafka"), []

    # --- what runs

    def start(self):
        self.redis.start()
        self.started.append(self.redis.process)
        self.kafka.start()
        config = self.dir / "bench.json"
        config.write_text(json.dumps({
            # A stall of a shared machine shows in p99; a refusal would end the benchmark.
            "ingress": {"listen": f"127.0.0.1:{self.port}", "admin": f"127.0.0.1:{self.admin}", "bosshi_budget_ms": 5000},
            "worker": {"admin": f"127.0.0.1:{self.worker_admin}"},
            "kafka": {"bootstrap.servers": self.kafka.servers, "topic_prefix": "bench", "allow_unsafe_durability": True},
            "store": {"url": f"redis://127.0.0.1:{self.redis.port}/0"},
            "bots": [self.bot.config(), self.app.config()], "pipelines": {"main": {"type": "echo"}}}))
        subprocess.run([BIN / "botbridge", "topics", "create", config, "--replication", "1"], check=True, stdout=subprocess.DEVNULL)
        self.worker = self.launch("worker", [BIN / "botbridge-worker", "--config", config], r"(?m)^ready\b")
        self.ingress = self.launch("ingress", [BIN / "botbridge-ingress", "--config", config], r"(?m)^ready\b")
        wait_for("/readyz", lambda: request(self.admin, "GET", "/readyz").status == 200)

    def launch(self, name, argv, ready):
        process = Process(name, rig.on_measured_core(argv), self.dir, ready).start()
        self.started.append(process)
        return process

    def stop(self, process):
        process.kill()
        self.started.remove(process)

    def close(self):
        for process in list(self.started):
            self.stop(process)
        self.kafka.stop()

    # --- polls

    def subjects(self, size, body, reply_bytes):
        yield Subject("botbridge", self.port, self.ingress)
        yield Subject("empty handler", self.empty_port,
                      self.launch(f"empty-{size}", [BIN / "empty_http", self.empty_port, reply_bytes], "ready"))
        if self.args.peer_modules:
            yield from self.peer(size, body)

    def peer(self, size, body):
        run = self.dir / f"peer-{size}.json"
        run.write_text(json.dumps({
            "modules": str(self.args.peer_modules), "port": self.peer_port, "path": self.bot.path, "bot_id": traffic.AIBOT,
            "token": self.bot.token, "aes_key": self.bot.aes_key, "ids": self.ids, "body": body}))
        try:
            yield Subject(PEER, self.peer_port, self.launch(f"peer-{size}", ["node", HERE / "peer" / "serve.mjs", run], "ready"))
        except AssertionError as e:
            self.args.peer_modules = None
            self.args.no_peer = next((line for line in str(e).splitlines() if "Error" in line), "it does not start")

    def poll_once(self, subject, is_kept, body, lines, seconds):
        def sample():
            if subject.name != "empty handler":
                traffic.check_polls(subject.port, self.bot, self.ids, body, 2)
        run = rig.run_wrk(subject.port, lines, POLL_CONNECTIONS, seconds, subject.pid,
                          {"redis": self.redis.process.popen.pid} if subject.name == "botbridge" else {}, is_kept, meanwhile=sample)
        expected = run.requests * subject.reply[is_kept]
        slack = 2 * POLL_CONNECTIONS * subject.reply[is_kept] + 0.001 * expected
        if run.wrk["not_2xx"] or abs(run.wrk["bytes"] - expected) > slack:
            raise Broken(f"{subject.name}: {run.wrk}, {subject.reply[is_kept]} bytes a reply expected")
        if run.wrk["errors"] > run.requests / 1000:
            self.notes.append(f"{subject.name}: wrk counted {run.wrk['errors']} socket errors in {run.requests} requests")
        return run

    def polls(self, label, size):
        body = traffic.body_of(size)
        lines = traffic.write_lines(self.dir / "polls.txt", self.bot, map(traffic.refresh, self.ids))
        line = lines.open().readline()
        traffic.store_streams(self.redis.port, self.bot, self.ids, body)
        _, reply_bytes = traffic.reply_bytes(self.port, line, True)
        subjects = list(self.subjects(size, body, reply_bytes))
        modes = {"keep-alive": True, "new conn.": False}
        for s in subjects:
            s.reply = {is_kept: traffic.reply_bytes(s.port, line, is_kept)[0] for is_kept in modes.values()}
            self.poll_once(s, True, body, lines, 1)     # warm: caches, the plugin's compiler
        for _ in range(self.rounds):
            for mode, is_kept in modes.items():
                for s in subjects:
                    s.runs.setdefault(mode, []).append(self.poll_once(s, is_kept, body, lines, self.seconds))
        for mode in modes:
            for s in subjects:
                self.row(f"poll {label}, {mode}", s.name, s.runs[mode])
            if not self.args.peer_modules:
                self.print(f"{f'poll {label}, {mode}':<24} {PEER:<14} not measured: {self.args.no_peer}")
        for s in subjects[1:]:
            self.stop(s.process)

    # --- messages

    def accepted(self, bot):
        name = "bosshi_events" if bot is self.app else "messages"
        text = request(self.admin, "GET", "/metrics").body.decode()
        return int(float(re.search(rf'botbridge_ingress_{name}_total\{{outcome="accepted"\}} (\S+)', text).group(1)))

    def records(self):
        """End offsets of the requests topic, asked of Kafka itself."""
        topics = [a for p in range(12) for a in ("-t", f"bench.requests:{p}:-1")]
        out = subprocess.run(["kcat", "-Q", "-b", self.kafka.servers, *topics], check=True, stdout=subprocess.PIPE).stdout.decode()
        return sum(int(n) for n in re.findall(r"offset (\d+)", out))

    def ask_once(self, bot):
        if bot is self.app:
            reply = bot.push(self.port, bot.event("你好"))
            if (reply.status, reply.body) != (200, b"{}"):
                raise Broken(f"an event was answered by {reply.status}")
            return
        stream = stream_of(post(bot, self.port, traffic.question(0, USERS)))
        if stream["finish"] or stream["content"] != bot.placeholder:
            raise Broken(f"a new message was answered by {stream}")

    def message_run(self, bot, lines, seconds):
        accepted, records = self.accepted(bot), self.records()
        run = rig.run_wrk(self.port, lines, MESSAGE_CONNECTIONS, seconds, self.ingress.popen.pid,
                          {"redis": self.redis.process.popen.pid, "kafka": self.kafka.pid}, once=True,
                          meanwhile=lambda: self.ask_once(bot))
        if run.wrk["not_2xx"] or run.wrk["errors"]:
            raise Broken(f"messages: {run.wrk}")
        for what, count in (("accepted", self.accepted(bot) - accepted), ("in Kafka", self.records() - records)):
            if not run.requests <= count <= run.requests + MESSAGE_CONNECTIONS + 1:
                raise Broken(f"{run.requests} messages answered, but {count} {what}")
        return None if run.wrk["exhausted"] else run    # faster than thought: wrk's clock ran on without work

    def messages(self, what, bot):
        traffic.Resp(self.redis.port)("FLUSHALL")
        seconds, files = max(2, self.seconds), iter(range(10 ** 6))

        def run(count, how_long):
            lines = self.dir / f"messages-{next(files)}.txt"
            traffic.write_questions(lines, bot, USERS, count)
            try:
                return self.message_run(bot, lines, how_long)
            finally:
                lines.unlink()
        rate, runs = 10000, []
        while len(runs) < self.rounds + 1:      # the first warms up
            done = run(int(rate * seconds), seconds if runs else 1)
            if done:
                runs.append(done)
            rate = max(rate, 1.5 * done.rate) if done else 2 * rate
        self.row(what, "botbridge", runs[1:])

    # --- the rest

    def idle(self):
        """Before anything was asked of them."""
        time.sleep(IDLE_SECONDS)
        for name, process in (("ingress", self.ingress), ("worker", self.worker)):
            kb = rig.resident_kb(process.popen.pid)
            self.print(f"{'idle resident memory':<24} {name:<14} {kb / 1024:>7.1f} MB")
            self.rates["idle " + name] = kb / 1024
        self.stop(self.worker)

    def codec(self):
        out = subprocess.run(rig.on_measured_core([BIN / "bench_codec"]), check=True, stdout=subprocess.PIPE).stdout.decode()
        self.print("\nencryption and JSON alone, one core")
        self.print("".join(f"  {line}\n" for line in out.splitlines()), end="")

    # --- the table

    def print(self, *args, **kwargs):
        print(*args, **kwargs, flush=True)

    def row(self, what, name, runs):
        def median(get):
            return statistics.median(map(get, runs))
        rates = [r.rate for r in runs]
        self.rates[what, name] = median(lambda r: r.rate), 1e6 / median(lambda r: r.cpu_us)
        load = ", ".join(f"{n} {100 * statistics.median(r.load[n] for r in runs):.0f} %" for n in runs[0].load)
        span = f"{min(rates):,.0f}–{max(rates):,.0f}"
        self.print(f"{what:<24} {name:<14} {median(lambda r: r.rate):>10,.0f} {span:>17} {median(lambda r: r.p50_ms):>7.2f} "
                   f"{median(lambda r: r.p99_ms):>7.2f} {median(lambda r: r.cpu_us):>7.1f} {100 * median(lambda r: r.busy):>3.0f} % "
                   f"{1e6 / median(lambda r: r.cpu_us):>9,.0f}  {load}")

    def heading(self):
        def version(argv, line=0):
            return rig.said(argv, line) or "none"
        rdkafka = version(["pkg-config", "--modversion", "rdkafka"])
        mhd = version(["pkg-config", "--modversion", "libmicrohttpd"])
        pkgs = " ".join(f"{n} {v}" for n, v in (("libmicrohttpd", mhd), ("librdkafka", rdkafka), ("glibc", rig.libc_version())))
        redis = re.search(r"v=(\S+)", version(["redis-server", "--version"]))
        self.print(f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC · {rig.machine()}")
        self.print(f"{pkgs} · {version(['openssl', 'version']).split('(')[0].strip()} · redis {redis.group(1) if redis else '?'} · "
                   f"Apache Kafka {self.kafka_version()} · wrk {version(['wrk', '-v']).split()[1]} · node {version(['node', '--version'])}")
        self.print(f"measured: alone on core {rig.MEASURED}; wrk, Redis, Kafka: together on core {rig.LOAD}. Median of {self.rounds} run(s) of "
                   f"{self.seconds} s, interleaved.\n{STREAMS:,} streams, {POLL_CONNECTIONS} connections for polls, {MESSAGE_CONNECTIONS} for messages."
                   "\nCPU µs: processor time of the measured process, a request. core: how full it kept its core. full core: requests a second "
                   "of that cost on a core\nthat it has for itself; where core is under 100 %, the load core or others on this machine were the limit.\n")
        self.print(HEAD)

    def kafka_version(self):
        return re.search(r"(?m)^version=(\S+)", (HERE.parent / "kafka.sh").read_text()).group(1)

    def verdicts(self):
        """The project's targets beside what was seen."""
        def ratio(what):
            ours, peer = self.rates[what, "botbridge"], self.rates.get((what, PEER))
            return [a / b for a, b in zip(ours, peer)] if peer else None
        self.print(f"\n{'targets':<38} {'measured':>12} {'full core':>12}")
        ratios = [(f"{label}, {mode}: times the plugin's", ratio(f"poll {label}, {mode}"), want)
                  for label, want in (("700 B", 4), ("20 KB", 3)) for mode in ("keep-alive", "new conn.")]
        for what, seen, want in ratios + [
                ("700 B, new conn.: polls/s", self.rates["poll 700 B, new conn.", "botbridge"], 8000),
                ("durable messages/s", self.rates["new message, durable", "botbridge"], 10000)]:
            shown = " ".join(f"{n:>12,.{1 if n < 100 else 0}f}" for n in seen) if seen else f"{'not measured':>12} {'':>12}"
            self.print(f"{what:<38} {shown}   target ≥ {want:,}")
        self.print(f"{'idle ingress, MB':<38} {self.rates['idle ingress']:>12.1f} {'':>12}   target < 16")
        for note in self.notes:
            self.print(f"note: {note}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer-modules", type=Path)
    parser.add_argument("--no-peer", default="")
    args = parser.parse_args()
    if len(rig.CORES) < 2:
        sys.exit("bench: two cores are needed, one for what is measured and one for the load")
    rig.sit_on_load_core()
    with tempfile.TemporaryDirectory(prefix="botbridge-bench-") as directory:
        bench = Bench(directory, args)
        try:
            bench.start()
            bench.heading()
            bench.idle()
            for label, size in SIZES.items():
                if label in QUICK or not args.quick:
                    bench.polls(label, size)
            bench.messages("new message, durable", bench.bot)
            bench.messages("BOSSHI event, durable", bench.app)
            bench.codec()
            bench.verdicts()
        finally:
            bench.close()


if __name__ == "__main__":
    main()
