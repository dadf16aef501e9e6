"""Every bubble ends by its deadline: a silent model, no worker at all."""
import pytest

from stack import SLOW, Stack

DEADLINE_S, MARGIN_S = 8, 2


@pytest.fixture(scope="module")
def stack(kafka):
    s = Stack(kafka, ingresses=2,
              bot_settings={"stream_deadline_ms": DEADLINE_S * 1000, "handover_margin_ms": MARGIN_S * 1000}).start()
    yield s
    assert not s.close()


def test_silent_model(stack, ask):
    q = ask(stack, directives="delay=600000")
    q.send()
    q.follow(DEADLINE_S + SLOW)
    assert q.final == stack.bot.notice_text
    assert q.seconds >= DEADLINE_S - MARGIN_S - 2, "ended long before its time"


def test_model_that_stops_in_the_middle(stack, ask):
    q = ask(stack, directives="tokens=60 rate=20 hang=30")
    q.send()
    q.follow(DEADLINE_S + SLOW)
    assert q.final.endswith(stack.bot.notice_text)
    kept = q.final[:-len(stack.bot.notice_text)].rstrip("\n")
    assert len(kept) > 50 and q.expected.startswith(kept)


def test_no_worker_at_all(stack, ask):
    running = ask(stack, directives="tokens=500 rate=10")
    running.send()
    running.follow(6 * SLOW, until=lambda text: len(text) > 20 and text != stack.bot.placeholder)
    stack.workers[0].kill()
    fresh = ask(stack)
    fresh.send()
    try:
        for q in (running, fresh):
            q.follow(DEADLINE_S + 2 * SLOW)
            assert q.final.endswith(stack.bot.notice_text)
            for port in stack.ports:
                q.poll(port)
    finally:
        stack.workers[0].start()
    again = ask(stack)
    again.send()
    assert again.follow(30).final == again.expected
    for q in (running, fresh):
        q.poll()        # a worker that came late has not changed what was final
