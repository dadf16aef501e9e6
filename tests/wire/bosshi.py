"""BOSSHI for one app, played by botbridge-sim (tests/sim/BOSSHI.md): ask, set faults, read the chat, judge it."""
import json
import os
import secrets
import subprocess
from urllib.parse import quote, urlencode

from stack import BIN, SLOW, Process, wait_for
from wecom import request


class Bosshi:
    """The platform. Its app's secrets are made here; `config` is the bot that belongs to it.

        platform = Bosshi(directory, clock_scale=150, set={"updates_per_s": 5}).start()
        …Stack(kafka, bots=[platform])…            has what Stack wants of a bot: name, token, aes_key, config()
        platform.settings(url=f"http://127.0.0.1:{port}{platform.path}")
        asked = platform.ask("你好"); answer = platform.answer(asked, until=expected)
    """

    def __init__(self, directory, name="boss", encrypt_key=None, clock_scale=1, set=None):
        self.name = name
        self.app_id = "bli_" + secrets.token_hex(8)
        self.app_secret = secrets.token_urlsafe(24)
        self.verification_token = secrets.token_urlsafe(24)
        self.encrypt_key = secrets.token_urlsafe(24) if encrypt_key is None else encrypt_key    # "": plain bodies
        env = {"BOTBRIDGE_SIM_APP_ID": self.app_id, "BOTBRIDGE_SIM_APP_SECRET": self.app_secret,
               "BOTBRIDGE_SIM_VERIFICATION_TOKEN": self.verification_token, "BOTBRIDGE_SIM_ENCRYPT_KEY": self.encrypt_key}
        argv = [BIN / "botbridge-sim", "bosshi", "serve", "--json", "--clock-scale", clock_scale]
        for key, value in (set or {}).items():
            argv += ["--set", f"{key}={json.dumps(value) if isinstance(value, bool) else value}"]
        self.process = Process(f"bosshi-{name}", argv, directory, r"ready listen=127\.0\.0\.1:(\d+) control=127\.0\.0\.1:(\d+)", env)

    # What Stack wants of a bot: secrets that no log may hold, and the entry in `bots`.
    @property
    def token(self):
        return self.verification_token

    @property
    def aes_key(self):
        return self.app_secret

    @property
    def path(self):
        return "/bosshi/" + quote(self.name)

    @property
    def api_base(self):
        return f"http://127.0.0.1:{self.port}"

    def config(self, **more):
        key = {"encrypt_key": self.encrypt_key} if self.encrypt_key else {}
        return {"name": self.name, "platform": "bosshi", "pipeline": "main", "app_id": self.app_id, "app_secret": self.app_secret,
                "verification_token": self.verification_token, "api_base": self.api_base, **key, **more}

    def start(self, url=None):
        self.process.start(wait=False)
        found = self.process.wait_ready()
        self.port, self.control = int(found.group(1)), int(found.group(2))
        if url:
            self.settings(url=url)
        return self

    def stop(self):
        """Exit code of an orderly end."""
        return self.process.terminate() if self.process.popen else 0

    # --- the control port ---

    def _call(self, method, path, body=None, timeout=20):
        data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        reply = request(self.control, method, path, data, timeout=timeout)
        assert reply.status == 200, reply.body.decode()
        return reply.body.decode()

    def _post(self, path, **body):
        return json.loads(self._call("POST", path, body))

    def settings(self, **changes):
        return self._post("/settings", **changes) if changes else json.loads(self._call("GET", "/settings"))

    def ask(self, text=None, **members):
        """One event, pushed at once: {"event_id", "message_id", "chat_id"}."""
        return self._post("/ask", **({} if text is None else {"text": text}), **members)

    def challenge(self, **members):
        return self._post("/challenge", **members)

    def card(self, body, **members):
        return self._post("/card", body=body, **members)

    def repeat(self, asked, times=1):
        self._post("/repeat", event_id=asked["event_id"], times=times)

    def fault(self, **members):
        self._post("/faults", **members)

    def clear_faults(self):
        self._post("/faults/clear")

    def expire_tokens(self):
        self._post("/expire")

    def event(self, asked):
        found = json.loads(self._call("GET", "/events?" + urlencode({"event_id": asked["event_id"]})))
        return found[0] if found else None

    def log(self, after=0, **want):
        """Lines of the journal with these members."""
        lines = [json.loads(line) for line in self._call("GET", f"/log?after={after}").splitlines()]
        return [x for x in lines if all(x.get(k) == v for k, v in want.items())]

    def broken(self):
        return self.log(type="broken")

    def messages(self, asked, sender="bot"):
        """Of the chat in which was asked, the oldest first."""
        found = json.loads(self._call("GET", "/messages?" + urlencode({"chat_id": asked["chat_id"]})))
        return [m for m in found if sender is None or m["from"] == sender]

    # --- waiting and judging ---

    def wait(self, what, condition, seconds=20):
        return wait_for(what, condition, seconds * SLOW)

    def accepted(self, asked, seconds=10):
        """Waits until the event was taken with 200 within 1 s; the deliveries that took."""
        self.wait("200 for the event", lambda: self.event(asked)["state"] == "accepted", seconds)
        return self.event(asked)["deliveries"]

    def shown(self, asked):
        """What the user sees now: one text per message of the bot."""
        return [m["edits"][-1]["text"] if m["edits"] else m["text"] for m in self.messages(asked)]

    def answer(self, asked, until, seconds=20):
        """Waits until the last of the shown texts is `until` (a text, or a function of it); all of them."""
        is_there = until if callable(until) else lambda text: text == until
        try:
            return self.wait("the answer", lambda: (lambda s: s if s and is_there(s[-1]) else None)(self.shown(asked)), seconds)
        except AssertionError:
            raise AssertionError(f"not the answer: {[t[:200] for t in self.shown(asked)]}; journal: {self.log(after=max(0, len(self.log()) - 15))}")

    def judge(self, asked, expected, messages=1):
        """One first message (and rest messages for a long answer), its texts growing to `expected`, nothing behind the end.
        The calls in the journal that made it; a list of what is wrong is the assertion's text."""
        calls = [x for x in self.log() if x["type"] in ("send", "reply", "update") and x["chat_id"] == asked["chat_id"] and x["code"] == 0
                 and x["fault"] in ("", "delay", "cut", "hang")]
        firsts = [x for x in calls if x["type"] != "update" and not x["is_repeat"]]
        wrong = []
        if len(firsts) != messages:
            wrong.append(f"{len(firsts)} messages instead of {messages}")
        if messages == 1 and firsts:
            texts = [x["text"] for x in calls if x["message_id"] == firsts[0]["message_id"] and not x["is_repeat"]]
            wrong += [f"call {i} shows {len(now)} characters after {len(before)}: not its continuation"
                      for i, (before, now) in enumerate(zip(texts, texts[1:]), 1) if not now.startswith(before)]
            if texts[-1] != expected:
                wrong.append(f"ends as {texts[-1][-80:]!r} instead of {expected[-80:]!r}")
            # The last token may be shown before the end is known, and a call whose answer was withheld is made again.
            if texts.count(expected) > 2 + sum(x["fault"] in ("cut", "hang") for x in calls):
                wrong.append(f"the whole text {texts.count(expected)} times")
        wrong += [f"broke {x['rule']}: {x['detail']}" for x in self.broken()]
        assert not wrong, "; ".join(wrong)
        return calls


def chat(url, listen, question, platform, *options, timeout=60):
    """`botbridge-sim bosshi chat` as a user runs it."""
    env = {**os.environ, "BOTBRIDGE_SIM_APP_ID": platform.app_id, "BOTBRIDGE_SIM_APP_SECRET": platform.app_secret,
           "BOTBRIDGE_SIM_VERIFICATION_TOKEN": platform.verification_token, "BOTBRIDGE_SIM_ENCRYPT_KEY": platform.encrypt_key}
    return subprocess.run([BIN / "botbridge-sim", "bosshi", "chat", "--url", url, "--listen", listen, *options, question], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
