"""Which faults come when: a plan that is a function of the seed alone, and the hand that carries it out.

A plan is a list of steps (at, kind, target, seconds, option). What is still down or frozen when a step for it comes is left
alone; such a step is skipped and said so. At the end everything is healed."""
import asyncio
import random
import re
import signal
from dataclasses import dataclass

from history import Fault
from proxy import MODES
from world import DRAIN_S

KILLS = {"kill-worker": 6, "kill-ingress": 3, "redis-empty": 1}
ALL = {"kill-worker": 6, "freeze-worker": 4, "term-worker": 3, "kill-ingress": 3, "freeze-ingress": 2, "term-ingress": 2, "roll-workers": 1, "roll-ingresses": 1,
       "redis-empty": 1, "redis-restart": 2, "redis-freeze": 2, "link-store": 4, "link-llm": 3, "link-url": 1,
       "broker-kill": 1, "broker-freeze": 1, "kafka-freeze": 1}
READY_LIMIT_S = 90
BROKER_APART_S = 25     # a cluster needs its replicas in step again before it can lose the next one


@dataclass
class Step:
    at: float
    kind: str
    target: str
    seconds: float
    option: str = ""


def plan(seed, seconds, kinds, ingresses, workers, nodes, pace):
    """Steps with `pace` seconds between them on the average."""
    rng = random.Random(seed)
    steps, at, broker_free, store_free = [], 4.0, 0.0, 0.0
    names = {"worker": [f"worker{i}" for i in range(workers)], "ingress": [f"ingress{i}" for i in range(ingresses)]}
    while True:
        at += rng.uniform(0.3, 1.7) * pace
        if at >= seconds:
            return steps
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        length = rng.choice((rng.uniform(0.3, 2), rng.uniform(2, 6), rng.uniform(4, 9)))
        option, target = "", "redis"
        if kind.endswith(("-worker", "-ingress")):
            target = rng.choice(names[kind.split("-")[1]])
            if kind == "kill-ingress" or kind == "kill-worker":
                length = rng.choice((0.2, 1.0, 3.0)) * rng.uniform(0.5, 1.5)
            if kind == "freeze-worker":     # beyond session time-out and lease: somebody else takes over meanwhile
                length = rng.choice((length, rng.uniform(8, 14)))
            option = "twice" if kind.startswith("term") and rng.random() < 0.2 else ""
        elif kind.startswith("roll"):
            target, length = kind.split("-")[1], rng.uniform(0.1, 1.0)
        elif kind.startswith("redis"):
            if at < store_free:
                continue
            length = min(length, 5.0)
            store_free = at + length + 3
        elif kind == "link-store":
            target = rng.choice(names["worker"] * 2 + names["ingress"] + ["all"])
            option = rng.choice(MODES)
            length = min(length, 5.0) if target == "all" else length
        elif kind in ("link-llm", "link-url"):
            target, option = kind[5:], rng.choice(MODES)
        else:
            if at < broker_free or nodes == 1 and kind != "kafka-freeze":
                continue
            broker_free = at + length + BROKER_APART_S
            target = "kafka" if kind == "kafka-freeze" else str(rng.randrange(nodes))
            length = min(length, 5.0) if kind == "kafka-freeze" else length
        steps.append(Step(at, kind, target, length, option))


class Injector:
    def __init__(self, world, history, clock):
        self.world, self.history, self.clock = world, history, clock
        self.busy = {}          # target → the fault on it
        self.tasks = set()
        self.skipped = 0
        self.kills = 0

    async def run(self, steps):
        for step in steps:
            await asyncio.sleep(max(0, step.at - self.clock()))
            kind, _, what = step.kind.partition("-")
            target = {"link-store": "link-" + step.target, "redis-empty": "redis", "redis-restart": "redis", "redis-freeze": "redis"}.get(
                step.kind, "kafka" if step.kind.startswith(("broker", "kafka")) else step.target)
            if target in self.busy:
                self.skipped += 1
                continue
            action = getattr(self, "_" + step.kind.replace("-", "_"), None) or getattr(self, "_" + kind)
            fault = Fault(step.kind, step.target, self.clock(), None, step.option)
            self.busy[target] = fault
            self.history.faults.append(fault)
            task = asyncio.ensure_future(self._carry_out(action, step, target, fault))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def heal(self):
        """Waits until every fault has ended by itself: each heals what it broke."""
        while self.tasks:
            await asyncio.wait(list(self.tasks))

    async def _carry_out(self, action, step, target, fault):
        try:
            await action(step, fault)
        except Exception as e:      # noqa: BLE001 - the run goes on and the report tells
            self.history.accidents.append(f"{step.kind} {step.target} could not be carried out: {e!r}")
        finally:
            fault.end = self.clock()
            self._leave(target, fault)

    def _leave(self, target, fault):
        if self.busy.get(target) is fault:
            del self.busy[target]

    async def _start(self, process, fault):
        """A process that only just starts may be hit again: its fault lasts until one of them is ready."""
        process.start(wait=False)
        self._leave(process.name, fault)
        end = self.clock() + READY_LIMIT_S
        while not re.search(process.ready, process.output()):
            if self.clock() > end:
                raise TimeoutError(f"{process.name} was not ready within {READY_LIMIT_S} s")
            await asyncio.sleep(0.1)

    async def _kill(self, step, fault):
        p = self.world.by_name[step.target]
        self.kills += 1
        await asyncio.to_thread(p.kill)
        fault.note = f"down {step.seconds:.1f} s"
        await asyncio.sleep(step.seconds)
        await self._start(p, fault)

    async def _freeze(self, step, fault):
        p = self.world.by_name[step.target]
        fault.note = f"{step.seconds:.1f} s"
        p.freeze()
        await asyncio.sleep(step.seconds)
        p.thaw()

    async def _term(self, step, fault):
        p = self.world.by_name[step.target]
        begin = self.clock()
        # Before it says ready, its handlers may not be there yet.
        expected = {0} if re.search(p.ready, p.output()) else {0, -signal.SIGTERM}
        p.signal(signal.SIGTERM)
        if step.option == "twice":
            await asyncio.sleep(0.3)
            if p.alive:
                p.signal(signal.SIGTERM)
            expected.add(75)
        popen, p.popen = p.popen, None      # ended on purpose: nobody else shall look at it
        code = await asyncio.to_thread(popen.wait, 60)
        took = self.clock() - begin
        fault.note = f"{step.option} ended with {code} after {took:.1f} s"
        limit = 10.5 if "ingress" in step.target else DRAIN_S + 12
        if code not in expected:
            self.history.accidents.append(f"{step.target} ended with {code} after SIGTERM at {begin:.1f}")
        if took > limit:
            self.history.accidents.append(f"{step.target} took {took:.1f} s to end after SIGTERM at {begin:.1f}")
        await asyncio.sleep(min(step.seconds, 3))
        await self._start(p, fault)

    async def _roll(self, step, fault):
        """A rolling restart: one after the other, the next when the last is ready."""
        programs = self.world.workers if step.target == "workers" else self.world.ingresses
        for p in programs:
            while p.name in self.busy:
                await asyncio.sleep(0.1)
            one = Fault(step.kind, p.name, self.clock())
            self.busy[p.name] = one
            self.history.faults.append(one)
            try:
                await self._term(Step(step.at, step.kind, p.name, step.seconds), one)
            finally:
                one.end = self.clock()
                self._leave(p.name, one)

    async def _redis_empty(self, step, fault):
        await self._restart_redis(step, True)

    async def _redis_restart(self, step, fault):
        await self._restart_redis(step, False)

    async def _restart_redis(self, step, is_lost):
        redis = self.world.redis
        self.kills += 1
        await asyncio.to_thread(redis.process.kill)
        await asyncio.sleep(step.seconds)
        if is_lost:
            redis.empty()
        await asyncio.to_thread(redis.start)

    async def _redis_freeze(self, step, fault):
        self.world.redis.process.freeze()
        await asyncio.sleep(step.seconds)
        self.world.redis.process.thaw()

    async def _link_store(self, step, fault):
        links = self.world.links
        await self._break(list(links.values()) if step.target == "all" else [links[step.target]], step)

    async def _link_llm(self, step, fault):
        await self._break([self.world.llm_link], step)

    async def _link_url(self, step, fault):
        await self._break([self.world.url_link], step)

    async def _break(self, links, step):
        for link in links:
            link.set(step.option, 0.3)
        await asyncio.sleep(step.seconds)
        for link in links:
            link.set("ok")

    async def _broker_kill(self, step, fault):
        i = int(step.target)
        self.kills += 1
        self.world.kafka.signal(i, signal.SIGKILL)
        await asyncio.sleep(step.seconds)
        await asyncio.to_thread(self.world.kafka.restart, i)

    async def _broker_freeze(self, step, fault):
        await self._freeze_brokers([int(step.target)], step.seconds)

    async def _kafka_freeze(self, step, fault):
        await self._freeze_brokers(range(self.world.kafka.nodes), step.seconds)

    async def _freeze_brokers(self, which, seconds):
        for i in which:
            self.world.kafka.signal(i, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        for i in which:
            self.world.kafka.signal(i, signal.SIGCONT)
