"""A draining ingress takes leave of every request it has read, however late in the drain that was: with the answer, or with
503 when it came in the last milliseconds. What it leaves behind is told by the sanitizer's exit code."""
import secrets
import signal
import socket
import time

# Just after the two seconds in which it still accepts, when nothing is open and it is about to end.
BEGIN_S, APART_S = 2.024, 0.0005


def test_requests_at_the_very_end(kafka, make_stack, ask):
    s = make_stack(kafka, workers=0)
    q = ask(s)
    q.send()
    s.redis.process.freeze()    # each poll waits two seconds for the store, so that the drain meets it under way
    sockets = [socket.create_connection(("127.0.0.1", s.ports[0]), timeout=8) for _ in range(25)]
    time.sleep(0.3)             # accepted by then
    ingress = s.ingresses[0]
    ingress.signal(signal.SIGTERM)
    begin, sent = time.monotonic(), []
    for i, sock in enumerate(sockets):
        time.sleep(max(0.0, begin + BEGIN_S + i * APART_S - time.monotonic()))
        target, body, nonce = s.bot.callback({"msgid": secrets.token_hex(16), **q.common, "msgtype": "stream", "stream": {"id": q.id}})
        try:
            sock.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            sent.append((sock, nonce))
        except OSError:
            pass
    for sock, nonce in sent:
        got = b""
        try:
            while piece := sock.recv(65536):
                got += piece
        except OSError:
            pass
        if got:     # else it came too late and was not read
            assert got.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 503 ")), got[:200]
            if got.startswith(b"HTTP/1.1 200 "):
                s.bot.open_reply(got.split(b"\r\n\r\n", 1)[1], nonce)
    assert ingress.popen.wait(12) == 0
    ingress.popen = None
