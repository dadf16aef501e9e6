"""The rules on made-up histories: each passes a good one and catches its own break."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import pytest  # noqa: E402

import check  # noqa: E402
import schedule  # noqa: E402
from history import Call, Event, Fault, History, Look, Question, Record, Sample  # noqa: E402

TEXTS = {"placeholder": "等", "busy": "忙", "lost": "失", "notice": "到时", "apology": "抱歉"}
SETTINGS = {"deadline": 45, "margin": 8, "lease": 3.5, "unknown": 15, "attempts": 3}
STREAM = "s" * 22


def shown(at, content, finish=False, kind="poll", ingress=0):
    return Event(kind, at, at + 0.01, ingress, "shown", finish, content)


class Case:
    """One answered question with everything in order, to be bent."""

    def __init__(self, directives=None):
        self.q = Question(0, "user", "问题 {tokens=20}", 20, STREAM, directives or {})
        a = self.q.answer(0)
        self.q.events = [shown(10, "等", kind="send"), shown(11, a[:20]), shown(12, a[:40]), shown(13, a, True), shown(14, a, True)]
        self.h = History(1, TEXTS, SETTINGS, [self.q])
        self.h.records = [Record(0, 0, STREAM)]
        self.h.answer_events = [Record(0, 0, STREAM)]
        self.h.calls = [Call(self.q.text, 10.1, 200, True)]
        self.h.looks = {STREAM: [Look(10, "open", 0, ""), Look(11, "run", 5, a[:20]), Look(13, "final", 5, a)]}
        self.h.samples = [Sample(10.5, {}, {}, set(), True), Sample(14, {0: 1}, {}, {STREAM}, True)]
        self.h.lag = {}

    def rules(self):
        return [v.rule for v in check.judge(self.h)]

    def fault(self, kind, target, begin, end, note=""):
        self.h.faults.append(Fault(kind, target, begin, end, note))

    def end_with(self, content, at=13.0):
        self.q.events[3:] = [shown(at, content, True)]
        self.h.looks[STREAM][-1].text = content


@pytest.fixture
def case():
    return Case()


def test_a_good_history_passes(case):
    assert case.rules() == []


def test_transport(case):
    case.q.events[1] = Event("poll", 11, 16, 0, "timeout")
    assert case.rules() == ["transport"]
    case.fault("freeze-ingress", "ingress1", 10, 17)
    assert case.rules() == ["transport"], "another ingress explains nothing"
    case.fault("freeze-ingress", "ingress0", 10, 17)
    assert case.rules() == []
    case.q.events[1] = Event("poll", 11, 11.1, 0, "status", detail="503")
    assert case.rules() == ["transport"], "no fault explains a status"


def test_contents_of_a_live_bubble(case):
    case.q.events[1].content = "别的"
    assert "contents" in case.rules()


@pytest.mark.parametrize("content", ["别的", "等", "忙", "失", "到时", "抱歉", "别的\n\n抱歉"])
def test_contents_of_an_end(case, content):
    case.end_with(content)
    assert "contents" in case.rules()


def test_lost_only_where_the_store_was_or_could_not_hear_of_it(case):
    case.end_with("失", 40)
    assert "contents" in case.rules()
    case.fault("redis-restart", "redis", 9, 12)
    assert "contents" in case.rules(), "who took it tells the store when it is back"
    case.fault("kill-ingress", "ingress1", 11, 13)
    assert "contents" in case.rules(), "another one took it"
    case.fault("kill-ingress", "ingress0", 20, 21)
    assert "contents" in case.rules(), "it had told the store"
    case.fault("kill-ingress", "ingress0", 11, 13)
    assert "contents" not in case.rules()


def test_an_apology_needs_a_reason():
    case = Case({"cut": "9"})
    case.end_with(case.q.answer(0)[:40] + "\n\n抱歉")
    case.h.answer_events, case.h.dead_letters = [], [Record(0, 0, STREAM)]
    assert case.rules() == []
    case.h.dead_letters = []
    assert case.rules() == ["dead_letters"]


def test_a_notice_needs_a_reason_that_holds_up_answers(case):
    case.end_with(case.q.answer(0)[:40] + "\n\n到时", 50)
    case.h.answer_events, case.h.dead_letters = [], [Record(0, 0, STREAM)]
    assert case.rules() == ["contents"]
    case.fault("kill-ingress", "ingress0", 11.5, 12.5)
    case.fault("roll-ingresses", "ingress1", 11.5, 12.5)
    assert case.rules() == ["contents"], "an ingress only carries it"
    case.fault("kill-worker", "worker0", 20, 25)
    assert case.rules() == []


def test_busy_only_where_nothing_was_accepted(case):
    case.q.events = [shown(10, "忙", True, "send")]
    case.h.looks, case.h.answer_events, case.h.calls = {}, [], []
    assert case.rules() == ["contents"]
    case.fault("broker-kill", "1", 5, 9)
    assert case.rules() == []
    case.q.events.insert(0, shown(9, "等", kind="send"))
    assert case.rules() == ["contents"]


def test_deadline(case):
    case.q.events[3:] = [shown(60, case.q.answer(0)[:40]), shown(61, case.q.answer(0), True)]
    assert case.rules() == ["ends"]
    case.q.events[3:] = []
    assert case.rules() == ["ends"]


def test_shown_text_goes_back(case):
    case.q.events[2].content = case.q.answer(0)[:10]
    assert case.rules() == ["never_back"]
    case.fault("redis-freeze", "redis", 11.5, 12.5)
    assert case.rules() == [], "from an ingress's memory"
    case.h.faults = [Fault("kill-worker", "worker0", 11.5, 12.5)]
    assert case.rules() == ["never_back"]
    case.q.events[2].content = "等"
    assert case.rules() == ["never_back"], "the placeholder over text"


def test_a_lost_text_stays_lost_until_a_worker_writes_it_again(case):
    a = case.q.answer(0)
    case.q.events[2:] = [shown(45, "等"), shown(46, a[:20]), shown(47, "等"), shown(52, a, True)]
    case.h.looks[STREAM][2:] = [Look(18, "unknown", 0, ""), Look(50, "run", 6, a[:20]), Look(52, "final", 6, a)]
    assert "never_back" in case.rules()
    case.fault("redis-empty", "redis", 15, 17)
    assert "never_back" not in case.rules()
    case.h.looks[STREAM][3].at = 40
    assert "never_back" in case.rules(), "the text was there again"


def test_an_earlier_writer_comes_back():
    case = Case({"vary": "1"})
    first, second = case.q.answer(0), case.q.answer(1)
    case.h.calls.append(Call(case.q.text, 11.5, 200, True))
    case.fault("kill-worker", "worker0", 11.2, 11.4)
    case.q.events[2].content = second[:60]
    case.end_with(second)
    assert case.rules() == []
    case.end_with(first)
    assert case.rules() == ["never_back"]
    case.h.looks[STREAM].insert(2, Look(12, "run", 6, second[:60]))
    case.h.looks[STREAM][-1].epoch = 6
    assert case.rules() == ["never_back", "store_grows"]
    case.end_with(second)
    case.q.events[2].content = second[:8]
    assert "never_back" in case.rules(), "a takeover shows less than what was there"


def test_the_store_between_the_polls(case):
    looks = case.h.looks[STREAM]
    looks.insert(2, Look(12, "run", 5, case.q.answer(0)[:10]))
    assert case.rules() == ["store_grows"]
    looks[2] = Look(12, "run", 4, case.q.answer(0)[:30])
    assert case.rules() == ["store_grows"]
    looks[2] = Look(12, "run", 5, case.q.answer(0)[:30])
    looks.append(Look(15, "run", 5, case.q.answer(0)))
    assert case.rules() == ["store_grows"]


def test_a_finished_bubble_changes(case):
    case.q.events[4].finish = False
    assert case.rules() == ["final_stays"]


def test_lane_order(case):
    late = Question(1, "user", "后问 {tokens=20}", 20, "t" * 22)
    late.events = [shown(10.5, "等", kind="send"), shown(11.5, late.answer(0), True)]
    case.h.questions.append(late)
    case.h.records.append(Record(1, 0, late.stream))
    case.h.answer_events.append(Record(0, 0, late.stream))
    case.h.calls.append(Call(late.text, 11, 200, True))
    assert case.rules() == ["lanes"]
    late.user = "another"
    assert case.rules() == []


def test_calls_of_the_pipeline(case):
    case.h.calls.append(Call(case.q.text, 12, 200, True))
    assert case.rules() == ["calls"]
    case.fault("kill-worker", "worker0", 11, 12)
    assert case.rules() == []
    case.h.calls += [Call(case.q.text, 12, 200, True)] * 2
    assert case.rules() == ["calls"]
    case.h.calls, case.h.faults = [], []
    assert case.rules() == ["calls"], "answered by nobody"


def test_accepted_means_durable(case):
    case.h.records = []
    assert case.rules() == ["records_durable"]


def test_commits(case):
    case.h.samples[0].committed = {0: 1}
    assert case.rules() == ["commits"]
    case.h.samples[0].committed = {}
    case.h.samples.append(Sample(15, {0: 0}, {}, set(), True))
    assert case.rules() == ["commits"], "an offset that goes back"


def test_lag_at_the_end(case):
    case.h.lag = {3: 2}
    assert case.rules() == ["drained"]
    case.h.lag = None
    assert case.rules() == ["drained"]


def test_letters(case):
    case.h.dead_letters = [Record(0, 0, STREAM)]
    assert case.rules() == ["dead_letters"]
    case.h.dead_letters, case.h.answer_events = [], []
    assert case.rules() == ["answer_events"]


def test_a_second_event_is_explained_until_the_commit(case):
    case.h.answer_events *= 2
    assert case.rules() == ["answer_events"]
    case.fault("kill-worker", "worker0", 13.5, 20)      # after the bubble's end
    assert case.rules() == []
    case.h.faults[0].begin = 14.5                       # after the offset was committed
    assert case.rules() == ["answer_events"]


def test_response_url(case):
    case.q.response_code = "c"
    answer = case.q.answer(0)
    case.h.deliveries = [("c", True, 13, answer)]
    assert case.rules() == ["response_urls"], "shown and sent"
    case.fault("freeze-ingress", "ingress0", 13, 14)
    assert case.rules() == []
    case.h.deliveries.append(("c", False, 14, answer))
    assert case.rules() == []
    case.h.faults = []
    assert case.rules() == ["response_urls"] * 2
    case.fault("kill-worker", "worker0", 13, 14)
    case.h.deliveries[1] = ("c", True, 14, answer)
    assert case.rules() == ["response_urls"], "accepted twice"
    case.h.deliveries = [("c", True, 13, "别的")]
    assert case.rules() == ["response_urls"]


def test_what_outlives_its_bubble_is_sent(case):
    case.q.response_code = "c"
    case.fault("freeze-worker", "worker0", 11, 30)
    case.end_with(case.q.answer(0)[:40] + "\n\n到时", 48)
    case.h.answer_events, case.h.late = [], [Record(0, 0, STREAM)]
    assert case.rules() == ["dead_letters", "response_urls"]
    case.h.deliveries = [("c", True, 50, case.q.answer(0))]
    assert case.rules() == []


def test_commits_of_what_went_over_to_late(case):
    case.h.samples[0].committed = {0: 1}
    case.h.late = [Record(0, 0, STREAM)]
    assert case.rules() == []
    case.h.samples[0].late = {0: 1}
    assert case.rules() == ["commits"]


def test_a_plan_is_a_function_of_its_seed():
    def steps(seed):
        return schedule.plan(seed, 300, schedule.ALL, 2, 3, 3, 2.0)
    assert steps(7) == steps(7) != steps(8)
    assert {s.kind for s in steps(7)} == set(schedule.ALL)
