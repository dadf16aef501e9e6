"""What happens at the bounds: too much of one bot, a pipeline that fails, one that is full."""
import time

import pytest

from stack import SLOW, Stack, wait_for
from wecom import Bot

LIMIT = 4


@pytest.fixture(scope="module")
def stack(kafka):
    s = Stack(kafka, bots=[Bot("flood"), Bot("calm"), Bot("fragile")],
              settings={"worker": {"bot_max_records": LIMIT}}, partitions=1,
              pipelines={"main": {"type": "openai", "url": "${LLM_URL}", "model": "m", "api_key": "${LLM_KEY}", "concurrency": 6,
                                  "breaker_failures": 3, "breaker_open_ms": 3000}})
    yield s.start()
    wrong = s.close()
    assert not wrong, "\n".join(wrong)


def used_and_limit(stack, name):
    return [stack.metric(stack.worker_ports[0], f"botbridge_worker_{name}{suffix}") for suffix in ("", "_limit")]


def test_more_than_a_bot_may_have(stack, ask):
    slow = [ask(stack, directives="tokens=120 rate=20") for _ in range(LIMIT)]
    for q in slow:
        q.send()
    wait_for("the limit", lambda: used_and_limit(stack, "bot_records") == [LIMIT, LIMIT])
    over = ask(stack)
    over.send()
    other = ask(stack, bot=stack.bots[1])       # the same partition
    other.send()
    assert over.follow(15).final == stack.bot.busy_text
    assert other.follow(15).final == other.expected
    letters = stack.records("dlq", lambda r: over.msgid in r["payload"], 20)
    assert [r["headers"]["bb-reason"] for r in letters] == ["overload"]
    assert not stack.llm.calls(over.text)
    assert stack.metric(stack.worker_ports[0], "botbridge_worker_shed_total") == 1
    for q in slow:
        assert q.follow(60).final == q.expected
    again = ask(stack)
    again.send()
    assert again.follow(15).final == again.expected


def test_user_who_asks_too_often(kafka, make_stack, ask):
    s = make_stack(kafka, bot_settings={"user_rate_per_min": 2})
    first, second, third = (ask(s, user="busy") for _ in range(3))
    other = ask(s, user="calm")
    for q in (first, second, third, other):
        q.send()
    assert third.final == s.bot.busy_text, "refused at once"
    third.finish = False
    third.shown = []
    third.send()        # a repeat hears the same
    assert third.final == s.bot.busy_text
    for q in (first, second, other):
        assert q.follow(30).final == q.expected
    first.finish, first.shown = False, []
    first.send()        # a repeat is not another question
    assert first.follow(5).final == first.expected
    assert not [r for r in s.records("requests") if third.msgid in r["payload"]]
    assert s.metric(s.admin_ports[0], "botbridge_ingress_rate_refusals_total") == 1


def test_place_in_the_queue(kafka, make_stack, ask):
    bot = Bot("main", queue_text="前面还有 {n} 条消息")
    s = make_stack(kafka, bots=[bot], partitions=1, settings={"worker": {"lease_ms": 3000}},
                   pipelines={"main": {"type": "openai", "url": "${LLM_URL}", "model": "m", "api_key": "${LLM_KEY}", "concurrency": 1}})
    runs, waits, last = (ask(s, directives="tokens=60 rate=10 delay=3000") for _ in range(3))
    for q in (runs, waits, last):
        q.send()
        wait_for("its turn", lambda: s.metric(s.worker_ports[0], "botbridge_worker_sessions") >= (runs, waits, last).index(q) + 1)
    last.follow(20, until=lambda text: text == "前面还有 1 条消息")
    s.workers[0].kill()
    s.workers[0].start()
    before = len(last.shown)
    last.follow(60 * SLOW, until=lambda text: text == bot.placeholder)
    assert bot.placeholder in last.shown[before:], "the next owner took the place for an answer"
    for q in (runs, waits, last):
        assert q.follow(60 * SLOW, every=0.2).final == q.expected
    assert all(text == bot.placeholder or text.startswith("前面还有 ") or last.expected.startswith(text) for text in last.shown)
    assert not any(text.startswith("前面还有 ") for text in runs.shown)


def test_every_bound_is_exported_beside_its_limit(stack):
    ingress, worker = stack.admin_ports[0], stack.worker_ports[0]
    bounds = {worker: ["worker_bot_records", "worker_bot_bytes", "worker_pipeline_records", "worker_pipeline_bytes", "worker_pipeline_running",
                       "worker_sessions_begun", "worker_finals", "worker_finals_bytes", "worker_puts_in_flight"],
              ingress: ["ingress_memory_entries", "ingress_memory_bytes", "ingress_owed_closes", "ingress_held_polls", "ingress_rate_users",
                        "http_open_connections"]}
    for port, names in bounds.items():
        for name in names:
            used, limit = (stack.metric(port, f"botbridge_{name}{suffix}") for suffix in ("", "_limit"))
            assert 0 <= used <= limit and limit > 0, name


def test_breaker(stack, ask):
    port = stack.worker_ports[0]
    failing = ask(stack, bot=stack.bots[2], directives="fail=503x9999")
    failing.send()
    wait_for("the breaker to open", lambda: stack.metric(port, "botbridge_worker_pipeline_breaker") == 2)
    opened = time.monotonic()
    assert failing.follow(15).final == stack.bots[2].apology_text
    held = ask(stack, bot=stack.bots[1])
    held.send()
    assert held.follow(20).final == held.expected
    assert time.monotonic() - opened > 2, "asked while the breaker was open"
    assert stack.metric(port, "botbridge_worker_pipeline_breaker") == 0
    log = stack.workers[0].output()
    for state in ("open", "half_open", "closed"):
        assert f"pipeline=main state={state}" in log
