"""What happens at the bounds: too much of one bot, a pipeline that fails, one that is full."""
import re
import socket
import threading
import time

import pytest

from stack import ROOT, SLOW, Stack, serving, wait_for
from wecom import Bot, request

LIMIT = 4


@pytest.fixture(scope="module")
def stack(kafka):
    s = Stack(kafka, bots=[Bot("flood"), Bot("calm"), Bot("fragile")],
              settings={"worker": {"bot_max_records": LIMIT}}, partitions=1,
              pipelines={"main": {"type": "openai", "url": "${LLM_URL}", "model": "m", "api_key": "${LLM_KEY}", "concurrency": 6,
                                  "breaker_failures": 3, "breaker_open_ms": 3000}})
    with serving(s):
        yield s


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


def test_full_window(kafka, make_stack, ask):
    """As many as are configured, which is no multiple of anything; the rest waits in Kafka and is answered later."""
    window = 17
    s = make_stack(kafka, partitions=1, settings={"worker": {"window_records": window}})
    first = ask(s, directives="tokens=300 rate=10")
    first.send()
    first.follow(20, until=lambda text: text != s.bot.placeholder)
    rest = [ask(s, directives="tokens=5 rate=50") for _ in range(window + 3)]
    for q in rest:
        q.send()

    def in_window(suffix=""):
        return s.metric(s.worker_ports[0], f'botbridge_bus_window_records{suffix}{{topic="{s.prefix}.requests"}}')
    wait_for("the window to be full", lambda: in_window() == window)
    assert in_window("_limit") == window
    for q in rest[:window - 1]:     # done behind the oldest: the window stays where it is
        assert q.follow(15 * SLOW).final == q.expected
    first.poll()
    rest[-1].poll()
    assert not first.finish, "the oldest was over too early for this test"
    assert rest[-1].shown[-1] == s.bot.placeholder and in_window() == window
    for q in (first, *rest):
        assert q.follow(30 * SLOW).final == q.expected


def test_store_that_takes_few_operations_at_once(kafka, make_stack, ask):
    """More answers than operations may be under way, of a worker and of an ingress; the store stands still for a moment."""
    few, answers = 16, 60
    s = make_stack(kafka, settings={"store": {"max_outstanding": few}})
    ports = (s.admin_ports[0], s.worker_ports[0])
    questions = [ask(s, directives="tokens=80 rate=10", may_go_back=True) for _ in range(answers)]
    wrong = []

    def play(q):
        try:
            q.send()
            q.follow(60 * SLOW, every=0.5)
            assert q.final == q.expected, q.final[-60:]
        except Exception as e:      # noqa: BLE001 - told by the test's own thread
            wrong.append(repr(e))
    users = [threading.Thread(target=play, args=(q,)) for q in questions]
    for u in users:
        u.start()
    wait_for("all to run", lambda: s.metric(ports[1], 'botbridge_worker_sessions{state="running"}') == answers, 30)
    s.redis.process.freeze()
    try:
        for port in ports:
            wait_for("the bound", lambda: s.metric(port, "botbridge_store_outstanding") == few, 5)
            assert s.metric(port, "botbridge_store_outstanding_limit") == few
            wait_for("one more", lambda: s.metric(port, 'botbridge_store_operations_total{outcome="unavailable"}') > 0, 5)
    finally:
        s.redis.process.thaw()
    for u in users:
        u.join()
    assert not wrong, wrong[:3]


def test_connections_that_say_nothing(kafka, make_stack, ask):
    """Or not all: they are closed when idle, and who waited gets in."""
    most, idle_ms = 16, 3000
    s = make_stack(kafka, settings={"ingress": {"max_connections": most, "idle_timeout_ms": idle_ms}})
    port = s.admin_ports[0]

    def used():
        return s.metric(port, "botbridge_http_open_connections")
    silent = [socket.create_connection(("127.0.0.1", s.ports[0])) for _ in range(most)]
    for one in silent[::2]:
        one.sendall(b"POST /wecom/main?msg_signature=x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    wait_for("the bound", lambda: used() == most)
    assert s.metric(port, "botbridge_http_open_connections_limit") == most
    q = ask(s)
    begin = time.monotonic()
    q.send()
    assert time.monotonic() - begin > idle_ms / 1000 - 1.5, "there was room"
    assert used() < most
    assert q.follow(20).final == q.expected
    for one in silent:
        one.close()


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


def test_place_in_the_lane(kafka, make_stack, ask):
    """Behind one's own earlier questions, which nobody else waits for; a next worker goes on telling it."""
    bot = Bot("main", queue_text="前面还有 {n} 条消息")
    s = make_stack(kafka, bots=[bot], partitions=1, settings={"worker": {"lease_ms": 3000}})
    first, second, third = (ask(s, directives="tokens=60 rate=10", user="one") for _ in range(3))
    for q in (first, second, third):
        q.send()
    other = ask(s, user="another")
    other.send()
    assert other.follow(20).final == other.expected
    third.follow(20, until=lambda text: text == "前面还有 2 条消息")
    second.follow(20, until=lambda text: text == "前面还有 1 条消息")
    s.workers[0].kill()
    s.workers[0].start()
    third.follow(60 * SLOW, until=lambda text: text == "前面还有 1 条消息")
    for q in (first, second, third):
        assert q.follow(60 * SLOW, every=0.2).final == q.expected
    for q in (second, third):
        assert all(text == bot.placeholder or text.startswith("前面还有 ") or q.expected.startswith(text) for text in q.shown)
    assert not any(text.startswith("前面还有 ") for text in first.shown + other.shown)


def bounds_of(stack, port):
    text = request(port, "GET", "/metrics").body.decode()
    return set(re.findall(r"^(botbridge_\w+)_limit(?:\{.*\})? \d+$", text, re.M))


def test_every_bound_is_exported_beside_its_limit(stack, ask):
    """And deploy/BOUNDS.md names all of them."""
    worker = stack.worker_ports[0]
    q = ask(stack, bot=stack.bots[1], directives="tokens=20 rate=10")
    q.send()
    wait_for("bytes in hand", lambda: stack.metric(worker, "botbridge_bus_total_bytes") > 0)
    assert q.follow(20).final == q.expected
    parts = dict(re.findall(r"^## (worker|ingress|both)\n(.*?)(?=^## )", (ROOT / "deploy/BOUNDS.md").read_text(), re.M | re.S))
    named = {part: set(re.findall(r"`(botbridge_\w+)`", "".join(row.split("|")[2] for row in text.splitlines() if row.startswith("|"))))
             for part, text in parts.items()}
    keys = set(re.findall(r"^\| `(\w+)`", (ROOT / "deploy/CONFIGURATION.md").read_text(), re.M))
    for text in parts.values():
        for row in re.findall(r"^\| (.*?`.*?) \|", text, re.M):
            assert {k.split(".")[-1] for k in re.findall(r"`([\w.]+)`", row)} <= keys, row
    for kind, port in (("worker", worker), ("ingress", stack.admin_ports[0])):
        assert bounds_of(stack, port) == named[kind] | named["both"]
        for name in bounds_of(stack, port):
            used, limit = (stack.metric(port, name + suffix) for suffix in ("", "_limit"))
            assert 0 <= used <= limit and limit > 0, name
    for name in ("worker_event_bytes", "worker_response_bytes", "fetch_connections", "worker_finals"):
        assert stack.metric(worker, f"botbridge_{name}") > 0, name


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
