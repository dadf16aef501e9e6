"""Answers that outlive their bubble reach the user by response_url, once, whoever dies on the way."""
import json
import subprocess
import time

import pytest

from receiver import Receiver
from stack import SLOW, wait_for

DEADLINE_S, MARGIN_S = 7, 3
ALLOWED = {"hosts": ["127.0.0.1"], "allow_http": True, "allow_private": True, "timeout_ms": 3000}
BOT = {"stream_deadline_ms": DEADLINE_S * 1000, "handover_margin_ms": MARGIN_S * 1000}
LONG = "tokens=90 rate=10"     # outlives the bubble by some seconds


@pytest.fixture
def receiver():
    r = Receiver().start()
    yield r
    r.stop()
    assert not r.wrong


@pytest.fixture
def late_stack(kafka, make_stack):
    def make(workers=1, response_url=None, bot=None, **worker):
        return make_stack(kafka, workers=workers, bot_settings={**BOT, **(bot or {})},
                          settings={"response_url": {**ALLOWED, **(response_url or {})}, "worker": worker})
    return make


@pytest.fixture
def ask_late(ask, receiver):
    def new(stack, directives=LONG, **kw):
        code = receiver.code()
        stack.note_text(code)
        q = ask(stack, directives=directives, response_url=receiver.url(code), **kw)
        q.code = code
        return q
    return new


def field(stack, q, name):
    return stack.redis.cmd("HGET", f"bb:{{{q.id}}}:m", name)


def wait_late(stack, q):
    wait_for("the bubble's end", lambda: "late" in field(stack, q, "owed"), (DEADLINE_S + 5) * SLOW, 0.01)


def wait_done(stack, q, seconds=60):
    wait_for("nothing to be owed", lambda: field(stack, q, "owed") == "" and field(stack, q, "state") == "final", seconds * SLOW)


def events_of(stack, q, seconds=30):
    return [json.loads(r["payload"]) for r in stack.records("events", lambda r: q.msgid in r["payload"], seconds * SLOW)
            if q.msgid in r["payload"]]


def dead_of(stack, q):
    return [r["headers"]["bb-reason"] for r in stack.records("dlq") if q.msgid in r["payload"]]


def holder_of(stack):
    """Index of the worker that runs something."""
    def running(i):
        return stack.workers[i].alive and stack.metric(stack.worker_ports[i], r'botbridge_worker_sessions\{state="running"\}') > 0
    return wait_for("a worker that runs", lambda: [i for i in range(len(stack.workers)) if running(i)])[0]


def wait_idle(stack):
    """Every record, of both topics, is complete."""
    for i, w in enumerate(stack.workers):
        if w.alive:
            wait_for("no session to be left", lambda: stack.metric(stack.worker_ports[i], "botbridge_worker_sessions") == 0, 30 * SLOW)


def check_once(stack, receiver, q, uses=1):
    assert receiver.texts(q.code) == [q.expected] and len(receiver.uses(q.code)) == uses
    q.poll()
    assert q.final.endswith(stack.bot.notice_text)
    wait_done(stack, q)
    assert dead_of(stack, q) == []


def test_answer_after_the_bubble(late_stack, receiver, ask_late, ask):
    s = late_stack()
    q = ask_late(s, user="u-late")
    q.send()
    behind = ask(s, directives="tokens=3", user="u-late")
    behind.send()
    q.follow((DEADLINE_S + 2) * SLOW)
    assert q.final.endswith(s.bot.notice_text) and receiver.uses(q.code) == []
    kept = q.final[:-len(s.bot.notice_text)].rstrip("\n")
    assert len(kept) > 50 and q.expected.startswith(kept)
    assert behind.follow(20 * SLOW).final == behind.expected and receiver.uses(q.code) == [], "the lane waited for the late answer"
    wait_for("the answer", lambda: receiver.uses(q.code), 30 * SLOW)
    check_once(s, receiver, q)
    event, = events_of(s, q)
    assert event["outcome"] == "late" and event["text"] == q.expected
    assert event["response_url"] == {"sent": "whole", "outcome": "accepted", "code": 0}
    original, = [r for r in s.records("requests") if q.msgid in r["payload"]]
    copy, = [r for r in s.records("late") if q.msgid in r["payload"]]
    assert all(copy[k] == original[k] for k in ("key", "payload", "headers"))
    wait_idle(s)
    assert len(s.llm.calls(q.text)) == 1


def test_a_second_record_of_a_late_answer_holds_up_no_lane(late_stack, receiver, ask_late, ask):
    """As two ingresses write it for a repeated callback, or a rebalance reads it again."""
    s = late_stack()
    q = ask_late(s, "tokens=250 rate=10", user="u-twice")
    q.send()
    record, = s.records("requests", lambda r: q.msgid in r["payload"])
    argv = ["kcat", "-P", "-b", s.kafka.servers, "-t", f"{s.prefix}.requests", "-p", str(record["partition"]), "-k", record["key"]]
    for name, content in record["headers"].items():
        argv += ["-H", f"{name}={content}"]
    subprocess.run(argv, input=record["payload"].encode(), check=True, timeout=20)
    q.follow((DEADLINE_S + 2) * SLOW)
    behind = ask(s, directives="tokens=3", user="u-twice")
    behind.send()
    assert behind.follow((DEADLINE_S + 2) * SLOW).final == behind.expected and receiver.uses(q.code) == [], "the lane waited for the late answer"
    wait_for("the answer", lambda: receiver.uses(q.code), 60 * SLOW)
    check_once(s, receiver, q)
    wait_idle(s)
    assert len(s.llm.calls(q.text)) == 1


def test_killed_while_the_answer_goes_on(late_stack, receiver, ask_late):
    s = late_stack(workers=2)
    q = ask_late(s)
    q.send()
    q.follow((DEADLINE_S + 2) * SLOW)
    wait_for("the copy", lambda: [r for r in s.records("late") if q.msgid in r["payload"]])
    s.workers[holder_of(s)].kill()
    wait_for("the answer", lambda: receiver.uses(q.code), 60 * SLOW)
    check_once(s, receiver, q)
    assert len(events_of(s, q)) == 1
    wait_idle(s)
    assert len(s.llm.calls(q.text)) == 2


def test_killed_as_soon_as_the_bubble_ends(late_stack, receiver, ask_late):
    s = late_stack()
    questions = [ask_late(s) for _ in range(4)]
    for q in questions:
        q.send()
    wait_late(s, questions[0])
    s.workers[0].kill()
    s.workers[0].start()
    for q in questions:
        wait_for("the answer", lambda: receiver.uses(q.code), 90 * SLOW)
    for q in questions:
        q.follow(20)
        check_once(s, receiver, q)
    wait_idle(s)


@pytest.mark.parametrize("pauses", [(3.5, 3.0), (4.2, 0.5), (2.0, 7.0)])
def test_killed_again_and_again(late_stack, receiver, ask_late, pauses):
    s = late_stack()
    questions = [ask_late(s, "tokens=60 rate=10") for _ in range(3)]
    for q in questions:
        q.send()
    for pause in pauses:
        time.sleep(pause)       # a schedule of kills, not a wait for something
        s.workers[0].kill()
        s.workers[0].start()
    for q in questions:
        wait_for("the end", lambda: q.finish or q.poll()["finish"], 30 * SLOW)
        wait_done(s, q, 90)
        assert len(receiver.texts(q.code)) <= 1
        if q.final != q.expected:
            assert receiver.texts(q.code) == [q.expected], dead_of(s, q)
    wait_idle(s)


def test_drained_in_the_late_phase(late_stack, receiver, ask_late):
    s = late_stack(workers=2, drain_ms=500)
    q = ask_late(s)
    q.send()
    q.follow((DEADLINE_S + 2) * SLOW)
    holder = s.workers[holder_of(s)]
    assert holder.terminate() == 0
    wait_for("the answer", lambda: receiver.uses(q.code), 60 * SLOW)
    check_once(s, receiver, q)
    wait_idle(s)


def test_frozen_past_the_lease(late_stack, receiver, ask_late):
    s = late_stack(workers=2)
    q = ask_late(s)
    q.send()
    q.follow((DEADLINE_S + 2) * SLOW)
    frozen = s.workers[holder_of(s)]
    frozen.freeze()
    wait_for("the other's answer", lambda: receiver.uses(q.code), 60 * SLOW)
    frozen.thaw()
    wait_done(s, q)
    wait_idle(s)
    check_once(s, receiver, q)


def test_the_store_forgets_everything_in_between(late_stack, receiver, ask_late):
    s = late_stack()
    q = ask_late(s)
    q.send()
    q.follow((DEADLINE_S + 2) * SLOW)
    s.redis.process.kill()
    s.redis.start()
    wait_for("the end to be written again", lambda: field(s, q, "state") == "final", 20 * SLOW)
    wait_for("the answer", lambda: receiver.uses(q.code), 40 * SLOW)
    check_once(s, receiver, q)
    wait_idle(s)


def test_nobody_worked_until_the_deadline(late_stack, receiver, ask_late):
    s = late_stack()
    s.workers[0].kill()
    q = ask_late(s, "tokens=20 rate=20")
    q.send()
    q.follow((DEADLINE_S + 2) * SLOW)
    assert q.final == s.bot.notice_text
    s.workers[0].start()
    wait_for("the answer", lambda: receiver.uses(q.code), 60 * SLOW)
    assert receiver.texts(q.code) == [q.expected]
    event, = events_of(s, q)
    assert event["outcome"] == "closed" and event["text"] == q.expected
    assert dead_of(s, q) == []
    wait_idle(s)
    assert len(receiver.uses(q.code)) == 1


def test_nobody_worked_until_it_was_of_no_use(late_stack, receiver, ask_late):
    s = late_stack(response_url={"useful_ms": (DEADLINE_S + 1) * 1000})
    s.workers[0].kill()
    q = ask_late(s, "tokens=20 rate=20")
    q.send()
    q.follow((DEADLINE_S + 2) * SLOW)
    time.sleep(1.5)     # the age itself is what is tested
    s.workers[0].start()
    event, = events_of(s, q, 60)
    assert event["outcome"] == "closed" and "response_url" not in event
    wait_idle(s)
    assert dead_of(s, q) == ["expired"] and receiver.uses(q.code) == [] and s.llm.calls(q.text) == []


@pytest.mark.parametrize("directives, some", [("delay=600000", False), ("tokens=200 rate=10 hang=60", True)])
def test_second_limit(late_stack, receiver, ask_late, directives, some):
    s = late_stack(bot={"late_limit_ms": (DEADLINE_S + 2) * 1000})
    q = ask_late(s, directives)
    q.send()
    q.follow((DEADLINE_S + 2) * SLOW)
    wait_done(s, q, 30)
    event, = events_of(s, q)
    assert event["outcome"] == "deadline" and dead_of(s, q) == ["deadline"]
    assert len(receiver.uses(q.code)) == some
    if some:
        head, _, said = receiver.uses(q.code)[0].rpartition("\n\n")
        assert said == s.bot.notice_text and q.expected.startswith(head)
    wait_idle(s)


def test_a_refused_answer_is_dead_lettered(late_stack, receiver, ask_late):
    s = late_stack()
    q = ask_late(s)
    receiver.modes[q.code] = "refuse"
    q.send()
    q.follow((DEADLINE_S + 2) * SLOW)
    wait_for("the answer", lambda: receiver.uses(q.code), 30 * SLOW)
    wait_done(s, q)
    assert dead_of(s, q) == ["undelivered"] and len(receiver.uses(q.code)) == 1
    event, = events_of(s, q)
    assert event["response_url"]["outcome"] == "refused" and event["text"] == q.expected
