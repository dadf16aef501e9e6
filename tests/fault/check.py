"""The rules. Each takes a history and yields violations; none knows how the history came about (test_check.py feeds them
made-up ones). What a rule lets pass because of a fault, it names."""
from collections import Counter, defaultdict
from dataclasses import dataclass

GAP = "\n\n"
SLACK_S = 2.0           # of an end by the clock: one poll's turn and a slow machine
STORE_BACK_S = 3.0      # after the store, or the way to it, is back: reconnect, then memory is no longer asked
LOST_S = 20.0           # after an empty restart: session time-out of a dead worker, claim, own text as long again
EFFECT_S = 20.0         # how long after its end a fault of Kafka or a worker may still be the reason for something
START_S = 1.0           # whole seconds of the callback's timestamp

STORE_LOST = "redis-empty"
STORE_AWAY = "redis-.*"
KAFKA = "broker-.*|kafka-.*"
MODEL = "link-llm"
WORKER = ".*-workers?"
NOT_INGRESS = "(?!.*-ingress(es)?$).*"  # what holds up an answer; who only carries it to the user does not
FAILS = {"fail", "cut", "junk", "hang", "error"}    # directives with which a question is to fail


@dataclass
class Violation:
    rule: str
    text: str
    question: object = None
    at: float = None


def judge(history):
    """Every violation of every rule."""
    out = [Violation("processes", text) for text in history.accidents]
    for rule in (transport, contents, ends, never_back, store_grows, final_stays, lanes, calls, records_durable, commits, drained, dead_letters,
                 answer_events, response_urls):
        out += [Violation(rule.__name__, *found) for found in rule(history)]
    return out


# --- what faults explain ---

def lost_store(h, begin, end):
    """The store came back empty while this mattered."""
    return any(f.kind == STORE_LOST and f.begin <= end and (f.end is None or f.end + LOST_S >= begin) for f in h.faults)


def is_text_lost(h, q, begin, end):
    """The store came back empty, and no worker has written this question's text again: longer than LOST_S when workers are
    hit meanwhile. One ingress remembers the text then, another one does not."""
    if lost_store(h, begin, end):
        return True
    for f in h.faults:
        if f.kind == STORE_LOST and f.end is not None and q.asked < f.end < begin:
            again = next((k.at for k in h.looks.get(q.stream, []) if k.at > f.end and k.text), float("inf"))
            if begin < again + STORE_BACK_S:
                return True
    return False


def is_unheard(h, q):
    """Asked while the store was away, and the ingress that took it ended before the store could hear of it: an id that
    nobody knows until a worker has its record."""
    taker = f"ingress{q.events[0].ingress}"
    for away in h.near(q.asked, q.asked, STORE_BACK_S, f"{STORE_AWAY}|link-store"):
        back = float("inf") if away.end is None else away.end + STORE_BACK_S
        if any(f.begin <= back for f in h.near(q.asked, q.over, kinds="(kill|freeze|term|roll)-ingress(es)?") if f.target in (taker, "ingresses")):
            return True
    return False


def is_forgotten(h, q):
    """The store lost the question before its offset was committed: whoever reads the record then does it all again."""
    return lost_store(h, q.asked, until_committed(h, q))


def committed_at(h, q):
    """When the last of its records was seen committed."""
    places = [(r.partition, r.offset) for r in h.records_of(q.stream)]
    for s in h.samples:
        if all(s.committed.get(partition, 0) > offset for partition, offset in places):
            return s.at
    return float("inf")


def until_committed(h, q):
    """When its bubble had ended and nothing would be done for it any more: letter and event come after the end."""
    return max(q.over, committed_at(h, q))


def goes_on(h, q):
    """Its bubble did not end with its answer, and there is another way to the user."""
    return q.response_code and (not q.end or parts(h, q.end.content)[0] not in ("answer", "apology"))


def is_store_away(h, event):
    """This ingress may have answered from its memory."""
    for f in h.near(event.sent, event.got, STORE_BACK_S):
        if f.kind.startswith("redis-") or f.kind == "link-store" and f.target in ("all", f"ingress{event.ingress}"):
            return True
        if f.target == f"ingress{event.ingress}":       # woken or started just now: its connection is being made
            return True
    return False


def stood_still(h, begin, end):
    return any(at < end and at + late + 0.5 > begin for at, late in h.lags)


def parts(h, content):
    """(kind, answer text) of what a final bubble shows."""
    t = h.texts
    for kind in ("notice", "apology"):
        if content == t[kind]:
            return kind, ""
        if content.endswith(GAP + t[kind]):
            return kind, content[:-len(GAP + t[kind])]
    for kind in ("busy", "lost", "placeholder"):
        if content == t[kind]:
            return kind, ""
    return "answer", content


# --- one question ---

def transport(h):
    """200 to every callback, inside five seconds, in the platform's form."""
    for q in h.questions:
        for e in q.events:
            if e.detail == "503" and any(f.target == f"ingress{e.ingress}" for f in h.near(e.sent, e.got, 0.0, "(term|roll)-.*")):
                continue    # read in the last milliseconds of a drain: nothing was accepted
            if e.outcome in ("status", "broken"):
                yield f"{e.kind} got {e.outcome} {e.detail}", q, e.got
            elif e.outcome in ("timeout", "reset", "refused"):
                grace = 1.0 if e.outcome == "timeout" else 0.5
                mine = [f for f in h.near(e.sent - 0.2, e.got, grace) if f.target == f"ingress{e.ingress}"]
                if not mine and not stood_still(h, e.sent, e.got):
                    yield f"{e.kind} ended in {e.outcome} after {e.got - e.sent:.2f} s with ingress{e.ingress} untouched {e.detail}", q, e.got


def contents(h):
    """A live bubble shows the placeholder or the answer's beginning; a final one what the rules allow, and why."""
    for q in h.questions:
        for e in q.shown:
            kind, text = parts(h, e.content)
            if not e.finish and kind != "placeholder" and not (kind == "answer" and q.writers(text, h.made(q))):
                yield f"a live bubble shows {e.content[-60:]!r}", q, e.got
            if e is q.end:      # what comes after it is judged by final_stays
                yield from _final(h, q, e, kind, text)


def _final(h, q, e, kind, text):
    life = (q.asked, e.got)
    if kind == "answer":
        if text not in [q.answer(n) for n in q.writers(text, h.made(q))]:
            yield f"final text is not the answer: …{text[-60:]!r}", q, e.got
    elif kind == "placeholder":
        yield "ended with the placeholder", q, e.got
    elif text and not q.writers(text, h.made(q)):
        yield f"the text before the {kind} is not the answer's beginning: …{text[-60:]!r}", q, e.got
    elif kind == "lost" and not lost_store(h, *life) and not is_unheard(h, q):
        yield "lost, but the store never was", q, e.got
    elif kind == "busy":
        if q.accepted is not None:
            yield "busy after it was accepted", q, e.got
        elif not h.near(*life, EFFECT_S, KAFKA + "|(freeze|kill|term|roll)-ingress(es)?") and not stood_still(h, *life):
            yield "busy without a reason", q, e.got
    elif kind == "notice":
        early = q.asked - START_S + h.settings["deadline"] - h.settings["margin"]
        if e.got < early:
            yield f"notice {early - e.got:.1f} s before its time", q, e.got
        elif not h.near(*life, EFFECT_S, NOT_INGRESS):
            yield "notice without a reason", q, e.got
    elif kind == "apology" and not (FAILS & set(q.directives)) and not h.near(*life, 1.0, MODEL):
        reasons = {r.headers.get("bb-reason") for r in h.dead_letters if r.stream == q.stream}
        # A question with which workers died again and again is taken for the cause.
        if "poison" not in reasons or len(h.near(*life, EFFECT_S, WORKER)) < 3:
            yield f"apology without a reason, dead letter {reasons}", q, e.got


def ends(h):
    """finish:true by the deadline, seen at the first poll answered after it."""
    for q in h.questions:
        if not q.shown or q.end and not [e for e in q.shown if not e.finish]:
            continue
        heard = q.shown[0]
        due = heard.got + h.settings["deadline"] + SLACK_S
        for f in h.faults:      # first seen again by an ingress that knew nothing any more
            if f.kind == STORE_LOST and f.begin < due and (f.end or f.begin) + LOST_S > q.asked:
                due = max(due, (f.end or f.begin) + STORE_BACK_S + h.settings["unknown"] + SLACK_S + (LOST_S if h.near(
                    f.begin, f.end or f.begin, LOST_S, "redis-.*|link-store") else 0))
        late = [e for e in q.shown if not e.finish and e.sent > due and not stood_still(h, e.sent, e.got)]
        if late:
            yield f"still open {late[0].sent - heard.got:.1f} s after it was accepted", q, late[0].got
        elif not q.end:
            yield "never ended", q, q.last


class _Growth:
    """The text that counts so far and whose it may be. Later text extends it, or is that of a later call that has caught up
    in length or has ended; an earlier call's text never comes back."""

    def __init__(self, h, q):
        self.q, self.made, self.text, self.at, self.writers = q, h.made(q), "", None, None

    def take(self, text, at, is_final):
        """What is wrong with this as the next text; it counts from now on, unless it was the beginning of what was there."""
        if not text:
            return f"nothing after {len(self.text)} characters" if self.text else None
        writers = self.q.writers(text, self.made)
        if not writers:
            return None     # contents() says that nobody wrote this
        wrong = None
        if self.writers is not None:
            same = [n for n in self.writers if n in writers]
            later = [n for n in writers if n > min(self.writers)]
            is_as_long = len(text.encode()) >= len(self.text.encode()) or is_final
            if same and not text.startswith(self.text):
                wrong = f"{len(self.text)} characters at {self.at:.2f} became {len(text)}"
            elif not same and not later:
                wrong = f"text of call {writers} after that of call {self.writers}, shown at {self.at:.2f}"
            elif not same and not is_as_long:
                wrong = f"a later call's text came early: {len(self.text)} characters at {self.at:.2f} became {len(text)}"
        if wrong is None:
            self.text, self.at, self.writers = text, at, writers
        return wrong


def never_back(h):
    """Shown text only grows, while the store lives."""
    for q in h.questions:
        growth = _Growth(h, q)
        for e in q.shown:
            kind, text = parts(h, e.content)
            if is_text_lost(h, q, e.sent, e.got):
                growth = _Growth(h, q)
            elif e.finish and kind in ("busy", "lost"):
                break
            else:
                wrong = growth.take(text, e.got, e.finish)
                if wrong and not is_store_away(h, e):
                    yield "shown text went back: " + wrong, q, e.got
                    break


def store_grows(h):
    """The same for what the store held between the polls, and one epoch after the other."""
    for q in h.questions:
        growth, looks = _Growth(h, q), h.looks.get(q.stream, [])
        for before, now in zip(looks, looks[1:]):
            if lost_store(h, before.at, now.at):
                growth = _Growth(h, q)
                continue
            kind, text = parts(h, now.text)
            wrong = growth.take(text, now.at, now.state == "final") if kind in ("answer", "notice", "apology") else None
            if wrong:
                yield f"the store's text went back under epoch {now.epoch}: {wrong}", q, now.at
                break
            if now.epoch < before.epoch:
                yield f"epoch went from {before.epoch} to {now.epoch}", q, now.at
                break
            if before.state == "final" and now.state != "final":
                yield f"state went from final to {now.state or 'missing'}", q, now.at
                break


def final_stays(h):
    """What ended stays ended, with the same text, for whoever asks again."""
    for q in h.questions:
        if not q.end:
            continue
        for e in q.shown[q.shown.index(q.end) + 1:]:
            if (e.finish, e.content) == (True, q.end.content) or lost_store(h, q.end.sent, e.got) or is_store_away(h, e):
                continue
            yield f"a finished bubble became finish={e.finish} {parts(h, e.content)[0]} {e.content[-40:]!r}", q, e.got
            break


def lanes(h):
    """A user's later question shows no answer before the earlier one has ended."""
    of_user = defaultdict(list)
    for q in h.questions:
        of_user[q.user].append(q)
    for questions in of_user.values():
        for i, late in enumerate(questions):
            first = next((e for e in late.shown if parts(h, e.content)[0] == "answer"), None)
            if not first:
                continue
            for early in questions[:i]:
                if early.accepted is None or early.accepted > late.asked:
                    continue
                open_after = next((e for e in early.shown if not e.finish and e.sent > first.got and not is_store_away(h, e)), None)
                if open_after and not lost_store(h, early.asked, open_after.got):
                    yield f"answered while question {early.number} was still open at {open_after.sent:.2f}", late, first.got


def _planned_calls(h, q):
    """(least, most) calls of the pipeline when nothing hits the question."""
    attempts = h.settings["attempts"]
    if "fail" in q.directives:
        n = min(int(q.directives["fail"].split("x")[1]) + 1, attempts)
        return n, n
    if {"cut", "junk", "error"} & set(q.directives):
        return 1, attempts      # once more, if it broke before anything was shown
    return 1, 1


def calls(h):
    """The pipeline is called once, and once more for each takeover or retry that a fault explains."""
    for q in h.questions:
        least, most = _planned_calls(h, q)
        n, over = h.made(q), q.over if not is_forgotten(h, q) else committed_at(h, q)
        if goes_on(h, q):
            over = float("inf")
        hits = [f for f in h.near(q.asked, over, EFFECT_S) if not f.kind.endswith(("-ingress", "-ingresses"))]
        allowed = most
        for f in hits:
            allowed += h.settings["attempts"] if f.kind == MODEL else most
        if n > allowed:
            yield f"{n} calls of the pipeline, {allowed} explained by {len(hits)} faults", q, q.over
        is_answered = q.end and parts(h, q.end.content)[0] == "answer"
        if is_answered and n < least and not hits:
            yield f"answered with {n} calls of the pipeline", q, q.over


# --- Kafka ---

def records_durable(h):
    """What the platform heard accepted is in the topic."""
    there = {r.stream for r in h.records}
    for q in h.questions:
        if q.accepted is not None and q.stream not in there:
            yield "accepted, and not in Kafka", q, q.accepted


def commits(h):
    """A committed offset has nothing unfinished before it, and never goes back. What went over to `late` is finished in
    `requests`."""
    of_stream = {q.stream: q for q in h.questions}
    moved = {r.stream for r in h.late}
    settled, reported = set(), set()
    topics = [("requests", "committed", {(r.partition, r.offset): r.stream for r in h.records}, moved),
              ("late", "late", {(r.partition, r.offset): r.stream for r in h.late}, set())]
    done = defaultdict(int)
    for s in h.samples:
        settled |= s.settled
        for topic, name, by_place, fine in topics:
            for partition, offset in getattr(s, name).items():
                place = (topic, partition)
                if offset < done[place]:
                    yield f"{topic}/{partition}: committed offset went back from {done[place]} to {offset} at {s.at:.2f}", None, s.at
                if not s.is_store_known:
                    continue
                for o in range(done[place], offset):
                    stream = by_place.get((partition, o))
                    if stream is None or stream in settled | fine | reported or lost_store(h, s.at - LOST_S, s.at):
                        continue
                    reported.add(stream)
                    yield f"offset {topic}/{partition}/{o} was committed by {s.at:.2f}, its question was not settled", of_stream.get(stream), s.at
                done[place] = max(offset, done[place])


def drained(h):
    """At the end everything is read and committed."""
    if h.lag is None:
        yield "committed offsets could not be read at the end", None
    elif h.lag:
        yield f"records not committed at the end: {h.lag}", None


def dead_letters(h):
    """What ended in an apology or by the clock left a dead letter; what was answered left none."""
    letters = Counter(r.headers.get("bb-stream", r.stream) for r in h.dead_letters)
    sent = {d[0] for d in h.deliveries if d[1]}
    in_kafka = {r.stream for r in h.records}
    for q in h.questions:
        if not q.end or q.stream not in in_kafka or is_forgotten(h, q):
            continue
        kind, n = parts(h, q.end.content)[0], letters[q.stream]
        if kind in ("apology", "notice") and n == 0 and q.response_code not in sent:
            yield f"ended with the {kind} and left no dead letter", q, q.over
        elif (kind == "answer" or kind == "busy" and not q.response_code) and n > 0:
            yield f"ended with {kind} and left {n} dead letters", q, q.over
        elif n > 1 and not h.near(q.asked, until_committed(h, q), EFFECT_S):
            yield f"left {n} dead letters", q, q.over


def answer_events(h):
    """Every answer left an event with its text."""
    left = defaultdict(list)
    for r in h.answer_events:
        left[r.stream].append(r)
    for q in h.questions:
        if not q.end or parts(h, q.end.content)[0] != "answer" or is_forgotten(h, q):
            continue
        if not left[q.stream]:
            yield "answered and left no event", q, q.over
        elif len(left[q.stream]) > 1 and not h.near(q.asked, until_committed(h, q), EFFECT_S):
            yield f"left {len(left[q.stream])} events", q, q.over


# --- response_url ---

def response_urls(h):
    """At most one accepted use of each code, with a text that the bubble did not show; no second try unless a fault may
    have hidden the first; none missing where the bubble ended by the clock."""
    of_code = {q.response_code: q for q in h.questions if q.response_code}
    used = defaultdict(list)
    for delivery in h.deliveries:
        used[delivery[0]].append(delivery)
    for code in set(used) - set(of_code):
        yield f"response_url called with an unknown code {code[:6]}…", None
    letters = {r.stream for r in h.dead_letters}
    in_kafka = {r.stream for r in h.records}
    for code, q in of_code.items():
        uses = used[code]
        accepted = [u for u in uses if u[1]]
        kind, _ = parts(h, q.end.content) if q.end else ("", "")
        if len(accepted) > 1:
            yield f"{len(accepted)} accepted uses of its response_url", q, uses[-1][2]
        if len(uses) > 1 and not h.near(uses[0][2], uses[-1][2], EFFECT_S):
            yield f"{len(uses)} uses of its response_url without a reason", q, uses[-1][2]
        for _, _, at, text in uses[:1]:
            sent, body = parts(h, text)
            if sent == "answer" and text not in [q.answer(n) for n in q.writers(text, h.made(q))] or body and not q.writers(body, h.made(q)):
                yield f"sent by response_url: …{text[-60:]!r}", q, at
            if kind in ("answer", "apology") and not h.near(q.asked, at, EFFECT_S):
                yield f"sent by response_url at {at:.2f} though the bubble showed the {kind}", q, at
        if kind == "notice" and not uses and q.stream in in_kafka and q.stream not in letters and not is_forgotten(h, q):
            yield "its bubble ended by the clock, and nothing came by response_url", q, q.over
