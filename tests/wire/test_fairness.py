"""A flood of one bot, or of one user, delays nobody else: not at the turns of a worker, not at the places of a pipeline,
and not at what a bot may have in hand."""
import pytest

from stack import SLOW, wait_for
from wecom import Bot

PLACES, FLOOD = 10, 24
FIRST_TEXT_S = 2 * SLOW     # beside that: a flooding question takes 30 s
LONG = "tokens=300 rate=10"


def first_text(q):
    q.send()
    q.follow(FIRST_TEXT_S, every=0.1, until=lambda text: text != q.bot.placeholder)
    assert q.expected.startswith(q.shown[-1]), q.shown[-1]
    return q.seconds


@pytest.mark.parametrize("bound", ["max_sessions", "concurrency"])
def test_flood_of_a_bot(kafka, make_stack, ask, bound):
    flood, calm = Bot("flood"), Bot("calm")
    main = {"type": "openai", "url": "${LLM_URL}", "model": "m", "api_key": "${LLM_KEY}"}
    worker = {"drain_ms": 500}
    (worker if bound == "max_sessions" else main)[bound] = PLACES
    s = make_stack(kafka, bots=[flood, calm], settings={"worker": worker}, pipelines={"main": main}, partitions=1)
    used = {"max_sessions": "sessions_begun", "concurrency": "pipeline_running"}[bound]

    def in_use():
        return s.metric(s.worker_ports[0], f"botbridge_worker_{used}")
    others = [ask(s, bot=calm, directives="tokens=20 rate=20") for _ in range(6)]
    for _ in range(FLOOD):
        ask(s, bot=flood, directives=LONG).send()
    wait_for("the flood to take its part", lambda: in_use() == PLACES * 4 // 5)
    wait_for("all of it to be in hand", lambda: s.metric(s.worker_ports[0], "botbridge_worker_bot_records") == FLOOD)
    assert in_use() == PLACES * 4 // 5
    took = [first_text(q) for q in others]      # one after the other: places that come back stay kept
    for q in others:
        assert q.follow(20 * SLOW).final == q.expected
    assert in_use() == PLACES * 4 // 5
    print(f"first text beside a flood at {bound}: worst {max(took):.2f} s")


def test_a_bot_that_is_alone_has_all_places(kafka, make_stack, ask):
    s = make_stack(kafka, bots=[Bot("only")], settings={"worker": {"max_sessions": 4, "drain_ms": 500}})
    for _ in range(6):
        ask(s, directives=LONG).send()
    wait_for("all turns to be taken", lambda: s.metric(s.worker_ports[0], "botbridge_worker_sessions_begun") == 4)


def test_flood_of_a_user(kafka, make_stack, ask):
    lane_max = 5
    s = make_stack(kafka, bots=[Bot("only")], partitions=1, settings={
        "worker": {"max_sessions": 4, "bot_max_records": 12, "lane_max_records": lane_max, "drain_ms": 500}})
    others = [ask(s, directives="tokens=20 rate=20") for _ in range(4)]
    own = [ask(s, user="flood", directives=LONG) for _ in range(20)]
    for q in own:
        q.send()
    wait_for("what is too much to be refused", lambda: s.metric(s.worker_ports[0], "botbridge_worker_shed_total") == len(own) - lane_max)
    used_and_limit = [s.metric(s.worker_ports[0], "botbridge_worker_lane_records" + suffix) for suffix in ("", "_limit")]
    assert used_and_limit == [lane_max, lane_max]
    assert s.metric(s.worker_ports[0], "botbridge_worker_sessions_begun") == 1
    took = [first_text(q) for q in others]
    print(f"first text beside a flooding user: worst {max(took):.2f} s")
    for q in others:
        assert q.follow(20 * SLOW).final == q.expected
    for q in own[lane_max:]:
        assert q.follow(10 * SLOW).final == s.bot.busy_text
    letters = s.records("dlq", lambda r: own[-1].msgid in r["payload"])
    assert {r["headers"]["bb-reason"] for r in letters} == {"overload"}
    assert not s.llm.calls(own[1].text), "a later question of the lane began early"


@pytest.mark.parametrize("bound", ["lane", "bot"])
def test_what_is_read_again_is_not_too_much(kafka, make_stack, ask, bound):
    """A worker dies while one answer holds up the offset: with what is long over, more records come than may be in hand."""
    most = 12
    s = make_stack(kafka, partitions=1, settings={"worker": {f"{bound}_max_records": most, "drain_ms": 500}})
    slow = ask(s, directives="tokens=250 rate=10")
    slow.send()
    for _ in range(2 * most):
        q = ask(s, user="busy", directives="tokens=2 rate=50")
        q.send()
        assert q.follow(20 * SLOW, every=0.1).final == q.expected
    running, behind = (ask(s, user="busy", directives="tokens=60 rate=10") for _ in range(2))
    first_text(running)
    behind.send()
    s.workers[0].kill()
    s.workers[0].start()
    for q in (running, behind, slow):
        assert q.follow(60 * SLOW).final == q.expected
    assert s.metric(s.worker_ports[0], "botbridge_worker_shed_total") == 0
    asked = [len(s.llm.calls(q.text)) for q in (running, behind)]
    assert asked == [2, 1]
