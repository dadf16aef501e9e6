"""Fewer brokers than an acknowledgement needs (min.insync.replicas 2 of three): busy within the budget, nothing that was accepted
is lost, nothing that was refused is run, and all is well again by itself."""
import signal
import threading
import time

import pytest

from kafka_protocol import Offsets
from stack import SLOW, Cluster, wait_for
from wecom import request

BROKERS, REFUSED = 3, 8


@pytest.fixture
def cluster(tmp_path):
    k = Cluster(tmp_path / "kafka", BROKERS).start()
    yield k
    k.stop()


def leave(cluster, i):
    """An orderly shutdown takes the broker out of its partitions' in-sync replicas at once, a death after seconds only."""
    cluster.signal(i, signal.SIGTERM)
    cluster.await_end(i, 20 * SLOW)


def asker(s, ask, asked, stop):
    """A question each half second, of which each is answered within the platform's 5 s (post() sees to it)."""
    while not stop.is_set():
        q = ask(s)
        thread = threading.Thread(target=lambda q=q: asked.append((q, q.send(), time.monotonic())))
        thread.start()
        yield thread
        stop.wait(0.5)


@pytest.mark.skipif(SLOW > 1, reason="of the release build: three brokers, and nothing that a sanitizer sees only here")
def test_not_enough_replicas(cluster, make_stack, ask):
    s = make_stack(cluster, partitions=3, replication=BROKERS, settings={"kafka": {"allow_unsafe_durability": False}})
    warm = ask(s)
    warm.send()
    assert warm.follow(30 * SLOW).final == warm.expected
    running = ask(s, directives="tokens=100 rate=5")
    running.send()
    running.follow(15 * SLOW, until=s.bot.is_answer)

    asked, threads, stop = [], [], threading.Event()
    asking = threading.Thread(target=lambda: threads.extend(asker(s, ask, asked, stop)))
    asking.start()
    offsets = Offsets(cluster.servers, f"{s.prefix}.worker", f"{s.prefix}.requests")
    try:
        for gone in (1, 2):
            leave(cluster, gone)
        assert {insync for _, insync in offsets.leaders().values()} == {1}
        wait_for("questions to be refused", lambda: sum(reply["finish"] for _, reply, _ in asked) >= REFUSED, 60 * SLOW)
        assert running.follow(40 * SLOW).final == running.expected, "an answer that ran when the brokers went"
        for back in (1, 2):
            cluster.restart(back)
        healed = time.monotonic()
        wait_for("a question to be accepted again", lambda: any(at > healed and not r["finish"] for _, r, at in asked), 60 * SLOW)
    finally:
        stop.set()
        asking.join()
        for thread in threads:
            thread.join()

    accepted = [q for q, reply, _ in asked if not reply["finish"]]
    refused = [q for q, reply, _ in asked if reply["finish"]]
    for q in accepted:
        assert q.follow(60 * SLOW).final == q.expected
    in_kafka = {r["headers"]["bb-stream"] for r in s.records("requests")}
    assert not [q.id for q in accepted if q.id not in in_kafka]
    for q in refused:
        q.poll()        # raises when the busy text is not the end
        assert q.final == s.bot.busy_text and s.llm.calls(q.text) == []
    wait_for("no lag", lambda: offsets.lag() == {}, 30 * SLOW)
    assert request(s.admin_ports[0], "GET", "/readyz").status == 200
    appended = sum(q.id in in_kafka for q in refused)
    print(f"accepted {len(accepted)}, refused {len(refused)}, of these in Kafka {appended}")
