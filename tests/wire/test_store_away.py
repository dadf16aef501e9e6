"""Redis stopped, frozen, back and empty: polls stay 200, answers become whole."""
import threading

import pytest

from stack import SLOW


@pytest.mark.parametrize("how", ["killed and empty", "frozen"])
def test_answers_survive(kafka, make_stack, ask, how):
    s = make_stack(kafka, ingresses=2)
    running = ask(s, directives="tokens=60 rate=6", ports=[s.ports[0]], may_go_back=True)
    running.send()
    running.follow(20, until=lambda text: len(running.texts()) >= 2)
    asked = ask(s, directives="tokens=10", ports=[s.ports[1]], may_go_back=True)

    if how == "frozen":
        s.redis.process.freeze()
    else:
        s.redis.process.kill()
    problems = []

    def follow(q, first=False):
        try:
            if first:
                assert not q.send()["finish"], "a question during the outage was not accepted"
            q.follow(60 * SLOW)
        except Exception as e:      # noqa: BLE001 - reported by the main thread
            problems.append(e)
    threads = [threading.Thread(target=follow, args=(running,)), threading.Thread(target=follow, args=(asked, True))]
    for t in threads:
        t.start()
    for _ in range(6):      # while it is away, users go on polling and text stays
        threads[0].join(0.5)
    if how == "frozen":
        s.redis.process.thaw()
    else:
        s.redis.start()
    for t in threads:
        t.join()
    assert not problems, problems
    assert (running.final, asked.final) == (running.expected, asked.expected)


def test_streams_end_without_a_store(kafka, make_stack, ask):
    s = make_stack(kafka, workers=0, bot_settings={"stream_deadline_ms": 8000, "handover_margin_ms": 2000},
                   settings={"ingress": {"unknown_ms": 3000}})
    s.redis.process.kill()
    q = ask(s)
    assert not q.send()["finish"]
    q.follow(8 + 6 * SLOW, every=0.5)
    assert q.final == s.bot.notice_text
    unknown = ask(s)
    unknown.id, unknown.begin = "nobody-gave-this-out", 0
    unknown.poll()
    assert unknown.shown == [s.bot.placeholder]
    assert unknown.follow(8 * SLOW, every=0.5).final == s.bot.lost_text


def test_an_end_that_the_store_forgot_stays_an_end(kafka, make_stack, ask):
    s = make_stack(kafka)
    q = ask(s)
    q.send()
    assert q.follow(30).final == q.expected
    key = f"bb:{{{q.id}}}:"
    s.redis.cmd("HSET", key + "m", "state", "run", "by", "", "reason", "")
    s.redis.cmd("DEL", key + "t")
    q.poll()        # raises when the finished bubble changes
