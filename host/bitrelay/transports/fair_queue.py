"""What waits to be sent to one peer, by class of traffic, shared out fairly by bytes (rows LIM-20, LIM-21).

Self-clocked fair queuing: an item's tag is when its last byte would be sent if its class had just its share, and the
lowest tag goes first. So a class gets its share of the bytes while it has something to send, what others leave is
shared among those that have, and what keeps to its share waits for hardly more than the item that is being sent.

Every class is bounded in bytes and items. What is dropped, and counted by class and reason:

| class | full | nearly full |
|---|---|---|
| interactive | the newest is refused | |
| streaming | the oldest goes: late is useless | |
| bulk, background | the newest is refused | the newest is refused at random, the fuller the likelier |
"""

import random
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")


class Traffic(StrEnum):
    """Classes of traffic."""

    INTERACTIVE = "interactive"
    """Needs low latency."""
    STREAMING = "streaming"
    """Needs steady bandwidth; what comes too late is useless."""
    BULK = "bulk"
    """Can wait."""
    BACKGROUND = "background"
    """Takes what is left over."""


class Drop(StrEnum):
    FULL = "full"
    EARLY = "early"
    OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class ClassLimits:
    """weight: share of the bytes. early: from which fill on some are refused; 1.0 for never. oldest: which one goes."""

    weight: int
    most_bytes: int = 256 * 1024
    most_items: int = 256
    early: float = 1.0
    oldest: bool = False


CLASSES: Final[dict[Traffic, ClassLimits]] = {
    Traffic.INTERACTIVE: ClassLimits(8),
    Traffic.STREAMING: ClassLimits(4, oldest=True),
    Traffic.BULK: ClassLimits(2, early=0.5),
    Traffic.BACKGROUND: ClassLimits(1, early=0.25),
}


@dataclass(frozen=True, slots=True)
class Pushed(Generic[Item]):
    """What came of a push. refused: why it was not taken, if it was not; dropped: what went to make room for it."""

    refused: Drop | None = None
    dropped: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item]):
    item: Item
    size: int
    tag: float


class FairQueue(Generic[Item]):
    """Items with their sizes in bytes. rng: what early drops are drawn with."""

    def __init__(self, rng: random.Random, classes: dict[Traffic, ClassLimits] | None = None) -> None:
        self.dropped: Counter[tuple[Traffic, Drop]] = Counter()
        self._random = rng
        self._limits = classes or CLASSES
        self._waiting: dict[Traffic, deque[_Waiting[Item]]] = {each: deque() for each in self._limits}
        self._bytes: Counter[Traffic] = Counter()
        self._sent = 0.0
        """The tag of what was sent last."""
        self._last_tag = dict.fromkeys(self._limits, 0.0)

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())

    def push(self, item: Item, size: int, traffic: Traffic) -> Pushed[Item]:
        """Append it to its class, if that takes it."""
        limits = self._limits[traffic]
        if size > limits.most_bytes:
            return self._refuse(traffic, Drop.FULL)
        dropped = []
        while self._is_full(traffic, size):
            if not limits.oldest:
                return self._refuse(traffic, Drop.FULL)
            dropped.append(self._take(traffic).item)
            self.dropped[traffic, Drop.OLDEST] += 1
        fill = self._bytes[traffic] / limits.most_bytes
        if fill > limits.early and self._random.random() < (fill - limits.early) / (1 - limits.early):
            return self._refuse(traffic, Drop.EARLY)
        tag = max(self._sent, self._last_tag[traffic]) + size / limits.weight
        self._last_tag[traffic] = tag
        self._waiting[traffic].append(_Waiting(item, size, tag))
        self._bytes[traffic] += size
        return Pushed(dropped=tuple(dropped))

    def has_room(self, size: int, traffic: Traffic) -> bool:
        """Whether its class is not full; it may be refused at random all the same."""
        return not self._is_full(traffic, size)

    def pop(self) -> Item | None:
        """What is to be sent next; None if there is nothing."""
        heads = [(waiting[0].tag, traffic) for traffic, waiting in self._waiting.items() if waiting]
        if not heads:
            # Nobody waits, so nobody has used more than its share; and numbers stay small.
            self._sent = 0.0
            self._last_tag = dict.fromkeys(self._limits, 0.0)
            return None
        # Of equal tags the class named first goes first.
        self._sent, traffic = min(heads, key=lambda head: head[0])
        return self._take(traffic).item

    def remove(self, item: Item, traffic: Traffic) -> bool:
        """Take out what nobody wants to send any more; whether it was there."""
        waiting = self._waiting[traffic]
        for index, found in enumerate(waiting):
            if found.item is item:
                del waiting[index]
                self._bytes[traffic] -= found.size
                return True
        return False

    def clear(self) -> list[Item]:
        """Take out everything."""
        items = [found.item for waiting in self._waiting.values() for found in waiting]
        for waiting in self._waiting.values():
            waiting.clear()
        self._bytes.clear()
        return items

    def _is_full(self, traffic: Traffic, size: int) -> bool:
        limits = self._limits[traffic]
        return self._bytes[traffic] + size > limits.most_bytes or len(self._waiting[traffic]) >= limits.most_items

    def _take(self, traffic: Traffic) -> _Waiting[Item]:
        taken = self._waiting[traffic].popleft()
        self._bytes[traffic] -= taken.size
        return taken

    def _refuse(self, traffic: Traffic, reason: Drop) -> Pushed[Item]:
        self.dropped[traffic, reason] += 1
        return Pushed(refused=reason)
