"""kill -9 of a worker in mid-answer: another one finishes in the same bubble."""
from stack import SLOW


def test_second_worker_finishes_in_the_same_bubble(kafka, make_stack, ask):
    s = make_stack(kafka, workers=2)
    q = ask(s, directives="tokens=60 rate=10")
    q.send()
    q.follow(20, until=lambda text: len(text) > 60)
    holder = max(range(2), key=lambda i: s.metric(s.worker_ports[i], "botbridge_worker_sessions"))
    assert s.metric(s.worker_ports[holder], "botbridge_worker_sessions") == 1
    shown = q.shown[-1]
    s.workers[holder].kill()
    q.follow(60 * SLOW)
    assert q.final == q.expected and q.expected.startswith(shown)
    assert len(s.llm.calls(q.text)) == 2
    s.workers[holder].start()


def test_drained_worker_hands_over_within_a_second(kafka, make_stack, ask):
    s = make_stack(kafka, workers=2, settings={"worker": {"drain_ms": 1000}})
    q = ask(s, directives="tokens=60 rate=10")
    q.send()
    q.follow(20, until=lambda text: len(text) > 60)
    holder = max(range(2), key=lambda i: s.metric(s.worker_ports[i], "botbridge_worker_sessions"))
    assert s.workers[holder].terminate() == 0
    q.follow(40 * SLOW)
    assert q.final == q.expected
