"""Two workers with one name in the group (worker.slot): the later one stays, the earlier one says why it goes, finishes what it runs
and ends with 75; nothing is lost and nothing is done twice."""
from kafka_protocol import Offsets
from stack import SLOW, wait_for


def two_of_one_name(s):
    """Only one runs yet."""
    assert s.workers[1].terminate() == 0
    s.settings = {"worker": {"slot": "the-same"}}
    for i in (0, 1):
        s.write_config("worker", i)
    assert s.workers[0].terminate() == 0
    s.workers[0].start()


def test_the_later_one_stays(kafka, make_stack, ask):
    s = make_stack(kafka, workers=2, partitions=4)
    two_of_one_name(s)
    running = [ask(s, directives="tokens=40 rate=8") for _ in range(3)]
    behind = [ask(s, user=q.message["from"]["userid"]) for q in running]      # wait in the lanes of the first
    for q in [*running, *behind]:
        q.send()
    for q in running:
        q.follow(15 * SLOW, until=s.bot.is_answer)
    early, late = s.workers
    questions = [*running, *behind]
    for _ in range(3):       # a supervisor starts the one that was fenced again, which fences the other
        late.start()
        fresh = ask(s)
        fresh.send()
        questions.append(fresh)
        assert early.popen.wait(60 * SLOW) == 75
        early.popen = None
        assert "FENCED_INSTANCE_ID" in early.output() and "worker.slot" in early.output()
        early, late = late, early
    for q in questions:
        assert q.follow(40 * SLOW).final == q.expected
        assert len(s.llm.calls(q.text)) == 1
    offsets = Offsets(s.kafka.servers, f"{s.prefix}.worker", f"{s.prefix}.requests")
    wait_for("no lag", lambda: offsets.lag() == {}, 20 * SLOW)
