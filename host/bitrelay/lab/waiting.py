"""Waiting for something to happen in the lab, with a deadline."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from bitrelay.errors import DeviceTimeout

Result = TypeVar("Result")


class News:
    """Wakes everybody who waits whenever something changed; whether it is what they wait for they see themselves."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def tell(self) -> None:
        """Something changed."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Wait for the next change."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future


@asynccontextmanager
async def deadline(seconds: float, device: str, what: str) -> AsyncIterator[None]:
    """Bounds what is done inside. Raises DeviceTimeout, saying `what` about `device`, when it took longer."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise DeviceTimeout(f"{what} within {seconds:g} s", device=device) from None


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Do all of it at the same time. The first error ends the rest and is raised as it is, not in a group."""
    tasks = [asyncio.get_running_loop().create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def alongside(work: Coroutine[Any, Any, Result], *others: Coroutine[Any, Any, None]) -> Result:
    """Do `work` while the others go on; they end with it. The first error of any of them ends all, and is raised."""
    loop = asyncio.get_running_loop()
    main = loop.create_task(work)
    tasks: set[asyncio.Task[Any]] = {main, *(loop.create_task(other) for other in others)}
    going = tasks
    try:
        while not main.done():
            done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        return main.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
