"""What happens at the bounds: too much of one bot, a pipeline that fails, one that is full."""
import time

import pytest

from stack import Stack, wait_for
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


def test_every_bound_is_exported_beside_its_limit(stack):
    for name in ("bot_records", "bot_bytes", "pipeline_records", "pipeline_bytes", "pipeline_running", "sessions_begun"):
        used, limit = used_and_limit(stack, name)
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
