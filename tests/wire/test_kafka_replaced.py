"""A producer that Kafka refuses for good, because the log lost records and the producer's sequence has a hole: it is replaced, who
waits for it is told, and all goes on without anybody's help."""
import shutil
import signal
import time

import pytest

from kafka_protocol import Offsets
from stack import SLOW, Cluster, wait_for

FATAL = "botbridge_bus_producer_fatal_total"


@pytest.fixture
def node(tmp_path):
    k = Cluster(tmp_path / "kafka", 1).start()
    yield k
    k.stop()


def while_down(node, act):
    node.signal(0, signal.SIGKILL)
    node.await_end(0)
    act()
    node.restart(0)


def accepted(s, ask, seconds):
    """The first question that is; refused ones are told so, and are not run."""
    end = time.monotonic() + seconds
    while True:
        q = ask(s)
        if not q.send()["finish"]:
            return q
        assert q.final == s.bot.busy_text
        assert s.llm.calls(q.text) == []
        assert time.monotonic() < end, f"no question accepted within {seconds} s"


def answered(s, ask):
    q = accepted(s, ask, 30 * SLOW)
    assert q.follow(30 * SLOW).final == q.expected
    s.records("events", lambda r: r["headers"].get("bb-stream") == q.id, 20 * SLOW)
    return q


def test_log_that_lost_records(node, make_stack, ask):
    s = make_stack(node, partitions=1)
    logs = [node.dir / "node-1" / "data" / f"{s.prefix}.{topic}-0" for topic in ("requests", "events")]
    copies = [node.dir / log.name for log in logs]

    def keep():
        for log, copy in zip(logs, copies):
            shutil.copytree(log, copy)

    def put_back():
        for log, copy in zip(logs, copies):
            shutil.rmtree(log)
            shutil.copytree(copy, log)

    kept = [answered(s, ask) for _ in range(2)]
    while_down(node, keep)
    lost = [answered(s, ask) for _ in range(3)]
    while_down(node, put_back)
    after = [answered(s, ask) for _ in range(2)]
    for port in (s.admin_ports[0], s.worker_ports[0]):
        assert s.metric(port, FATAL) == 1
    for q in [*kept, *lost, *after]:
        assert len(s.llm.calls(q.text)) == 1
        q.poll()        # raises when a finished bubble changed
    offsets = Offsets(node.servers, f"{s.prefix}.worker", f"{s.prefix}.requests")
    wait_for("no lag", lambda: offsets.lag() == {}, 20 * SLOW)
