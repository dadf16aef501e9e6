"""WeCom's side of the wire: an implementation of its own, so that the C codec is never checked against itself.

Every reply is checked as strictly as the platform's documents allow; a broken rule raises Broken.
"""
import base64
import hashlib
import http.client
import json
import os
import re
import secrets
import string
import time
from urllib.parse import quote, urlencode

from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

CONTENT_LIMIT = 20480
STREAM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class Broken(AssertionError):
    """The bot broke a rule of the platform."""


class Bot:
    def __init__(self, name, token=None, aes_key=None, receive_id="", **texts):
        alphabet = string.ascii_letters + string.digits
        self.name = name
        self.token = token or "".join(secrets.choice(alphabet) for _ in range(24))
        self.aes_key = aes_key or "".join(secrets.choice(alphabet) for _ in range(43))
        self.receive_id = receive_id
        self.placeholder = texts.get("placeholder", f"正在思考…({name})")
        self.busy_text = texts.get("busy_text", f"现在很忙,请稍后再试({name})")
        self.lost_text = texts.get("lost_text", f"这条消息已经失效({name})")
        self.notice_text = texts.get("notice_text", f"回答时间已到({name})")
        self.apology_text = texts.get("apology_text", f"抱歉,出错了({name})")
        self.queue_text = texts.get("queue_text", "")
        self.key = base64.b64decode(self.aes_key + "=")

    @property
    def path(self):
        return "/wecom/" + quote(self.name)

    def config(self, **more):
        return {"name": self.name, "platform": "wecom", "token": self.token, "aes_key": self.aes_key,
                "receive_id": self.receive_id, "pipeline": "main", "placeholder": self.placeholder,
                "queue_text": self.queue_text, "busy_text": self.busy_text, "lost_text": self.lost_text, "notice_text": self.notice_text,
                "apology_text": self.apology_text, **more}

    def is_answer(self, text):
        """Whether it is more than what is shown before an answer begins."""
        place = self.queue_text and re.fullmatch(re.escape(self.queue_text).replace(r"\{n\}", "[0-9]+"), text)
        return text != self.placeholder and not place

    def _cipher(self):
        return Cipher(algorithms.AES(self.key), modes.CBC(self.key[:16]), default_backend())

    def sign(self, timestamp, nonce, encrypt):
        return hashlib.sha1("".join(sorted([self.token, timestamp, nonce, encrypt])).encode()).hexdigest()

    def encrypt_frame(self, frame):
        enc = self._cipher().encryptor()
        return base64.b64encode(enc.update(frame) + enc.finalize()).decode()

    def encrypt(self, text):
        msg = text.encode() if isinstance(text, str) else text
        frame = os.urandom(16) + len(msg).to_bytes(4, "big") + msg + self.receive_id.encode()
        pad = 32 - len(frame) % 32
        return self.encrypt_frame(frame + bytes([pad]) * pad)

    def decrypt(self, encrypt):
        raw = base64.b64decode(encrypt, validate=True)
        if base64.b64encode(raw).decode() != encrypt:
            raise Broken("encrypt is not canonical base64")
        if not raw or len(raw) % 32:
            raise Broken(f"ciphertext of {len(raw)} bytes: padding must reach a multiple of 32")
        dec = self._cipher().decryptor()
        frame = dec.update(raw) + dec.finalize()
        pad = frame[-1]
        if not 1 <= pad <= 32 or frame[-pad:] != bytes([pad]) * pad:
            raise Broken("padding is wrong")
        frame = frame[:-pad]
        size = int.from_bytes(frame[16:20], "big")
        if frame[20 + size:] != self.receive_id.encode():
            raise Broken("receive_id is wrong")
        return frame[20:20 + size]

    def callback(self, obj, timestamp=None, nonce=None):
        """(target, body, nonce) of one POST; obj may be an object or raw plaintext."""
        timestamp = str(int(time.time()) if timestamp is None else timestamp)
        nonce = nonce or str(secrets.randbelow(10 ** 10))
        plain = obj if isinstance(obj, (str, bytes)) else json.dumps(obj, ensure_ascii=False)
        encrypt = self.encrypt(plain)
        query = urlencode({"msg_signature": self.sign(timestamp, nonce, encrypt), "timestamp": timestamp, "nonce": nonce})
        return f"{self.path}?{query}", json.dumps({"encrypt": encrypt}).encode(), nonce

    def open_reply(self, body, nonce):
        env = json.loads(body.decode())
        if set(env) != {"encrypt", "msgsignature", "timestamp", "nonce"}:
            raise Broken(f"envelope has members {sorted(env)}")
        if abs(int(env["timestamp"]) - time.time()) > 600:
            raise Broken("timestamp is not now")
        if env["nonce"] != nonce:
            raise Broken("nonce is not the callback's")
        if env["msgsignature"] != self.sign(str(env["timestamp"]), nonce, env["encrypt"]):
            raise Broken("msgsignature is wrong")
        return json.loads(self.decrypt(env["encrypt"]).decode())


class Reply:
    def __init__(self, status, headers, body, seconds):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds


def request(port, method, target, body=None, headers=None, timeout=8.0):
    """One request on a new connection, as the platform does."""
    begin = time.monotonic()
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        conn.request(method, target, body, headers or {})
        answer = conn.getresponse()
        data = answer.read()
        return Reply(answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), data, time.monotonic() - begin)
    finally:
        conn.close()


def verify_url(bot, port, text="1616140317555161061", nonce="n-1"):
    """The console's check when an administrator saves the URL."""
    timestamp, echostr = str(int(time.time())), bot.encrypt(text)
    query = urlencode({"msg_signature": bot.sign(timestamp, nonce, echostr), "timestamp": timestamp, "nonce": nonce, "echostr": echostr})
    return request(port, "GET", f"{bot.path}?{query}")


def post(bot, port, obj, timeout=8.0):
    """One callback; the decrypted reply object. Over 5 s the platform would have hung up."""
    target, body, nonce = bot.callback(obj)
    reply = request(port, "POST", target, body, {"Content-Type": "application/json"}, timeout)
    if reply.status != 200:
        raise Broken(f"status {reply.status}: {reply.body[:200]!r}")
    if reply.seconds > 5:
        raise Broken(f"answered after {reply.seconds:.1f} s")
    return bot.open_reply(reply.body, nonce)


def stream_of(obj):
    """Checks a stream reply and returns its `stream`."""
    if set(obj) != {"msgtype", "stream"} or obj["msgtype"] != "stream":
        raise Broken(f"not a stream reply: members {sorted(obj)}")
    stream = obj["stream"]
    if set(stream) - {"id", "finish", "content"} or not STREAM_ID.match(stream["id"]) or not isinstance(stream["finish"], bool):
        raise Broken(f"stream is malformed: {stream}")
    size = len(stream["content"].encode())
    if not 0 < size <= CONTENT_LIMIT:
        raise Broken(f"content of {size} bytes")
    if "\ufffd" in stream["content"]:
        raise Broken("a character was cut")
    return stream


def stream_id(bot_name, msgid):
    digest = hashlib.sha256(f"botbridge/1\n{bot_name}\n{msgid}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode()[:22]


class Question:
    """One question of one user and what its bubble showed. Ports are the ingresses a poll may reach, in turn."""

    def __init__(self, bot, ports, text, user=None, chat=None, msgid=None, response_url=None, may_go_back=False):
        self.bot, self.ports, self.text = bot, list(ports), text
        self.msgid = msgid or secrets.token_hex(16)
        self.common = {"aibotid": "aib" + bot.name, "chattype": "group" if chat else "single",
                       "from": {"userid": user or "u" + secrets.token_hex(4)}}
        if chat:
            self.common["chatid"] = chat
        self.message = {"msgid": self.msgid, **self.common, "msgtype": "text", "text": {"content": text}}
        if response_url:
            self.message["response_url"] = response_url
        self.may_go_back = may_go_back
        self.shown, self.finish, self.id, self.begin, self.turn = [], False, None, None, 0

    def _take(self, stream):
        content = stream["content"]
        if self.id and stream["id"] != self.id:
            raise Broken(f"stream id changed from {self.id} to {stream['id']}")
        self.id = stream["id"]
        last = self.shown[-1] if self.shown else None
        if self.finish and (not stream["finish"] or content != last):
            raise Broken(f"a finished stream changed: {last[-40:]!r} became {content[-40:]!r}, finish {stream['finish']}")
        if last is not None and self.bot.is_answer(last) and not self.may_go_back and not content.startswith(last):
            raise Broken(f"shown text went back: …{last[-40:]!r} became …{content[-40:]!r}")
        self.shown.append(content)
        self.finish = stream["finish"]
        return stream

    def send(self, port=None):
        self.begin = self.begin or time.monotonic()
        return self._take(stream_of(post(self.bot, port or self.ports[0], self.message)))

    def poll(self, port=None):
        self.turn += 1
        refresh = {"msgid": secrets.token_hex(16), **self.common, "msgtype": "stream", "stream": {"id": self.id}}
        return self._take(stream_of(post(self.bot, port or self.ports[self.turn % len(self.ports)], refresh)))

    def follow(self, seconds, every=0.3, until=None):
        """Polls like the platform until finish, until(text), or the time is up."""
        end = time.monotonic() + seconds
        while not self.finish and not (until and until(self.shown[-1])):
            if time.monotonic() > end:
                raise Broken(f"no {'such text' if until else 'finish'} within {seconds} s; last: {self.shown[-1][-60:]!r}")
            time.sleep(every)   # the platform's own pace, not a wait for something to have happened
            self.poll()
        return self

    @property
    def final(self):
        return self.shown[-1] if self.finish else None

    @property
    def seconds(self):
        return time.monotonic() - self.begin

    def texts(self):
        """Different real texts, in order."""
        out = []
        for s in self.shown:
            if s != self.bot.placeholder and (not out or out[-1] != s):
                out.append(s)
        return out
