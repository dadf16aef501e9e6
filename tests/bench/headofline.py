"""Whether others wait behind a slow answer of their partition: 1,000 questions with and without one. README.md tells the method."""
import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "wire")]
import rig                                      # noqa: E402
from stack import BIN, Kafka, Stack             # noqa: E402
from wecom import Broken, Question              # noqa: E402

OTHERS, RATE, POLL_MS = 1000, 50, 100
OTHER = "{tokens=5 rate=50}"
SLOW = "{tokens=600 rate=10}"       # 60 s


def others(stack):
    """p50, p99 and the longest time to the final answer in ms, counted from when a question was due."""
    argv = [BIN / "botbridge-sim", "wecom", "load", "--url", f"http://127.0.0.1:{stack.ports[0]}{stack.bot.path}", "--rate", RATE,
            "--duration-s", OTHERS // RATE, "--drain-s", 30, "--users", OTHERS, "--poll-ms", POLL_MS, "你好 " + OTHER]
    env = {**os.environ, "BOTBRIDGE_SIM_TOKEN": stack.bot.token, "BOTBRIDGE_SIM_AES_KEY": stack.bot.aes_key}
    run = subprocess.run(list(map(str, argv)), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = run.stdout.decode()
    finish = re.search(r"(?m)^finish \* +(\d+) +(\S+) +\S+ +(\S+) +(\S+)$", out)
    if run.returncode != 0 or not finish or int(finish.group(1)) != OTHERS:
        raise Broken(f"not all {OTHERS} were answered:\n{out}")
    return [float(x) for x in finish.groups()[1:]]


def beside_slow(stack):
    slow = Question(stack.bot, stack.ports, "慢一点 " + SLOW, user="slow")
    slow.send()
    slow.follow(20, until=stack.bot.is_answer)
    seen = others(stack)
    slow.poll()
    if slow.finish:
        raise Broken("the slow answer was over before the others")
    if slow.follow(90).final != stack.llm.answer(slow.text):
        raise Broken("the slow answer is wrong")
    return seen


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    print(rig.machine())
    print(f"one partition, one worker; {OTHERS:,} questions of {OTHERS:,} users, {RATE}/s, each answered by the model in 0.1 s, a poll each "
          f"{POLL_MS} ms\n")
    print(f"{'ms to the final answer':<40} {'p50':>8} {'p99':>8} {'longest':>8}")
    with tempfile.TemporaryDirectory(prefix="botbridge-line-") as directory:
        kafka = Kafka(Path(directory) / "kafka").start()
        stack = Stack(kafka, partitions=1)
        try:
            stack.start()
            others(stack)       # warms up
            for _ in range(args.rounds):
                for name, run in (("alone", others), ("beside an answer of 60 s", beside_slow)):
                    print(f"{name:<40}" + "".join(f" {x:>8.0f}" for x in run(stack)), flush=True)
        finally:
            wrong = stack.close()
            kafka.stop()
        if wrong:
            raise Broken("\n".join(wrong))


if __name__ == "__main__":
    main()
