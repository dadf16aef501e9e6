"""Looks on while it runs: the store's texts (every one of them might have been shown), committed offsets beside the store's
state, processes that die by themselves, and whether this
harness itself stood still (then its clocks prove nothing)."""
import asyncio

from history import Look, Sample
from kafka_protocol import Unavailable

SAMPLE_S, LOOK_S, LAG_S, STORE_S = 0.7, 0.1, 0.4, 0.12
QUIET_S = 15.0      # this long after its settled end a stream is no longer looked at


class Watch:
    def __init__(self, world, history, clock, injector):
        self.world, self.history, self.clock, self.injector = world, history, clock, injector
        self.settled_now, self.quiet = set(), {}     # since the last sample; stream → when it was settled
        self.link, self.looking = None, asyncio.Lock()
        self.tasks = []

    def start(self):
        self.tasks = [asyncio.ensure_future(t) for t in (self._look(), self._sample(), self._processes(), self._lag())]

    async def stop(self):
        for t in self.tasks:
            t.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def sample(self):
        """Offsets first, states after: what is committed then is settled by now, or it never was."""
        committed = await asyncio.to_thread(self.world.offsets.committed)
        late = await asyncio.to_thread(self.world.late_offsets.committed)
        at = self.clock()
        is_known = await self.look()
        settled, self.settled_now = self.settled_now, set()
        self.history.samples.append(Sample(at, committed, late, settled, is_known))

    async def look(self):
        """True: the store was asked."""
        async with self.looking:
            now = self.clock()
            streams = [q.stream for q in self.history.questions if now - self.quiet.get(q.stream, now) < QUIET_S]
            try:
                if self.link is None:
                    self.link = await self.world.redis.connect()
                found = await self.world.redis.records(streams, self.link)
            except OSError:
                if self.link:
                    self.link[1].close()
                self.link = None
                return False
            for stream, (state, owed, epoch, text) in found.items():
                self._note(stream, state or "", owed or "", int(epoch or 0), text or "")
            return True

    def _note(self, stream, state, owed, epoch, text):
        now = self.clock()
        looks = self.history.looks.setdefault(stream, [])
        if not looks or (looks[-1].state, looks[-1].epoch, looks[-1].text) != (state, epoch, text):
            looks.append(Look(now, state, epoch, text))
        if state == "final" and not owed:
            self.settled_now.add(stream)
            self.quiet.setdefault(stream, now)
        else:
            self.quiet.pop(stream, None)

    async def _look(self):
        while True:
            if not await self.look():
                await asyncio.sleep(STORE_S)
            await asyncio.sleep(STORE_S)

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
