"""A pipeline that fails: retried while nothing was shown, then an apology and a dead letter."""


def test_apology_and_one_dead_letter(stack, ask):
    q = ask(stack, directives="fail=500x9999")
    q.send()
    assert q.follow(60).final == stack.bot.apology_text
    assert len(stack.llm.calls(q.text)) == 3
    letters = stack.records("dlq", lambda r: q.msgid in r["payload"], 15)
    assert len(letters) == 1
    headers = letters[0]["headers"]
    assert headers["bb-reason"] and headers["bb-attempts"] == "3" and headers["bb-error"] and headers["bb-first"] and headers["bb-last"]
    request = [r for r in stack.records("requests") if q.msgid in r["payload"]]
    assert letters[0]["payload"] == request[0]["payload"] and letters[0]["key"] == request[0]["key"]


def test_passing_failure_is_not_seen(stack, ask):
    q = ask(stack, directives="tokens=5 fail=503x2")
    q.send()
    assert q.follow(60).final == q.expected
    assert [c["status"] for c in stack.llm.calls(q.text)] == [503, 503, 200]


def test_refusal_is_not_retried(stack, ask):
    q = ask(stack, directives="fail=400x9999")
    q.send()
    assert q.follow(30).final == stack.bot.apology_text
    assert len(stack.llm.calls(q.text)) == 1


def test_failure_in_mid_answer_keeps_what_was_shown(stack, ask):
    for directive in ("cut=20", "error=20", "junk=20"):
        q = ask(stack, directives=f"tokens=40 rate=20 {directive}")
        q.send()
        q.follow(30)
        assert q.final.endswith(stack.bot.apology_text), directive
        kept = q.final[:-len(stack.bot.apology_text)].rstrip("\n")
        assert kept and q.expected.startswith(kept), directive
        assert len(stack.llm.calls(q.text)) == 1, directive
