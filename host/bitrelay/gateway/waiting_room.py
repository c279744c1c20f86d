"""The store as the event loop uses it: writes go in batches, off the loop; what waits is known without asking.

put() is done with a frame at once; it is on the disk within FLUSH_S.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

from ..errors import BitrelayError
from .bridge_frame import BridgeFrame
from .store import FrameStore, Stored

Value = TypeVar("Value")

FLUSH_S: Final = 0.05
MOST_PENDING: Final = 4096
"""Frames on the way to the disk; more are refused."""


class WaitingRoom:
    """expires_in: for how many seconds a frame is still acceptable. wall_ms: Unix milliseconds. failed: called when the
    disk does not do as it should, with the frames that are lost by that and why.

    Nothing raises for the disk's sake. What is done with while it cannot be written is remembered, and not given again.
    """

    def __init__(
        self,
        store: FrameStore,
        *,
        expires_in: Callable[[BridgeFrame, int], float],
        wall_ms: Callable[[], int],
        failed: Callable[[Sequence[BridgeFrame], BitrelayError], None],
    ) -> None:
        self.random = random.Random()
        self._store = store
        self._expires_in = expires_in
        self._wall_ms = wall_ms
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._disk = asyncio.Lock()
        self._pending: dict[tuple[str, str], list[tuple[BridgeFrame, float, int]]] = {}
        self._pending_count = 0
        self._done: set[int] = set()
        """What is done with and may still be on the disk."""
        self._counts: Counter[str] = Counter(store.targets())
        self._flushing: asyncio.Task[None] | None = None

    def waiting(self, target: str) -> int:
        """How many frames wait for a mesh; some of them may have become too old."""
        return self._counts[target]

    def targets(self) -> dict[str, int]:
        """How many wait, by mesh."""
        return {target: count for target, count in self._counts.items() if count}

    @property
    def expired(self) -> int:
        return self._store.expired

    @property
    def dropped(self) -> int:
        return self._store.dropped

    def put(self, origin: str, target: str, frame: BridgeFrame, heard_at: float) -> bool:
        """Keep a frame for a mesh that cannot be reached. Whether there was room."""
        if self._pending_count >= MOST_PENDING:
            return False
        wall_ms = self._wall_ms()
        until = wall_ms / 1000 + self._expires_in(frame, wall_ms)
        heard_ms = wall_ms - int((self._loop.time() - heard_at) * 1000)
        self._pending.setdefault((origin, target), []).append((frame, until, heard_ms))
        self._pending_count += 1
        self._counts[target] += 1
        if self._flushing is None:
            self._flushing = self._loop.create_task(self._flush_soon())
        return True

    async def first(self, target: str, most: int) -> list[Stored]:
        """The next ones for a mesh, oldest first; none if they cannot be read."""
        await self.flush()
        return await self._on_disk(self._first(target, most))

    async def done(self, numbers: Sequence[int]) -> None:
        """These arrived, or need not."""
        if numbers:
            self._done.update(numbers)
            await self._on_disk(self._let_go())

    async def expire(self) -> None:
        """Let go of what is too old."""
        if self._done or any(self._counts.values()):
            await self._on_disk(self._expire())

    async def flush(self) -> None:
        """Have all that was put on the disk."""
        await self._on_disk(self._flush())

    async def close(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait((self._flushing,))
        await self.flush()
        self._store.close()

    async def _on_disk(self, work: Coroutine[Any, Any, Value]) -> Value:
        # One thread at a time has the store, also when whoever waits for it is cancelled.
        async def alone() -> Value:
            async with self._disk:
                return await work

        return await asyncio.shield(self._loop.create_task(alone()))

    async def _first(self, target: str, most: int) -> list[Stored]:
        try:
            stored = await asyncio.to_thread(self._store.first, target, most + len(self._done))
            await self._count()
        except BitrelayError as error:
            self._failed((), error)
            return []
        return [each for each in stored if each.number not in self._done][:most]

    async def _let_go(self) -> None:
        try:
            numbers = list(self._done)
            await asyncio.to_thread(self._store.done, numbers)
            self._done.difference_update(numbers)
        except BitrelayError as error:
            self._failed((), error)
        await self._count()

    async def _expire(self) -> None:
        try:
            await asyncio.to_thread(self._store.expire)
        except BitrelayError as error:
            self._failed((), error)
        await self._let_go() if self._done else await self._count()

    async def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        self._pending_count = 0
        for (origin, target), frames in pending.items():
            try:
                await asyncio.to_thread(self._store.put_all, origin, target, frames)
            except BitrelayError as error:
                self._failed([frame for frame, _, _ in frames], error)
        if pending:
            await self._count()

    async def _count(self) -> None:
        try:
            counts = Counter(await asyncio.to_thread(self._store.targets, frozenset(self._done)))
        except BitrelayError as error:
            self._failed((), error)
            return
        for (_, target), frames in self._pending.items():
            counts[target] += len(frames)
        self._counts = counts

    async def _flush_soon(self) -> None:
        await asyncio.sleep(FLUSH_S)
        self._flushing = None
        await self.flush()
