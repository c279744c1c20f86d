"""What a DHT node does of itself: stale buckets are refreshed, values are brought again (rows DHT-07, DHT-08, DHT-20 to
DHT-23).

A value of another owner is brought again only if nobody did so within the hour; nodes begin at different times, so most
values are brought by one of them, and the others see it.
"""

import asyncio
from typing import TYPE_CHECKING

from .messages import Contact, SignedValue
from .values import key_of

if TYPE_CHECKING:
    from .node import DhtNode

REFRESH_S = 900.0
REPUBLISH_S = 3600.0

_LOOK_S = 60.0
# A holder waits up to this long for another one to bring a value.
_PATIENCE_S = 600.0
MAX_PINGS = 16
"""Nodes that are pinged in one go, about once a minute, to see whether they live."""
MAX_AT_ONCE = 256
"""Keys that are brought again in one go; the others' turn comes next."""


class Upkeep:
    """The two tasks of one node."""

    def __init__(self, node: "DhtNode") -> None:
        self._node = node
        self._tasks: list[asyncio.Task[None]] = []
        self._published: dict[tuple[bytes, bytes], float] = {}

    @property
    def running(self) -> bool:
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    def start(self) -> None:
        """Begin. Harmless if it runs."""
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._refresh()), loop.create_task(self._republish())]

    async def stop(self) -> None:
        """End both tasks. Raises what one of them failed with."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _refresh(self) -> None:
        # Buckets in which nothing happened; nodes of which nothing is heard; and who is nearest to ourselves.
        node = self._node
        met = node.clock()
        while True:
            await asyncio.sleep(_LOOK_S * node.random.uniform(0.5, 1.5))
            for index in node.table.stale(node.clock(), REFRESH_S):
                bucket = node.table.bucket(index)
                if bucket is not None and bucket.needs_refresh(node.clock(), REFRESH_S):
                    await node.refresh(index)
            await node.ping_all(self._questionable())
            if not 0 <= node.clock() - met < REFRESH_S:
                met = node.clock()
                await node.lookup(node.node_id)

    def _questionable(self) -> list[Contact]:
        # Nodes that gave no sign for long, or that failed to answer lately: they are not to be told to others for long.
        now = self._node.clock()
        found = [
            (record.last_seen, record.contact)
            for record in self._node.table
            if record.failures or not 0 <= now - record.last_seen < REFRESH_S
        ]
        found.sort(key=lambda entry: entry[0])
        return [contact for _, contact in found[:MAX_PINGS]]

    async def _republish(self) -> None:
        node = self._node
        patience = node.random.uniform(0, _PATIENCE_S)
        while True:
            await asyncio.sleep(_LOOK_S * node.random.uniform(0.5, 1.5))
            now = node.clock()
            node.store.expire(now)
            due = self._own_due(now) + node.store.due(now, REPUBLISH_S + patience)
            by_key: dict[bytes, dict[bytes, SignedValue]] = {}
            for value in due:
                by_key.setdefault(key_of(value.kind, value.name), {}).setdefault(value.owner, value)
            for key, values in list(by_key.items())[:MAX_AT_ONCE]:
                await self._bring(key, tuple(values.values()))

    def _own_due(self, now: float) -> list[SignedValue]:
        own = self._node.own
        for name in [name for name, value in own.items() if value.expires_at <= now]:
            del own[name]
        self._published = {name: self._published.get(name, own[name].created_at) for name in own}
        return [value for name, value in own.items() if not 0 <= now - self._published[name] < REPUBLISH_S]

    async def _bring(self, key: bytes, values: tuple[SignedValue, ...]) -> None:
        node = self._node
        placed = await node.place(key, values)
        if not placed[0].found.closest:
            return  # nobody can be reached: they stay due
        now = node.clock()
        for value in values:
            if (key, value.owner) in self._published:
                self._published[key, value.owner] = now
            node.store.republished(value, now)
        node.statistics.republished += len(values)
