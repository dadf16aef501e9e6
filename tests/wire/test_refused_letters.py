"""What Kafka refuses for good stops no partition: a letter goes as an outline, or is given up aloud; an answer that cannot move to
the late topic is delivered all the same."""
import json

import pytest

from kafka_protocol import Offsets
from receiver import Receiver
from stack import SLOW, wait_for

ALLOWED = {"hosts": ["127.0.0.1"], "allow_http": True, "allow_private": True}
LONG_TEXT = "长" * 3000
LOST = "botbridge_worker_letters_lost_total"


@pytest.fixture
def stack_with(kafka, make_stack):
    """A stack one of whose topics takes no larger records."""
    def make(topic, bot=None, **settings):
        s = make_stack(kafka, partitions=1, bot_settings=bot or {}, settings={"response_url": ALLOWED})
        Offsets(kafka.servers, "", f"{s.prefix}.{topic}", 5).configure(**settings)
        return s
    return make


def wait_committed(stack, topic="requests"):
    group = f"{stack.prefix}.worker" + (".late" if topic == "late" else "")
    offsets = Offsets(stack.kafka.servers, group, f"{stack.prefix}.{topic}", 5)
    wait_for("everything to be committed", lambda: not offsets.lag(), 40 * SLOW, 0.2)


def lost(stack):
    return stack.metric(stack.worker_ports[0], LOST)


@pytest.mark.parametrize("limit", [{"max_message_bytes": 4000}, {"segment_bytes": 4000}])
def test_a_dead_letter_goes_without_the_question(stack_with, ask, limit):
    s = stack_with("dlq", **limit)
    q = ask(s, text=LONG_TEXT, directives="fail=400x9")
    q.send()
    letter, = s.records("dlq", lambda r: r["headers"].get("bb-stream") == q.id, 40 * SLOW)
    assert letter["headers"]["bb-reason"] == "failed" and letter["headers"]["bb-value"] == "dropped" and not letter["payload"]
    wait_committed(s)
    assert lost(s) == 0
    short = ask(s, directives="fail=400x9")
    short.send()
    wait_committed(s)
    whole, = [r for r in s.records("dlq") if r["headers"]["bb-stream"] == short.id]
    assert short.msgid in whole["payload"] and "bb-value" not in whole["headers"]


def test_a_dead_letter_that_never_fits_is_given_up_aloud(stack_with, ask):
    s = stack_with("dlq", max_message_bytes=100)
    q = ask(s, directives="fail=400x9")
    q.send()
    wait_committed(s)
    assert s.records("dlq") == [] and lost(s) == 1
    line, = [x for x in s.workers[0].output().splitlines() if "letter_lost" in x]
    assert q.id in line and "reason=failed" in line and f"topic={s.prefix}.dlq" in line
    assert [json.loads(r["payload"])["outcome"] for r in s.records("events")] == ["apology"]


def test_an_event_goes_without_the_text(stack_with, ask):
    s = stack_with("events", max_message_bytes=4000)
    q = ask(s, directives="size=9000 rate=20000")
    q.send()
    q.follow(30)
    assert q.final == q.expected
    found, = s.records("events", lambda r: True, 40 * SLOW)
    event = json.loads(found["payload"])
    assert event["text"] == "" and event["text_bytes"] == len(q.expected.encode()) and event["outcome"] == "done"
    wait_committed(s)
    assert lost(s) == 0


def test_a_letter_does_not_pay_for_its_neighbours(stack_with, ask):
    """Kafka judges the size of a batch, and letters that are written at one moment are one: those that fit each are not refused
    because they do not fit together, nor with the one that is too large itself."""
    s = stack_with("dlq", max_message_bytes=90_000)
    questions = [ask(s, text="短" * 1500, directives="fail=400x9", user=f"u{i}") for i in range(24)]
    questions.insert(12, ask(s, text="长" * 20000, directives="fail=400x9", user="long"))
    s.workers[0].terminate()
    for q in questions:
        q.send()
    s.workers[0].start()
    wait_committed(s)
    letters = s.records("dlq")
    assert len(letters) == len(questions)
    assert [r["headers"]["bb-stream"] for r in letters if "bb-value" in r["headers"]] == [questions[12].id]
    assert s.workers[0].output().count("letter_refused") == 3


def test_an_answer_that_cannot_move_is_delivered(stack_with, ask):
    receiver = Receiver().start()
    try:
        s = stack_with("late", {"stream_deadline_ms": 7000, "handover_margin_ms": 3000}, max_message_bytes=100)
        code = s.note_text(receiver.code())
        q = ask(s, directives="tokens=90 rate=10", response_url=receiver.url(code))
        q.send()
        wait_for("the answer", lambda: receiver.uses(code), 60 * SLOW)
        assert receiver.texts(code) == [q.expected] and len(receiver.uses(code)) == 1
        wait_committed(s)
        assert s.records("late") == [] and s.workers[0].output().count("not_moved") == 3
    finally:
        receiver.stop()
