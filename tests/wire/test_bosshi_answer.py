"""Answers in a chat of BOSSHI: a card that grows, its parts, and text where there is no card."""
from contextlib import ExitStack

import pytest

from bosshi_scene import Scene
from stack import serving

INTERVAL_S = 0.3
TOO_LONG = 230025


@pytest.fixture(scope="module")
def scene(kafka, tmp_path_factory):
    with serving(Scene(kafka, tmp_path_factory.mktemp("bosshi"))) as s:
        yield s


@pytest.fixture
def make_scene(kafka, tmp_path):
    with ExitStack() as made:
        yield lambda **kw: made.enter_context(serving(Scene(kafka, tmp_path, **kw)))


def test_a_card_grows_to_the_answer(scene):
    q = scene.ask("tokens=60 rate=20")
    scene.platform.answer(q, until=q.expected)
    event = scene.settled(q)
    calls = scene.platform.judge(q, q.expected)
    assert calls[0]["type"] == "send" and calls[0]["msg_type"] == "compressive_card" and len(calls) >= 4
    assert event["outcome"] == "done" and event["platform"] == "bosshi" and event["text"] == q.expected
    assert event["reply"] == {"outcome": "done", "code": 0, "messages": 1}
    assert len(scene.runs_of(q)) == 1 and scene.dead_of(q) == []


def test_an_answered_event_is_remembered_for_as_long_as_it_may_come_again(scene):
    q = scene.ask("tokens=5 rate=20")
    scene.platform.answer(q, until=q.expected)
    stream = scene.settled(q)["stream"]
    assert int(scene.stack.redis.cmd("PTTL", f"bb:{{{stream}}}:m")) > 8 * 3600 * 1000


def test_any_age_may_be_answered_and_is_remembered(make_scene):
    """Years, as in the example of the documents; a time to remember that is shorter than the age is no contradiction."""
    scene = make_scene(bot={"max_age_ms": 100 * 365 * 86400 * 1000, "dedup_ttl_ms": 60000})
    q = scene.ask("tokens=5 rate=20", age_ms=6 * 365 * 86400 * 1000)
    scene.platform.answer(q, until=lambda text: text.endswith(q.expected))
    stream = scene.settled(q)["stream"]
    assert scene.dead_of(q) == []
    assert 6 * 86400 * 1000 < int(scene.stack.redis.cmd("PTTL", f"bb:{{{stream}}}:m")) <= 7 * 86400 * 1000


def test_updates_are_coalesced_and_one_at_a_time(scene):
    q = scene.ask("tokens=80 rate=40")
    scene.platform.fault(on="update", delay_ms=700, times=3)
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    updates = [x for x in scene.platform.judge(q, q.expected) if x["type"] == "update"]    # no overlap among the broken rules
    gaps = [b["at_ms"] - a["at_ms"] for a, b in zip(updates, updates[1:])]
    assert 2 <= len(updates) <= 8 and min(gaps) >= INTERVAL_S * 1000 - 20


def test_the_last_update_finds_room(make_scene):
    scene = make_scene(bot={"updates_max": 5, "update_interval_ms": 200}, platform={"set": {"updates_max": 6}})
    q = scene.ask("tokens=160 rate=20")
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    updates = [x["at_ms"] for x in scene.platform.judge(q, q.expected) if x["type"] == "update"]
    gaps = [b - a for a, b in zip(updates, updates[1:])]
    assert len(updates) == 6 and all(b > 1.5 * a for a, b in zip(gaps[:4], gaps[1:4]))    # ever more apart
    assert len(scene.platform.messages(q)) == 1


def test_a_group_is_answered_in_the_group(scene):
    q = scene.ask(chat_type="group", mentions=[])
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    assert [m["chat_id"] for m in scene.platform.messages(q)] == [q["chat_id"]]


def test_five_deliveries_get_one_answer(scene):
    q = scene.ask("tokens=20 rate=20")
    scene.platform.repeat(q, times=4)
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    scene.platform.repeat(q)
    # One that was not answered within a second, on a slow machine, is repeated.
    scene.platform.wait("all deliveries", lambda: [d["status"] for d in scene.platform.event(q)["deliveries"]].count(200) >= 6)
    scene.platform.judge(q, q.expected)
    assert len(scene.runs_of(q)) == 1


def test_an_event_that_comes_late_is_announced(scene):
    q = scene.ask("tokens=40 rate=20", age_ms=20 * 60 * 1000)
    whole = "（这条消息到得很晚，现在为您回答）\n\n" + q.expected
    scene.platform.answer(q, until=whole)
    assert scene.settled(q)["text"] == q.expected
    scene.platform.judge(q, whole)


def test_an_event_that_is_too_old_is_dead_lettered(scene):
    q = scene.ask(age_ms=9 * 3600 * 1000)
    scene.platform.wait("the dead letter", lambda: scene.dead_of(q))
    assert [d["bb-reason"] for d in scene.dead_of(q)] == ["expired"]
    assert scene.platform.messages(q) == [] and scene.runs_of(q) == []


def test_a_failure_is_apologised_for(scene):
    q = scene.ask("fail=500x9")
    assert scene.platform.answer(q, until=lambda text: text.startswith("抱歉"))
    assert scene.settled(q)["outcome"] == "apology"
    assert [d["bb-reason"] for d in scene.dead_of(q)] == ["failed"]


def test_what_is_too_much_is_told(make_scene):
    scene = make_scene(settings={"worker": {"bot_max_records": 1}})
    slow = scene.ask("tokens=60 rate=20")
    scene.platform.wait("the card", lambda: scene.platform.shown(slow))
    over = scene.ask()
    scene.platform.answer(over, until="当前咨询较多，暂时无法回答，请稍后再试。")
    scene.platform.wait("the dead letter", lambda: [d["bb-reason"] for d in scene.dead_of(over)] == ["overload"])
    scene.platform.answer(slow, until=slow.expected)


def joined(texts):
    return "".join(texts)


def test_a_long_answer_goes_on_in_further_cards(make_scene):
    scene = make_scene(bot={"card_limit": 400}, platform={"set": {"card_limit": 400}})
    q = scene.ask("size=5000 rate=400")
    scene.platform.wait("the whole answer", lambda: joined(scene.platform.shown(q)) == q.expected, 40)
    scene.settled(q)
    shown = scene.platform.shown(q)
    assert len(shown) >= 4 and {m["msg_type"] for m in scene.platform.messages(q)} == {"compressive_card"}
    scene.platform.judge(q, q.expected, messages=len(shown))


def test_final_texts_are_split_by_their_limit(make_scene):
    scene = make_scene(bot={"stream": "final", "text_limit": 900, "text_limit_unit": "bytes"},
                       platform={"set": {"text_limit": 900, "limit_unit": "bytes"}})
    q = scene.ask("size=3000 rate=400")
    scene.platform.wait("the whole answer", lambda: joined(scene.platform.shown(q)) == q.expected, 40)
    scene.settled(q)
    messages = scene.platform.messages(q)
    assert len(messages) >= 4 and {m["msg_type"] for m in messages} == {"text"}
    scene.platform.judge(q, q.expected, messages=len(messages))


def check_shortened(scene, q, form):
    """All of it is there, each piece once, though the platform takes less than the bot was told."""
    scene.platform.wait("the whole answer", lambda: joined(scene.platform.shown(q)) == q.expected, 60)
    assert scene.settled(q)["reply"]["outcome"] == "done" and scene.dead_of(q) == []
    assert {m["msg_type"] for m in scene.platform.messages(q)} == {form}
    sends = scene.platform.log(type="send", chat_id=q["chat_id"])
    refused = scene.platform.log(code=TOO_LONG)
    assert 1 <= len(refused) <= 6 and {b["rule"] for b in scene.platform.broken()} == {"length"}
    uuids = [x["uuid"] for x in sends]
    assert len(uuids) == len(set(uuids))    # another text is another message
    return sends


@pytest.mark.parametrize("unit, limit", [("characters", 500), ("bytes", 5000), ("bytes", 500)])
def test_texts_that_are_too_long_are_said_in_shorter_ones(make_scene, unit, limit):
    scene = make_scene(bot={"stream": "final"}, platform={"set": {"text_limit": limit, "limit_unit": unit}})
    q = scene.ask("size=12000 rate=4000")
    check_shortened(scene, q, "text")


@pytest.mark.parametrize("rate", [400, 100000])
def test_cards_that_are_too_long_are_followed_by_others(make_scene, rate):
    scene = make_scene(platform={"set": {"card_limit": 500, "text_limit": 500}})
    q = scene.ask(f"size=5000 rate={rate}")
    check_shortened(scene, q, "compressive_card")
    first = scene.platform.messages(q)[0]
    texts = [first["text"], *(e["text"] for e in first["edits"])]
    assert all(now.startswith(before) for before, now in zip(texts[:-1], texts[1:-1]))    # only the end may move some of it into the next


def test_cards_that_are_refused_become_texts_and_that_is_remembered(make_scene):
    scene = make_scene(platform={"set": {"cards": False}})
    for nth in range(2):
        q = scene.ask("tokens=30 rate=30")
        scene.platform.answer(q, until=q.expected)
        scene.settled(q)
        assert [m["msg_type"] for m in scene.platform.messages(q)] == ["text"]
        scene.platform.judge(q, q.expected)
    assert len(scene.platform.log(type="send", msg_type="compressive_card")) == 1


def test_one_card_that_is_refused_is_no_word_against_cards(make_scene):
    """By a code that is not known: two in a row are."""
    scene = make_scene()

    def form(is_refused):
        if is_refused:
            scene.platform.fault(on="send", msg_type="compressive_card", code=31337)
        q = scene.ask("tokens=5 rate=30")
        scene.platform.answer(q, until=q.expected)
        scene.settled(q)
        return [m["msg_type"] for m in scene.platform.messages(q)]
    forms = [form(is_refused) for is_refused in (True, False, True, True, False)]
    assert forms == [["text"], ["compressive_card"], ["text"], ["text"], ["text"]]


def test_a_reply_is_a_reply_or_a_message(make_scene):
    scene = make_scene(bot={"reply_mode": "reply"}, platform={"set": {"reply": True}})
    q = scene.ask()
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    assert [m["reply_to"] for m in scene.platform.messages(q)] == [q["message_id"]]
    scene.platform.settings(reply=False)
    q = scene.ask()
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    assert not scene.platform.messages(q)[0]["reply_to"]
    scene.platform.judge(q, q.expected)


def test_what_is_uncertain_is_a_setting(make_scene):
    scene = make_scene(bot={"content_encoding": "string", "card_wrapper": "compressiveCardContent", "uuid_in": "body", "card_header": "助手",
                            "placeholder": "…", "token_nesting": "top", "receive_id_type": "open_id", "token_with_tenant": True},
                       platform={"set": {"content": "string", "card_wrapper": "compressiveCardContent", "uuid_in": "body", "token_shape": "top",
                                         "message_shape": "top", "header_required": True, "receive_ids": "open_id",
                                         "tokens_per_tenant": True}})
    q = scene.ask("delay=1000 tokens=20 rate=20")
    scene.platform.answer(q, until="…")
    scene.platform.answer(q, until=q.expected)
    scene.settled(q)
    assert [m["msg_type"] for m in scene.platform.messages(q)] == ["compressive_card"]


def test_one_users_answers_come_in_order(scene):
    first = scene.ask("tokens=30 rate=20", open_id="ou_one")
    second = scene.ask("tokens=3 rate=40", open_id="ou_one", chat_id=first["chat_id"])
    scene.platform.answer(first, until=second.expected)
    scene.settled(second)
    assert scene.platform.shown(first) == [first.expected, second.expected]
    ends = {x["text"]: x["at_ms"] for x in scene.platform.log() if x["type"] in ("send", "update") and x["chat_id"] == first["chat_id"]}
    begins = [x["at_ms"] for x in scene.platform.log(type="send", chat_id=first["chat_id"])]
    assert ends[first.expected] <= begins[1]
