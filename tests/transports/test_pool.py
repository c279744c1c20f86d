"""Connections that are used again: which one is given out, and when one ends."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from virtual_time import later, now, virtual_time

from bitrelay.errors import DeviceTimeout, LimitReached, Unreachable
from bitrelay.transports.pool import Pool, PoolLimits

pytestmark = pytest.mark.requirement("LIM-17")


class Line:
    def __init__(self, key: str) -> None:
        self.key = key
        self.works = True
        self.open = True


class Exchange:
    """Makes lines, and counts them."""

    def __init__(self, limits: PoolLimits = PoolLimits(), *, takes_s: float = 0.1) -> None:
        self.made: list[Line] = []
        self.takes_s = takes_s
        self.pool: Pool[str, Line] = Pool(self.make, self.end, lambda line: line.works and line.open, limits)

    async def make(self, key: str, timeout: float) -> Line:
        await later(self.takes_s)
        if key == "nowhere":
            raise Unreachable("nobody is there")
        self.made.append(Line(key))
        return self.made[-1]

    async def end(self, line: Line) -> None:
        line.open = False


@virtual_time
async def test_an_active_one_is_shared_an_idle_one_taken_again_and_else_one_is_made() -> None:
    exchange = Exchange()
    pool = exchange.pool
    async with pool.use("a") as first, pool.use("a") as second, pool.use("b") as other:
        assert first is second and other is not first
        assert (pool.active, pool.idle) == (2, 0)
    assert (pool.active, pool.idle) == (0, 2)
    async with pool.use("a") as again:
        assert again is first
    assert len(exchange.made) == 2


@virtual_time
async def test_two_that_come_at_once_share_the_one_that_is_being_made() -> None:
    exchange = Exchange()

    async def use() -> Line:
        async with exchange.pool.use("a") as line:
            await later(1.0)
            return line

    assert len({*await asyncio.gather(*(use() for _ in range(50)))}) == 1
    assert len(exchange.made) == 1


@virtual_time
async def test_one_that_does_not_work_any_more_is_given_to_nobody() -> None:
    exchange = Exchange()
    async with exchange.pool.use("a") as broken:
        broken.works = False
        async with exchange.pool.use("a") as active:
            assert active is not broken
    assert not broken.open
    active.works = False
    async with exchange.pool.use("a") as third:
        assert third is not active
    assert not active.open and exchange.pool.idle == 1


@virtual_time
async def test_what_nobody_uses_for_three_minutes_is_closed() -> None:
    exchange = Exchange()
    looking = asyncio.create_task(exchange.pool.look_after())
    async with exchange.pool.use("a") as used, exchange.pool.use("b"):
        await later(1000.0)
    await later(150.0)
    async with exchange.pool.use("a"):
        await later(60.0)
        assert exchange.pool.idle == 0 and used.open
    # It is seen when the idle are looked after, every 30 s.
    await later(215.0)
    assert exchange.pool.idle == 0 and not used.open
    looking.cancel()


@virtual_time
async def test_no_more_are_idle_than_may_be_and_the_oldest_goes() -> None:
    exchange = Exchange(PoolLimits(max_idle=2))
    for key in "abc":
        async with exchange.pool.use(key):
            pass
    assert [line.key for line in exchange.made if line.open] == ["b", "c"]


@virtual_time
async def test_no_more_are_active_than_may_be_and_who_waits_too_long_is_told() -> None:
    exchange = Exchange(PoolLimits(max_active=1, connect_timeout_s=5.0))
    async with exchange.pool.use("a"):
        started = now()
        with pytest.raises(LimitReached):
            async with exchange.pool.use("b"):
                pass
        assert now() - started == pytest.approx(5.0)
    async with exchange.pool.use("b"):
        pass


@virtual_time
async def test_connecting_that_fails_or_takes_too_long_leaves_no_place_taken() -> None:
    exchange = Exchange(PoolLimits(max_active=1), takes_s=100.0)
    for _ in range(3):
        with pytest.raises(DeviceTimeout):
            async with exchange.pool.use("slow"):
                pass
    exchange.takes_s = 0.1
    for _ in range(3):
        with pytest.raises(Unreachable):
            async with exchange.pool.use("nowhere"):
                pass
    task = asyncio.create_task(exchange.pool.use("a").__aenter__())
    await later(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with exchange.pool.use("a"):
        assert exchange.pool.active == 1


@virtual_time
async def test_a_closed_pool_ends_what_is_idle_and_what_is_given_back() -> None:
    exchange = Exchange()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(exchange.pool.use("a"))
        async with exchange.pool.use("b"):
            pass
        await exchange.pool.close()
        assert [line.open for line in exchange.made] == [True, False]
    assert [line.open for line in exchange.made] == [False, False]
