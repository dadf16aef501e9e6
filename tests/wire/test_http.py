"""The HTTP surface: status codes, limits, smuggling, pipelining, slow clients. The service survives all of it."""
import base64
import json
import os
import socket
import time

import pytest

from wecom import post, request, stream_of, verify_url

LIMIT = 262144


def raw(port, data, seconds=8.0):
    """Sends whatever it can and returns all that came back until the peer closed or was silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as s:
        try:
            s.sendall(data)
        except OSError:
            pass        # an answer that came before the reset is still to be read
        got = b""
        s.settimeout(2.0)
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    return got, True
                got += piece
        except ConnectionError:
            return got, True
        except socket.timeout:
            return got, False


def event(bot):
    return bot.callback({"msgid": os.urandom(8).hex(), "msgtype": "event", "from": {"userid": "u"}, "event": {"eventtype": "enter_chat"}})


@pytest.fixture(autouse=True)
def still_serves(stack):
    yield
    assert verify_url(stack.bot, stack.ports[0]).status == 200


def test_status_codes(stack):
    port = stack.ports[0]
    target, body, _ = event(stack.bot)
    assert request(port, "PUT", target, body).status == 405
    assert request(port, "DELETE", target).status == 405
    assert request(port, "GET", "/wecom/nobody?msg_signature=a&timestamp=1&nonce=1&echostr=a").status == 404
    assert request(port, "POST", target.replace("/wecom/main", "/wecom/nobody"), body).status == 404
    assert request(port, "POST", "/", body).status == 404
    for name in ("msg_signature", "timestamp", "nonce"):
        path, query = target.split("?")
        kept = "&".join(p for p in query.split("&") if not p.startswith(name + "="))
        assert request(port, "POST", f"{path}?{kept}", body).status == 400
    assert request(port, "GET", target).status == 400     # no echostr


@pytest.mark.parametrize("body", [b"", b"\xff\xfe" * 100, b"[1,2]", b'{"a":1}', b'{"encrypt":7}', b'{"encrypt":"abc', b"[" * 20000,
                                  b'{"encrypt":"\xff\xfe"}', b"<xml/>", b"\0" * 500])
def test_garbage_bodies(stack, body):
    target, _, _ = event(stack.bot)
    assert 400 <= request(stack.ports[0], "POST", target, body).status < 500


@pytest.mark.parametrize("plain", [b"hello", b"{}", b"[]", b"", b'{"msgid":"a","msgtype":"text"}', b'{"msgid":"a","msgtype":"stream"}',
                                   b'{"msgid":"\xff","msgtype":"text"}', b'{"msgid":5,"msgtype":["text"],"from":"x"}', b'{"msgid":"' + b"m" * 257 + b'","msgtype":"image"}',
                                   b'{"msgid":"b","msgtype":"text","text":{"content":7}}', b'{"msgid":"c","msgtype":"stream","stream":{"id":7}}'])
def test_garbage_behind_a_good_signature(stack, plain):
    """Answered {} and kept: what no program can read, somebody may still want to see."""
    target, body, nonce = stack.bot.callback(plain)
    reply = request(stack.ports[0], "POST", target, body)
    assert reply.status == 200 and stack.bot.open_reply(reply.body, nonce) == {}
    try:
        raw = json.loads(plain)
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raw = {"base64": base64.b64encode(plain).decode()}
    # kcat cuts a payload at a NUL, and other tests' records are not ours to judge
    found = stack.records("events", lambda r: '"kind":"broken"' in r["payload"] and json.loads(r["payload"])["raw"] == raw)[0]
    value, headers = json.loads(found["payload"]), found["headers"]
    msgid = raw.get("msgid")
    usable = isinstance(msgid, str) and len(msgid) <= 256
    assert headers["ce_type"] == "botbridge.event.v1" and headers["ce_id"] == value["message_id"]
    assert value["message_id"] == msgid if usable else len(value["message_id"]) == 22
    line = next(x for x in stack.ingresses[0].output().splitlines() if headers["bb-stream"] in x)
    assert "broken" in line and 'bot=main' in line and "reason=" in line


def test_question_that_can_never_be_accepted(stack):
    """A key of over 4096 bytes: no "try again", which could never succeed, but an apology and a dead letter."""
    message = {"msgid": "un-" + os.urandom(8).hex(), "msgtype": "text", "from": {"userid": "u" * 5000}, "text": {"content": "unacceptable"}}
    stream = stream_of(post(stack.bot, stack.ports[0], message))
    assert stream["finish"] and stream["content"] == stack.bot.apology_text
    assert stream_of(post(stack.bot, stack.ports[0], message)) == stream     # a repeat, told by the store
    poll = {"msgid": "p", "msgtype": "stream", "from": {"userid": "u"}, "stream": {"id": stream["id"]}}
    assert stream_of(post(stack.bot, stack.ports[0], poll)) == stream
    found = stack.records("dlq", lambda r: message["msgid"] in r["key"])
    assert len(found) == 1 and found[0]["key"] == f"main:m:{message['msgid']}"
    assert found[0]["headers"]["bb-reason"] == "unacceptable" and found[0]["headers"]["bb-stream"] == stream["id"]
    assert json.loads(found[0]["payload"])["raw"] == message
    assert not [r for r in stack.records("requests") if message["msgid"] in r["payload"]]


def test_dead_letter_of_a_question_too_large_is_its_outline(stack):
    """Control characters take six bytes in JSON: 170 kB of them are more than a record holds."""
    message = {"msgid": "big-" + os.urandom(8).hex(), "msgtype": "text", "from": {"userid": "u"}, "text": {"content": "\x01" * 170000}}
    plain = json.dumps(message).replace("\\u0001", "\x01").encode()     # raw inside the string, as WeCom sends them
    target, body, nonce = stack.bot.callback(plain)
    stream = stream_of(stack.bot.open_reply(request(stack.ports[0], "POST", target, body).body, nonce))
    assert stream["finish"] and stream["content"] == stack.bot.apology_text
    found = stack.records("dlq", lambda r: message["msgid"] in r["key"])[0]
    value = json.loads(found["payload"])
    assert value["message_id"] == message["msgid"] and value["text"] == "" and "raw" not in value
    assert found["headers"]["bb-reason"] == "unacceptable"


def test_refusals_cannot_be_told_apart(stack):
    port, bot = stack.ports[0], stack.bot
    frames = {"short": b"\x01" * 10 + bytes([22]) * 22, "pad 0": b"\0" * 32, "pad 33": bytes([33]) * 64,
              "length": os.urandom(16) + b"\xff\xff\xff\xff" + bytes([12]) * 12,
              "receive_id": os.urandom(16) + (1).to_bytes(4, "big") + b"1" + b"ww" + bytes([9]) * 9}
    seen = set()
    for frame in frames.values():
        encrypt = bot.encrypt_frame(frame)
        for signature in (bot.sign("1770000000", "n", encrypt), "0" * 40, "", "x"):
            target = f"{bot.path}?msg_signature={signature}&timestamp=1770000000&nonce=n"
            reply = request(port, "POST", target, json.dumps({"encrypt": encrypt}).encode())
            if signature:
                seen.add((reply.status, reply.body))
            assert 400 <= reply.status < 500
    assert len(seen) == 1 and next(iter(seen))[0] == 401


def test_body_at_the_limit_and_one_more(stack):
    target, body, _ = event(stack.bot)
    assert request(stack.ports[0], "POST", target, body + b" " * (LIMIT - len(body))).status == 200
    for size in (LIMIT + 1, 8 << 20):
        head = f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
        got, _ = raw(stack.ports[0], head + body + b" " * (size - len(body)))
        assert got.startswith(b"HTTP/1.1 413"), (size, got[:60])
    head = f"POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    got, _ = raw(stack.ports[0], head + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 8 + b"0\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 413") or got == b""


@pytest.mark.parametrize("headers", [b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n",
                                     b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n",
                                     b"Content-Length:\r\n %d\r\n", b"Content-Length: 1\r\n 0\r\n", b"Transfer-Encoding:\r\n chunked\r\n",
                                     b"Transfer-Encoding: chunked,\r\n gzip\r\nContent-Length: 5\r\n"])
def test_hidden_requests_are_never_answered(stack, headers):
    target, _, _ = event(stack.bot)
    hidden = f"GET {stack.bot.path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    if b"%d" in headers:
        headers = headers % (5 + len(hidden))
    got, closed = raw(stack.ports[0], f"POST {target} HTTP/1.1\r\nHost: a\r\n".encode() + headers + b"\r\n0\r\n\r\n" + hidden)
    assert closed and got.count(b"HTTP/1.1 ") <= 1
    assert not got or 400 <= int(got.split()[1]) < 502


def test_pipelined_requests_are_answered_in_order(stack, ask):
    """Three polls of three streams in one write, each answered by a store round trip."""
    bot, questions, data = stack.bot, [ask(stack) for _ in range(3)], b""
    nonces = []
    for q in questions:
        q.send()
        q.follow(30)
        target, body, nonce = bot.callback({"msgid": "p", "msgtype": "stream", "from": {"userid": "u"}, "stream": {"id": q.id}})
        data += f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        nonces.append(nonce)
    got, _ = raw(stack.ports[0], data)
    replies = got.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert len(replies) == 3
    for q, nonce, reply in zip(questions, nonces, replies):
        stream = stream_of(bot.open_reply(reply.split(b"\r\n\r\n", 1)[1], nonce))
        assert stream["content"] == q.final


def test_slow_clients_hold_up_nobody(stack):
    idle = [socket.create_connection(("127.0.0.1", stack.ports[0])) for _ in range(200)]
    for s in idle[:100]:
        s.sendall(b"POST /wecom/main HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
    begin = time.monotonic()
    assert verify_url(stack.bot, stack.ports[0]).status == 200
    assert time.monotonic() - begin < 2
    for s in idle:
        s.close()


def test_client_that_leaves_in_the_middle(stack, ask):
    """Gone while its question is being published: the question is accepted all the same, or repeated by the platform."""
    q = ask(stack)
    target, body, _ = stack.bot.callback(q.message)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", stack.ports[0])) as s:
            s.sendall(f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    q.send()
    assert q.follow(30).final == q.expected
    assert len(stack.llm.calls(q.text)) == 1


def test_any_content_type(stack):
    for kind in ("text/plain", "application/xml", ""):
        target, body, nonce = event(stack.bot)
        assert stack.bot.open_reply(request(stack.ports[0], "POST", target, body, {"Content-Type": kind}).body, nonce) == {}


def test_other_kinds_go_to_events_raw(stack):
    for message in ({"msgid": "img-" + os.urandom(6).hex(), "msgtype": "image", "from": {"userid": "u"}, "image": {"url": "https://x.invalid/a"}},
                    {"msgid": "fb-" + os.urandom(6).hex(), "msgtype": "event", "from": {"userid": "u"},
                     "event": {"eventtype": "feedback_event", "feedback_event": {"id": "f", "type": 2}}}):
        assert post(stack.bot, stack.ports[0], message) == {}
        found = stack.records("events", lambda r: message["msgid"] in r["payload"])
        assert json.loads(found[0]["payload"])["raw"] == message
