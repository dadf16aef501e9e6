"""Requests, streams and expected answers; the platform's side comes from tests/wire, so that botbridge's own
codec is not checked against itself."""
import multiprocessing
import os
import random
import secrets
import socket
from pathlib import Path

from bosshi_app import App
from wecom import Broken, post, stream_id, stream_of

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "common" / "store" / "scripts"
SENTENCE = ("## 汇总\n根据昨天的周报,项目“北斗”已经完成了百分之八十,剩余的工作集中在接口联调与压力测试。\n"
            "- **进度**:按期,ETA 11-22\n- 风险:\"依赖方\"尚未确认上线时间 😀\n")
AIBOT = "aib0000000000000000000000001"
NUMBER = 7              # "000123 " before the body
HOURS_2 = 7200000
CLOSE = "Connection: close\r\n"


def body_of(size):
    """Markdown in Chinese that fills an answer of `size` bytes together with its number."""
    text = (SENTENCE * (size // len(SENTENCE.encode()) + 1)).encode()[:size - NUMBER].decode("utf-8", "ignore")
    return text + "." * (size - NUMBER - len(text.encode()))


def text(i, body):
    return f"{i:06d} {body}"


def write_lines(path, bot, objects):
    """One request a line for replay.lua. The nonce has a fixed length: all replies get the same one."""
    with open(path, "w", encoding="utf-8") as out:
        for obj in objects:
            target, body, _ = bot.callback(obj, nonce=f"{random.randrange(10 ** 10):010d}")
            out.write(f"{target}\t{body.decode()}\n")
    return path


def common(user):
    return {"aibotid": AIBOT, "chattype": "single", "from": {"userid": user}}


def refresh(stream):
    return {"msgid": secrets.token_hex(16), **common("zhang.san"), "msgtype": "stream", "stream": {"id": stream}}


def question(i, users):
    return {"msgid": secrets.token_hex(16), **common(f"user{i % users}"), "msgtype": "text",
            "response_url": "https://qyapi.weixin.qq.com/cgi-bin/aibot/response?response_code=EXAMPLE",
            "text": {"content": f"请帮我总结一下今天的销售数据 {i}"}}


def write_events(path, app, users, numbers):
    """The same questions as BOSSHI pushes them."""
    with open(path, "w", encoding="utf-8") as out:
        for i in numbers:
            event = app.event(f"请帮我总结一下今天的销售数据 {i}", user=f"ou_{i % users}")
            out.write(f"/bosshi/{app.name}\t{app.body(event).decode()}\n")


def write_questions(path, bot, users, count):
    """Distinct ones; all cores work, as nothing is being measured."""
    parts = os.cpu_count() or 1
    with multiprocessing.Pool(parts, os.sched_setaffinity, (0, range(parts))) as pool:
        pool.starmap(_write_part, [(f"{path}.{k}", bot, users, range(k, count, parts)) for k in range(parts)])
    with open(path, "wb") as out:
        for k in range(parts):
            part = Path(f"{path}.{k}")
            out.write(part.read_bytes())
            part.unlink()


def _write_part(path, bot, users, numbers):
    if isinstance(bot, App):
        write_events(path, bot, users, numbers)
        return
    write_lines(path, bot, (question(i, users) for i in numbers))


def stream_ids(bot, count):
    return [stream_id(bot.name, f"bench-{i}") for i in range(count)]


class Resp:
    """A few commands to redis-server, many at a time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    @staticmethod
    def packed(*args):
        args = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)

    def _reply(self):
        line = self.file.readline()
        assert line[:1] != b"-", line
        if line[:1] == b"$" and int(line[1:]) >= 0:
            return self.file.read(int(line[1:]) + 2)[:-2]
        if line[:1] == b"*":
            return [self._reply() for _ in range(int(line[1:]))]
        return line[1:-2]

    def __call__(self, *args):
        return self.many([self.packed(*args)])[0]

    def many(self, commands):
        self.socket.sendall(b"".join(commands))
        return [self._reply() for _ in commands]


def store_streams(port, bot, ids, body):
    """Streams that a worker is answering, written by the worker's own script."""
    redis = Resp(port)
    redis("FLUSHALL")
    put = redis("SCRIPT", "LOAD", (SCRIPTS / "prelude.lua").read_bytes() + (SCRIPTS / "put.lua").read_bytes())
    now = int(redis("TIME")[0]) * 1000
    for start in range(0, len(ids), 100):
        replies = redis.many([
            redis.packed("EVALSHA", put, 3, *(f"bb:{{{ids[i]}}}:{key}" for key in "mtx"), bot.name, now, now + HOURS_2,
                         HOURS_2, 1, 1, HOURS_2, 1, text(i, body))
            for i in range(start, min(start + 100, len(ids)))])
        assert all(r[0] == b"ok" for r in replies), replies[0]


def check_polls(port, bot, ids, body, count):
    """Polls some streams as the platform would; every rule and the text must hold."""
    for _ in range(count):
        i = random.randrange(len(ids))
        stream = stream_of(post(bot, port, refresh(ids[i])))
        if stream != {"id": ids[i], "finish": False, "content": text(i, body)}:
            raise Broken(f"stream {i} does not show its text")


def reply_bytes(port, line, is_kept):
    """(with head, body alone) of one reply: what wrk counts, and what an empty handler has to send."""
    target, body = line.rstrip("\n").split("\t")
    request = (f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
               f"Content-Length: {len(body)}\r\n{'' if is_kept else CLOSE}\r\n{body}")
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(request.encode())
        got = b""
        while not is_whole(got):
            piece = s.recv(65536)
            if not piece:
                raise Broken("a reply was cut")
            got += piece
    return len(got), len(got) - got.index(b"\r\n\r\n") - 4


def is_whole(reply):
    head, found, body = reply.partition(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:]) if found else {}
    if b"content-length" in fields:
        return len(body) >= int(fields[b"content-length"])
    return b"chunked" in fields.get(b"transfer-encoding", b"") and body.endswith(b"\r\n0\r\n\r\n")
