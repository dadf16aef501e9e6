"""Offsets that no reader is ever given: markers and records of transactions, records that were compacted or deleted. The
committed offset passes over them to the log's end, nothing is skipped, nothing is done twice."""
import json
import secrets
import signal
import subprocess
import time

import pytest

from kafka_protocol import Offsets
from stack import SLOW, Stack, wait_for
from wecom import stream_id

ABORTED, BLOCK = 20000, 4096       # more than a window of records


@pytest.fixture
def stack(kafka, make_stack):
    return make_stack(kafka, partitions=1)


def offsets_of(s):
    group = s.settings.get("worker", {}).get("group", f"{s.prefix}.worker")
    return Offsets(s.kafka.servers, group, f"{s.prefix}.requests")


def answered(s, ask, **kw):
    q = ask(s, **kw)
    q.send()
    assert q.follow(30 * SLOW).final == q.expected
    return q


def expect_no_lag(s):
    offsets = offsets_of(s)
    wait_for("no lag", lambda: offsets.lag() == {}, 8 * SLOW)
    assert offsets.ends(stable=False) == offsets.committed()


def stop_worker(s):
    assert s.workers[0].terminate() == 0


class Writer:
    """Puts questions into the topic as an ingress would have: records like that of `model`, which was answered."""

    def __init__(self, s, ask, model):
        self.s, self.ask = s, ask
        self.record = s.records("requests", lambda r: r["headers"]["bb-stream"] == model.id)[-1]
        self.model = model

    def question(self, **kw):
        q = self.ask(self.s, **kw)
        q.id = stream_id(self.s.bot.name, q.msgid)
        return q

    def _bytes(self, q):
        old = json.loads(self.record["payload"])
        assert old["stream"] == self.model.id
        value = {**old, "message_id": q.msgid, "stream": q.id, "text": q.text}
        return json.dumps(value, ensure_ascii=False).encode()

    def argv(self, *more):
        """The headers are the model's: which record it is says the value."""
        headers = [f"{k}={v}" for k, v in self.record["headers"].items() if k not in ("bb-stream", "ce_id", "traceparent")]
        argv = ["kcat", "-P", "-b", self.s.kafka.servers, "-t", f"{self.s.prefix}.requests", "-p", "0", "-D", "\n", *more]
        return argv + [a for h in headers for a in ("-H", h)]

    def transaction(self, questions, is_aborted=False):
        offsets = offsets_of(self.s)
        before = offsets.ends()[0]
        kcat = subprocess.Popen(self.argv("-X", "transactional.id=t" + secrets.token_hex(5)), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        lines = b"".join(self._bytes(q) + b"\n" for q in questions)
        if is_aborted:      # it reads whole blocks, and aborts only when nothing is left to produce
            lines += b"x\n" * ABORTED
            lines += b"x" * (BLOCK - len(lines) % BLOCK - 1) + b"\n"
        kcat.stdin.write(lines)
        if is_aborted:
            kcat.stdin.flush()
            wait_for("the records in the log", lambda: offsets.ends(stable=False)[0] == before + lines.count(b"\n"))
            assert offsets.ends()[0] == before
            kcat.send_signal(signal.SIGTERM)
        kcat.communicate(timeout=30)
        wait_for("the end of the transaction", lambda: offsets.ends()[0] == before + lines.count(b"\n") + 1)


def test_transactions(stack, ask):
    w = Writer(stack, ask, answered(stack, ask))
    committed, aborted = [w.question() for _ in range(3)], [w.question() for _ in range(3)]
    w.transaction(committed)
    w.transaction(aborted, is_aborted=True)
    after = answered(stack, ask)
    for q in committed:
        q.poll()
        assert q.follow(30 * SLOW).final == q.expected
    expect_no_lag(stack)
    w.transaction([w.question()], is_aborted=True)      # what is last in the log is read by nobody
    expect_no_lag(stack)
    for q in [*committed, after]:
        assert len(stack.llm.calls(q.text)) == 1
    for q in aborted:
        assert stack.llm.calls(q.text) == []


def test_gap_wider_than_the_window(kafka, make_stack, ask):
    """Behind it nothing is read while what is before it runs: then it goes on, with what was waiting first."""
    s = make_stack(kafka, partitions=1, settings={"worker": {"window_records": 64}})
    w = Writer(s, ask, answered(s, ask))
    slow = ask(s, directives="tokens=60 rate=10")
    slow.send()
    slow.follow(15 * SLOW, until=s.bot.is_answer)
    w.transaction([w.question()], is_aborted=True)
    behind = [ask(s, user="behind") for _ in range(3)]
    for q in behind:
        q.send()
    assert slow.follow(40 * SLOW).final == slow.expected
    for q in behind:
        assert q.shown == [s.bot.placeholder]
        assert q.follow(20 * SLOW).final == q.expected
    expect_no_lag(s)
    for q in [slow, *behind]:
        assert len(s.llm.calls(q.text)) == 1


def test_deleted_records(stack, ask):
    """The log begins behind the committed offset: with records left, with none left, and under the reader's feet."""
    offsets = offsets_of(stack)
    answered(stack, ask)
    expect_no_lag(stack)
    stop_worker(stack)
    gone, left = ([ask(stack) for _ in range(4)] for _ in range(2))
    for q in [*gone, *left]:
        q.send()
    offsets.delete_records({0: 1 + len(gone)})
    stack.workers[0].start()
    for q in left:
        assert q.follow(30 * SLOW).final == q.expected
    expect_no_lag(stack)
    stop_worker(stack)
    more = ask(stack)
    more.send()
    offsets.delete_records({0: -1})
    stack.workers[0].start()
    expect_no_lag(stack)
    offsets.delete_records({0: -1})
    answered(stack, ask)
    expect_no_lag(stack)
    for q in [*gone, more]:
        assert stack.llm.calls(q.text) == []


@pytest.mark.parametrize("where", ["beyond the end", "before the beginning", "never"])
def test_committed_offset_that_is_not_there(stack, ask, where):
    """Read again from the beginning; what was answered is not answered again."""
    done = [answered(stack, ask) for _ in range(3)]
    expect_no_lag(stack)
    offsets = offsets_of(stack)
    stop_worker(stack)
    if where == "never":
        stack.settings = {"worker": {"group": stack.prefix + ".again"}}
        stack.write_config("worker", 0)
    elif where == "beyond the end":
        offsets.commit({0: 1000})
    else:
        offsets.commit({0: 0})
        offsets.delete_records({0: 2})
    waiting = ask(stack)
    waiting.send()
    stack.workers[0].start()
    assert waiting.follow(30 * SLOW).final == waiting.expected
    expect_no_lag(stack)
    for q in [*done, waiting]:
        assert len(stack.llm.calls(q.text)) == 1
        q.poll()        # raises when a finished bubble changed


def test_compacted_topic(own_kafka, make_stack, ask):
    """An operator's mistake: of a conversation's waiting questions only the newest is left. The others end by the clock."""
    s = make_stack(own_kafka, partitions=1, bot_settings={"stream_deadline_ms": 60000 * SLOW, "handover_margin_ms": 5000})
    offsets = offsets_of(s)
    first = answered(s, ask)
    expect_no_lag(s)
    stop_worker(s)
    lost, kept = [ask(s, user="talks a lot") for _ in range(4)], [ask(s, user=f"u{i}") for i in range(3)]
    newest = ask(s, user="talks a lot")
    for q in [kept[0], *lost, kept[1], newest]:
        q.send()
    offsets.configure(cleanup_policy="compact", segment_ms=100, min_cleanable_dirty_ratio=0.01, delete_retention_ms=0)
    wait_for("a new segment", lambda: time.time() * 1000 > 100 + int(s.records("requests")[-1]["ts"]))
    kept[2].send()      # it begins a segment: what is before it can be compacted
    wait_for("the compaction", lambda: len(s.records("requests")) < 1 + 8 - len(lost) + 1, 60)
    s.workers[0].start()
    for q in [*kept, newest]:
        assert q.follow(30 * SLOW).final == q.expected
    expect_no_lag(s)
    for q in [first, *kept, newest]:
        assert len(s.llm.calls(q.text)) == 1
    for q in lost:
        assert s.llm.calls(q.text) == []
