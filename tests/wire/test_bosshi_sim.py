"""The simulated BOSSHI judges a bot made here: what `bosshi chat` says of a good one and of each bad one, and that what it
pushes opens with another implementation of the encryption."""
import base64
import hashlib
import http.server
import json
import subprocess
import threading
import urllib.request
from urllib.parse import quote

import pytest
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bosshi import Bosshi, chat
from stack import BIN, SLOW, free_ports

KEY = "键 key"
MESSAGES = "/open-apis/im/v2/messages?receive_id_type=chat_id&uuid="


def unseal(body):
    raw = base64.b64decode(json.loads(body)["encrypt"], validate=True)
    dec = Cipher(algorithms.AES(hashlib.sha256(KEY.encode()).digest()), modes.CBC(raw[:16]), default_backend()).decryptor()
    plain = dec.update(raw[16:]) + dec.finalize()
    pad = plain[-1]
    assert 1 <= pad <= 16 and plain[-pad:] == bytes([pad]) * pad
    return json.loads(plain[:-pad].decode())


class Refused(Exception):
    pass


class StubBot:
    """Takes events and plays a script over the API: ("card", text), ("edit", text), ("text", text)."""

    def __init__(self, platform, api):
        self.platform, self.api, self.script, self.status, self.seen, self.uuid = platform, api, [], 200, [], 0
        bot = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                event = unseal(self.rfile.read(int(self.headers["Content-Length"])))
                bot.seen.append((self.headers, event))
                answer = {"challenge": event["challenge"]} if "challenge" in event else {}
                data = json.dumps(answer).encode()
                self.send_response(bot.status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                if bot.status == 200 and "challenge" not in event:
                    threading.Thread(target=bot.answer, args=(event["event"]["message"]["chat_id"],)).start()

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/bosshi/x"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def call(self, path, body, token=None):
        headers = {"Content-Type": "application/json", **({"Authorization": "Bearer " + token} if token else {})}
        request = urllib.request.Request(self.api + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            reply = json.loads(answer.read())
        if reply["code"] != 0:
            raise Refused(reply["msg"])
        return reply

    def edit(self, message_id, text):
        """None, or why it was refused."""
        body = {"msg_type": "compressive_card", "content": json.dumps({"modules": [{"tag": "markdown", "content": text}]})}
        try:
            self.call(f"/open-apis/im/messages/{quote(message_id, safe='~')}/update", body, self.token)
        except Refused as refused:
            return str(refused)

    def answer(self, chat_id):
        try:
            self.play(chat_id)
        except (Refused, OSError):
            pass    # the simulator's judgement is what is tested, and it may have ended already

    def play(self, chat_id):
        token = self.call("/open-apis/auth/tenant_access_token/internal",
                          {"app_id": self.platform.app_id, "app_secret": self.platform.app_secret})["data"]["tenant_access_token"]
        self.token, message_id = token, None
        for what, text in self.script:
            card = {"modules": [{"tag": "markdown", "content": text}]}
            self.uuid += 1
            if what == "edit":
                self.call(f"/open-apis/im/messages/{quote(message_id, safe='~')}/update",
                          {"msg_type": "compressive_card", "content": json.dumps(card)}, token)
            else:
                body = {"receive_id": chat_id, **({"msg_type": "compressive_card", "content": card} if what == "card"
                                                  else {"msg_type": "text", "content": {"text": text}})}
                message_id = self.call(MESSAGES + f"u{self.uuid}", body, token)["data"]["message_id"]


@pytest.fixture
def scene(tmp_path):
    platform = Bosshi(tmp_path, encrypt_key=KEY)
    listen = f"127.0.0.1:{free_ports(1)[0]}"
    bot = StubBot(platform, f"http://{listen}")

    def ask(script, *options):
        bot.script = script
        return chat(bot.url, listen, "问题?", platform, "--quiet-s", "1", "--limit-s", "2", *options)
    ask.bot = bot
    yield ask
    bot.server.shutdown()
    bot.server.server_close()


def test_a_good_answer_is_printed_as_it_grows(scene):
    run = scene([("card", "你"), ("edit", "你好"), ("edit", "你好,世界")], "--group")
    assert (run.returncode, run.stdout.decode(), run.stderr) == (0, "你好,世界\n", b"")
    event = scene.bot.seen[0][1]
    assert event["event"]["message"]["chat_type"] == "group"
    assert json.loads(event["event"]["message"]["content"]) == {"text": "@_user_1 问题?"}


@pytest.mark.parametrize("script,reason", [
    ([("card", "一"), ("edit", "一二三"), ("edit", "一二")], "edit 2 does not begin with what was shown"),
    ([("card", "一"), ("card", "一")], "a second message"),
    ([("text", "一"), ("text", "二")], "a second message"),
    ([("card", "字" * 5001)], "length: content too long"),
    ([("card", "一")] + [("edit", "一")] * 7, "pace"),
    ([], "no message has come within the limit"),
])
def test_a_broken_rule_is_told(scene, script, reason):
    run = scene(script)
    assert run.returncode == 1
    assert reason in run.stderr.decode()


def test_an_event_that_is_not_taken_is_told(scene):
    scene.bot.status = 503
    run = scene([])
    assert run.returncode == 1
    assert "not taken with 200 within 1 s: status 503" in run.stderr.decode()


def test_the_rest_of_a_long_answer_is_no_second_message(scene):
    run = scene([("card", "字" * 3000), ("card", "后来")])
    assert run.returncode == 0, run.stderr


def test_serve_is_driven_by_its_control_port(tmp_path):
    platform = Bosshi(tmp_path, encrypt_key=KEY, clock_scale=150, set={"reply": True}).start()
    bot = StubBot(platform, platform.api_base)
    try:
        platform.settings(url=bot.url)
        assert platform.settings()["reply"] is True
        assert platform.challenge()["is_passed"]
        bot.script = [("card", "你"), ("edit", "你好")]
        asked = platform.ask("嗨", kind="post", user_id="1122334455", sign=True)
        assert [d["status"] for d in platform.accepted(asked)] == [200]
        assert platform.answer(asked, until="你好") == ["你好"]
        assert len(platform.judge(asked, "你好")) == 2
        headers, event = bot.seen[-1]
        assert event["header"]["token"] == platform.verification_token
        assert event["event"]["sender"]["sender_id"]["user_id"] == "1122334455"
        assert {"X-Lark-Signature", "X-Lark-Request-Timestamp", "X-Lark-Request-Nonce"} <= set(headers)
        with pytest.raises(AssertionError, match="2 messages instead of 1"):
            platform.repeat(asked)    # this bot knows no repeats: a second answer
            platform.wait("the second answer", lambda: len(platform.shown(asked)) == 2)
            platform.judge(asked, "你好")
        platform.clear_faults()
        platform.fault(on="update", delay_ms=700 * SLOW)
        message_id = platform.messages(asked)[-1]["message_id"]
        codes = []
        both = [threading.Thread(target=lambda: codes.append(bot.edit(message_id, "你好"))) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        assert sorted(codes, key=bool) == [None, "the message is being updated"]
        assert [x["rule"] for x in platform.broken()] == ["overlap"]
        long = platform.ask("嗨", chat_id="c" * 100000, event_id="e" * 100000, message_id="m" * 100000, open_id="o" * 100000)
        assert [set(v) for v in long.values()] == [{"e"}, {"m"}, {"c"}] and {len(v) for v in long.values()} == {100000}
        platform.wait("its answer", lambda: [x for x in platform.log(type="update", chat_id=long["chat_id"]) if x["text"] == "你好"])
        with pytest.raises(AssertionError, match="challenge is longer"):
            platform.challenge(challenge="c" * 256)
        bot.status = 503
        missed = platform.ask("嗨", repeats=1)
        platform.wait("the end of the repeats", lambda: platform.event(missed)["state"] == "given_up")
        assert [d["status"] for d in platform.event(missed)["deliveries"]] == [503, 503]
    finally:
        bot.server.shutdown()
        bot.server.server_close()
        assert platform.stop() == 0


@pytest.mark.parametrize("argv, code, said", [
    (["--help"], 0, "bosshi serve"), (["bosshi", "--help"], 0, "bosshi serve"), ([], 64, "bosshi serve"), (["bosshi", "fly"], 64, "bosshi serve"),
    (["bosshi", "chat", "--help"], 0, "(127.0.0.1:9980)"), (["bosshi", "serve", "--help"], 0, "a free port"),
    (["bosshi", "chat"], 64, "--url is wanted"), (["bosshi", "chat", "--url", "ftp://x", "q"], 64, "--url http://"),
    (["bosshi", "serve", "--listen", "nonsense"], 64, "want host:port"), (["bosshi", "serve", "--control", "nonsense"], 64, "want host:port"),
    (["bosshi", "serve", "--set", "foo=1"], 64, "no setting is called foo"),
    (["llm", "--help"], 0, "--script"), (["llm", "--listen", "nonsense"], 64, "want host:port"),
    (["llm", "--script", "tokens=9 token=9"], 64, "--script: token=9 is no"), (["llm", "--script", "rate=fast"], 64, "--script: rate=fast is no"),
    (["llm", "--script", "tokens=5x2"], 64, "tokens=5x2"), (["llm", "--script", "fail=5x2"], 64, "fail=5x2"), (["llm", "--script", "think=2"], 64, "think=2"),
    (["llm", "--script", "tokens"], 64, "--script: tokens is no"), (["llm", "--script", "done=0  fail=503x2", "--answer", "q"], 0, "完")])
def test_usage(argv, code, said):
    run = subprocess.run([BIN / "botbridge-sim", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    assert run.returncode == code
    assert said in (run.stderr if code else run.stdout).decode()
