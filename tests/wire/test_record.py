"""The record between the programs: a CloudEvent in binary mode."""
import json
import re
import subprocess
import time

import pytest

from stack import wait_for
from wecom import stream_id


def test_record_of_a_question(stack, ask):
    q = ask(stack, "问题\u2028第二行", response_url="https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=CODE123")
    stack.note_text("CODE123")
    q.send()
    q.follow(30)
    record = stack.records("requests", lambda r: q.msgid in r["payload"])[0]
    headers, value = record["headers"], json.loads(record["payload"])
    assert headers["ce_specversion"] == "1.0" and headers["content-type"] == "application/json"
    assert headers["ce_id"] == q.msgid and headers["ce_source"] and headers["ce_type"] and headers["ce_subject"]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", headers["ce_time"])
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", headers["traceparent"])
    assert headers["bb-stream"] == value["stream"] == stream_id("main", q.msgid)
    assert headers["bb-deadline"] == str(value["deadline_at"]) and int(headers["bb-start"]) <= value["received_at"] + 1000
    assert 0 < value["deadline_at"] - value["received_at"] <= 360000 and abs(value["received_at"] / 1000 - time.time()) < 120
    assert (value["v"], value["platform"], value["bot"], value["kind"], value["text"]) == (1, "wecom", "main", "text", q.text)
    assert value["sender"]["id"] == q.common["from"]["userid"] and value["conversation"]["type"] == "single"
    assert value["reply"] == {"mode": "stream", "response_url": q.message["response_url"]}
    assert value["raw"] == q.message and value["message_id"] == q.msgid
    everything = json.dumps(record)
    for secret in (stack.bot.token, stack.bot.aes_key, stack.llm_key):
        assert secret not in everything


def test_answer_is_published_for_audit(stack, ask):
    q = ask(stack)
    q.send()
    q.follow(30)
    found = stack.records("events", lambda r: r["headers"].get("ce_type") == "botbridge.answer.v1" and q.msgid in r["payload"])
    assert len(found) == 1 and json.loads(found[0]["payload"])["text"] == q.expected


def produce(stack, value, *headers):
    argv = ["kcat", "-P", "-b", stack.kafka.servers, "-t", f"{stack.prefix}.requests", "-k", "k"]
    subprocess.run(argv + [a for h in headers for a in ("-H", h)], input=value.encode(), check=True, timeout=20)


def test_unreadable_record_is_dead_lettered_and_stops_nothing(stack, ask):
    junk = "junk-" + stack.prefix
    produce(stack, junk)
    letters = stack.records("dlq", lambda r: r["payload"] == junk, 20)
    assert len(letters) == 1 and letters[0]["headers"]["bb-reason"] == "unreadable"
    assert letters[0]["headers"]["bb-error"].startswith("the value is not JSON")
    q = ask(stack)
    q.send()
    assert q.follow(30).final == q.expected


@pytest.mark.parametrize("source", ["ce_source=/botbridge/wecom/main", "ce_source=elsewhere"])
def test_unreadable_record_ends_its_bubble(stack, ask, source):
    """By its headers alone; with the bot's own words where they tell whose it was."""
    q = ask(stack)
    q.id = stream_id(stack.bot.name, q.msgid)
    now = int(time.time() * 1000)
    produce(stack, "junk", f"bb-stream={q.id}", f"bb-start={now}", f"bb-deadline={now + 340_000}", source)
    wait_for("the end", lambda: stack.redis.cmd("HGET", f"bb:{{{q.id}}}:m", "state") == "final")
    q.poll()
    assert q.finish and (q.final == stack.bot.apology_text) == source.endswith("/main")
    q.send()        # whoever asks it again hears the same
