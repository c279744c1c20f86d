"""The store as the event loop uses it: writes go in batches, off the loop; what waits is known without asking.

put() is done with a frame at once; it is on the disk within FLUSH_S.
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from ..errors import BitrelayError
from .bridge_frame import BridgeFrame
from .store import FrameStore, Stored

_log = logging.getLogger(__name__)

FLUSH_S: Final = 0.05
MOST_PENDING: Final = 4096
"""Frames on the way to the disk; more are refused."""


class WaitingRoom:
    """expires_in: for how many seconds a frame is still acceptable. wall_ms: Unix milliseconds."""

    def __init__(
        self,
        store: FrameStore,
        *,
        expires_in: Callable[[BridgeFrame, int], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self.random = random.Random()
        self.trouble: BitrelayError | None = None
        """Why the last write failed; None if it did not."""
        self._store = store
        self._expires_in = expires_in
        self._wall_ms = wall_ms
        self._loop = asyncio.get_running_loop()
        self._disk = asyncio.Lock()
        self._pending: dict[tuple[str, str], list[tuple[BridgeFrame, float, int]]] = {}
        self._pending_count = 0
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
        """The next ones for a mesh, oldest first."""
        await self.flush()
        async with self._disk:
            stored = await asyncio.to_thread(self._store.first, target, most)
            await self._count()
        return stored

    async def done(self, target: str, numbers: Sequence[int]) -> None:
        """These arrived, or need not."""
        if numbers:
            async with self._disk:
                await asyncio.to_thread(self._store.done, numbers)
                await self._count()

    async def expire(self) -> None:
        """Let go of what is too old."""
        if any(self._counts.values()):
            async with self._disk:
                await asyncio.to_thread(self._store.expire)
                await self._count()

    async def flush(self) -> None:
        """Have all that was put on the disk."""
        async with self._disk:
            pending, self._pending = self._pending, {}
            self._pending_count = 0
            for (origin, target), frames in pending.items():
                try:
                    await asyncio.to_thread(self._put, origin, target, frames)
                    self.trouble = None
                except BitrelayError as error:
                    _log.warning("Frames for %s are lost: %s", target, error)
                    self.trouble = error
            if pending:
                await self._count()

    async def close(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            await asyncio.wait((self._flushing,))
        await self.flush()
        self._store.close()

    def _put(self, origin: str, target: str, frames: list[tuple[BridgeFrame, float, int]]) -> None:
        for heard_ms in dict.fromkeys(heard for _, _, heard in frames):
            self._store.put(
                origin, target, [(frame, until) for frame, until, heard in frames if heard == heard_ms], heard_ms
            )

    async def _count(self) -> None:
        counts = await asyncio.to_thread(self._store.targets)
        for (_, target), frames in self._pending.items():
            counts[target] = counts.get(target, 0) + len(frames)
        self._counts = Counter(counts)

    async def _flush_soon(self) -> None:
        await asyncio.sleep(FLUSH_S)
        self._flushing = None
        await self.flush()
