"""Connections that are used again instead of made again (row LIM-17).

Who needs one gets a healthy active one, else a healthy idle one, else a new one. One that nobody needs any more stays
idle for a while. Bounds: `max_active` (more wait, with a deadline), `max_idle` (the one idle for longest is closed).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from ..errors import BitrelayError, DeviceTimeout, LimitReached
from .transport import CONNECT_TIMEOUT_S

_log = logging.getLogger(__name__)

Key = TypeVar("Key", bound=Hashable)
Connection = TypeVar("Connection")


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Seconds and counts. idle_s: how long one stays that nobody uses; health_s: how often all are looked after."""

    max_active: int = 50
    max_idle: int = 20
    idle_s: float = 180.0
    health_s: float = 30.0
    connect_timeout_s: float = CONNECT_TIMEOUT_S


@dataclass(slots=True, eq=False)
class _Pooled(Generic[Connection]):
    connection: Connection
    users: int = 0
    idle_since: float = 0.0


@dataclass(slots=True, eq=False)
class _Making:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Pool(Generic[Key, Connection]):
    """Connections by key.

    create: makes one, raises a BitrelayError; close: ends one; is_healthy: whether one still works. Time is that of the
    running event loop.
    """

    def __init__(
        self,
        create: Callable[[Key, float], Awaitable[Connection]],
        close: Callable[[Connection], Awaitable[None]],
        is_healthy: Callable[[Connection], bool],
        limits: PoolLimits = PoolLimits(),
    ) -> None:
        """create gets the key, and the seconds it may take."""
        self._create = create
        self._close = close
        self._is_healthy = is_healthy
        self._limits = limits
        self._active: dict[Key, _Pooled[Connection]] = {}
        self._idle: OrderedDict[Key, _Pooled[Connection]] = OrderedDict()
        self._making: dict[Key, _Making] = {}
        self._places = asyncio.Semaphore(limits.max_active)

    @property
    def active(self) -> int:
        return len(self._active)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @asynccontextmanager
    async def use(self, key: Key) -> AsyncIterator[Connection]:
        """A connection to use inside the block; any number of users of a key share one.

        Raises what create raises; LimitReached if all `max_active` were in use for as long as connecting may take, and
        DeviceTimeout if create took longer.
        """
        pooled = await self._acquire(key)
        try:
            yield pooled.connection
        finally:
            await self._release(key, pooled)

    async def look_after(self) -> None:
        """Close what is idle for too long or does not work, every health_s, until cancelled."""
        while True:
            await asyncio.sleep(self._limits.health_s)
            await self.tidy()

    async def tidy(self) -> None:
        """Close once what is idle for too long, or does not work."""
        now = asyncio.get_running_loop().time()
        for key, pooled in list(self._idle.items()):
            old = now - pooled.idle_since >= self._limits.idle_s
            if (old or not self._is_healthy(pooled.connection)) and self._idle.get(key) is pooled:
                del self._idle[key]
                await self._end(pooled)

    async def close(self) -> None:
        """Close what is idle; what is in use is closed when its users are done."""
        self._limits = replace(self._limits, max_idle=0)
        while self._idle:
            await self._end(self._idle.popitem()[1])

    async def _acquire(self, key: Key) -> _Pooled[Connection]:
        making = self._making.setdefault(key, _Making())
        making.waiting += 1
        try:
            # Else two users that come at once would make two.
            async with making.lock:
                pooled = self._active.get(key)
                if pooled is None or not self._is_healthy(pooled.connection):
                    pooled = self._active[key] = await self._activate(key)
                pooled.users += 1
                return pooled
        finally:
            making.waiting -= 1
            if not making.waiting:
                del self._making[key]

    async def _activate(self, key: Key) -> _Pooled[Connection]:
        await self._wait_for_place()
        try:
            idle = self._idle.pop(key, None)
            if idle is not None:
                if self._is_healthy(idle.connection):
                    return idle
                await self._end(idle)
            try:
                async with asyncio.timeout(self._limits.connect_timeout_s):
                    return _Pooled(await self._create(key, self._limits.connect_timeout_s))
            except TimeoutError:
                raise DeviceTimeout("no connection within the deadline", device=str(key)) from None
        except BaseException:
            self._places.release()
            raise

    async def _wait_for_place(self) -> None:
        try:
            async with asyncio.timeout(self._limits.connect_timeout_s):
                await self._places.acquire()
        except TimeoutError:
            raise LimitReached("all connections of the pool are in use", limit="pool") from None

    async def _release(self, key: Key, pooled: _Pooled[Connection]) -> None:
        pooled.users -= 1
        if pooled.users:
            return
        self._places.release()
        if self._active.get(key) is pooled:
            del self._active[key]
        if not self._is_healthy(pooled.connection) or key in self._idle:
            await self._end(pooled)
            return
        pooled.idle_since = asyncio.get_running_loop().time()
        self._idle[key] = pooled
        if len(self._idle) > self._limits.max_idle:
            await self._end(self._idle.popitem(last=False)[1])

    async def _end(self, pooled: _Pooled[Connection]) -> None:
        try:
            await self._close(pooled.connection)
        except BitrelayError as error:
            _log.info("A connection of the pool did not close: %s", error)
