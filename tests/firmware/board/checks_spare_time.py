# What takes long is done in steps beside everything else, one at a time, and never ends the relay.
import asyncio

from firmware.log import Log
from firmware.spare_time import SpareTime


class Rig:
    def __init__(self):
        self.told = []
        log = Log(9)
        log.emit = lambda kind, values: self.told.append(values["text"])
        log.uptime_ms = lambda: 0
        self.spare_time = SpareTime(lambda: False, log)
        self.done = []

    def steps(self, name, count, result=None):
        for number in range(count):
            self.done.append((name, number))
            yield
        return result

    def failing(self):
        yield
        raise MemoryError

    def run(self, work, ms=1000):
        async def main():
            task = asyncio.create_task(self.spare_time.run())
            try:
                return await asyncio.wait_for_ms(work, ms)
            finally:
                task.cancel()

        return asyncio.run(main())


def check_who_asks_gets_the_result():
    rig = Rig()
    assert rig.run(rig.spare_time.do(rig.steps("asked", 3, 42))) == 42
    assert rig.done == [("asked", 0), ("asked", 1), ("asked", 2)]


def check_one_works_at_a_time():
    rig = Rig()
    rig.spare_time.jobs = ((lambda: len(rig.done) < 3, lambda: rig.steps("job", 3)),)

    async def two():
        other = asyncio.create_task(rig.spare_time.do(rig.steps("b", 2, 2)))
        one = await rig.spare_time.do(rig.steps("a", 2, 1))
        return one, await other

    assert rig.run(two(), 3000) == (1, 2)
    for at in range(1, len(rig.done)):
        assert rig.done[at][0] == rig.done[at - 1][0] or rig.done[at][1] == 0, rig.done


def check_a_lack_of_memory_is_told_and_work_goes_on():
    rig = Rig()

    async def both():
        return await rig.spare_time.do(rig.failing()), await rig.spare_time.do(rig.steps("after", 1, 7))

    assert rig.run(both(), 5000) == (None, 7)
    assert "memory" in rig.told[0]
