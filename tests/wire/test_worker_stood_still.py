"""A worker that stood still takes the time for its own, not for the model's silence."""
import time

from stack import SLOW


def test_text_that_came_meanwhile_counts(kafka, make_stack, ask):
    limits = {"first_text_timeout_ms": 2500, "gap_timeout_ms": 2500}
    main = {"type": "openai", "url": "${LLM_URL}", "model": "test-model", "api_key": "${LLM_KEY}", **limits}
    s = make_stack(kafka, pipelines={"main": main})
    q = ask(s, directives="tokens=60 rate=10")
    q.send()
    q.follow(20, until=lambda text: len(text) > 60)
    s.workers[0].freeze()
    time.sleep(3.5)     # longer than the limits
    s.workers[0].thaw()
    q.follow(40 * SLOW)
    assert q.final == q.expected
    assert len(s.llm.calls(q.text)) == 1
