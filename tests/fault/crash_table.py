"""The table of crash points: scenarios, where each may be interrupted, and what must come of it. A point is
step[/item][:nth][~ms] as in common/base/crash_point.h; several joined by " + " are the ends of successive lives of the same process.

`step sent` is before the command leaves the process (nothing outside knows of it), `step answered` is when its effect is
there and nobody inside knows: between the two lies every moment at which it may be under way."""
import signal
import time
from dataclasses import dataclass

from crash_scene import AskedInChat, BOT_MAX_RECORDS, BRIEF_DEADLINE_S, SLOW, TEXTS, produce, wecom
from history import Fault

NOTICE, APOLOGY, BUSY, LOST = (TEXTS[k + "_text"] for k in ("notice", "apology", "busy", "lost"))
EVENT = ("letter.produced/event", "letter.reported/event", "settle.sent/event")
DLQ = ("letter.produced/dlq", "letter.reported/dlq", "settle.sent/dlq")
CLOSED = ("letter.", "told.")       # what a closed stream owes is noted once, when all is said
LONG = "tokens=60 rate=20"
ALL_RULES = {"processes", "transport", "contents", "ends", "never_back", "store_grows", "final_stays", "lanes", "calls", "records_durable",
             "commits", "drained", "dead_letters", "answer_events", "response_urls"}


def judge(s, without=()):
    s.collect()
    s.check_deaths()
    s.check_promises(ALL_RULES - set(without))


def answer(s, directives="tokens=12 rate=20"):
    s.arm()
    q = s.question(directives).ask().watch()
    assert q.final == q.expected
    s.settle()
    judge(s)
    s.check_counts(q, repeatable=EVENT)


def slow_answer(s):
    answer(s, "tokens=6 rate=20 delay=1500")


def failing(s):
    s.arm()
    q = s.question("fail=500x9").ask().watch()
    assert q.final == APOLOGY
    s.settle()
    judge(s)
    s.check_counts(q, ["failed"], repeatable=EVENT + DLQ)


def unpolled(s):
    s.arm()
    q = s.question("tokens=6 rate=20", with_url=True).ask()
    s.settle()
    assert s.stack.receiver.texts(q.code) == [q.expected]
    assert q.watch().final == q.expected
    judge(s, {"response_urls"})
    s.check_counts(q, repeatable=EVENT)
    assert {e["response_url"]["sent"] for e in s.events_of(q)} == {"end"}


def rest(s):
    s.arm()
    q = s.question("size=30000 rate=20000", with_url=True).ask().watch()
    s.settle()
    head, _, _ = q.final.rpartition("\n\n")
    assert [head + rest for rest in s.stack.receiver.texts(q.code)] == [q.expected]
    judge(s, {"contents", "response_urls"})
    s.check_counts(q, repeatable=EVENT)


def late(s):
    s.arm()
    q = s.question(LONG, with_url=True).ask().watch()
    s.settle()
    texts = s.stack.receiver.texts(q.code)
    if q.final != q.expected:
        assert q.final.endswith(NOTICE) and q.expected.startswith(q.final[:-len(NOTICE)].rstrip("\n"))
    assert texts == ([] if q.final == q.expected else [q.expected])
    judge(s, {"contents"})
    s.check_counts(q, repeatable=EVENT)


def late_and_lost(s, directives, mode, reason):
    """A dead letter became owed when the end had been written."""
    s.arm()
    q = s.question(directives, with_url=True)
    s.stack.receiver.modes[q.code] = mode
    q.ask().watch()
    s.settle()
    assert q.final.endswith(NOTICE) and len(s.stack.receiver.uses(q.code)) >= 1
    judge(s, {"contents", "dead_letters", "response_urls"})
    s.check_counts(q, [reason], repeatable=EVENT + DLQ)


def refused_late(s):
    late_and_lost(s, LONG, "refuse", "undelivered")


def failed_late(s):
    late_and_lost(s, LONG + " cut=50", "ok", "failed")


def platform_away(s):
    s.arm()
    s.stack.receiver.stop()
    try:
        q = s.question("tokens=6 rate=20", with_url=True).ask()
        s.wait("its record to be complete", lambda: not s.stack.offsets["requests"].lag() and s.stack.offsets["late"].lag(), 40, 0.1)
        s.wait("the calls to be made", lambda: s.is_over or not s.lives[0].startswith("call."))
    finally:
        s.stack.receiver.start()
    s.settle()
    assert s.stack.receiver.uses(q.code) == [q.expected]
    assert q.watch().final == q.expected
    judge(s, {"response_urls"})
    s.check_counts(q, repeatable=EVENT)


def closed(s):
    s.down()
    q = s.question("tokens=6 rate=20", with_url=True).ask().watch()
    assert q.final == NOTICE
    s.arm()
    s.settle()
    assert s.stack.receiver.texts(q.code) == [q.expected]
    judge(s)
    s.check_counts(q, repeatable=CLOSED)
    assert {e["outcome"] for e in s.events_of(q)} == {"closed"}


def closed_without_url(s):
    s.down()
    q = s.question().ask().watch()
    assert q.final == NOTICE
    s.arm()
    s.settle()
    judge(s, {"dead_letters"})
    s.check_counts(q, ["expired"], repeatable=CLOSED)
    assert not s.calls()


def silent_model(s):
    s.arm()
    q = s.question("delay=600000").ask().watch()
    assert q.final == NOTICE
    s.settle()
    judge(s)
    is_found_late = s.lives[0] in ("note.sent/dead", "finish.sent")     # by an owner for whom there was no time left
    s.check_counts(q, ["expired" if is_found_late else "deadline"], repeatable=EVENT + DLQ)


def expired_unseen(s):
    s.down()
    q = s.question().ask()
    s.wait("its deadline", lambda: s.clock() > BRIEF_DEADLINE_S + 0.5, BRIEF_DEADLINE_S + 2)
    s.arm()
    s.settle()
    assert q.watch().final == NOTICE
    judge(s)
    s.check_counts(q, ["expired"], repeatable=EVENT + DLQ)
    assert not s.calls()


def suspected(s):
    s.arm()
    q = s.question().ask().watch(60)
    is_poison = s.lives[-1] != "alone.sent"
    assert q.final == (APOLOGY if is_poison else q.expected)
    s.settle()
    judge(s)
    s.check_counts(q, ["poison"] if is_poison else [], 0 if is_poison else 1)


def unreadable(s):
    s.arm()
    junk = f"junk-{s.begun}"
    produce(s.stack, "requests", junk)
    s.settle()
    q = s.question().ask().watch()
    assert q.final == q.expected
    s.settle()
    judge(s)
    letters = [r for r in s.all_records["dlq"] if r["payload"] == junk]
    repeats = sum(p.startswith("letter.") or p.startswith("offset.") or p.startswith("commit.") for p in s.lives)
    assert 1 <= len(letters) <= 1 + repeats and letters[0]["headers"]["bb-reason"] == "unreadable"
    offset, = [r["offset"] for r in s.all_records["requests"] if r["payload"] == junk]
    early = [d for d in s.deaths if not d.point.startswith("commit.")]
    assert all(d.committed["requests"].get(0, 0) <= offset for d in early), "committed before its dead letter was acknowledged"


def unreadable_with_stream(s):
    """Only its headers tell whose it was: its bubble is ended."""
    s.arm()
    q = s.question()
    now = int(1000 * time.time())
    produce(s.stack, "requests", f"junk of {q.msgid}", [("bb-stream", q.stream), ("bb-start", now), ("bb-deadline", now + 60000)])
    s.settle()
    assert s.field(q, "state", "reason") == ["final", "apology"]
    judge(s)
    s.check_counts(q, ["unreadable"], 0, repeatable=DLQ)


def lane(s):
    """Both are polled all the time: a later answer that begins before the earlier one's end is seen."""
    s.arm()
    questions = [s.question(user="u-lane").ask() for _ in range(3)]

    def over():
        for q in questions:
            q.finish or q.look()
        return all(q.finish for q in questions)
    s.wait("the ends", over, 40, 0.1)
    assert all(q.final == q.expected for q in questions)
    s.settle()
    judge(s)
    for q in questions:     # the next one begins while an event is under way
        s.check_counts(q, repeatable=EVENT + ("claim.granted",))


def watch_all(s, questions):
    for q in questions:
        q.watch(60)


def overload(s):
    s.arm()
    slow = [s.question("tokens=60 rate=12").ask() for _ in range(BOT_MAX_RECORDS)]
    over = s.question().ask()
    watch_all(s, [over, *slow])
    assert all(q.final == q.expected for q in slow)
    s.settle()
    judge(s, {"contents", "dead_letters"})
    if s.lives == ["finish.sent"] and over.final == over.expected:
        s.check_counts(over)        # to the next owner it may look like one that was begun
    else:
        assert over.final == BUSY
        s.check_counts(over, ["overload"], 0, repeatable=DLQ)
    for q in slow:
        s.check_counts(q)


def with_spare(s, play):
    """The victim is not started again before the end: a second worker goes on."""
    partitions = lambda: s.stack.metric(s.stack.worker_ports[0], "botbridge_bus_partitions")    # noqa: E731
    s.is_restarted = False
    s.arm()
    s.wait("requests and late to be the victim's", lambda: partitions() == 2)
    try:
        play()
    finally:
        if s.victim.popen is None:
            s._live(None)
            s.victim.wait_ready(30 * SLOW)
        if s.stack.spare.alive:
            s.stack.spare.wait_ready(30 * SLOW)
        code = s.stack.spare.terminate() if s.stack.spare.alive else 0
    assert code == 0
    s.wait("requests and late to be the victim's", lambda: partitions() == 2)
    s.is_restarted = True
    s.settle(60)
    judge(s)


def drain(s):
    def play():
        q = s.question("tokens=80 rate=10").ask().watch(until=lambda text: len(text) > 60)
        s.victim.signal(signal.SIGTERM)
        s.stack.spare.start(wait=False)
        s.wait("the point to be reached", lambda: s.is_over)
        assert q.watch(60).final == q.expected
    with_spare(s, play)
    s.check_counts(s.questions[0])


def drain_with_dirty_offsets(s):
    """The first question's offset is committed at once, the second one's half a second later: before that the worker is to
    leave. On a slow machine this takes more than one try."""
    def play():
        for _ in range(12):
            s.is_down = True        # its end may be an orderly one
            for _ in range(2):
                q = s.question("tokens=1 rate=1000").ask()
                s.wait("nothing to be left of it but its offset", lambda: s.is_finished(q), every=0.01)
            s.victim.signal(signal.SIGTERM)
            s.wait("its end", lambda: s.victim.popen.poll() is not None)
            s.is_down = s.victim.popen.poll() == 0
            s.step()
            if s.deaths:
                break
            s.victim.popen = None
            s.arm()
        s.stack.spare.start(wait=False)
        watch_all(s, s.questions)
        assert all(q.final == q.expected for q in s.questions)
    with_spare(s, play)
    for q in s.questions:
        s.check_counts(q)


def store_restarted_empty(s):
    s.arm()
    q = s.question().ask().watch()
    s.wait("everything to be committed", lambda: not s.stack.lag(), 20, 0.1)
    fault = Fault("redis-empty", "redis", s.clock())
    s.faults.append(fault)
    s.stack.redis.process.kill()
    s.stack.redis.start()
    fault.end = s.clock()
    s.settle()
    for _ in range(3):
        q.look()
    assert q.final == q.expected
    judge(s)
    s.check_counts(q)


def queued_while_the_store_is_emptied(s):
    s.arm()
    first = s.question("tokens=80 rate=10", user="u", may_go_back=True).ask().watch(until=lambda text: len(text) > 20)
    second = s.question(user="u").ask()
    fault = Fault("redis-empty", "redis", s.clock())
    s.faults.append(fault)
    s.stack.redis.process.kill()
    s.stack.redis.start()
    fault.end = s.clock()
    watch_all(s, [first, second])
    s.settle()
    judge(s)
    for q in (first, second):
        assert q.final == q.expected
        s.check_counts(q)


def refused(s):
    """The user asks too often: ended busy, and nothing is in Kafka."""
    s.arm()
    first = s.question(user="u").ask()
    second = s.question(user="u").ask()
    watch_all(s, [first, second])
    s.settle()
    judge(s, {"contents"})
    assert first.final == first.expected
    s.check_counts(first)
    if s.lives == ["close.answered"]:
        assert second.final == BUSY
        s.check_counts(second, events=0)
    else:       # the repeat came to a process that had not counted the first question
        assert second.final == second.expected
        s.check_counts(second)


def without_worker(s):
    worker = s.stack.workers[0]
    worker.kill()
    s.faults.append(Fault("kill-worker", worker.name, 0.0, 3600.0))
    return worker


def is_open_owed(s):
    try:
        return s.stack.metric(s.stack.admin_ports[0], "botbridge_ingress_owed_opens") > 0
    except OSError:     # it dies while it is asked
        return False


def store_away_at_the_question(s):
    s.arm()
    s.stack.redis.process.freeze()
    try:
        q = s.question().ask()
        s.wait("the open to be owed", lambda: s.deaths or is_open_owed(s))
    finally:
        s.stack.redis.process.thaw()
    assert q.watch().final == q.expected
    s.settle()
    judge(s)
    s.check_counts(q)


def store_away_at_the_deadline(s):
    worker = without_worker(s)
    s.arm()
    try:
        q = s.question().ask()
        s.stack.redis.process.freeze()
        s.wait("the end from memory", lambda: q.look() and q.finish or s.deaths, BRIEF_DEADLINE_S + 3, 0.2)
    finally:
        s.stack.redis.process.thaw()
    s.wait("the point to be reached", lambda: s.is_over)
    assert q.watch().final == NOTICE
    worker.env = s.stack.env
    worker.start()
    s.settle()
    judge(s)
    s.check_counts(q, ["expired"])


def ended_by_ingress(s):
    worker = without_worker(s)
    s.arm()
    q = s.question().ask().watch()
    assert q.final == NOTICE
    worker.env = s.stack.env
    worker.start()
    s.settle()
    judge(s)
    s.check_counts(q, ["expired"])


def unacceptable(s):
    s.arm()
    q = s.question(text="长" * 30000).ask().watch()
    assert q.final == APOLOGY
    s.settle()
    s.stack.records("dlq", lambda r: q.msgid in str(r["headers"]), 5 * SLOW)     # the user does not wait for it
    judge(s, {"contents"})
    s.check_counts(q, ["unacceptable"], 0, repeatable=("unacceptable.", "close.sent"))
    assert not s.records


def event_callback(s):
    s.arm()
    msgid = f"event-{s.begun}"
    event = {"msgid": msgid, "msgtype": "event", "from": {"userid": "u"}, "event": {"eventtype": "feedback_event", "feedback_event": {"id": "f", "type": 2}}}

    def answered():
        try:
            return wecom.post(s.stack.bot, s.stack.ports[0], event) == {}
        except (OSError, wecom.http.client.HTTPException):
            return False
    s.wait("an answer", answered, every=0.2)
    s.settle()
    judge(s)
    found = [r for r in s.all_records["events"] if r["headers"].get("ce_id") == msgid]
    assert 1 <= len(found) <= 1 + len(s.deaths)


def unknown_stream(s):
    s.arm()
    q = s.question()
    q.id = q.stream     # never asked
    assert q.watch().final == LOST
    s.settle()
    judge(s, {"contents", "ends", "records_durable"})
    s.check_counts(q, events=0)


def chat(s, directives="tokens=40 rate=20", bot="boss", messages=1):
    s.arm()
    q = AskedInChat(s.stack, directives, bot)
    s.questions.append(q)
    s.wait("the answer", lambda: "".join(q.shown) == q.expected, 40, 0.1)
    s.settle()
    q.check()
    assert len(q.shown) >= messages
    judge(s)
    s.check_counts(q, repeatable=EVENT)


def chat_in_cards(s):
    chat(s, "size=2400 rate=400", messages=4)


def chat_in_texts(s):
    chat(s, "size=2400 rate=400", "plain", messages=4)


def chat_in_shortened_texts(s):
    chat(s, "size=2400 rate=400", "narrow", messages=5)


@dataclass
class Scenario:
    name: str
    victim: str
    play: object
    points: list
    outcome: str
    bot: str = "main"

    @property
    def cases(self):
        return [tuple(p.split(" + ")) for p in self.points]


TAKEN = ["record.read", "record.taken/requests", "claim.sent", "claim.answered", "claim.granted", "run.started", "text.taken"]
EVENT_SETTLED = [*EVENT, "settle.answered/event"]
DLQ_SETTLED = [*DLQ, "settle.answered/dlq"]
COMMITTED = ["offset.completed", "offset.marked", "commit.sent", "commit.answered"]
MESSAGE = ["note.sent/url", "note.answered/url", "call.sent", "call.answered", "note.sent/url_done", "note.answered/url_done"]
FURTHER = ["chat.note/part", "chat.noted/part", "chat.sent/part", "chat.answered/part", "chat.note/said", "chat.noted/said"]
TOLD = ["told.sent/note", "told.sent/release", "told.answered/note", "told.answered/release"]

SCENARIOS = [
    Scenario("answer", "worker", answer,
             [*TAKEN, "put.sent/text", "put.answered/text", "text.taken:6", "put.sent/text:2", "put.answered/text:2", "run.ended", "finish.sent",
              "finish.answered", *EVENT_SETTLED, *COMMITTED, "text.taken:6 + claim.held", "text.taken:6 + claim.granted", "text.taken:6 + put.answered/text",
              "finish.answered + claim.owed", "finish.answered + letter.reported/event", "offset.completed + claim.answered",
              "offset.completed + offset.marked"],
             "the answer, one event"),
    Scenario("slow first text", "worker", slow_answer, ["put.sent/lease", "put.answered/lease"], "the answer, one event"),
    Scenario("failing pipeline", "worker", failing,
             ["run.ended", "run.started:2", "run.ended:2", "finish.sent", "finish.answered", *DLQ_SETTLED, *EVENT], "apology, dead letter `failed`"),
    Scenario("end that nobody polls", "worker", unpolled,
             ["renew.sent", "renew.answered", *MESSAGE, "letter.reported/event", "settle.answered/event", "settle.sent/shown", "settle.answered/shown",
              "offset.completed"], "the answer by response_url once, and in the bubble"),
    Scenario("long answer", "worker", rest,
             ["finish.answered", "note.answered/url", "call.answered", "note.answered/url_done", "settle.sent/rest", "settle.answered/rest"],
             "bubble and rest together are the answer"),
    Scenario("late answer", "worker", late,
             ["finish.sent", "finish.answered", "copy.produced", "copy.reported", "copy.completed", "record.taken/late", "claim.held", "run.ended", *MESSAGE,
              *EVENT_SETTLED, "settle.sent/late", "settle.answered/late", "offset.completed", "copy.completed + claim.owed",
              "copy.reported + run.ended"], "the answer once: in the bubble, or notice and response_url", "brief"),
    Scenario("late answer, refused", "worker", refused_late, ["note.answered/url_done", *DLQ_SETTLED, "letter.reported/event", "settle.answered/event"],
             "dead letter `undelivered`", "brief"),
    Scenario("late answer that breaks off", "worker", failed_late,
             ["note.answered/url", "note.sent/url_done", "note.answered/url_done", *DLQ_SETTLED, "letter.reported/event"],
             "what there was by response_url, dead letter `failed`", "brief"),
    Scenario("nobody behind response_url", "worker", platform_away,
             ["call.answered", "copy.produced", "copy.reported", "copy.completed", "record.taken/late", "claim.held", "call.answered:2", "offset.completed",
              "copy.completed + claim.owed"], "the record complete meanwhile, then the answer by response_url once"),
    Scenario("closed by ingress", "worker", closed,
             ["claim.closed", "run.started", "copy.produced", "copy.reported", "copy.completed", "run.ended", *MESSAGE, "letter.produced/event",
              "letter.reported/event", *TOLD, "offset.completed"], "notice, the answer by response_url once, event `closed`", "brief"),
    Scenario("closed, no response_url", "worker", closed_without_url,
             ["claim.closed", "letter.produced/dlq", "letter.reported/dlq", "letter.reported/event", "told.sent/note", "told.answered/note",
              "told.answered/release"], "notice, dead letter `expired`, the pipeline not called", "brief"),
    Scenario("silent model", "worker", silent_model, ["note.sent/dead", "note.answered/dead", "finish.sent", "finish.answered", *DLQ_SETTLED],
             "notice, dead letter `deadline`; `expired` where it was not noted", "brief"),
    Scenario("expired, never polled", "worker", expired_unseen,
             ["claim.granted", "finish.sent", "finish.answered", "letter.reported/dlq", "settle.answered/dlq"], "notice, dead letter `expired`", "brief"),
    Scenario("suspected of killing", "worker", suspected,
             ["run.started + run.started + alone.sent", "run.started + run.started + alone.answered", "run.started + run.started + run.started"],
             "answer where it was not noted to run alone, else apology and dead letter `poison`"),
    Scenario("unreadable record", "worker", unreadable,
             ["record.read", "record.taken/requests", "letter.produced/dlq", "letter.reported/dlq", *COMMITTED],
             "dead letter `unreadable` before the commit, the next question is answered"),
    Scenario("unreadable record with a stream", "worker", unreadable_with_stream,
             ["claim.granted", "finish.sent", "finish.answered", "letter.reported/dlq", "settle.answered/dlq"], "apology, dead letter `unreadable`"),
    Scenario("chat of BOSSHI", "worker", chat,
             ["chat.note/card", "chat.noted/card", "chat.sent/card", "chat.answered/card", "chat.note/card_id", "chat.noted/card_id", "chat.sent/update",
              "chat.answered/update", "chat.answered/update:2", "finish.answered", "chat.note/reply", "chat.noted/reply", "letter.reported/event",
              "settle.sent/reply", "settle.answered/reply", "chat.answered/card + chat.answered/update"],
             "one message that grows to the answer, one event"),
    Scenario("long answer in cards of BOSSHI", "worker", chat_in_cards,
             ["chat.answered/update", "finish.answered", *FURTHER, "chat.note/said:2", "chat.sent/part:2", "chat.answered/part:2", "chat.noted/reply",
              "chat.noted/said + chat.answered/part", "chat.answered/part + chat.answered/part:2"],
             "each card once and in order, one event"),
    Scenario("long answer in texts of BOSSHI", "worker", chat_in_texts,
             ["finish.answered", *FURTHER, "chat.answered/part:3", "chat.note/reply", "chat.noted/reply", "chat.sent/part:2 + chat.noted/said"],
             "each text once and in order, one event"),
    Scenario("answer in texts that BOSSHI finds too long", "worker", chat_in_shortened_texts,
             ["chat.answered/part", "chat.note/part:2", "chat.noted/part:2", "chat.sent/part:2", "chat.answered/part:2", "chat.answered/part:4",
              "chat.note/said", "chat.noted/said", "chat.sent/part:5", "chat.answered/part:5", "chat.answered/part:5 + chat.answered/part",
              "chat.answered/part:2 + chat.answered/part:3"],
             "each of the shorter texts once and in order, one event"),
    Scenario("question on BOSSHI", "ingress", chat, ["callback.verified", "read.sent", "read.answered", "request.produced", "request.reported", "reply.queued"],
             "as above, however often it is delivered"),
    Scenario("three questions of one user", "worker", lane,
             ["text.taken:6", "finish.sent", "finish.answered", "claim.granted:2", "text.taken:18", "finish.answered:2", "commit.answered",
              "text.taken:6 + text.taken:14"], "the answers, one after the other"),
    Scenario("more than a bot may have", "worker", overload, ["finish.sent", "finish.answered", *DLQ_SETTLED],
             "busy and dead letter `overload`; the others their answers"),
    Scenario("drain", "worker", drain, ["release.sent", "release.answered", "group.left"], "the other worker goes on in the same bubble"),
    Scenario("drain with work done", "worker", drain_with_dirty_offsets, ["last_commit.sent", "last_commit.answered~0"], "each question its answer"),
    Scenario("store restarted empty", "worker", store_restarted_empty, ["final.sent", "final.answered"], "the end stays as it was"),
    Scenario("store restarted empty while one waits in its lane", "worker", queued_while_the_store_is_emptied, ["queued.sent", "queued.answered"],
             "both answers, one event each"),
    Scenario("question", "ingress", answer,
             ["callback.verified", "open.sent", "open.answered", "request.produced", "request.reported", "reply.queued", "reply.sent", "read.sent",
              "read.answered", "reply.queued:3", "reply.sent:3", "shown.sent", "shown.answered"],
             "one stream id, the answer, one event"),
    Scenario("user who asks too often", "ingress", refused, ["close.sent", "close.answered"], "busy, or accepted by who had not counted", "strict"),
    Scenario("store away at the question", "ingress", store_away_at_the_question, ["owed.kept/open", "owed.sent/open", "owed.answered/open"],
             "the answer, one event"),
    Scenario("store away at the deadline", "ingress", store_away_at_the_deadline, ["owed.kept/close", "owed.sent/close", "owed.answered/close"],
             "notice, dead letter `expired`", "brief"),
    Scenario("deadline without a worker", "ingress", ended_by_ingress, ["end.sent", "end.answered"], "notice, dead letter `expired`", "brief"),
    Scenario("question no record can hold", "ingress", unacceptable, ["unacceptable.produced", "unacceptable.reported", "close.sent", "close.answered~0"],
             "apology, dead letter `unacceptable`"),
    Scenario("event", "ingress", event_callback, ["callback.verified", "callback_event.produced", "callback_event.reported", "reply.queued"],
             "in the events topic"),
    Scenario("unknown stream", "ingress", unknown_stream, ["read.sent", "reopen.sent", "reopen.answered", "end.sent", "end.answered"], "placeholder, then lost"),
]


def readme_table():
    lines = ["| scenario | who dies | right after | what must come of it |", "|---|---|---|---|"]
    for s in SCENARIOS:
        lines.append(f"| {s.name} | {s.victim} | {', '.join(p.replace('|', '/') for p in s.points)} | {s.outcome} |")
    return "\n".join(lines)

