"""Polls for streams that nobody gave out, or that belong to another bot."""
import secrets
import time

import pytest

from wecom import Question, post, stream_id, stream_of

UNKNOWN_MS = 4000


@pytest.fixture(scope="module")
def stack(kafka):
    from stack import Stack
    s = Stack(kafka, ingresses=2, settings={"ingress": {"unknown_ms": UNKNOWN_MS}}).start()
    yield s
    assert not s.close()


@pytest.mark.parametrize("sid", ["0123456789abcdef012345", "b1-7f3a", "x" * 64])
def test_unknown_stream_gets_placeholder_then_ends(stack, sid):
    q = Question(stack.bot, stack.ports, "")
    q.id, q.begin = sid, time.monotonic()
    q.poll()
    assert q.shown == [stack.bot.placeholder]
    q.follow(UNKNOWN_MS / 1000 + 4)
    assert q.final == stack.bot.lost_text
    assert q.seconds >= UNKNOWN_MS / 1000 - 0.5
    q.poll()


def test_malformed_ids_are_answered_without_harm(stack):
    for sid in ("", "a" * 300, "../x", "mit leer", "中", "a\nb"):
        message = {"msgid": secrets.token_hex(8), "msgtype": "stream", "from": {"userid": "u"}, "stream": {"id": sid}}
        assert post(stack.bot, stack.ports[0], message) == {}


def test_another_bots_poll_sees_nothing(stack, ask):
    q = ask(stack, directives="tokens=30 rate=15")
    q.send()
    q.follow(30, until=lambda text: len(text) > 30)
    other = stack.bots[1]
    foreign = {"msgid": "x", "msgtype": "stream", "from": {"userid": "u"}, "stream": {"id": q.id}}
    for port in stack.ports:
        s = stream_of(post(other, port, foreign))
        assert s["id"] == q.id and s["content"] == other.placeholder
    assert q.follow(30).final == q.expected
    assert stream_of(post(other, stack.ports[0], foreign))["content"] in (other.placeholder, other.lost_text)
    q.poll()


def test_poll_before_its_question_does_not_spoil_it(stack, ask):
    q = ask(stack)
    sid = stream_id(stack.bot.name, q.msgid)
    early = {"msgid": "y", "msgtype": "stream", "from": {"userid": "u"}, "stream": {"id": sid}}
    for bot in stack.bots:
        assert stream_of(post(bot, stack.ports[0], early))["content"] == bot.placeholder
    q.send()
    assert q.follow(30).final == q.expected
