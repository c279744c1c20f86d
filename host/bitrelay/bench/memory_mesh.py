"""A mesh in memory, for trials of gateways: whatever is said there everybody else hears, each thing once.

It does what relays do with one frame: a copy of what was heard before goes no further. It is stricter than they are in
one thing: frames that gateways bring are not compared with anything, so that a gateway that brings one twice is seen.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from ..errors import DeviceLost, TransportClosed
from ..gateway.bridge_frame import parse_frame
from ..gateway.relay_link import RelayLink

MOST_WAITING = 65_536


class MemoryMesh:
    """links: gateways' ways into it. delay_s: from being said to being heard.

    counts: how often each frame (by key) was heard by the phones; brought: how many gateways brought. on_brought:
    called with each of those and by whom.
    """

    def __init__(self, name: str, *, delay_s: float = 0.0) -> None:
        self.name = name
        self.links: list[MemoryLink] = []
        self.delay_s = delay_s
        self.counts: Counter[bytes] = Counter()
        self.brought = 0
        self.on_brought: Callable[[bytes, MemoryLink], None] | None = None
        self.keep_counts = True
        self._underway: deque[tuple[MemoryLink, bytes]] = deque()

    def link(self, name: str) -> "MemoryLink":
        """Another relay with a gateway on it."""
        link = MemoryLink(self, name)
        self.links.append(link)
        return link

    def say(self, value: bytes) -> None:
        """A phone says something."""
        for link in self.links:
            self._deliver(link, value)

    def bring(self, value: bytes, by: "MemoryLink") -> None:
        """A gateway's relay says something: the phones hear it, and the other relays."""
        self.brought += 1
        if self.keep_counts and (frame := parse_frame(value)) is not None:
            self.counts[frame.key] += 1
        if self.on_brought is not None:
            self.on_brought(value, by)
        for link in self.links:
            if link is not by:
                self._deliver(link, value)

    def _deliver(self, link: "MemoryLink", value: bytes) -> None:
        if self.delay_s:
            # Timers of one moment fire in any order: what comes first is told here.
            self._underway.append((link, value))
            asyncio.get_running_loop().call_later(self.delay_s, self._arrive)
        else:
            link.hear(value)

    def _arrive(self) -> None:
        link, value = self._underway.popleft()
        link.hear(value)


class MemoryLink(RelayLink):
    """One relay of it. lost: frames that came while nobody took them."""

    def __init__(self, mesh: MemoryMesh, name: str) -> None:
        self.name = name
        self.lost = 0
        self.full = 0.0
        self._mesh = mesh
        self._heard: deque[bytes] = deque()
        self._came = asyncio.Event()
        self._up = True
        self._closed = False

    @property
    def is_up(self) -> bool:
        return self._up and not self._closed

    @property
    def trouble(self) -> str | None:
        return None if self.is_up else "it was unplugged"

    @property
    def pressure(self) -> float:
        return self.full

    def unplug(self) -> None:
        self._up = False

    def plug_in(self) -> None:
        self._up = True

    def hear(self, value: bytes) -> None:
        """Something was said near it."""
        if not self.is_up or len(self._heard) >= MOST_WAITING:
            self.lost += 1
            return
        self._heard.append(value)
        self._came.set()

    def waiting(self) -> int:
        """What its gateway has not taken yet."""
        return len(self._heard)

    async def send(self, frame: bytes) -> None:
        if not self.is_up:
            raise DeviceLost("it was unplugged", device=self.name)
        self._mesh.bring(frame, self)

    async def receive(self) -> bytes:
        while not self._heard:
            if self._closed:
                raise TransportClosed("the link was closed")
            self._came.clear()
            await self._came.wait()
        return self._heard.popleft()

    async def close(self) -> None:
        self._closed = True
        self._came.set()
