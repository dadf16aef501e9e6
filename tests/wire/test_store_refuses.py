"""A store that answers and takes nothing: out of memory (OOM, noeviction), or unable to save (MISCONF). It is alarmed; answers go on in
memory and are whole once it takes them; users are answered all the while."""
import re
import threading

import pytest

from stack import SLOW, wait_for

REFUSED = r'botbridge_store_operations_total\{outcome="refused"\}'


def out_of_memory(s):
    s.redis.cmd("CONFIG", "SET", "maxmemory-policy", "noeviction")
    s.redis.cmd("CONFIG", "SET", "maxmemory", "1")
    return lambda: s.redis.cmd("CONFIG", "SET", "maxmemory", "0")


def unable_to_save(s):
    """Its last snapshot failed: a directory lies where the file is to be."""
    (s.dir / "dump.rdb").mkdir()
    s.redis.cmd("CONFIG", "SET", "save", "3600 1000000")
    s.redis.cmd("BGSAVE", check=False)
    wait_for("the snapshot to fail", lambda: "rdb_last_bgsave_status:err" in s.redis.cmd("INFO", "persistence"))
    assert s.redis.cmd("SET", "probe", "1", check=False).startswith("MISCONF")
    return lambda: s.redis.cmd("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")


@pytest.mark.parametrize("refuse, word", [(out_of_memory, "OOM"), (unable_to_save, "MISCONF")], ids=["OOM", "MISCONF"])
def test_answers_go_on_in_memory(kafka, make_stack, ask, refuse, word):
    s = make_stack(kafka, ingresses=2)
    ended = ask(s)
    ended.send()
    assert ended.follow(30 * SLOW).final == ended.expected
    running = [ask(s, directives="tokens=60 rate=10") for _ in range(3)]
    for q in running:
        q.send()
        q.follow(15 * SLOW, until=s.bot.is_answer)
    again = refuse(s)
    asked = [ask(s, directives="tokens=10") for _ in range(3)]
    for q in asked:
        assert not q.send()["finish"], "a question during the trouble was not accepted"
    problems = []

    def follow(q):
        try:
            q.follow(60 * SLOW)
        except Exception as e:      # noqa: BLE001 - reported by the main thread
            problems.append(e)
    threads = [threading.Thread(target=follow, args=(q,)) for q in [*running, *asked]]
    for t in threads:
        t.start()
    worker = s.workers[0]
    wait_for("the alarm", lambda: re.search(rf"error store refused .*{word}", worker.output()))
    assert s.metric(s.worker_ports[0], REFUSED) > 0
    # The pipelines end meanwhile: what they said is kept.
    wait_for("the pipelines", lambda: all(c["is_complete"] for q in running for c in s.llm.calls(q.text)), 20 * SLOW)
    ended.poll()        # what it holds is still shown
    again()
    for t in threads:
        t.join()
    assert not problems, problems
    for q in [*running, *asked]:
        assert q.final == q.expected
        assert len(s.llm.calls(q.text)) == 1
