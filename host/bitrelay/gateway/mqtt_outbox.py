"""Messages on their way to the broker: a few unacknowledged at a time, the others wait by class of traffic."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ..errors import LimitReached, Unreachable
from ..transports.fair_queue import ClassLimits, FairQueue, Traffic

WINDOW: Final = 16
"""Unacknowledged at a time; below what brokers grant, which hellos need, too."""
_MOST_WAITING: Final = 512
_CLASSES: Final = {
    Traffic.INTERACTIVE: ClassLimits(8, most_items=_MOST_WAITING),
    Traffic.STREAMING: ClassLimits(4, most_items=_MOST_WAITING),
    Traffic.BULK: ClassLimits(2, most_items=_MOST_WAITING),
    Traffic.BACKGROUND: ClassLimits(1, most_items=_MOST_WAITING),
}


@dataclass(slots=True, eq=False)
class _Item:
    topic: str
    body: bytes
    handed: "asyncio.Future[None]"


class Outbox:
    """publish: seals a body for a topic and hands it to the broker client, which it does before it first waits; then
    waits until the broker has it; False if it got lost. lost: counts those."""

    def __init__(self, publish: Callable[[str, bytes], Awaitable[bool]], lost: Counter[str]) -> None:
        self._publish = publish
        self._lost = lost
        self._queue: FairQueue[_Item] = FairQueue(random.Random(), _CLASSES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._loop = asyncio.get_running_loop()

    async def send(self, topic: str, body: bytes, traffic: Traffic) -> None:
        """Returns when it is under way: in the order of the calls, within a class. Raises LimitReached when too much
        waits already, Unreachable when the outbox was closed meanwhile."""
        if self._closed:
            raise _broker_lost()
        item = _Item(topic, body, self._loop.create_future())
        if self._queue.push(item, len(body), traffic).refused is not None:
            raise LimitReached("the broker is too slow: too many messages wait for it", limit="messages to the broker")
        self._pump()
        try:
            await item.handed
        finally:
            if item.handed.cancelled():
                self._queue.remove(item, traffic)

    async def flush(self, timeout: float) -> None:
        """Wait until all is with the broker, or the time is over."""
        deadline = self._loop.time() + timeout
        # Each that ends lets the next one begin.
        while self._tasks and (left := deadline - self._loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """The connection has ended: nobody waits any more. Harmless when repeated."""
        self._closed = True
        for item in self._queue.clear():
            if not item.handed.done():
                item.handed.set_exception(_broker_lost())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _pump(self) -> None:
        while len(self._tasks) < WINDOW and not self._closed and (item := self._queue.pop()) is not None:
            if item.handed.done():
                continue  # whoever sent it has been cancelled
            task = self._loop.create_task(self._hand_over(item))
            self._tasks.add(task)
            task.add_done_callback(self._over)
            item.handed.set_result(None)

    async def _hand_over(self, item: _Item) -> None:
        if not await self._publish(item.topic, item.body):
            self._lost["not acknowledged"] += 1

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._pump()


def _broker_lost() -> Unreachable:
    return Unreachable("there is no connection with the broker", hint="It is tried again")
