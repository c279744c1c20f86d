"""What happens to identities, told to everybody who listens (rows POW-26 to POW-30, POW-35)."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Self

from ..defense.sybil import Finding
from .difficulty import DifficultyAdjusted
from .generate import IdentityGenerated
from .mining import SolutionFound
from .proof import PowIdentity

QUEUE_SIZE = 256


@dataclass(frozen=True, slots=True)
class IdentityRefreshed:
    """Our identity has a new proof of work for the same keys (row POW-27). old_peer: its PeerId, 32 bytes."""

    old_peer: bytes
    new_identity: PowIdentity


@dataclass(frozen=True, slots=True)
class SybilAttemptDetected:
    """Identities that are probably one owner's (row POW-30): their PeerIds, and what was found, most certain first."""

    suspicious: tuple[bytes, ...]
    findings: tuple[Finding, ...]


IdentityEvent = IdentityGenerated | IdentityRefreshed | SolutionFound | DifficultyAdjusted | SybilAttemptDetected


@dataclass(slots=True, eq=False)
class Subscription:
    """One listener's queue: an asynchronous iterator over events, which ends when it is closed and read to its end.

    A listener that does not keep up loses the oldest; dropped says how many. Use it as a context manager, or close it.
    """

    size: int
    stream: "EventStream"
    dropped: int = 0
    _events: deque[IdentityEvent] = field(default_factory=deque)
    _come: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def put(self, event: IdentityEvent) -> None:
        """Append an event; drops the oldest if there is no room."""
        if len(self._events) >= self.size:
            self._events.popleft()
            self.dropped += 1
        self._events.append(event)
        self._come.set()

    def close(self) -> None:
        """Get no more events; what waits for one ends once those that had come are read."""
        self._closed = True
        self.stream.forget(self)
        self._come.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> IdentityEvent:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._come.clear()
            await self._come.wait()
        return self._events.popleft()


class EventStream:
    """Hands every event to every subscriber, and waits for none of them."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []

    def subscribe(self, size: int = QUEUE_SIZE) -> Subscription:
        """Listen from now on, with room for so many events that were not read yet."""
        subscription = Subscription(size, self)
        self._subscriptions.append(subscription)
        return subscription

    def publish(self, event: IdentityEvent) -> None:
        """Tell all who listen."""
        for subscription in self._subscriptions:
            subscription.put(event)

    def forget(self, subscription: Subscription) -> None:
        """What Subscription.close calls; nothing if it was forgotten."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def close(self) -> None:
        """End every subscription."""
        for subscription in list(self._subscriptions):
            subscription.close()
