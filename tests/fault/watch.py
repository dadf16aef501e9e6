"""Looks on while it runs: committed offsets beside the store's state, processes that die by themselves, and whether this
harness itself stood still (then its clocks prove nothing)."""
import asyncio

from history import Sample
from kafka_offsets import Unavailable

SAMPLE_S, LOOK_S, LAG_S = 0.7, 0.1, 0.4


class Watch:
    def __init__(self, world, history, clock, injector):
        self.world, self.history, self.clock, self.injector = world, history, clock, injector
        self.settled = set()
        self.tasks = []

    def start(self):
        self.tasks = [asyncio.ensure_future(t) for t in (self._sample(), self._processes(), self._lag())]

    async def stop(self):
        for t in self.tasks:
            t.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def sample(self):
        """Offsets first, states after: what is committed then is settled by now, or it never was."""
        committed = await asyncio.to_thread(self.world.offsets.committed)
        at = self.clock()
        streams = [q.stream for q in self.history.questions if q.stream not in self.settled]
        found, is_known = set(), True
        try:
            for stream, state in (await self.world.redis.hashes(streams)).items():
                if state and state[0] == "final" and not state[1]:
                    found.add(stream)
        except OSError:
            is_known = False
        self.settled |= found
        self.history.samples.append(Sample(at, committed, found, is_known))

    async def _sample(self):
        while True:
            try:
                await self.sample()
            except Unavailable:
                pass
            await asyncio.sleep(SAMPLE_S)

    async def _processes(self):
        while True:
            for p in self.world.programs:
                if p.popen is None or p.alive or p.name in self.injector.busy:
                    continue
                self.history.accidents.append(f"{p.name} ended by itself with {p.popen.returncode} at {self.clock():.1f}: "
                                              f"{p.output()[-2500:]}")
                p.start(wait=False)
            await asyncio.sleep(LOOK_S)

    async def _lag(self):
        while True:
            before = self.clock()
            await asyncio.sleep(LOOK_S)
            late = self.clock() - before - LOOK_S
            if late > LAG_S:
                self.history.lags.append((before, late))
