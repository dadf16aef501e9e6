"""A small stack in which one process is told to die at a chosen step, dies there, and is started again; and what must hold
afterwards whatever the step was. The scenarios are in crash_table.py."""
import csv
import http.client
import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "wire"))

import wecom  # noqa: E402
from bosshi import Bosshi  # noqa: E402
from receiver import Receiver  # noqa: E402
from stack import BIN, SLOW, Stack, request, wait_for  # noqa: E402
from wecom import Bot, Question  # noqa: E402

import check  # noqa: E402
import history  # noqa: E402
from kafka_protocol import Offsets  # noqa: E402

LEASE_S, SHOWN_WAIT_S, UNKNOWN_S = 2.0, 1.2, 2.0
PAUSE_MS = 600      # a commit may take half a second to be made
BRIEF_DEADLINE_S, BRIEF_MARGIN_S = 3.0, 1.0
BOT_MAX_RECORDS, RECORD_MAX_BYTES, ATTEMPTS = 8, 150000, 2
CHAT_LIMIT, CHATS = 500, ("boss", "plain", "narrow")     # characters of one message; bots on BOSSHI
TEXTS = {"placeholder": "稍候", "busy_text": "现在很忙", "lost_text": "已经失效", "notice_text": "时间已到", "apology_text": "抱歉,出错了"}
# An answer that is not brief has the time of a slow machine's restarts.
BOTS = {"main": {"stream_deadline_ms": 120000, "handover_margin_ms": 10000},
        "brief": {"stream_deadline_ms": int(1000 * BRIEF_DEADLINE_S), "handover_margin_ms": int(1000 * BRIEF_MARGIN_S)},
        "boss": {"update_interval_ms": 300, "card_limit": CHAT_LIMIT},
        "plain": {"stream": "final", "text_limit": CHAT_LIMIT},
        "narrow": {"stream": "final"},     # whose platform takes less than it was told
        "strict": {"stream_deadline_ms": 120000, "handover_margin_ms": 10000, "user_rate_per_min": 1}}


class CrashStack(Stack):
    """One ingress, one worker, and a second worker for hand-overs. Static membership: a worker that is started again has its
    partition at once. One partition, so that what a committed offset covers is all that came before."""

    def __init__(self, kafka):
        pipeline = {"type": "openai", "url": "${LLM_URL}", "model": "m", "api_key": "${LLM_KEY}", "attempts": ATTEMPTS, "breaker_failures": 0}
        super().__init__(kafka, workers=2, bots=[Bot(name, **TEXTS) for name in BOTS if name not in CHATS], partitions=1, pipelines={"main": pipeline})
        self.receiver = Receiver().start()
        self.platforms = {name: Bosshi(self.dir, name, clock_scale=150).start(f"http://127.0.0.1:{self.ports[0]}/bosshi/{name}") for name in CHATS}
        self.platforms["narrow"].settings(text_limit=CHAT_LIMIT)
        self.bots += self.platforms.values()
        groups = {"requests": f"{self.prefix}.worker", "late": f"{self.prefix}.worker.late"}
        self.offsets = {t: Offsets(kafka.servers, group, f"{self.prefix}.{t}", 5) for t, group in groups.items()}

    def config(self, kind="ingress", i=0):
        c = super().config(kind, i)
        for bot in c["bots"]:
            bot.update(BOTS[bot["name"]])
        c["worker"].update(slot=f"slot-{i}", lease_ms=int(1000 * LEASE_S), shown_wait_ms=int(1000 * SHOWN_WAIT_S), drain_ms=500, alone_ms=1000,
                           bot_max_records=BOT_MAX_RECORDS)
        c["kafka"].update({"session.timeout.ms": 3000, "heartbeat.interval.ms": 500})
        c["ingress"].update(unknown_ms=int(1000 * UNKNOWN_S), poll_hold_ms=300)
        c["response_url"] = {"hosts": ["127.0.0.1"], "allow_http": True, "allow_private": True, "timeout_ms": 2000}
        if kind == "ingress":
            c["kafka"]["message.max.bytes"] = RECORD_MAX_BYTES
        return c

    def start(self):
        spare, self.workers, ports = self.workers[1], self.workers[:1], self.worker_ports
        self.worker_ports = ports[:1]
        super().start()
        spare.env, self.spare, self.worker_ports = dict(self.env), spare, ports
        self.write_config("worker", 1)
        return self

    @property
    def programs(self):
        return self.ingresses + self.workers + ([self.spare] if hasattr(self, "spare") else [])

    def bot_named(self, name):
        return next(b for b in self.bots if b.name == name)

    def lag(self):
        return {(t, p): n for t, o in self.offsets.items() for p, n in o.lag().items()}

    def close(self):
        self.receiver.stop()
        for platform in self.platforms.values():
            platform.stop()
        return super().close() + self.receiver.wrong


def chosen(point):
    """Commits and deliveries that are under way arrive before the end, so that what must not have been under way is seen;
    but not where the point is that they do not arrive."""
    is_at_once = re.match(r".*\.produced|offset\.|commit\.sent|last_commit\.sent|record\.|reply\.", point)
    return point if is_at_once or "~" in point else f"{point}~{PAUSE_MS}"


@dataclass
class Death:
    point: str
    code: int
    is_by_point: bool
    committed: dict     # topic → {partition: offset}
    finished: dict      # stream → is nothing left to be done for it, as the store knows


class Asked(Question):
    """A question whose platform repeats a callback that was not answered, and whose polls may find nobody; everything is
    noted. What the bubble shows is judged by wecom.Question as it comes."""

    def __init__(self, scene, text, directives, bot, with_url, **kw):
        stack = scene.stack
        self.scene, self.events, self.directives = scene, [], directives
        self.code = stack.receiver.code() if with_url else ""
        full = stack.note_text(f"q{time.monotonic_ns():x}") + text + (f" {{{directives}}}" if directives else "")
        super().__init__(stack.bot_named(bot), stack.ports, full, response_url=stack.receiver.url(self.code) if with_url else None, **kw)
        self.stream, self.expected = wecom.stream_id(bot, self.msgid), stack.llm.answer(full)
        if with_url:
            stack.note_text(self.code)

    def _exchange(self, kind, what):
        """True: it was answered."""
        event = history.Event(kind, self.scene.clock(), 0, 0, "shown")
        try:
            stream = what()
            event.finish, event.content = stream["finish"], stream["content"]
            assert stream["id"] == self.stream
        except ConnectionRefusedError:
            event.outcome = "refused"
        except (OSError, http.client.HTTPException) as e:
            event.outcome, event.detail = "reset", repr(e)
        event.got = self.scene.clock()
        self.events.append(event)
        return event.is_shown

    def ask(self, seconds=30):
        self.scene.wait("an answer to the callback", lambda: self._exchange("send", self.send), seconds, 0.15)
        return self

    def look(self):
        return self._exchange("poll", self.poll)

    def watch(self, seconds=40, until=None):
        """Polls until the end, or until(text)."""
        def seen():
            self.look()
            return self.finish or (until and until(self.shown[-1]))
        self.scene.wait(f"the end of {self.text[:60]!r}, shown {self.shown[-1:]}", seen, seconds, 0.2)
        return self


class AskedInChat:
    """A question on BOSSHI; what the chat shows is the platform's to tell."""
    events, code, finish = (), "", False

    def __init__(self, stack, directives, bot="boss"):
        self.text = stack.note_text(f"q{time.monotonic_ns():x}") + f" {{{directives}}}"
        self.expected, self.platform = stack.llm.answer(self.text), stack.platforms[bot]
        self.asked = self.platform.ask(self.text)
        self.may_break = {"length"} if bot == "narrow" else set()
        self.stream = wecom.stream_id(bot, f"{self.platform.app_id}:{self.asked['event_id']}")

    @property
    def shown(self):
        return self.platform.shown(self.asked)

    def check(self):
        """One message of the bot for each part of its text, in order, each once; a message's text only grew; no rule of the platform
        broken but where it hides what it takes."""
        calls = [x for x in self.platform.log() if x["type"] in ("send", "reply", "update") and x["chat_id"] == self.asked["chat_id"] and x["code"] == 0]
        made = [x["message_id"] for x in calls if x["type"] != "update" and not x["is_repeat"]]
        assert len(made) == len(set(made)) == len(self.shown), f"messages {made}"
        for message in made:
            texts = [x["text"] for x in calls if x["message_id"] == message and not x["is_repeat"]]
            assert all(now.startswith(before) for before, now in zip(texts, texts[1:]) if texts[-1].startswith(before)), "shown text went back"
        assert "".join(self.shown) == self.expected and {b["rule"] for b in self.platform.broken()} == self.may_break


class Scene:
    """One case: lives[0] is where the victim dies first, lives[1] where its next life ends, and so on; then it lives."""

    def __init__(self, stack, victim, lives, bot="main"):
        self.stack, self.lives, self.bot = stack, list(lives), bot
        self.victim = stack.ingresses[0] if victim == "ingress" else stack.workers[0]
        self.questions, self.deaths, self.faults, self.samples = [], [], [], []
        self.is_restarted = True        # the victim, after each death
        self.is_down = False            # the victim, by the scenario's wish
        self.alive_at = 0.0             # when the victim was last seen alive
        self.begun, self.first_call = time.monotonic(), int(1000 * time.time())

    def clock(self):
        return time.monotonic() - self.begun

    # --- the victim ---

    def arm(self):
        """The victim anew, told where to die."""
        self.victim.kill()
        self._live(self.lives[0])
        # Who joined the first of its groups may have questions, and die, before it is ready.
        wait_for("the victim to be ready, or dead", lambda: not self.victim.alive or re.search(self.victim.ready, self.victim.output()),
                 30 * SLOW)

    def _live(self, point):
        self.victim.env = {**self.stack.env, **({"BOTBRIDGE_CRASH_AT": chosen(point)} if point else {})}
        self.victim.start(wait=False)
        self.is_down, self.alive_at = False, self.clock()

    def down(self):
        """The victim is not there until arm()."""
        self.faults.append(history.Fault("kill-" + self.victim.name[:-1], self.victim.name, self.clock()))
        self.victim.kill()
        self.is_down = True

    def step(self):
        """Notices a death and what it left, and starts the next life."""
        if self.is_down or self.victim.popen is None:
            return
        for fault in self.faults:
            if fault.end is None and re.search(self.victim.ready, self.victim.output()):
                fault.end = self.clock()
        seen, code = self.clock(), self.victim.popen.poll()
        if code is None:
            self.alive_at = seen
            return
        point = self.lives[len(self.deaths)] if len(self.deaths) < len(self.lives) else None
        said = self.victim.output()
        assert point, f"{self.victim.name} ended by itself with {code}: {said[-2000:]}"
        kind = "kill-" + self.victim.name[:-1]
        self.faults.append(history.Fault(kind, self.victim.name, max(0.0, self.alive_at - PAUSE_MS / 1000 - 0.1), None, point))
        self.deaths.append(Death(point, code, f"crash_point reached={chosen(point)}\n" in said, *self.sample()))
        self.victim.popen = None
        rest = self.lives[len(self.deaths):]
        if self.is_restarted or rest:
            self._live(rest[0] if rest else None)

    @property
    def is_over(self):
        """Every chosen step was reached."""
        return len(self.deaths) == len(self.lives)

    def wait(self, what, condition, seconds=30, every=0.04):
        def seen():
            self.step()
            return condition()
        return wait_for(what, seen, seconds * SLOW, every)

    # --- the store and Kafka ---

    def field(self, q, *names):
        out = next(csv.reader([self.stack.redis.cmd("--csv", "HMGET", f"bb:{{{q.stream}}}:m", *names)]))
        out = ["" if v == "NULL" else v for v in out]
        return out[0] if len(names) == 1 else out

    def is_finished(self, q):
        """As the store knows it; a stream that ingress closed is finished when a worker has said so."""
        state, by, owed, told, reason = self.field(q, "state", "by", "owed", "n:told", "reason")
        is_told = told == "1" or reason in ("busy", "stopped", "lost")      # of these there is no record
        return state == "final" and (is_told if by == "ingress" else owed == "")

    def sample(self):
        """Offsets first, states after: what is committed then is finished by now, or it never was."""
        committed = {t: o.committed() for t, o in self.stack.offsets.items()}
        if self.stack.redis.process.frozen:
            return committed, {}
        finished = {q.stream: self.is_finished(q) for q in self.questions}
        self.samples.append(history.Sample(self.clock(), committed["requests"], committed["late"], {s for s, is_done in finished.items() if is_done}, True))
        return committed, finished

    def question(self, directives="tokens=12 rate=20", bot=None, with_url=False, text="", **kw):
        q = Asked(self, text, directives, bot or self.bot, with_url, **kw)
        self.questions.append(q)
        return q

    def settle(self, seconds=40):
        """Waits until nothing is left: every record committed, every stream final and nothing owed."""
        self.wait("all points to be reached, so far " + str(self.deaths), lambda: self.is_over, seconds)
        self.wait("everything to be committed", lambda: not self.stack.lag(), seconds, 0.1)
        for q in self.questions:
            if self.field(q, "state"):
                self.wait("the stream to be finished: " + str(self.field(q, "state", "by", "owed", "n:told")), lambda: self.is_finished(q), 5)
        self.sample()
        self.step()

    # --- what Kafka holds at the end ---

    def collect(self):
        names = ("requests", "late", "dlq", "events")
        with ThreadPoolExecutor(4) as pool:
            read = dict(zip(names, pool.map(self.stack.records, names)))
        self.all_records = read
        streams = {q.stream for q in self.questions}

        def mine(topic):
            found = [history.Record(r["partition"], r["offset"], r["headers"].get("bb-stream", ""), r["headers"], r.get("payload") or "") for r in read[topic]]
            return [r for r in found if r.stream in streams]
        self.records, self.late, self.letters, self.events = (mine(t) for t in names)

    def letters_of(self, q):
        return [r.headers["bb-reason"] for r in self.letters if r.stream == q.stream]

    def events_of(self, q):
        return [json.loads(r.value) for r in self.events if r.stream == q.stream]

    def calls(self):
        reply = request(self.stack.llm.port, "GET", "/calls", timeout=30)
        texts = {q.text for q in self.questions}
        return [history.Call(c["question"], (c["at_ms"] - self.first_call) / 1000, c["status"], c["is_complete"])
                for c in json.loads(reply.body) if c["question"] in texts]

    # --- the judgement ---

    def history(self):
        deadline, margin = (BOTS[self.bot][k] / 1000 for k in ("stream_deadline_ms", "handover_margin_ms"))
        h = history.History(0, {k.removesuffix("_text"): v for k, v in TEXTS.items()},
                            {"deadline": deadline, "margin": margin, "lease": LEASE_S, "unknown": UNKNOWN_S, "attempts": ATTEMPTS})
        for i, q in enumerate(q for q in self.questions if q.events):
            directives = dict(p.split("=") for p in q.directives.split())
            h.questions.append(history.Question(i, q.common["from"]["userid"], q.text, int(directives.get("tokens", 24)), q.stream, directives,
                                                q.events, q.code, q.msgid, {0: q.expected}))
            h.deliveries += [(q.code, i == 0 and bool(self.stack.receiver.texts(q.code)), at - self.begun, text)
                             for i, (text, at) in enumerate(zip(self.stack.receiver.uses(q.code), self.stack.receiver.times(q.code)))]
        h.faults, h.samples, h.lag = self.faults, self.samples, self.stack.lag()
        h.records, h.late, h.dead_letters, h.answer_events, h.calls = self.records, self.late, self.letters, self.events, self.calls()
        return h

    def check_deaths(self):
        """The process died where it was told to, and what was committed by then was finished."""
        assert [d.point for d in self.deaths] == self.lives, f"not every chosen step was reached: {self.deaths}"
        for d in self.deaths:
            assert d.code == -signal.SIGKILL and d.is_by_point, f"died otherwise: {d}"
            moved = {r.stream for r in self.late}
            for topic, records, fine in (("requests", self.records, moved), ("late", self.late, set())):
                for r in records:
                    is_forgotten = any(f.kind == check.STORE_LOST for f in self.faults)
                    if r.stream in d.finished and d.committed[topic].get(r.partition, 0) > r.offset and not is_forgotten:
                        assert d.finished[r.stream] or r.stream in fine, f"{topic}/{r.offset} was committed and its question is not finished: {d}"

    def check_promises(self, rules=None):
        """Those of the harness's history, and the strict ones of a case in which only one process died."""
        violations = [v for v in check.judge(self.history()) if rules is None or v.rule in rules]
        assert not violations, "; ".join(f"{v.rule}: {v.text}" for v in violations)
        for q in self.questions:
            uses = self.stack.receiver.uses(q.code) if q.code else []
            assert len(self.stack.receiver.texts(q.code)) <= 1 and len(uses) <= 1 + len(self.deaths), f"{len(uses)} uses of a response_url"
            if q.finish and self.field(q, "state") == "final":
                q.look()    # what ended stays ended, with the same text

    def check_counts(self, q, letters=(), events=1, repeatable=()):
        """Dead letters by reason, and answer events: exactly these, or one more for each death inside the window in which a
        letter may have been sent and its receipt is not known."""
        more = sum(any(p.startswith(r) for r in repeatable) for p in self.lives)
        found = self.letters_of(q)
        assert set(found) == set(letters) and len(letters) <= len(found) <= len(letters) * (1 + more), f"dead letters {found}, {letters} expected"
        n = len(self.events_of(q))
        assert min(events, 1) <= n <= events * (1 + more), f"{n} answer events"


def produce(stack, topic, value, headers=()):
    flags = [x for name, text in headers for x in ("-H", f"{name}={text}")]
    subprocess.run(["kcat", "-P", "-b", stack.kafka.servers, "-t", f"{stack.prefix}.{topic}", "-k", "k", *flags], input=value.encode(), check=True, timeout=20)
