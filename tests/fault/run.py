"""One run: start everything, let users ask while faults come, heal, drain, judge."""
import argparse
import asyncio
import pickle
import random
import secrets
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import check
import report
import schedule
from history import Call, History, Record
from kafka_protocol import Unavailable
from users import Receiver, Users
from watch import Watch
from world import ATTEMPTS, DEADLINE_S, LEASE_S, MARGIN_S, UNKNOWN_S, World

DRAIN_LIMIT_S = 75      # ends that nobody polled wait 20 s for a poll, then they are sent


def arguments(argv):
    p = argparse.ArgumentParser(prog="tests/fault/run.sh", description=__doc__)
    p.add_argument("--minutes", type=float, default=1.0, help="time with faults; start and drain come on top")
    p.add_argument("--seed", type=int, default=None, help="of schedule and users; random and printed when not given")
    p.add_argument("--ingresses", type=int, default=2)
    p.add_argument("--workers", type=int, default=3)
    p.add_argument("--users", type=int, default=30)
    p.add_argument("--nodes", type=int, default=3, help="Kafka brokers; below 3 with unsafe durability")
    p.add_argument("--slots", choices=("yes", "no"), help="static membership of the workers in the group; by the seed when not given")
    p.add_argument("--pace", type=float, default=2.5, help="seconds between two faults on the average")
    p.add_argument("--kills-only", action="store_true", help="kill -9 of workers and ingresses, Redis killed and empty")
    p.add_argument("--only", metavar="KIND,…", help="these kinds of fault, of " + " ".join(schedule.ALL))
    p.add_argument("--no-faults", action="store_true")
    p.add_argument("--debug-log", action="store_true", help="programs log at level debug")
    p.add_argument("--keep", metavar="DIR", help="directory for logs and report; else a temporary one, kept after violations")
    a = p.parse_args(argv)
    a.seed = secrets.randbelow(10 ** 9) if a.seed is None else a.seed
    a.slots = a.slots or random.Random(f"slots {a.seed}").choice(("yes", "no"))
    a.kinds = schedule.KILLS if a.kills_only else schedule.ALL
    if a.only:
        unknown = set(a.only.split(",")) - set(schedule.ALL)
        if unknown:
            p.error(f"unknown kinds: {' '.join(sorted(unknown))}")
        a.kinds = {k: schedule.ALL[k] for k in a.only.split(",")}
    return a


async def collect(world, history, epoch):
    """What Kafka and the simulator hold at the end."""
    def record(r):
        return Record(r["partition"], r["offset"], r["headers"].get("bb-stream", ""), r["headers"], r.get("payload") or "")
    for name, topic in (("records", "requests"), ("late", "late"), ("dead_letters", "dlq"), ("answer_events", "events")):
        setattr(history, name, [record(r) for r in await asyncio.to_thread(world.read_topic, topic)])
    history.calls = [Call(c["question"], c["at_ms"] / 1000 - epoch, c["status"], c["is_complete"])
                     for c in await asyncio.to_thread(world.all_calls)]


async def drain(world, history, watch, clock):
    """Waits until the group has committed everything; the lag that is left otherwise."""
    end = clock() + DRAIN_LIMIT_S
    while clock() < end and history.lag != {}:
        await asyncio.sleep(0.5)
        try:
            history.lag = await asyncio.to_thread(world.lag)
            await watch.sample()
        except Unavailable:
            history.lag = None


async def play(world, a, out):
    settings = {"deadline": DEADLINE_S, "margin": MARGIN_S, "lease": LEASE_S, "unknown": UNKNOWN_S, "attempts": ATTEMPTS}
    bot = world.bot
    texts = {k: getattr(bot, k + ("" if k == "placeholder" else "_text")) for k in ("placeholder", "busy", "lost", "notice", "apology")}
    history = History(a.seed, texts, settings)
    steps = [] if a.no_faults else schedule.plan(a.seed, 60 * a.minutes, a.kinds, a.ingresses, a.workers, a.nodes, a.pace)
    await world.begin()
    begin, epoch = time.monotonic(), time.time()

    def clock():
        return time.monotonic() - begin
    injector = schedule.Injector(world, history, clock)
    watch = Watch(world, history, clock, injector)
    receiver = await Receiver(history, clock).start()
    world.url_link = receiver.link
    users = Users(world, history, clock, a.seed, receiver)
    watch.start()
    users.start(a.users)
    await injector.run(steps)
    await asyncio.sleep(max(0, 60 * a.minutes - clock()))
    await injector.heal()
    out(f"healed at {clock():.1f} s, {users.live} bubbles open")
    await users.finish()
    out(f"all bubbles over at {clock():.1f} s")
    await drain(world, history, watch, clock)
    out(f"drained at {clock():.1f} s")
    await watch.stop()
    await receiver.stop()
    await collect(world, history, epoch)
    history.accidents += await asyncio.to_thread(world.resource_findings)
    return history, injector


async def one_run(a, out):
    """(history, violations)."""
    directory = Path(a.keep or tempfile.mkdtemp(prefix="botbridge-fault-"))
    directory.mkdir(parents=True, exist_ok=True)
    log = {"log": {"level": "debug"}} if a.debug_log else {}
    world = World(directory, a.ingresses, a.workers, a.nodes, a.slots == "yes", log)
    with open(directory / "report.txt", "w") as file:
        def tell(line):
            print(line, file=file, flush=True)
            out(line)
        tell(f"seed {a.seed}, {a.minutes:g} min, {a.ingresses} ingresses, {a.workers} workers{' with slots' if a.slots == 'yes' else ''}, {a.nodes} brokers, {a.users} users; logs in {directory}")
        history = None
        try:
            history, injector = await play(world, a, tell)
        finally:
            wrong = await world.end()
            if history is None:
                for line in wrong:
                    tell(line)
        history.accidents += wrong
        with open(directory / "history.pickle", "wb") as kept:
            pickle.dump(history, kept)      # for judging again with other rules
        violations = check.judge(history)
        report.write(history, violations, injector, world, tell)
        again = " ".join(["tests/fault/run.sh", *sys.argv[1:]] if sys.argv[0].endswith("run.py") else ["tests/fault/run.sh"])
        tell(f"{'FAILED' if violations else 'passed'}: {len(history.questions)} questions, {len(history.faults)} faults, "
             f"{len(violations)} violations; again with: {again}{'' if '--seed' in again else f' --seed {a.seed}'}")
    if not violations and not a.keep:
        shutil.rmtree(directory, ignore_errors=True)
    return history, violations


def main():
    a = arguments(sys.argv[1:])

    async def guarded():
        task = asyncio.ensure_future(one_run(a, lambda line: print(line, flush=True)))
        for s in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(s, task.cancel)
        return await task
    try:
        _, violations = asyncio.run(guarded())
    except asyncio.CancelledError:
        return 130
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
