"""Accepted means durable, with the broker frozen and with ingress killed."""
import threading
import time

from stack import SLOW, wait_for
from wecom import Broken


def test_frozen_broker_gives_busy_inside_five_seconds_and_recovers(own_kafka, make_stack, ask):
    s = make_stack(own_kafka)
    warm = ask(s)
    warm.send()
    assert warm.follow(30).final == warm.expected
    running = ask(s, directives="tokens=80 rate=8")
    running.send()
    running.follow(15, until=lambda text: text != s.bot.placeholder)

    questions = [ask(s) for _ in range(6)]
    own_kafka.freeze()
    try:
        threads = [threading.Thread(target=q.send) for q in questions]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        own_kafka.thaw()
    for q in questions:
        assert q.shown, "no answer within the platform's 5 s"
        assert q.finish and q.final == s.bot.busy_text
    assert running.follow(40).final == running.expected, "an answer that ran when the broker froze"

    end = time.monotonic() + 40
    while True:
        again = ask(s)
        if not again.send()["finish"]:
            break
        assert time.monotonic() < end, "no new question accepted within 40 s after the broker came back"
    assert again.follow(40).final == again.expected
    for q in questions:     # a record that landed late has changed nothing that the user saw
        q.poll()
        assert q.final == s.bot.busy_text


def test_full_queue_gives_busy_at_once(own_kafka, make_stack, ask):
    s = make_stack(own_kafka, settings={"ingress": {"queue_messages": 1}})
    warm = ask(s)
    warm.send()
    assert warm.follow(30).final == warm.expected
    port = s.admin_ports[0]
    waits, over = ask(s), ask(s)
    own_kafka.freeze()
    try:
        sending = threading.Thread(target=waits.send)
        sending.start()
        queue = [f"botbridge_bus_producer_queue_messages{suffix}" for suffix in ("", "_limit")]
        wait_for("the queue to be full", lambda: [s.metric(port, name) for name in queue] == [1, 1])
        begun = time.monotonic()
        over.send()
        assert over.finish and over.final == s.bot.busy_text
        assert time.monotonic() - begun < 1 * SLOW, "waited for a place in the queue"
        assert s.metric(port, "botbridge_bus_queue_full_total") == 1
        sending.join()
    finally:
        own_kafka.thaw()
    assert waits.finish and waits.final == s.bot.busy_text


def test_what_a_killed_ingress_accepted_is_answered(kafka, make_stack, ask):
    s = make_stack(kafka, ingresses=2)
    accepted = []
    for _ in range(5):
        q = ask(s, ports=[s.ports[0]])
        q.send()
        accepted.append(q)
    s.ingresses[0].kill()
    for q in accepted:
        q.ports = [s.ports[1]]
        assert not q.shown[0] == s.bot.busy_text
        assert q.follow(40).final == q.expected
    dead = ask(s, ports=[s.ports[0]])
    try:
        dead.send()
    except (OSError, Broken):
        pass
    s.ingresses[0].start()
    back = ask(s, ports=[s.ports[0]])
    back.send()
    assert back.follow(30).final == back.expected
