"""Gateways that are linked in memory, in virtual time, and what each was told."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from bitrelay.errors import TransportClosed
from bitrelay.gateway.config import FederationConfig, PeerConfig
from bitrelay.gateway.discovery import Discovery
from bitrelay.gateway.exchange import ExchangeEvent, GatewayDown, GatewayUp, MessageCame
from bitrelay.gateway.link_exchange import LinkExchange
from bitrelay.gateway.message import FrameMessage, Hello, MeshOffer, Message
from bitrelay.transports.address import Address, HostAddress, Tcp
from bitrelay.transports.connection_manager import ConnectionManager
from bitrelay.transports.coordinator import TransportCoordinator
from bitrelay.transports.fair_queue import Traffic
from bitrelay.transports.selector import TransportType
from tests.transports.memory import MemoryNetwork, MemoryTransport, Wire

FRAME = FrameMessage("alpha", "beta", b"a frame", 5)


def peer_id(number: int) -> bytes:
    return bytes((number,)) * 32


def address(number: int) -> Tcp:
    return Tcp(f"192.0.2.{number}", 8765)


def named(*numbers: int) -> tuple[PeerConfig, ...]:
    """Peers by address and PeerId."""
    return tuple(PeerConfig(address(number), peer_id(number)) for number in numbers)


def hello_of(number: int, mesh: str = "beta", **more: Any) -> Hello:
    return Hello(f"gateway {number}", (MeshOffer(mesh, downlink=True),), **more)


class Site:
    """A gateway's exchange. number: of its PeerId and address; host: where it is seen to come from."""

    def __init__(
        self,
        network: MemoryNetwork,
        number: int,
        hello: Hello | None = None,
        *,
        own_id: bytes | None = None,
        discovery: Discovery | None = None,
        host: str | None = None,
        **config: Any,
    ) -> None:
        self.number = number
        self._host = host or f"192.0.2.{number}"
        self.peer_id = own_id or peer_id(number)
        self.network = network
        self.hello = hello or hello_of(number)
        self.config = FederationConfig(listen=(address(number),), **config)
        self.events: list[ExchangeEvent] = []
        self.transport: MemoryTransport | None = None
        self.discovery = discovery
        self.exchange = LinkExchange(
            lambda: SimpleNamespace(keys=SimpleNamespace(peer_id=self.peer_id)),  # type: ignore[arg-type, return-value]
            self.config,
            discovery=discovery,
            open_transport=self._open,
            rng=random.Random(number),
        )
        self._reader: asyncio.Task[None] | None = None

    def _open(self, at: Address, gate: Any) -> MemoryTransport:
        assert isinstance(at, HostAddress)
        self.transport = MemoryTransport(self.network, self.peer_id, kind=type(at), host=self._host, gate=gate)
        return self.transport

    async def start(self, *, reading: bool = True) -> None:
        await self.exchange.start(self.hello)
        if reading:
            self.read()

    def read(self) -> None:
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                self.events.append(await self.exchange.next_event())
        except TransportClosed:
            pass

    async def stop(self) -> None:
        await self.exchange.stop()
        self.network.listening.pop(address(self.number), None)
        if self._reader is not None:
            await self._reader

    def wire(self, other: "Site") -> Wire:
        assert self.transport is not None
        found = self.transport.wire(other.peer_id)
        assert found is not None
        return found

    @property
    def linked(self) -> set[int]:
        """The first bytes of the PeerIds of those that can be reached: mostly their numbers."""
        return {view.peer_id[0] for view in self.exchange.gateways()}

    @property
    def ups(self) -> list[int]:
        return [event.gateway.peer_id[0] for event in self.events if isinstance(event, GatewayUp)]

    @property
    def downs(self) -> list[tuple[int, str]]:
        return [(event.peer_id[0], event.reason) for event in self.events if isinstance(event, GatewayDown)]

    @property
    def came(self) -> list[tuple[int, Message]]:
        return [(event.peer_id[0], event.message) for event in self.events if isinstance(event, MessageCame)]

    async def send(self, other: "Site", message: Message = FRAME) -> None:
        await self.exchange.send(other.peer_id, message, Traffic.INTERACTIVE)

    async def carry(self, author: bytes = b"author 1", avoid: tuple[bytes, ...] = ()) -> int:
        """A frame for beta; the number of whom it went to."""
        found = await self.exchange.send_to_mesh(FRAME, author, Traffic.INTERACTIVE, avoid)
        assert found is not None
        return found[0]


@asynccontextmanager
async def sites(*made: Site, reading: bool = True) -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    for site in made:
        await site.start(reading=reading)
    try:
        yield
    finally:
        for site in made:
            await site.stop()
        left = [task for task in asyncio.all_tasks() - before if not task.done()]
        assert not left, left


@asynccontextmanager
async def stranger(network: MemoryNetwork, number: int = 9) -> AsyncIterator[TransportCoordinator]:
    """Somebody who speaks as hosts do, and nothing of what gateways say."""
    coordinator = TransportCoordinator(ConnectionManager, epoch=1)
    transport = MemoryTransport(network, peer_id(number), host=f"192.0.2.{number}")
    coordinator.register_transport(transport, TransportType.INTERNET)
    try:
        yield coordinator
    finally:
        await coordinator.close()
