"""One lane that is answered slowly delays nobody else, though all share one partition."""
import threading

from stack import SLOW

OTHERS, USERS = 200, 20


def test_others_of_the_partition_are_answered_meanwhile(kafka, make_stack, ask):
    s = make_stack(kafka, partitions=1)
    others = [ask(s, directives="tokens=5 rate=50") for _ in range(OTHERS)]      # before the clock: each starts a program
    slow = ask(s, directives="tokens=600 rate=15")      # 40 s
    slow.send()
    behind = ask(s, user=slow.common["from"]["userid"])     # the same lane
    behind.send()
    slow.follow(20, until=lambda text: text != s.bot.placeholder)
    wrong = []

    def play(questions):
        for q in questions:
            try:
                q.send()
                q.follow(30 * SLOW, every=0.2)
                assert q.final == q.expected
            except Exception as e:      # noqa: BLE001 - told by the test's own thread
                wrong.append(repr(e))
    users = [threading.Thread(target=play, args=(others[i::USERS],)) for i in range(USERS)]
    for u in users:
        u.start()
    for u in users:
        u.join()
    assert not wrong, wrong[:3]
    slow.poll()
    assert not slow.finish, "the slow answer was over before the others"
    behind.poll()
    assert behind.shown[-1] == s.bot.placeholder, "a later question of the lane began early"
    took = sorted(q.seconds for q in others)
    print(f"{OTHERS} answers beside a slow one: median {took[OTHERS // 2]:.2f} s, p99 {took[OTHERS * 99 // 100]:.2f} s")
    assert took[OTHERS * 99 // 100] < 5 * SLOW
    for q in (slow, behind):
        assert q.follow(60 * SLOW).final == q.expected
