"""Fixtures. BOTBRIDGE_BUILD chooses the preset; BOTBRIDGE_TEST_KAFKA a running broker that tests share, each with topics
of its own (without it the session starts one)."""
import os
import secrets
import tempfile
from contextlib import ExitStack

import pytest

from stack import Kafka, Stack, serving
from wecom import Question


@pytest.fixture(scope="session")
def kafka():
    """A broker for tests that only talk to it."""
    if os.environ.get("BOTBRIDGE_TEST_KAFKA"):
        yield Kafka.shared()
        return
    with tempfile.TemporaryDirectory(prefix="botbridge-kafka-") as d:
        k = Kafka(d).start()
        yield k
        k.stop()


@pytest.fixture
def own_kafka():
    """A broker for tests that freeze or stop it."""
    with tempfile.TemporaryDirectory(prefix="botbridge-kafka-") as d:
        k = Kafka(d).start()
        yield k
        k.stop()


@pytest.fixture
def make_stack():
    with ExitStack() as made:
        yield lambda kafka, **kw: made.enter_context(serving(Stack(kafka, **kw)))


@pytest.fixture(scope="module")
def stack(kafka):
    """Two ingresses and a worker, shared by the tests of one file."""
    with serving(Stack(kafka, ingresses=2)) as s:
        yield s


@pytest.fixture
def ask():
    """ask(stack, "text {tokens=…}") → a Question with a unique text, its answer in .expected; nothing sent yet."""
    def new(stack, text="你好", directives="", **kw):
        unique = "q" + secrets.token_hex(6)
        stack.note_text(unique)
        full = f"{text} {unique}" + (f" {{{directives}}}" if directives else "")
        q = Question(kw.pop("bot", stack.bot), kw.pop("ports", stack.ports), full, **kw)
        q.expected = stack.llm.answer(full)
        if len(q.expected) > 40:
            stack.note_text(q.expected[:24])
        return q
    return new
