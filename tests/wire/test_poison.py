"""A question that kills its worker each time: alone at the third start, given up after that; others are answered."""
from stack import SLOW, wait_for


def test_question_that_kills_workers(kafka, make_stack, ask):
    s = make_stack(kafka)
    worker = s.workers[0]
    bad = ask(s, directives="delay=600000")
    bad.send()
    for start in (1, 2, 3):
        wait_for(f"start {start}", lambda: len(s.llm.calls(bad.text)) == start, 60 * SLOW)
        beside = ask(s)
        beside.send()
        if start < 3:
            assert beside.follow(30).final == beside.expected
        else:
            assert s.metric(s.worker_ports[0], "botbridge_worker_alone_total") == 1
            beside.follow(1, until=lambda text: text == s.bot.placeholder)
            assert not s.llm.calls(beside.text), "another question was run beside one that runs alone"
        worker.kill()
        worker.start()
    bad.follow(60 * SLOW)
    assert bad.final == s.bot.apology_text
    assert beside.follow(60 * SLOW).final == beside.expected
    letters = s.records("dlq", lambda r: bad.msgid in r["payload"], 20)
    assert [r["headers"]["bb-reason"] for r in letters] == ["poison"]
    assert len(s.llm.calls(bad.text)) == 3
