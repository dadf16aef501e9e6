"""While nobody can be reached behind a response_url, neither lane nor offset waits; what is owed to the user is kept, and sent once."""
import json
import subprocess
import time

import pytest

from kafka_protocol import Offsets
from receiver import Receiver
from stack import SLOW, free_ports, wait_for

SETTINGS = {"response_url": {"hosts": ["127.0.0.1"], "allow_http": True, "allow_private": True, "timeout_ms": 2000}, "worker": {"shown_wait_ms": 500}}


@pytest.fixture
def away():
    """A receiver that is not there before its start()."""
    r = Receiver(free_ports(1)[0])
    yield r
    r.stop()
    assert not r.wrong


@pytest.fixture
def stack(kafka, make_stack):
    return make_stack(kafka, partitions=1, settings=SETTINGS)


@pytest.fixture
def asked(stack, ask, away):
    q = ask(stack, directives="tokens=5", response_url=away.url("x"))
    q.code = stack.note_text(away.code())
    q.message["response_url"] = away.url(q.code)
    q.send()
    return q


def wait_committed(stack, topic):
    group = f"{stack.prefix}.worker" + (".late" if topic == "late" else "")
    offsets = Offsets(stack.kafka.servers, group, f"{stack.prefix}.{topic}", 5)
    wait_for(f"all of {topic} to be committed", lambda: offsets.ends() == {0: 0} or offsets.committed() == offsets.ends(), 60 * SLOW, 0.2)


def late_offset(stack):
    return Offsets(stack.kafka.servers, f"{stack.prefix}.worker.late", f"{stack.prefix}.late", 5).committed().get(0, 0)


def copies(stack, q):
    return [r for r in stack.records("late") if q.msgid in r["payload"]]


def check_sent_once(stack, q, away):
    assert away.texts(q.code) == [] and late_offset(stack) == 0
    away.start()
    wait_for("the message", lambda: away.uses(q.code), 60 * SLOW)
    wait_committed(stack, "late")
    assert away.uses(q.code) == [q.expected]
    event, = [json.loads(r["payload"]) for r in stack.records("events") if q.msgid in r["payload"]]
    assert event["response_url"] == {"sent": "end", "outcome": "accepted", "code": 0}
    assert stack.records("dlq") == [] and len(stack.llm.calls(q.text)) == 1
    q.poll()
    assert q.final == q.expected


def test_the_offset_goes_on(stack, asked, away, ask):
    wait_for("the copy", lambda: copies(stack, asked), 30 * SLOW)
    wait_committed(stack, "requests")
    behind = ask(stack, directives="tokens=3")
    behind.send()
    assert behind.follow(20).final == behind.expected
    wait_committed(stack, "requests")
    check_sent_once(stack, asked, away)
    assert len(copies(stack, asked)) == 1


def test_the_lane_has_room(kafka, make_stack, ask, away):
    """What waits for nobody but a response_url is not in its user's way."""
    stack = make_stack(kafka, partitions=1, settings={**SETTINGS, "worker": {**SETTINGS["worker"], "lane_max_records": 2}})
    for i in range(2):
        q = ask(stack, directives="tokens=3", user="one", response_url=away.url(f"c{i}"))
        q.send()
        wait_for("the copy", lambda: copies(stack, q), 30 * SLOW)
    behind = ask(stack, directives="tokens=3", user="one")
    behind.send()
    assert behind.follow(20).final == behind.expected


def test_killed_meanwhile(stack, asked, away):
    wait_for("the copy", lambda: copies(stack, asked), 30 * SLOW)
    wait_committed(stack, "requests")
    stack.workers[0].kill()
    stack.workers[0].start()
    wait_for("another try", lambda: f"response_url_unsent stream={asked.id}" in stack.workers[0].output(), 30 * SLOW)
    check_sent_once(stack, asked, away)


def test_drained_meanwhile(stack, asked, away):
    wait_for("the copy", lambda: copies(stack, asked), 30 * SLOW)
    begin = time.monotonic()
    assert stack.workers[0].terminate() == 0
    assert time.monotonic() - begin < 10 * SLOW, "the drain waited for who is away"
    stack.workers[0].start()
    wait_committed(stack, "requests")
    check_sent_once(stack, asked, away)


def test_a_second_record_does_not_wait_either(stack, asked, away):
    """As two ingresses write it for a repeated callback."""
    record, = stack.records("requests", lambda r: asked.msgid in r["payload"])
    argv = ["kcat", "-P", "-b", stack.kafka.servers, "-t", f"{stack.prefix}.requests", "-p", "0", "-k", record["key"]]
    for name, content in record["headers"].items():
        argv += ["-H", f"{name}={content}"]
    wait_for("the copy", lambda: copies(stack, asked), 30 * SLOW)
    subprocess.run(argv, input=record["payload"].encode(), check=True, timeout=20)
    wait_for("both", lambda: len(stack.records("requests")) == 2)
    wait_committed(stack, "requests")
    check_sent_once(stack, asked, away)
