"""How long a text stands still when its worker dies or is told to leave, as a poll sees it. README.md tells the method."""
import argparse
import signal
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "wire")]
import rig                                          # noqa: E402
from stack import Kafka, Stack, wait_for            # noqa: E402
from wecom import Broken, Question, request         # noqa: E402

ROUNDS, PAIRS = 20, 4
TOKENS_PER_SECOND, TOKENS = 20, 80
SHOWN_BYTES = 200       # about a second of text: so much has to be made again before it moves
POLL_SECONDS = 0.05
LEASE_MS, SESSION_TIMEOUT_MS, DRAIN_MS = 10000, 15000, 1000
LIMIT_SECONDS = 60
TOPICS = 2              # requests, late
CASES = (("kill -9: kill", signal.SIGKILL), ("SIGTERM: last text of the old worker", signal.SIGTERM))


def await_group(stack):
    """Until every partition has its owner and both workers own some: a member that leaves while the group is changing is another case."""
    def is_stable():
        owned = [stack.metric(p, "botbridge_bus_partitions") for p in stack.worker_ports]
        return min(owned) > 0 and sum(owned) == TOPICS * stack.partitions
    for port in stack.worker_ports:
        wait_for("/readyz", lambda p=port: request(p, "GET", "/readyz").status == 200, 40)
    wait_for("the group to be stable", is_stable, 40)


class Round:
    """One question and the end of the worker that answers it."""

    def __init__(self, stack, number):
        self.stack, self.number = stack, number
        text = "第 %d 个问题 {tokens=%d rate=%d}" % (number, TOKENS, TOKENS_PER_SECOND)
        self.question = Question(stack.bot, stack.ports, text)
        self.grown = []     # (seconds, bytes): when a poll showed more

    def follow(self, until):
        end = time.monotonic() + LIMIT_SECONDS
        while not self.question.finish and not until():
            if time.monotonic() > end:
                raise Broken(f"round {self.number}: nothing new within {LIMIT_SECONDS} s")
            time.sleep(POLL_SECONDS)
            self.question.poll()
            text = self.question.shown[-1]
            size = len(text.encode()) if self.stack.bot.is_answer(text) else 0
            if size > (self.grown[-1][1] if self.grown else 0):
                self.grown.append((time.monotonic(), size))

    def size(self):
        return self.grown[-1][1] if self.grown else 0

    def holder(self):
        at = [self.stack.metric(p, r"botbridge_worker_sessions\{state=\"running\"\}") for p in self.stack.worker_ports]
        if sorted(at) != [0, 1]:
            raise Broken(f"round {self.number}: sessions {at} are running")
        return at.index(1)

    def play(self, signum):
        """(how long the text stood still, when the model was asked again) in seconds, since the signal or its worker's last text."""
        self.question.send()
        self.follow(lambda: self.size() >= SHOWN_BYTES)
        holder = self.stack.workers[self.holder()]
        begin, wall_ms = time.monotonic(), time.time() * 1000
        holder.signal(signum)
        if signum == signal.SIGKILL:
            holder.kill()
        self.follow(lambda: False)
        calls = self.stack.llm.calls(self.question.text)
        if self.question.final != self.stack.llm.answer(self.question.text) or len(calls) != 2:
            raise Broken(f"round {self.number}: {len(calls)} calls, the end is …{self.question.final[-40:]!r}")
        before, after = max(zip(self.grown, self.grown[1:]), key=lambda pair: pair[1][0] - pair[0][0])
        since = max(begin, before[0])
        self.restart(holder)
        return after[0] - since, (calls[1]["at_ms"] - wall_ms) / 1000 - (since - begin)

    def restart(self, holder):
        if holder.popen:
            wait_for("the worker to leave", lambda: not holder.alive, 40)
            holder.popen = None
        holder.start()
        await_group(self.stack)


class Pair:
    """Two workers of their own; each round one of them ends."""

    def __init__(self, kafka):
        self.stack = Stack(kafka, workers=2, settings={
            "worker": {"lease_ms": LEASE_MS, "drain_ms": DRAIN_MS},
            "kafka": {"session.timeout.ms": SESSION_TIMEOUT_MS, "heartbeat.interval.ms": 3000}})
        self.seen, self.wrong = {}, []

    def play(self, rounds):
        """One thread for all of it: the processes die with the thread that started them."""
        try:
            self.stack.start()
            await_group(self.stack)
            for what, signum in CASES:
                self.seen[what] = [Round(self.stack, signum * 1000 + n).play(signum) for n in range(rounds)]
        except BaseException as e:      # noqa: BLE001 - told by `measure`
            self.wrong.append(repr(e))
        finally:
            self.wrong += self.stack.close()


def measure(kafka, rounds):
    pairs = [Pair(kafka) for _ in range(PAIRS)]
    threads = [threading.Thread(target=p.play, args=(-(-rounds // PAIRS),)) for p in pairs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wrong = [w for p in pairs for w in p.wrong]
    if wrong:
        raise Broken("\n".join(wrong))
    return {what: [seen for p in pairs for seen in p.seen[what]] for what, _ in CASES}


def row(name, values):
    print(f"{name:<58} {len(values):>4} {statistics.median(values):>8.2f} {max(values):>8.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    print(rig.machine())
    print(f"two workers, lease {LEASE_MS / 1000:.0f} s, session.timeout.ms {SESSION_TIMEOUT_MS}, drain_ms {DRAIN_MS}; {PAIRS} pairs side by side;"
          f" a poll each {1000 * POLL_SECONDS:.0f} ms;\nthe answer runs at {TOKENS_PER_SECOND} tokens/s, and what was shown has to be made again"
          f" before the text moves (about {SHOWN_BYTES} bytes)\n")
    print(f"{'seconds':<58} {'runs':>4} {'median':>8} {'worst':>8}")
    with tempfile.TemporaryDirectory(prefix="botbridge-recovery-") as directory:
        kafka = Kafka(Path(directory) / "kafka").start()
        try:
            for what, seen in measure(kafka, args.rounds).items():
                row(f"{what} → model asked again", [s[1] for s in seen])
                row(f"{what} → text moves again", [s[0] for s in seen])
        finally:
            kafka.stop()


if __name__ == "__main__":
    main()
