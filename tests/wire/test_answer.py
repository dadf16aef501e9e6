"""A question is answered end to end, growing, in one bubble."""
from wecom import post, stream_id, stream_of


def test_text_grows_and_ends_exactly(stack, ask):
    q = ask(stack, "请总结", "tokens=40 rate=20 usage=1")
    first = q.send()
    assert first["content"] == stack.bot.placeholder and not first["finish"]
    assert q.id == stream_id(stack.bot.name, q.msgid)
    q.follow(30)
    assert q.final == q.expected
    assert len(q.texts()) >= 3
    assert all(q.expected.startswith(t) for t in q.texts())


def test_pipeline_sees_question_model_and_key(stack, ask):
    q = ask(stack, "第一行\n\"引号\" \\ 😀 <b>&amp;</b> a/b")
    q.send()
    assert q.follow(30).final == q.expected
    calls = stack.llm.calls(q.text)
    assert [(c["authorization"], c["model"], c["stream"]) for c in calls] == [(f"Bearer {stack.llm_key}", "test-model", True)]


def test_polls_at_either_ingress_show_the_same(stack, ask):
    q = ask(stack, directives="tokens=30 rate=15")
    q.send(stack.ports[0])
    while not q.finish:
        for port in stack.ports:
            q.poll(port)
    assert q.final == q.expected
    for port in stack.ports * 3:        # finished: again and again the same
        q.poll(port)


def test_reasoning_is_shown_as_thinking(stack, ask):
    q = ask(stack, directives="tokens=10 think=1")
    q.send()
    q.follow(30)
    assert q.final.startswith("<think>") and "</think>" in q.final and q.final.endswith(q.expected)


def test_plain_json_answer_is_understood(stack, ask):
    q = ask(stack, directives="tokens=10 json=1")
    q.send()
    assert q.follow(30).final == q.expected


def test_group_is_one_conversation(stack, ask):
    chat = "wr-group-1"
    a, b = ask(stack, "@桥 一", chat=chat), ask(stack, "@桥 二", chat=chat)
    for q in (a, b):
        q.send()
        assert q.follow(30).final == q.expected
    records = [r for r in stack.records("requests") if a.msgid in r["payload"] or b.msgid in r["payload"]]
    assert len(records) == 2 and records[0]["key"] == records[1]["key"] and records[0]["partition"] == records[1]["partition"]


def test_same_msgid_at_another_bot_is_another_stream(stack, ask):
    q = ask(stack)
    other = ask(stack, bot=stack.bots[1], msgid=q.msgid)
    assert q.send()["id"] != other.send()["id"]
    assert (q.follow(30).final, other.follow(30).final) == (q.expected, other.expected)


def test_raw_control_characters_in_the_callback(stack, ask):
    q = ask(stack, "甲\t乙\n丙")
    raw = '{"extra":[1,null],"msgtype":"text","text":{"content":"%s"},"from":{"userid":"u1"},"chattype":"single","aibotid":"a","msgid":"%s"}' % (
        q.text, q.msgid)
    q.begin = 0
    q._take(stream_of(post(stack.bot, stack.ports[0], raw)))
    assert q.follow(30).final == q.expected


def test_long_answer_stays_inside_the_platforms_limit(stack, ask):
    q = ask(stack, directives="size=30000 rate=2000")
    q.send()
    q.follow(40)
    assert len(q.final.encode()) <= 20480 and q.expected.startswith(q.final[:5000])


def test_questions_of_one_user_are_answered_in_order(stack, ask):
    user = "u-order"
    first, second = ask(stack, directives="tokens=30 rate=10", user=user), ask(stack, directives="tokens=3", user=user)
    first.send()
    second.send()
    while not second.finish:
        second.poll()
        if second.texts() and not first.finish:
            first.poll()
            assert first.finish, "the later question spoke before the earlier one ended"
    assert (first.final, second.final) == (first.expected, second.expected)
