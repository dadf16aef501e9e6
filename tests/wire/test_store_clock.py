"""A store whose clock is a minute off: leases and deadlines hold, since what is compared between hosts is store time."""
import json
import time

import pytest

from stack import SLOW, Stack, wait_for

LEASE_S, DEADLINE_S, MARGIN_S = 4, 10, 2


@pytest.fixture(scope="module", params=[60, -60], ids=["ahead", "behind"])
def stack(request, kafka):
    s = Stack(kafka, workers=2, clock_off_s=request.param, settings={"worker": {"lease_ms": LEASE_S * 1000}}).start()
    s.off = request.param
    yield s
    wrong = s.close()
    assert not wrong, "\n".join(wrong)


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
