"""A store whose clock is a minute off: leases and deadlines hold, since what is compared between hosts is store time."""
import json
import time

import pytest

from stack import SLOW, Stack, serving, wait_for
from wecom import request

LEASE_S, DEADLINE_S, MARGIN_S = 4, 10, 2


@pytest.fixture(scope="module", params=[60, -60], ids=["ahead", "behind"])
def stack(request, kafka):
    s = Stack(kafka, workers=2, clock_off_s=request.param, settings={"worker": {"lease_ms": LEASE_S * 1000}})
    s.off = request.param
    with serving(s):
        yield s


def test_store_is_off_and_answers_are_not(stack, ask):
    assert abs(int(stack.redis.cmd("TIME").split()[0]) - time.time() - stack.off) < 5
    q = ask(stack, directives="tokens=30 rate=20")
    q.send()
    assert q.follow(30).final == q.expected
    record = stack.records("requests", lambda r: q.msgid in r["payload"])[0]
    start = int(record["headers"]["bb-start"]) / 1000
    assert abs(start - time.time() - stack.off) < 30 * SLOW, "the start is not in store time"
    assert json.loads(record["payload"])["deadline_at"] == int(record["headers"]["bb-deadline"])


def test_lease_is_neither_cut_short_nor_waited_for_longer(stack, ask):
    q = ask(stack, directives="tokens=80 rate=10")
    q.send()
    q.follow(20, until=lambda text: len(text) > 40)
    holder = next(i for i in range(2) if stack.metric(stack.worker_ports[i], "botbridge_worker_sessions") == 1)
    stack.workers[holder].kill()
    killed = time.monotonic()
    wait_for("the takeover", lambda: len(stack.llm.calls(q.text)) == 2, 60)
    took = time.monotonic() - killed
    assert took > LEASE_S * 2 / 3 - 1, f"taken over after {took:.1f} s, under a live lease"
    assert took < LEASE_S + 15 * SLOW, f"taken over after {took:.1f} s only"
    assert q.follow(60 * SLOW).final == q.expected
    stack.workers[holder].start()


def test_deadline(kafka, make_stack, ask):
    limits = {"stream_deadline_ms": DEADLINE_S * 1000, "handover_margin_ms": MARGIN_S * 1000}
    for off in (60, -60):
        s = make_stack(kafka, clock_off_s=off, bot_settings=limits)
        q = ask(s, directives="delay=600000")
        q.send()
        q.follow(DEADLINE_S + SLOW)
        assert q.final == s.bot.notice_text
        assert q.seconds >= DEADLINE_S - MARGIN_S - 2, "ended long before its time"
        s.workers[0].kill()
        q = ask(s)
        q.send()
        q.follow(DEADLINE_S + 2 * SLOW)
        assert q.final == s.bot.notice_text and q.seconds >= DEADLINE_S - 2


def up(s, i):
    return s.metric(s.admin_ports[i], "botbridge_store_up") == 1


def started_without_its_store(kafka, make_stack, off, **kw):
    """Ingress 0 has not heard the store's clock yet, and goes by its own."""
    s = make_stack(kafka, clock_off_s=off, bot_settings={"stream_deadline_ms": DEADLINE_S * 1000, "handover_margin_ms": MARGIN_S * 1000}, **kw)
    s.redis.process.kill()
    assert s.ingresses[0].terminate() == 0
    s.ingresses[0].start()
    wait_for("Kafka", lambda: request(s.admin_ports[0], "GET", "/readyz").status == 200)
    return s


@pytest.mark.parametrize("off", [60, -60], ids=["ahead", "behind"])
def test_ages_from_before_the_clock_was_known(kafka, make_stack, ask, off):
    unknown_s = 6
    s = started_without_its_store(kafka, make_stack, off, workers=0, settings={"ingress": {"unknown_ms": unknown_s * 1000}})
    q, other = ask(s), ask(s)
    other.id, other.begin = "nobody-gave-this-out", time.monotonic()
    assert not q.send()["finish"]
    other.poll()
    s.redis.start()
    wait_for("the store", lambda: up(s, 0))
    assert other.follow(unknown_s + 2 * SLOW, every=0.2).final == s.bot.lost_text
    assert other.seconds >= unknown_s - 1, "an unknown stream was given up too early"
    assert q.follow(DEADLINE_S + 2 * SLOW, every=0.2).final == s.bot.notice_text
    assert DEADLINE_S - 1 <= q.seconds < DEADLINE_S + 1 + SLOW
    age = (int(s.redis.cmd("HGET", f"bb:{{{q.id}}}:m", "deadline_at")) - int(s.redis.cmd("HGET", f"bb:{{{q.id}}}:m", "start_at"))) / 1000
    assert age == DEADLINE_S
    assert abs(int(s.redis.cmd("HGET", f"bb:{{{q.id}}}:m", "deadline_at")) / 1000 - time.time() - off) < 5 * SLOW


def test_record_with_a_deadline_that_is_too_late(kafka, make_stack, ask):
    """Its ingress's clock was ahead of the store's. The worker ends it, and so does an ingress that saw it first now."""
    s = started_without_its_store(kafka, make_stack, -60, ingresses=2)
    ended = ask(s, directives="delay=600000", ports=[s.ports[0]])
    assert not ended.send()["finish"]
    ended.ports = [s.ports[1]]
    s.redis.start()
    wait_for("the store", lambda: up(s, 1))
    assert ended.follow(DEADLINE_S + 2 + SLOW, every=0.2).final == s.bot.notice_text
    assert s.metric(s.admin_ports[1], "botbridge_ingress_streams_ended_total") == 0, "not by the worker"
    late = ask(s, ports=[s.ports[0]])
    s.workers[0].kill()
    late.send()
    s.redis.cmd("HINCRBY", f"bb:{{{late.id}}}:m", "deadline_at", 60000)
    late.ports = [s.ports[1]]
    assert late.follow(DEADLINE_S + 2 + SLOW, every=0.2).final == s.bot.notice_text
    assert late.seconds >= DEADLINE_S - 1
    s.workers[0].start()
