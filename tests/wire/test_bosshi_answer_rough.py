"""Answers in a chat of BOSSHI on a rough platform: slow, failing in the middle, many in one group, a store that goes while parts
are said. What the chat holds at the end is counted."""
import secrets
import time

import pytest

from bosshi_scene import Scene
from stack import serving, wait_for

LIMIT = 400     # characters of one message


@pytest.fixture(scope="module")
def scene(kafka, tmp_path_factory):
    s = Scene(kafka, tmp_path_factory.mktemp("bosshi"), bot={"stream_deadline_ms": 40000, "api_timeout_ms": 1500, "card_limit": LIMIT})
    with serving(s):
        yield s


@pytest.fixture(autouse=True)
def no_faults(scene):
    yield
    scene.platform.clear_faults()


def check_parts(scene, q, seconds=40):
    scene.platform.wait("the whole answer", lambda: "".join(scene.platform.shown(q)) == q.expected, seconds)
    event = scene.settled(q)
    assert event["reply"] == {"outcome": "done", "code": 0, "messages": len(scene.platform.shown(q))}
    scene.platform.judge(q, q.expected, messages=len(scene.platform.messages(q)))
    assert scene.dead_of(q) == [] and len(scene.runs_of(q)) == 1


def test_every_call_is_slow(scene):
    scene.platform.fault(on="any", delay_ms=1200, times=-1)
    check_parts(scene, scene.ask("size=1500 rate=200"))


def test_a_send_that_is_taken_after_it_was_given_up(scene):
    scene.platform.fault(on="send", delay_ms=2500)
    check_parts(scene, scene.ask("tokens=40 rate=20"))


def test_the_token_call_fails_in_mid_answer(scene):
    q = scene.ask("tokens=80 rate=20")
    scene.platform.wait("the card", lambda: scene.platform.shown(q))
    scene.platform.fault(on="token", status=500, body="", times=3)
    scene.platform.expire_tokens()
    check_parts(scene, q)


@pytest.mark.parametrize("fault", [{"status": 500, "body": ""}, {"status": 429, "code": 99991400, "retry_after_s": 2}, {"drop": True}, {"withhold": "cut"}])
def test_calls_fail_between_the_parts(scene, fault):
    for skip in (1, 1, 1):
        scene.platform.fault(on="send", skip=skip, **fault)
    scene.platform.fault(on="update", skip=2, **fault)
    check_parts(scene, scene.ask("size=2000 rate=400"))


def test_many_in_one_group(scene):
    chat = "group" + secrets.token_hex(4) + "~"
    asked = [scene.ask("tokens=30 rate=10", chat_type="group", chat_id=chat, mentions=[]) for _ in range(12)]
    assert all(len(q.expected) < LIMIT for q in asked)
    expected = sorted(q.expected for q in asked)
    scene.platform.wait("all answers", lambda: sorted(scene.platform.shown(asked[0])) == expected, 60)
    for q in asked:
        assert scene.settled(q)["reply"] == {"outcome": "done", "code": 0, "messages": 1}
    assert scene.platform.broken() == []


def test_a_card_that_takes_ten_updates_is_followed_by_the_answer(scene):
    scene.platform.fault(on="update", skip=10, code=12345, msg="edited too often", times=-1)
    q = scene.ask("tokens=30 rate=2")
    scene.platform.answer(q, until=q.expected, seconds=40)
    assert scene.settled(q)["reply"] == {"outcome": "done", "code": 0, "messages": 1}
    card, text = scene.platform.shown(q)
    assert text == q.expected and q.expected.startswith(card) and scene.dead_of(q) == []
    assert [x["code"] for x in scene.platform.log(type="update", message_id=scene.platform.messages(q)[0]["message_id"])] == [0] * 10 + [12345]


def wait_for_part(scene, q):
    scene.platform.wait("a further part", lambda: len(scene.platform.shown(q)) >= 2)


def test_the_store_stands_still_between_the_parts(scene):
    q = scene.ask("size=3000 rate=1000")
    wait_for_part(scene, q)
    scene.stack.redis.process.freeze()
    time.sleep(3)
    scene.stack.redis.process.thaw()
    check_parts(scene, q)


def test_the_store_restarts_empty_between_the_parts(scene):
    q = scene.ask("size=3000 rate=1000")
    wait_for_part(scene, q)
    scene.stack.redis.process.kill()
    scene.stack.redis.start()
    check_parts(scene, q)


def test_the_store_restarts_empty_between_the_parts_and_the_worker_dies(scene):
    q = scene.ask("size=4000 rate=4000")
    wait_for_part(scene, q)
    scene.stack.redis.process.kill()
    scene.stack.redis.start()
    worker = scene.stack.workers[0]
    wait_for("its notes", lambda: any(scene.stack.redis.cmd("HGET", key, "n:said") for key in scene.stack.redis.cmd("--scan", "--pattern", "bb:*:m").split()))
    scene.platform.fault(on="send", withhold="hang")
    said = len(scene.platform.shown(q))
    scene.platform.wait("one more", lambda: len(scene.platform.shown(q)) > said)
    worker.kill()
    worker.start()
    check_parts(scene, q)
