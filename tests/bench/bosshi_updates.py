#!/usr/bin/env python3
"""Card updates a second that one core of a worker makes: many answers at once on BOSSHI, counted by the simulated platform,
over the CPU time of the one worker.

    BOTBRIDGE_BUILD=release tests/bench/bosshi_updates.py [ANSWERS [SECONDS]]     needs a broker in BOTBRIDGE_TEST_KAFKA, or java
"""
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "wire"))

from bosshi_scene import Scene  # noqa: E402
from stack import Kafka, request  # noqa: E402

TOKENS_PER_S = 10


def cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def updates_of(scene):
    return scene.stack.metric(scene.stack.worker_ports[0], "botbridge_worker_bosshi_calls_total")


def main():
    answers = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    with tempfile.TemporaryDirectory(prefix="botbridge-bench-") as directory:
        kafka = Kafka.shared() if os.environ.get("BOTBRIDGE_TEST_KAFKA") else Kafka(Path(directory) / "kafka").start()
        pipeline = {"type": "openai", "url": "${LLM_URL}", "model": "m", "api_key": "${LLM_KEY}", "concurrency": answers}
        scene = Scene(kafka, directory, bot={"update_interval_ms": 1000, "updates_max": 0}, pipelines={"main": pipeline},
                      platform={"set": {"updates_per_s": 0, "chat_per_s": 0}}).start()
        for user in range(answers):
            scene.platform.ask(f"{{tokens={TOKENS_PER_S * (seconds + 30)} rate={TOKENS_PER_S}}}", open_id=f"ou_{user}")
        pid = scene.stack.workers[0].popen.pid
        running = lambda: request(scene.stack.worker_ports[0], "GET", "/metrics").body.decode().count(f'state="running"}} {answers}')  # noqa: E731
        scene.platform.wait("all answers to run", running, 60)
        time.sleep(2)
        begin, cpu, count = time.monotonic(), cpu_s(pid), updates_of(scene)
        time.sleep(seconds)
        wall, cpu, count = time.monotonic() - begin, cpu_s(pid) - cpu, updates_of(scene) - count
        rss_kb = next(int(x.split()[1]) for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
        print(f"{answers} answers, {count / wall:.0f} updates/s, worker {100 * cpu / wall:.0f} % of a core, "
              f"{count / cpu:.0f} updates/s of a core, {1e6 * cpu / count:.0f} us each with its text, {rss_kb / 1024:.0f} MB")
        for p in scene.stack.programs:
            p.kill()
        scene.close()
        if not os.environ.get("BOTBRIDGE_TEST_KAFKA"):
            kafka.stop()


if __name__ == "__main__":
    main()
