"""Frames from one mesh of ours into another: where other gateways join both, who of us brings them.

As with what leaves our meshes (uplink): the one that the author falls to. The others hold it, and bring it themselves
unless they are told meanwhile that it goes in (INTAKE).

Where a mesh has other gateways, what is heard there may be what one of them has brought, before its word of that comes.
What is sent to others is then known where it came from; here it would go back there. So it waits for that word a
moment, and after that for what those do who know where it came from.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from .bridge_frame import BridgeFrame
from .election import elected

HOLD_S: Final = 1.0
MOST_HELD: Final = 4096
"""Of more, the oldest is brought at once."""


@dataclass(slots=True, eq=False)
class _Held:
    frame: BridgeFrame
    origin: str
    gateway: bytes
    elected: bytes
    heard_at: float
    due: float


class LocalCrossing:
    """both: PeerIds of the others that carry for the first mesh and bring into the second. doubt_s: how long word of
    what was brought into a mesh may take. bring: called with target, frame, origin, who heard it and when, of what is
    ours to bring. now: seconds."""

    def __init__(
        self,
        own: bytes,
        both: Callable[[str, str], Iterable[bytes]],
        doubt_s: Callable[[str], float],
        bring: Callable[[str, BridgeFrame, str, bytes, float], object],
    ) -> None:
        self._own = own
        self._both = both
        self._doubt_s = doubt_s
        self._bring = bring
        self._held: OrderedDict[tuple[str, bytes], _Held] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def heard(self, origin: str, frame: BridgeFrame, target: str, gateway: bytes, now: float) -> bool:
        """A frame of a mesh of ours is to cross into another; whether it is left to somebody else for now.

        gateway: who heard it, ourselves or another gateway of that mesh.
        """
        others = tuple(self._both(origin, target))
        chosen = elected(frame.sender, (self._own, *others)) if others else None
        wait_s = HOLD_S
        if chosen is None or chosen == self._own:
            chosen = self._own
            # Another one that heard it has sent it on already.
            wait_s = self._doubt_s(origin) if gateway == self._own else 0.0
        if wait_s <= 0:
            self._bring(target, frame, origin, gateway, now)
            return False
        if len(self._held) >= MOST_HELD:
            self._let_go(next(iter(self._held)))
        self._held.setdefault((target, frame.key), _Held(frame, origin, gateway, chosen, now, now + wait_s))
        return True

    def brought(self, mesh: str, keys: Iterable[bytes], now: float) -> None:
        """Another gateway brings these into a mesh of ours: they need not go there, and are not of it."""
        self.known(mesh, keys)
        if self._held:
            known = set(keys)
            for place, held in self._held.items():
                if place[1] in known and held.origin == mesh:
                    held.due = max(held.due, now + HOLD_S)

    def known(self, mesh: str, keys: Iterable[bytes]) -> None:
        """These are in that mesh of ours."""
        if self._held:
            for key in keys:
                self._held.pop((mesh, key), None)

    def gateway_gone(self, gateway: bytes) -> None:
        """What it had to bring is brought by us."""
        for place in [place for place, held in self._held.items() if held.elected == gateway]:
            self._let_go(place)

    def tick(self, now: float) -> None:
        """Bring what nobody else did in time."""
        for place in [place for place, held in self._held.items() if held.due <= now]:
            self._let_go(place)

    def _let_go(self, place: tuple[str, bytes]) -> None:
        held = self._held.pop(place)
        self._bring(place[0], held.frame, held.origin, held.gateway, held.heard_at)
