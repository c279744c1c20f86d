"""A mesh in memory, for whoever is connected to a relay of it."""

import asyncio
from collections.abc import Callable

from bitrelay.errors import DeviceLost
from bitrelay.transports.relay_port import MAX_FRAME, RelayPort
from shared_protocol.frame import Header


class Bus:
    """A mesh in which all relays hear one another; spoil says what becomes of a frame: copies, in their order."""

    def __init__(self, spoil: Callable[[bytes], list[bytes]] = lambda frame: [frame]) -> None:
        self.spoil = spoil
        self.ports: list[BusPort] = []
        self.frames: list[bytes] = []

    def port(self) -> "BusPort":
        self.ports.append(BusPort(self))
        return self.ports[-1]


class BusPort(RelayPort):
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.peer_id = bytes(32)

    @property
    def dropped(self) -> int:
        return 0

    async def send(self, frame: bytes) -> None:
        assert 0 < len(frame) <= MAX_FRAME and Header().parse(frame, len(frame)) == len(frame)
        self._bus.frames.append(frame)
        for copy in self._bus.spoil(frame):
            for port in self._bus.ports:
                if port is not self:
                    port._heard.put_nowait(copy)

    async def receive(self) -> bytes:
        frame = await self._heard.get()
        if frame is None:
            raise DeviceLost("unplugged")
        return frame

    async def close(self) -> None:
        self._heard.put_nowait(None)
