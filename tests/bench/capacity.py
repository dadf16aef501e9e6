"""How many answers one worker carries: N live SSE streams, side by side for several N. README.md tells the method."""
import argparse
import bisect
import http.client
import itertools
import json
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import quote

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "wire")]
import rig                                                      # noqa: E402
import traffic                                                  # noqa: E402
from stack import BIN, Kafka, Stack, wait_for                   # noqa: E402
from wecom import Broken, stream_id, stream_of                  # noqa: E402

SIZES = (1000, 5000, 10000)
TOKENS_PER_SECOND = 5
RAMP_PER_SECOND = 1000
SETTLE_SECONDS, SLACK_SECONDS = 3, 25
SENDERS = 32
POLLED, POLL_SECONDS = 200, 1.0
WATCHED, WATCH_SECONDS = 64, 0.025      # read straight from the store
IDLE_SECONDS = 5
METRIC_TRIES = 5
DESCRIPTORS_SPARE = 200


class Line:
    """A kept connection to ingress on which one request follows the other."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=8)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, call):
        target, body, _ = call
        head = f"POST {target} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def receive(self):
        got = b""
        while not traffic.is_whole(got):
            piece = self.socket.recv(65536)
            if not piece:
                raise Broken("ingress closed a connection")
            got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise Broken(head.decode())
        return body


def run_threads(bodies):
    """Runs them to their ends; the first exception is raised here."""
    failures = []

    def guarded(body):
        try:
            body()
        except BaseException as e:      # noqa: BLE001 - raised again below
            failures.append(e)
    threads = [threading.Thread(target=guarded, args=(b,), daemon=True) for b in bodies]
    for t in threads:
        t.start()

    def join():
        for t in threads:
            t.join()
        if failures:
            raise failures[0]
    return join


class Streams:
    """The questions of one run, their injection, and what is seen of some of them while they are answered."""

    def __init__(self, stack, count, window):
        self.stack, self.bot, self.port, self.count = stack, stack.bot, stack.ports[0], count
        seconds = count / RAMP_PER_SECOND + SETTLE_SECONDS + window + SLACK_SECONDS
        script = "{tokens=%d rate=%d}" % (seconds * TOKENS_PER_SECOND, TOKENS_PER_SECOND)
        self.texts = [f"第 {i} 个问题 {script}" for i in range(count)]
        self.msgids = [secrets.token_hex(16) for _ in range(count)]
        self.ids = [stream_id(self.bot.name, m) for m in self.msgids]
        step = max(1, count // POLLED)
        self.polled = list(range(0, count, step))[:POLLED]
        self.watched = self.polled[::max(1, len(self.polled) // WATCHED)][:WATCHED]
        self.polls, self.seen = [], {i: [] for i in self.watched}     # (ms, stream, bytes, finish); stream: [(ms, bytes)]
        self.is_over = threading.Event()

    def message(self, i):
        return {"msgid": self.msgids[i], **traffic.common(f"user{i}"), "msgtype": "text", "text": {"content": self.texts[i]}}

    def inject(self):
        """Through ingress, like callbacks of so many users, at an even pace if that is possible. The seconds it took."""
        calls = [self.bot.callback(self.message(i)) for i in range(self.count)]
        lines, replies = [Line(self.port) for _ in range(SENDERS)], []
        begin = time.monotonic()
        for first in range(0, self.count, SENDERS):
            part = list(zip(lines, calls[first:first + SENDERS]))
            time.sleep(max(0, begin + first / RAMP_PER_SECOND - time.monotonic()))
            for line, call in part:
                line.send(call)
            replies += [line.receive() for line, _ in part]
        took = time.monotonic() - begin
        for i, (reply, call) in enumerate(zip(replies, calls)):
            stream = stream_of(self.bot.open_reply(reply, call[2]))
            if stream["id"] != self.ids[i] or stream["finish"]:
                raise Broken(f"question {i} was answered by {stream}")
        return took

    def poll(self):
        """Each of `polled` once a second, in turn."""
        line, begin = Line(self.port), time.monotonic()
        calls = {i: self.bot.callback(traffic.refresh(self.ids[i])) for i in self.polled}
        for turn in itertools.count():
            i = self.polled[turn % len(self.polled)]
            if self.is_over.wait(max(0, begin + turn * POLL_SECONDS / len(self.polled) - time.monotonic())):
                return
            line.send(calls[i])
            reply, now_ms = line.receive(), time.time() * 1000
            stream = stream_of(self.bot.open_reply(reply, calls[i][2]))
            size = 0 if stream["content"] == self.bot.placeholder else len(stream["content"].encode())
            self.polls.append((now_ms, i, size, stream["finish"]))

    def watch(self):
        redis = traffic.Resp(self.stack.redis.port)
        command = b"".join(redis.packed("STRLEN", f"bb:{{{self.ids[i]}}}:t") for i in self.watched)
        while not self.is_over.wait(WATCH_SECONDS):
            redis.socket.sendall(command)
            sizes = [int(redis._reply()) for _ in self.watched]
            now = time.time() * 1000
            for i, size in zip(self.watched, sizes):
                if not self.seen[i] or self.seen[i][-1][1] != size:
                    self.seen[i].append((now, size))

    def observe(self):
        return run_threads([self.poll, self.watch])

    def expected(self):
        out = subprocess.run([BIN / "botbridge-sim", "llm", "--answer", "-"], input="\n".join(self.texts).encode(), check=True,
                             stdout=subprocess.PIPE).stdout.decode()
        return [json.loads(line) for line in out.splitlines()]

    def right_ends(self):
        """How many are final with the very text, as the store has it."""
        redis, right = traffic.Resp(self.stack.redis.port), 0
        expected = self.expected()
        for start in range(0, self.count, 200):
            part = range(start, min(start + 200, self.count))
            replies = redis.many([redis.packed(*c) for i in part for c in (("HGET", f"bb:{{{self.ids[i]}}}:m", "state"),
                                                                           ("GET", f"bb:{{{self.ids[i]}}}:t"))])
            right += sum(replies[2 * k] == b"final" and replies[2 * k + 1].decode() == expected[i] for k, i in enumerate(part))
        return right


def quantiles(values):
    values = sorted(values)
    return (values[len(values) // 2], values[len(values) * 99 // 100]) if values else (float("nan"),) * 2


class Ages:
    """Times in ms, of tokens that the model wrote between `begin` and `end` (wall clock, ms)."""

    def __init__(self, streams, begin, end):
        self.behind, self.to_poll, self.to_store, self.tokens = [], [], [], 0
        polls = {}
        for at, i, size, _ in streams.polls:
            polls.setdefault(i, []).append((at, size))
        for i in streams.polled:
            call = calls_of(streams.stack.llm, streams.texts[i])
            ends, times = zip(*call["tokens"])
            self.tokens += sum(begin <= t < end for t in times)
            self._take_behind(ends, times, polls.get(i, []), begin, end)
            self.to_poll += self._until(ends, times, polls.get(i, []), begin, end)
            if i in streams.seen:
                self.to_store += self._until(ends, times, streams.seen[i], begin, end)

    def _take_behind(self, ends, times, polls, begin, end):
        for at, size in polls:
            if begin <= at < end:
                k = bisect.bisect_right(ends, size)
                self.behind.append(max(0, at - times[k]) if k < len(times) else 0)

    @staticmethod
    def _until(ends, times, seen, begin, end):
        ages, k = [], 0
        for at, size in seen:
            while k < len(ends) and ends[k] <= size:
                if begin <= times[k] < end:
                    ages.append(at - times[k])
                k += 1
        return ages


def calls_of(llm, question):
    reply = http.client.HTTPConnection("127.0.0.1", llm.port, timeout=20)
    reply.request("GET", "/calls?times=1&question=" + quote(question, safe=""))
    calls = json.loads(reply.getresponse().read())
    reply.close()
    if len(calls) != 1:
        raise Broken(f"the model was asked {len(calls)} times")
    return calls[0]


class Capacity:
    def __init__(self, directory, sizes, window):
        self.sizes, self.window, self.kafka, self.rows = sizes, window, Kafka(Path(directory) / "kafka"), {}

    def stack(self, count):
        stack = Stack(self.kafka, settings={
            "worker": {"max_sessions": max(10000, 2 * count), "bot_max_records": 2 * count, "pipeline_max_records": 2 * count,
                       "lease_ms": 10000}},
            pipelines={"main": {"type": "openai", "url": "${LLM_URL}", "model": "m", "api_key": "${LLM_KEY}", "concurrency": 100000}})
        for worker in stack.workers:
            worker.argv = rig.on_measured_core(worker.argv)
        return stack

    def metric(self, stack, name):
        """Patient: a worker that has no core for itself answers late, and the table says so."""
        for _ in range(METRIC_TRIES - 1):
            try:
                return stack.metric(stack.worker_ports[0], name)
            except TimeoutError:
                pass
        return stack.metric(stack.worker_ports[0], name)

    def running(self, stack):
        return int(self.metric(stack, r"botbridge_worker_sessions\{state=\"running\"\}"))

    def pids(self, stack):
        processes = {"worker": stack.workers[0], "LLM": stack.llm.process, "Redis": stack.redis.process, "ingress": stack.ingresses[0]}
        return {**{n: p.popen.pid for n, p in processes.items()}, "Kafka": self.kafka.pid, "this program": "self"}

    def measure(self, stack, count):
        worker = stack.workers[0].popen.pid
        time.sleep(IDLE_SECONDS)
        idle_kb = rig.resident_kb(worker)
        streams = Streams(stack, count, self.window)
        ramp = streams.inject()
        wait_for(f"{count} streams to run at once", lambda: self.running(stack) == count, 60, 0.5)
        join = streams.observe()
        time.sleep(SETTLE_SECONDS)
        pids, alive, resident = self.pids(stack), [], []
        puts = self.metric(stack, "botbridge_worker_puts_total")
        waited = rig.waited_seconds(worker)
        cpu, begin, wall = {n: rig.cpu_seconds(p) for n, p in pids.items()}, time.monotonic(), time.time() * 1000
        while time.monotonic() < begin + self.window:
            time.sleep(1)
            alive.append(self.running(stack))
            resident.append(rig.resident_kb(worker))
        took = time.monotonic() - begin
        cpu = {n: (rig.cpu_seconds(p) - cpu[n]) / took for n, p in pids.items()}
        waited = (rig.waited_seconds(worker) - waited) / took
        puts = (self.metric(stack, "botbridge_worker_puts_total") - puts) / took
        wait_for("all answers to end", lambda: self.metric(
            stack, r"botbridge_worker_answers_total\{outcome=\"done\"\}") >= count, 120, 0.5)
        time.sleep(2 * POLL_SECONDS)    # each stream is polled once more
        streams.is_over.set()
        join()
        ages = Ages(streams, wall, wall + took * 1000)
        finished = {i for _, i, _, finish in streams.polls if finish}
        if len(finished) < len(streams.polled):
            raise Broken(f"only {len(finished)} of {len(streams.polled)} polled streams were seen to end")
        self.report(count, cpu, waited, puts, idle_kb, max(resident), min(alive), streams.right_ends(), ages, took, ramp)

    def report(self, count, cpu, waited, puts, idle_kb, peak_kb, alive, right, ages, took, ramp):
        def pair(values):
            return "%.0f / %.0f" % quantiles(values)
        rows = [
            ("questions asked within, s", f"{ramp:.0f}"),
            ("alive at once, throughout", f"{alive:,}"),
            ("ended with the right text", f"{right:,}"),
            ("tokens/s of a stream", f"{ages.tokens / min(count, POLLED) / took:.2f}"),
            ("worker, % of its core", f"{100 * cpu['worker']:.0f}"),
            ("worker waiting for its core, %", f"{100 * waited:.0f}"),
            ("worker CPU µs per stream-second", f"{1e6 * cpu['worker'] / count:.1f}"),
            ("puts/s to the store, of a stream", f"{puts / count:.2f}"),
            ("worker idle, MB", f"{idle_kb / 1024:.1f}"),
            ("worker with streams, MB", f"{peak_kb / 1024:.1f}"),
            ("KiB per stream beyond idle", f"{(peak_kb - idle_kb) / count:.1f}"),
            ("token → store, ms p50 / p99", pair(ages.to_store)),
            ("text behind at a poll, ms p50 / p99", pair(ages.behind)),
            ("token → first poll with it, ms p50 / p99", pair(ages.to_poll)),
            ("load core, %", " ".join(f"{n} {100 * c:.0f}" for n, c in cpu.items() if n != "worker")),
            ("load average of the machine", Path("/proc/loadavg").read_text().split()[0]),
        ]
        print(f"\n{count:,} streams")
        for name, value in rows:
            self.rows.setdefault(name, []).append(value)
            print(f"  {name:<42} {value}", flush=True)

    def run(self):
        self.kafka.start()
        try:
            for count in self.sizes:
                stack = self.stack(count)
                try:
                    stack.start()
                    self.measure(stack, count)
                finally:
                    wrong = stack.close()
                if wrong:
                    raise Broken("\n".join(wrong))
        finally:
            self.kafka.stop()
        self.table()

    def table(self):
        print(f"\n{'streams on one worker':<42}" + "".join(f"{n:>14,}" for n in self.sizes))
        for name, values in self.rows.items():
            if not name.startswith("load core"):
                print(f"{name:<42}" + "".join(f"{v:>14}" for v in values))
        print("targets: < 32 KiB per stream; token → store p99 < 400 ms; CPU per stream-second flat")


def raise_descriptors(wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < wanted:
        sys.exit(f"capacity: {wanted} descriptors are needed, {hard} are allowed (ulimit -n, LimitNOFILE)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--window-s", type=int, default=20)
    args = parser.parse_args()
    sizes = [int(n) for n in args.sizes.split(",")]
    if len(rig.CORES) < 2:
        sys.exit("capacity: two cores are needed, one for the worker and one for everything else")
    raise_descriptors(max(sizes) + DESCRIPTORS_SPARE)
    rig.sit_on_load_core()
    sys.setswitchinterval(0.0005)    # polls and watching share the interpreter
    print(rig.machine())
    print(f"worker alone on core {rig.MEASURED}, everything else on core {rig.LOAD}; {TOKENS_PER_SECOND} tokens/s a stream, window of "
          f"{args.window_s} s; {POLLED} streams polled once a second")
    with tempfile.TemporaryDirectory(prefix="botbridge-capacity-") as directory:
        Capacity(directory, sizes, args.window_s).run()


if __name__ == "__main__":
    main()
