"""Redis stopped, frozen, back and empty: polls stay 200, answers become whole."""
import threading
import time

import pytest

from stack import SLOW, Redis, wait_for
from wecom import stream_id


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


def test_a_failover_that_took_the_data_away(kafka, make_stack, ask, tmp_path):
    """A replica of an empty server for a moment: the run is the same afterwards, what it held is gone."""
    s = make_stack(kafka)
    running = ask(s, directives="tokens=20 rate=20 delay=4000", may_go_back=True)
    answered = ask(s)
    for q in (running, answered):
        q.send()
    wait_for("an end that nobody polled", lambda: s.redis.cmd("HGET", f"bb:{{{answered.id}}}:m", "state") == "final")
    empty = Redis(tmp_path).start()
    try:
        s.redis.cmd("REPLICAOF", "127.0.0.1", empty.port)
        wait_for("the copy", lambda: "master_link_status:up" in s.redis.cmd("INFO", "replication"))
        wait_for("the worker to notice", lambda: "read-only replica" in s.workers[0].output())
        s.redis.cmd("REPLICAOF", "NO", "ONE")
        assert answered.follow(10 * SLOW).final == answered.expected
        assert running.follow(30 * SLOW).final == running.expected
    finally:
        empty.process.kill()


@pytest.mark.parametrize("how", ["emptied", "keys deleted"])
def test_a_server_that_is_emptied_and_goes_on(kafka, make_stack, ask, how):
    """Nobody is told by a lost connection: an answer that grows, one whose model is silent, and one that has ended
    are right again within seconds, asked from an ingress that never saw them."""
    s = make_stack(kafka, ingresses=2, pipelines={"main": {"type": "openai", "url": "${LLM_URL}", "model": "m", "api_key": "${LLM_KEY}",
                                                           "gap_timeout_ms": 12000}})
    growing = ask(s, directives="tokens=120 rate=10", ports=[s.ports[0]], may_go_back=True)
    silent = ask(s, directives="tokens=20 rate=20 hang=10", ports=[s.ports[0]], may_go_back=True)
    ended = ask(s, directives="tokens=10", may_go_back=True)
    for q in (growing, silent, ended):
        q.send()
    for q in (growing, silent):
        q.follow(20 * SLOW, until=lambda text, q=q: len(q.texts()) >= 1)

    def record(q, key):
        return s.redis.cmd("HGET", f"bb:{{{q.id}}}:m", "state") if key == "m" else s.redis.cmd("GET", f"bb:{{{q.id}}}:t")
    wait_for("an end that nobody polled", lambda: record(ended, "m") == "final" and record(ended, "t") == ended.expected)
    time.sleep(1)       # the silent one has come to its silence
    before = record(silent, "t")
    assert before and before != silent.expected
    if how == "emptied":
        s.redis.cmd("FLUSHALL")
        wait_for("the end to be written again", lambda: record(ended, "t") == ended.expected, 4 * SLOW)
    else:
        for q in (growing, silent):
            s.redis.cmd("DEL", f"bb:{{{q.id}}}:m", f"bb:{{{q.id}}}:t")
    wait_for("the silent one's text", lambda: record(silent, "t") == before, 5 * SLOW)
    for q in (growing, silent, ended):
        q.ports = [s.ports[1]]
        q.follow(60 * SLOW)
    assert (growing.final, ended.final) == (growing.expected, ended.expected)
    assert silent.final.startswith(before) and silent.final.endswith(s.bot.apology_text)


def test_streams_end_without_a_store(kafka, make_stack, ask):
    s = make_stack(kafka, workers=0, bot_settings={"stream_deadline_ms": 8000, "handover_margin_ms": 2000},
                   settings={"ingress": {"unknown_ms": 3000}})
    s.redis.process.kill()
    q = ask(s)
    assert not q.send()["finish"]
    q.follow(8 + 6 * SLOW, every=0.5)
    assert q.final == s.bot.notice_text
    unheard = ask(s)    # whether anybody knows it, only the store can say: it has its whole time
    unheard.id, unheard.begin = "nobody-gave-this-out", 0
    unheard.poll()
    assert unheard.shown == [s.bot.placeholder]
    assert unheard.follow(8 + 6 * SLOW, every=0.5).final == s.bot.notice_text


def test_polls_at_an_ingress_that_never_heard_of_the_question(kafka, make_stack, ask):
    """The store is away for longer than an unknown stream lasts: the answer comes all the same, in the same bubble."""
    s = make_stack(kafka, ingresses=2, settings={"ingress": {"unknown_ms": 1000, "poll_hold_ms": 200}})
    s.redis.process.kill()
    q = ask(s)
    assert not q.send(s.ports[0])["finish"]
    q.ports = [s.ports[1]]
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert not q.poll()["finish"]
    s.redis.start()
    assert q.follow(30 * SLOW).final == q.expected


def test_a_question_of_the_outage_is_known_to_all_when_it_is_over(kafka, make_stack, ask):
    """Who took it tells the store at once, without a poll, and may die then: the others do not call it lost."""
    s = make_stack(kafka, ingresses=2, settings={"ingress": {"unknown_ms": 2000}})
    s.workers[0].terminate()
    s.redis.process.kill()
    q = ask(s, ports=[s.ports[1]])
    assert not q.send(s.ports[0])["finish"]
    assert s.metric(s.admin_ports[0], "botbridge_ingress_owed_opens") == 1
    s.redis.start()
    wait_for("the stream to be open", lambda: s.redis.cmd("HGET", f"bb:{{{q.id}}}:m", "state") == "open", 20 * SLOW)
    s.ingresses[0].kill()
    end = time.monotonic() + 3
    q.follow(10, until=lambda text: time.monotonic() > end)
    assert not q.finish
    s.workers[0].start()
    assert q.follow(40 * SLOW).final == q.expected


def test_who_waits_in_a_lane_is_known_when_everybody_else_has_forgotten(kafka, make_stack, ask):
    """All programs and the store begin anew, and its turn is further away than an unknown id has."""
    s = make_stack(kafka, settings={"ingress": {"unknown_ms": 3000}})
    first = ask(s, directives="tokens=80 rate=10", user="one", may_go_back=True)
    second = ask(s, user="one")
    for q in (first, second):
        q.send()
    first.follow(20 * SLOW, until=lambda text: len(first.texts()) >= 2)
    for p in s.programs:
        p.kill()
    s.redis.process.kill()
    s.redis.start()
    for p in s.programs:
        p.start()
    both = [threading.Thread(target=q.follow, args=(60 * SLOW,)) for q in (first, second)]
    for t in both:
        t.start()
    for t in both:
        t.join()
    assert (first.final, second.final) == (first.expected, second.expected)


def test_an_end_that_the_store_forgot_stays_an_end(kafka, make_stack, ask):
    s = make_stack(kafka)
    q = ask(s)
    q.send()
    assert q.follow(30).final == q.expected
    key = f"bb:{{{q.id}}}:"
    s.redis.cmd("HSET", key + "m", "state", "run", "by", "", "reason", "")
    s.redis.cmd("DEL", key + "t")
    q.poll()        # raises when the finished bubble changes


def test_an_end_told_while_its_question_is_produced_stays(own_kafka, make_stack, ask):
    """A poll, which needs the id alone, ends the bubble by the clock before Kafka's acknowledgement is given up."""
    s = make_stack(own_kafka, workers=0, bot_settings={"stream_deadline_ms": 1500, "handover_margin_ms": 500},
                   settings={"ingress": {"poll_hold_ms": 100, "publish_budget_ms": 3000}})
    q = ask(s)
    q.id = stream_id(s.bot.name, q.msgid)
    s.redis.process.kill()
    own_kafka.freeze()
    try:
        replies = []
        sent = threading.Thread(target=lambda: replies.append(q.send()))
        sent.start()
        assert q.follow(8 * SLOW, every=0.1).final == s.bot.notice_text
        assert not replies, "the question was answered before its bubble ended"
        sent.join()
        assert [r["content"] for r in replies] == [s.bot.notice_text]
        q.poll()
    finally:
        own_kafka.thaw()
    s.redis.start()
    wait_for("the end to be written", lambda: s.redis.cmd("HGET", f"bb:{{{q.id}}}:m", "reason") == "deadline")
    assert q.poll()["content"] == s.bot.notice_text
