# What takes long (keys, signatures), done in the time that forwarding leaves. It comes in steps, and the frames that
# came meanwhile have their turn after each.
import asyncio
from time import ticks_diff, ticks_ms

from micropython import const

# Pause after a step, as a multiple of what it took: while frames are on their way, and else.
_BUSY = const(4)
_IDLE = const(1)
_LOOK_MS = const(100)
_NO_MEMORY_MS = const(1000)


class SpareTime:
    # busy(): whether frames are on their way. jobs: what there may be to do, (is_due, steps); they are asked in turn,
    # so that none is always first. steps() makes a generator. One works at a time.
    def __init__(self, busy, log):
        self.busy = busy
        self.log = log
        self.jobs = ()
        self._turn = 0
        self.step_ms = 0  # the longest that there was
        self._asked = None  # steps that somebody waits for

    # For ever, as a task.
    async def run(self):
        while True:
            if self._asked is not None:
                await self._work(self._asked)
                self._asked = None
            for _ in self.jobs:
                self._turn = (self._turn + 1) % len(self.jobs)
                is_due, steps = self.jobs[self._turn]
                if is_due():
                    await self._work(steps())
                    break
            else:
                await asyncio.sleep_ms(_LOOK_MS)

    # What the steps come to, when they had their time. None if there was no memory for them.
    async def do(self, steps):
        result = []
        while self._asked is not None:
            await asyncio.sleep_ms(_LOOK_MS)
        self._asked = asked = self._kept(steps, result)
        while self._asked is asked:
            await asyncio.sleep_ms(_LOOK_MS)
        return result[0] if result else None

    def _kept(self, steps, result):
        result.append((yield from steps))

    async def _work(self, steps):
        start = ticks_ms()
        try:
            for _ in steps:
                took = ticks_diff(ticks_ms(), start)
                if took > self.step_ms:
                    self.step_ms = took
                await asyncio.sleep_ms(took * (_BUSY if self.busy() else _IDLE))
                start = ticks_ms()
        except MemoryError:
            # A relay that cannot sign now still forwards.
            self.log.warning("no memory for a signature")
            await asyncio.sleep_ms(_NO_MEMORY_MS)
