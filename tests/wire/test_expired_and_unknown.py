"""Records that are not run: too old, or of a bot that nobody knows. None of them stops its partition."""
import json
import secrets
import signal
import subprocess
import time

import pytest

from stack import SLOW, Stack, serving, wait_for
from wecom import Bot, stream_id

UNKNOWN_S = 60


@pytest.fixture(scope="module")
def stack(kafka):
    """One partition; the worker does not know the bot "late" yet, the ingress does."""
    with serving(Stack(kafka, bots=[Bot("main"), Bot("late")], partitions=1)) as s:
        config = s.config("worker")
        config["bots"] = config["bots"][:1]
        reload(s, config)
        yield s


def reload(stack, config=None):
    worker = stack.workers[0]
    before = worker.output().count("reloaded")
    stack.write_config("worker", 0, config)
    worker.signal(signal.SIGHUP)
    wait_for("the reload", lambda: worker.output().count("reloaded") > before)


def produce(stack, bot, start_at, deadline_at, text="旧问题"):
    """A record as an ingress would have written it; its message id."""
    msgid = secrets.token_hex(16)
    value = {"v": 1, "platform": "wecom", "bot": bot, "message_id": msgid, "stream": stream_id(bot, msgid), "kind": "text",
             "conversation": {"id": f"{bot}\nu1", "type": "single", "chat_id": ""}, "sender": {"id": "u1"},
             "received_at": start_at, "deadline_at": deadline_at, "text": text, "reply": {"mode": "stream"}, "raw": {}}
    headers = {"ce_specversion": "1.0", "ce_id": msgid, "ce_type": "botbridge.request.v1", "content-type": "application/json",
               "bb-stream": value["stream"], "bb-start": start_at, "bb-deadline": deadline_at}
    argv = ["kcat", "-P", "-b", stack.kafka.servers, "-t", f"{stack.prefix}.requests", "-k", value["conversation"]["id"]]
    for name, content in headers.items():
        argv += ["-H", f"{name}={content}"]
    subprocess.run(argv, input=json.dumps(value, ensure_ascii=False).encode(), check=True, timeout=20)
    return msgid


def reason_of(stack, msgid, seconds):
    letters = stack.records("dlq", lambda r: msgid in r["payload"], seconds)
    assert len([r for r in letters if msgid in r["payload"]]) == 1
    assert letters[0]["headers"]["bb-error"]
    return letters[0]["headers"]["bb-reason"]


def answered(stack, ask):
    q = ask(stack)
    q.send()
    assert q.follow(30).final == q.expected


def test_expired(stack, ask):
    now = int(time.time() * 1000)
    text = "旧问题" + secrets.token_hex(6)
    msgid = produce(stack, "main", now - 3600_000, now - 3600_000 + 340_000, stack.note_text(text))
    assert reason_of(stack, msgid, 20) == "expired"
    assert not stack.llm.calls(text)
    q = ask(stack)
    q.id = stream_id("main", msgid)
    q.poll()
    assert q.final == stack.bot.notice_text
    answered(stack, ask)


def test_unknown_bot(stack, ask):
    now = int(time.time() * 1000)
    began = time.monotonic()
    never = produce(stack, "never", now, now + 340_000)
    q = ask(stack, bot=stack.bots[1])
    q.send()
    wait_for("both to wait", lambda: stack.workers[0].output().count("unknown_bot") >= 2)
    answered(stack, ask)
    reload(stack)
    assert q.follow(20).final == q.expected
    assert reason_of(stack, never, UNKNOWN_S + 20 * SLOW) == "unknown_bot"
    assert time.monotonic() - began >= UNKNOWN_S - 1
    answered(stack, ask)
