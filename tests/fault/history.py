"""What happened: questions with everything their bubbles showed, faults with begin and end, samples of Kafka and the store.
Times are seconds since the run's start. Only data: check.py judges it, so that its rules can be tested on made-up histories."""
import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field

WORDS = ("数据", "报告", "summary", "结果", "été", "分析", "🚀", "模型", "value", "данные", "总结", "line")


def answer_of(question, tokens, nth=0):
    """The simulator's answer to the nth call of a question (tests/sim/llm_script.c, `vary`); world.py compares one with
    `botbridge-sim llm --answer`."""
    digest = hashlib.sha256((question + (f"\n{nth}" if nth else "")).encode()).digest()
    out = [f"{WORDS[(digest[i % 32] + i * 7) % 12]}{digest[i % 32]:02x}{i}{'。' + chr(10) if i % 9 == 8 else ','}" for i in range(tokens - 1)]
    return "".join(out) + "完"


@dataclass
class Event:
    """One request about a question."""
    kind: str               # send, poll
    sent: float
    got: float
    ingress: int
    outcome: str            # shown, refused, reset, timeout, status, broken
    finish: bool = False
    content: str = ""
    detail: str = ""

    @property
    def is_shown(self):
        return self.outcome == "shown"


@dataclass
class Question:
    number: int
    user: str
    text: str
    tokens: int
    stream: str
    directives: dict = field(default_factory=dict)
    events: list = field(default_factory=list)
    response_code: str = ""
    msgid: str = ""
    answers: dict = field(default_factory=dict, repr=False)

    def answer(self, nth):
        """What call `nth` of the pipeline says: with `vary` each something else, so that writers can be told apart."""
        nth = nth if "vary" in self.directives else 0
        if nth not in self.answers:
            self.answers[nth] = answer_of(self.text, self.tokens, nth)
        return self.answers[nth]

    def writers(self, text, made):
        """Which of `made` calls' answers begin with this text."""
        return [n for n in range(max(made, 1)) if self.answer(n).startswith(text)]

    @property
    def asked(self):
        return self.events[0].sent

    @property
    def shown(self):
        return [e for e in self.events if e.is_shown]

    @property
    def accepted(self):
        """When the platform heard finish:false as the first reply; None when it did not."""
        first = next(iter(self.shown), None)
        return first.got if first and not first.finish else None

    @property
    def end(self):
        """The event that ended the bubble."""
        return next((e for e in self.shown if e.finish), None)

    @property
    def last(self):
        return self.events[-1].got

    @property
    def over(self):
        """When the bubble ended or, without an end, when it was last heard of."""
        return self.end.got if self.end else self.last


@dataclass
class Fault:
    kind: str               # kill, freeze, term, redis, link, broker, …; see schedule.py
    target: str
    begin: float
    end: float = None       # None: lasts
    note: str = ""

    def overlaps(self, begin, end, grace=0.0):
        return self.begin <= end and (self.end is None or self.end + grace >= begin)

    def __str__(self):
        end = "…" if self.end is None else f"{self.end:.2f}"
        return f"{self.begin:8.2f} – {end:>7}  {self.kind:<14} {self.target:<10} {self.note}"


@dataclass
class Sample:
    """Committed offsets, and after them the streams that were settled (final, nothing owed) or gone with a lost store."""
    at: float
    committed: dict         # partition of requests → offset
    late: dict              # partition of late → offset
    settled: set            # streams found settled now
    is_store_known: bool    # False: the store could not be asked


@dataclass
class Look:
    """What the store held of a stream, noted when it was different from the look before."""
    at: float
    state: str              # "" when there is no record
    epoch: int
    text: str


@dataclass
class Record:
    partition: int
    offset: int
    stream: str
    headers: dict = field(default_factory=dict)
    value: str = ""


@dataclass
class Call:
    """One call of a pipeline."""
    question: str
    at: float
    status: int
    is_complete: bool


@dataclass
class History:
    seed: int
    texts: dict             # placeholder, busy, lost, notice, apology
    settings: dict          # deadline, margin, lease, unknown, attempts: seconds and counts
    questions: list = field(default_factory=list)
    faults: list = field(default_factory=list)
    samples: list = field(default_factory=list)
    looks: dict = field(default_factory=dict)           # stream → [Look]
    records: list = field(default_factory=list)         # of requests
    late: list = field(default_factory=list)            # records of late: what goes on after its bubble
    dead_letters: list = field(default_factory=list)
    answer_events: list = field(default_factory=list)
    calls: list = field(default_factory=list)
    lag: dict = None        # at the end, (topic, partition) → records; None: could not be asked
    deliveries: list = field(default_factory=list)      # (response code, was accepted, at, text)
    accidents: list = field(default_factory=list)       # what is wrong whatever the history: deaths, sanitizers, logs, fds
    lags: list = field(default_factory=list)            # (at, seconds) this harness itself stood still
    _made: Counter = None
    _records: dict = None

    def made(self, q):
        """How often the pipeline was called for a question."""
        if self._made is None or sum(self._made.values()) != len(self.calls):
            self._made = Counter(c.question for c in self.calls)
        return self._made[q.text]

    def records_of(self, stream):
        if self._records is None or sum(map(len, self._records.values())) != len(self.records):
            self._records = {}
            for r in self.records:
                self._records.setdefault(r.stream, []).append(r)
        return self._records.get(stream, [])

    def near(self, begin, end, grace=0.0, kinds=None):
        return [f for f in self.faults if f.overlaps(begin, end, grace) and (kinds is None or re.fullmatch(kinds, f.kind))]
