"""Answers in a chat of BOSSHI while the API fails: what was said once is not said twice, and what cannot be said is kept."""
import secrets
import time

import pytest

from bosshi_scene import Scene
from stack import SLOW, serving

NOTICE = "回答时间已到上限，内容可能不完整，请稍后再试或换个问法。"


@pytest.fixture(scope="module")
def scene(kafka, tmp_path_factory):
    s = Scene(kafka, tmp_path_factory.mktemp("bosshi"), bot={"stream_deadline_ms": 12000, "api_timeout_ms": 1500, "api_attempts": 3})
    with serving(s):
        yield s


@pytest.fixture(autouse=True)
def no_faults(scene):
    yield
    scene.platform.clear_faults()


def check(scene, q, messages=1):
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    assert scene.dead_of(q) == [] and len(scene.runs_of(q)) == 1
    return scene.platform.judge(q, q.expected, messages)


@pytest.mark.parametrize("how", ["cut", "hang"])
def test_a_send_whose_answer_is_withheld_is_no_second_message(scene, how):
    scene.platform.fault(on="send", withhold=how)
    q = scene.ask("tokens=60 rate=20")
    calls = check(scene, q)
    sends = [x for x in calls if x["type"] == "send"]
    assert [x["is_repeat"] for x in sends] == [False, True] and len({x["uuid"] for x in sends}) == 1


@pytest.mark.parametrize("how", ["cut", "hang"])
def test_an_update_whose_answer_is_withheld_is_made_again(scene, how):
    scene.platform.fault(on="update", withhold=how, skip=1)
    check(scene, scene.ask("tokens=60 rate=20"))


def test_a_platform_that_knows_the_uuid_and_tells_no_id(scene):
    scene.platform.settings(uuid_repeat="refuse")
    scene.platform.fault(on="send", withhold="cut")
    q = scene.ask("tokens=40 rate=20")
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    scene.platform.settings(uuid_repeat="same")
    assert len(scene.platform.messages(q)) == 2    # the card, which cannot be found again, and the answer


def test_a_repeat_that_is_refused_is_no_word_against_cards(scene):
    scene.platform.fault(on="send", withhold="cut")
    scene.platform.fault(on="send", code=12345, msg="uuid used")
    q = scene.ask("tokens=40 rate=20")
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    q = scene.ask("tokens=20 rate=20")
    check(scene, q)
    assert {m["msg_type"] for m in scene.platform.messages(q)} == {"compressive_card"}


def test_a_token_that_ends_in_mid_answer_is_replaced(scene):
    q = scene.ask("tokens=80 rate=20")
    scene.platform.wait("the card", lambda: scene.platform.shown(q))
    before = len(scene.platform.log(type="token"))
    scene.platform.expire_tokens()
    check(scene, q)
    assert len(scene.platform.log(type="token")) == before + 1


def test_the_api_is_away_for_a_while(scene):
    q = scene.ask("tokens=60 rate=20")
    scene.platform.wait("the card", lambda: scene.platform.shown(q))
    scene.platform.fault(drop=True, times=-1)
    later = scene.ask("tokens=5 rate=20")
    scene.platform.wait("the end of the run", lambda: all(c["is_complete"] for c in scene.runs_of(q) + scene.runs_of(later)))
    time.sleep(3)
    scene.platform.clear_faults()
    check(scene, q)
    check(scene, later)


def test_what_is_asked_for_by_headers_is_waited_for(scene):
    scene.platform.fault(on="send", status=429, code=99991400, reset_s=2, times=1)
    scene.platform.fault(on="update", status=503, retry_after_s=2, times=1)
    q = scene.ask("tokens=60 rate=20")
    calls = check(scene, q)
    refused = scene.platform.log(type="send", code=99991400)
    assert len(refused) == 1 and calls[0]["at_ms"] - refused[0]["at_ms"] >= 1900
    assert any(b["at_ms"] - a["at_ms"] >= 1900 for a, b in zip(calls, calls[1:]))


def test_server_errors_are_tried_again(scene):
    scene.platform.fault(on="send", status=502, body="<html>", times=2)
    scene.platform.fault(on="update", status=500, body="", times=2)
    check(scene, scene.ask("tokens=40 rate=20"))


def test_what_is_refused_for_good_is_a_dead_letter(scene):
    words = scene.stack.note_text("w" + secrets.token_hex(6))    # the platform may quote the message: no log has its words
    scene.platform.fault(on="send", code=230002, msg=f"not in chat: {words}", times=-1)
    q = scene.ask("tokens=20 rate=20")
    event = scene.settled(q)
    assert event["outcome"] == "done" and event["text"] == q.expected
    assert event["reply"] == {"outcome": "stop", "code": 230002}
    dead = scene.dead_of(q)
    assert [d["bb-reason"] for d in dead] == ["undelivered"]
    assert all(part in dead[0]["bb-error"] for part in ("230002", "trace", words))
    assert scene.platform.messages(q) == []


def test_a_dead_letter_tells_what_failed_first(scene):
    scene.platform.fault(on="send", status=502, body="", times=1)
    q = scene.ask("fail=400x9")
    scene.settled(q)
    dead, = scene.dead_of(q)
    assert dead["bb-reason"] == "failed" and "400" in dead["bb-error"] and "502" not in dead["bb-error"]


def test_a_recalled_card_is_left_alone(scene):
    scene.platform.fault(on="update", code=230011, times=-1)
    q = scene.ask("tokens=40 rate=20")
    scene.settled(q)
    assert [d["bb-reason"] for d in scene.dead_of(q)] == ["undelivered"]
    assert len(scene.platform.messages(q)) == 1 and len(scene.platform.log(type="update", code=230011)) == 1


def test_a_card_that_takes_no_update_is_followed_by_the_answer(scene):
    scene.platform.fault(on="update", code=230031, times=-1)
    q = scene.ask("tokens=40 rate=20")
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    assert [m["msg_type"] for m in scene.platform.messages(q)] == ["compressive_card", "text"]
    assert scene.dead_of(q) == []


def test_an_answer_that_takes_too_long_ends_with_a_notice(scene):
    q = scene.ask("tokens=2000 rate=20")
    shown = scene.platform.answer(q, until=lambda text: text.endswith(NOTICE), seconds=30)
    assert len(shown) == 1 and q.expected.startswith(shown[0].split("\n\n" + NOTICE)[0])
    event = scene.settled(q)
    assert event["outcome"] == "deadline"
    assert [d["bb-reason"] for d in scene.dead_of(q)] == ["deadline"]
    last = [x for x in scene.platform.log(type="update", message_id=scene.platform.messages(q)[0]["message_id"])][-1]
    assert last["text"].endswith(NOTICE)


def test_an_api_that_stays_away_gets_a_dead_letter(scene):
    scene.platform.fault(drop=True, times=-1)
    q = scene.ask("tokens=5 rate=20")
    event = scene.settled(q, seconds=60)
    assert event["text"] == q.expected
    assert [d["bb-reason"] for d in scene.dead_of(q)] == ["undelivered"]


def test_the_store_restarts_empty_in_mid_answer(scene):
    q = scene.ask("tokens=100 rate=20")
    scene.platform.wait("the card", lambda: scene.platform.shown(q))
    scene.stack.redis.process.kill()
    time.sleep(0.5)
    scene.stack.redis.start()
    check(scene, q)
