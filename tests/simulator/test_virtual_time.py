"""Time that passes without anybody waiting."""

import asyncio
import os
import signal

import pytest

from bitrelay.simulator.virtual_time import VirtualTimeLoop


def test_a_year_takes_no_time_and_timers_fire_in_order() -> None:
    order: list[tuple[float, str]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)

        async def sleep(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            order.append((loop.time(), name))

        async with asyncio.TaskGroup() as group:
            group.create_task(sleep("year", 365 * 86_400.0))
            group.create_task(sleep("hour", 3600.0))
            loop.deliver_later(7200.0, lambda: order.append((loop.time(), "two hours")))
            loop.deliver_later(1.0, lambda: order.append((loop.time(), "second")))
            loop.deliver_later(1.0, lambda: order.append((loop.time(), "the same second")))

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
    expected = [(1, "second"), (1, "the same second"), (3600, "hour"), (7200, "two hours"), (31_536_000, "year")]
    assert [(round(when, 6), name) for when, name in order] == expected


def test_a_timeout_is_virtual_too() -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(86_400):
                await asyncio.sleep(90_000)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


def test_waiting_for_what_never_comes_is_an_error_and_no_hang() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner, pytest.raises(RuntimeError, match="for ever"):
        runner.run(main())


def test_a_signal_gets_through() -> None:
    async def main() -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, told.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        async with asyncio.timeout(86_400):
            await told.wait()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())
