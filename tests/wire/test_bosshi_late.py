"""Questions on BOSSHI that waited for a worker: for longer than an answer may take they are answered all the same, and told
that it is late; what is of no use any more is not."""
import time

import pytest

from bosshi_scene import Scene
from stack import serving, wait_for

DEADLINE_S, LATE_S, MAX_AGE_S = 4, 2, 60
LATE = "（这条消息到得很晚，现在为您回答）\n\n"


@pytest.fixture(scope="module")
def scene(kafka, tmp_path_factory):
    s = Scene(kafka, tmp_path_factory.mktemp("bosshi"),
              bot={"stream_deadline_ms": 1000 * DEADLINE_S, "late_after_ms": 1000 * LATE_S, "max_age_ms": 1000 * MAX_AGE_S})
    with serving(s):
        yield s


@pytest.fixture
def worker(scene):
    yield scene.stack.workers[0]
    if not scene.stack.workers[0].alive:
        scene.stack.workers[0].start()


def away_until(worker, scene, q, seconds):
    scene.platform.accepted(q)
    end = time.monotonic() + seconds
    wait_for("the time", lambda: time.monotonic() >= end, seconds + 1)
    worker.start()


def test_no_worker_for_longer_than_an_answer_may_take(scene, worker):
    worker.kill()
    q = scene.ask("tokens=40 rate=20")
    away_until(worker, scene, q, DEADLINE_S + 1)
    scene.platform.answer(q, until=LATE + q.expected, seconds=40)
    event = scene.settled(q)
    assert event["outcome"] == "done" and event["text"] == q.expected
    scene.platform.judge(q, LATE + q.expected)
    assert scene.dead_of(q) == [] and len(scene.runs_of(q)) == 1


def test_a_late_answer_ends_by_the_clock_as_well(scene, worker):
    worker.kill()
    q = scene.ask("tokens=2000 rate=20")
    away_until(worker, scene, q, DEADLINE_S + 1)
    shown = scene.platform.answer(q, until=lambda text: "回答时间已到上限" in text, seconds=40)
    assert len(shown) == 1 and shown[0].startswith(LATE)
    assert scene.settled(q)["outcome"] == "deadline"
    assert [d["bb-reason"] for d in scene.dead_of(q)] == ["deadline"]
    times = [x["at_ms"] for x in scene.platform.log(chat_id=q["chat_id"]) if x["type"] in ("send", "update")]
    assert 0.5 * DEADLINE_S < (times[-1] - times[0]) / 1000 < 1.5 * DEADLINE_S


def test_a_worker_died_with_it_and_none_came_in_its_time(scene, worker):
    q = scene.ask("tokens=60 rate=20")
    scene.platform.wait("a card with some text", lambda: len((scene.platform.shown(q) or [""])[0]) > 40)
    worker.kill()
    away_until(worker, scene, q, DEADLINE_S + 1)
    scene.platform.answer(q, until=q.expected, seconds=40)      # in the card that was not late when it began
    assert scene.settled(q)["outcome"] == "done"
    scene.platform.judge(q, q.expected)
    assert scene.dead_of(q) == []


def test_what_became_too_old_meanwhile_is_not_answered(scene, worker):
    worker.kill()
    q = scene.ask(age_ms=1000 * (MAX_AGE_S - 3))
    away_until(worker, scene, q, DEADLINE_S)
    scene.platform.wait("the dead letter", lambda: scene.dead_of(q), 40)
    assert [d["bb-reason"] for d in scene.dead_of(q)] == ["expired"]
    assert scene.platform.messages(q) == [] and scene.runs_of(q) == []
