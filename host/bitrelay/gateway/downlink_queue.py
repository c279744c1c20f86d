"""What waits to go into one mesh: classes share the bytes, gateways take turns (rows GWY-14, LIM-20, LIM-21).

Start-time fair queuing (Goyal, Vin and Cheng 1996): each class has a tag, when its next frame would begin if it had
just its share, and the lowest tag goes first. So a game's moves pass the pictures that wait, and pictures go on. The
weights are those of the links (transports/fair_queue.py), whose queue cannot do what is wanted here: within a class,
gateways take turns, so that one that floods waits for itself; a frame that the relay did not take goes back to the
front; and one bound holds for all classes. When it is reached, the lowest class gives up the oldest frame of the
gateway that has most there. A frame of a class lower than all that wait is refused.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..transports.fair_queue import CLASSES, Traffic
from .bridge_frame import BridgeFrame

_RANKS: Final = {traffic: rank for rank, traffic in enumerate(Traffic)}


@dataclass(slots=True, eq=False)
class Waiting:
    """A frame and where it came from. signer: who signed it, if it is an announce. number: its place in the order of
    coming, given by the queue. told: other gateways of the mesh know that it goes."""

    frame: BridgeFrame
    origin: str
    gateway: bytes
    signer: bytes | None = None
    number: int = 0
    told: bool = False


class _Class:
    # begins: the tag of the next frame. by_gateway: what waits of each, the one whose turn it is first.
    __slots__ = ("begins", "by_gateway", "count", "weight")

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.begins = 0.0
        self.count = 0
        self.by_gateway: OrderedDict[bytes, deque[Waiting]] = OrderedDict()


class DownlinkQueue:
    """Frames by class and gateway; at most `most` of them, and those that were put back."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._classes = tuple(_Class(CLASSES[traffic].weight) for traffic in Traffic)
        self._by_key: dict[bytes, Waiting] = {}
        self._announces: dict[bytes, Waiting] = {}
        self._now = 0.0
        """The lowest tag when something went last."""
        self._number = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def counts(self) -> dict[Traffic, int]:
        return {traffic: self._classes[rank].count for traffic, rank in _RANKS.items()}

    def find(self, key: bytes) -> Waiting | None:
        return self._by_key.get(key)

    def push(self, waiting: Waiting) -> Waiting | None:
        """Append it; what had to go for it, which may be itself. Its key must not be there."""
        rank = _RANKS[waiting.frame.traffic]
        gone = None
        if len(self._by_key) >= self.most:
            lowest = max((each for each, found in enumerate(self._classes) if found.count), default=rank)
            if lowest < rank or not self.most:
                return waiting
            queues = self._classes[lowest].by_gateway.values()
            gone = max(queues, key=lambda queue: (len(queue), -queue[0].number))[0]
            self.remove(gone)
        self._number += 1
        waiting.number = self._number
        self._enter(waiting, rank).append(waiting)
        return gone

    def put_back(self, waiting: Waiting) -> None:
        """It was taken, and did not go: it is the next one again."""
        rank = _RANKS[waiting.frame.traffic]
        self._enter(waiting, rank).appendleft(waiting)
        found = self._classes[rank]
        found.by_gateway.move_to_end(waiting.gateway, last=False)
        found.begins = max(0.0, min(self._now, found.begins - len(waiting.frame.value) / found.weight))

    def first(self) -> Waiting | None:
        """What is to go next, None if nothing waits. An author's announce goes before what he says."""
        best = None
        for found in self._classes:  # of equal tags the higher class goes first
            if found.count and (best is None or found.begins < best.begins):
                best = found
        if best is None:
            return None
        waiting = next(iter(best.by_gateway.values()))[0]
        return self._announces.get(waiting.frame.sender, waiting) if self._announces else waiting

    def take(self, waiting: Waiting) -> None:
        """It goes: its class pays for it, and its gateway's turn is over."""
        found = self._classes[_RANKS[waiting.frame.traffic]]
        # Of all that wait, not of its class: an announce may go before its turn.
        self._now = min(each.begins for each in self._classes if each.count)
        found.begins += len(waiting.frame.value) / found.weight
        self.remove(waiting)
        if waiting.gateway in found.by_gateway:
            found.by_gateway.move_to_end(waiting.gateway)
        if not self._by_key:
            # Nobody waits, so nobody has used more than its share; and numbers stay small.
            self._now = 0.0
            for each in self._classes:
                each.begins = 0.0

    def remove(self, waiting: Waiting) -> None:
        """It need not go, or its time is over."""
        found = self._classes[_RANKS[waiting.frame.traffic]]
        queue = found.by_gateway[waiting.gateway]
        queue.remove(waiting)  # the first one, nearly always
        if not queue:
            del found.by_gateway[waiting.gateway]
        found.count -= 1
        del self._by_key[waiting.frame.key]
        if waiting.signer is not None and self._announces.get(waiting.frame.sender) is waiting:
            del self._announces[waiting.frame.sender]

    def clear(self, which: Callable[[Waiting], bool] = lambda waiting: True) -> list[Waiting]:
        """Take out everything that is so."""
        gone = [waiting for waiting in self._by_key.values() if which(waiting)]
        for waiting in gone:
            self.remove(waiting)
        return gone

    def _enter(self, waiting: Waiting, rank: int) -> deque[Waiting]:
        found = self._classes[rank]
        if not found.count:
            found.begins = max(found.begins, self._now)
        found.count += 1
        self._by_key[waiting.frame.key] = waiting
        if waiting.signer is not None:
            self._announces[waiting.frame.sender] = waiting
        queue = found.by_gateway.get(waiting.gateway)
        if queue is None:
            queue = found.by_gateway[waiting.gateway] = deque()
        return queue
