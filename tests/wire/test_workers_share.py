"""Two workers share the questions out: each of both topics' partitions has one of them as its reader, half of each topic."""
import re

from stack import SLOW, wait_for
from wecom import request

QUESTIONS, PARTITIONS = 12, 12


def owned(stack, port):
    text = request(port, "GET", "/metrics").body.decode()
    return {topic: int(n) for topic, n in re.findall(rf'botbridge_bus_partitions\{{topic="{stack.prefix}\.(\w+)"\}} (\d+)', text)}


def test_each_of_two_workers_reads_half_of_each_topic(kafka, make_stack, ask):
    s = make_stack(kafka, workers=2, partitions=PARTITIONS)
    half = {"requests": PARTITIONS // 2, "late": PARTITIONS // 2}
    wait_for("half of each topic", lambda: all(owned(s, port) == half for port in s.worker_ports), 40 * SLOW)
    questions = [ask(s, directives="tokens=3 rate=50") for _ in range(QUESTIONS)]      # of as many users
    for q in questions:
        q.send()
    for q in questions:
        assert q.follow(30 * SLOW).final == q.expected
