"""The platform repeats callbacks: same stream, current text, one pipeline run."""
import threading

from wecom import post, stream_of


def together(calls):
    out, threads = [None] * len(calls), []
    for i, call in enumerate(calls):
        def run(i=i, call=call):
            out[i] = call()
        threads.append(threading.Thread(target=run))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


def test_repeats_share_stream_text_and_run(stack, ask):
    q = ask(stack, directives="tokens=40 rate=8")
    at_once = together([lambda p=p: stream_of(post(stack.bot, p, q.message)) for p in (stack.ports[0], stack.ports[1], stack.ports[0])])
    assert all(at_once), "a repeat at once was not answered"
    assert len({s["id"] for s in at_once}) == 1
    q.send()
    q.follow(30, until=lambda text: text != stack.bot.placeholder and len(text) > 20)
    shown = q.shown[-1]
    for s in together([lambda p=p: stream_of(post(stack.bot, p, q.message)) for p in stack.ports]):
        assert s["id"] == q.id and s["content"].startswith(shown), "a repeat in mid-answer does not show the current text"
    assert q.follow(30).final == q.expected
    late = stream_of(post(stack.bot, stack.ports[1], q.message))
    assert late["finish"] and late["content"] == q.expected and late["id"] == q.id
    q.poll()
    assert len(stack.llm.calls(q.text)) == 1
