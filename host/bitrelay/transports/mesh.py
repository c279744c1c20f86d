"""Peers in the same mesh, however many relays away (rows TRN-03, TRN-09).

Datagrams of the UDP transport travel as packets of type 0xB2 between on-air ids, over a relay that is connected by
cable or by Bluetooth; who has which on-air id is in `mesh_directory`. All that is in them is sealed from end to end,
and relays are trusted with nothing but to pass them on, which they may fail to do.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from shared_protocol.frame import ID_SIZE, MAX_TTL, TYPE_DATAGRAM, TYPE_IDENTITY, Header, encode
from shared_protocol.pow import DIFFICULTY_BASE

from ..errors import BitrelayError, TransportClosed, WrongAddress
from ..identity.local import LocalIdentity
from ..identity.record import to_record
from .address import Address, Mesh
from .arq import ArqSettings
from .channel import Channel
from .gate import Gate
from .link import Patience
from .mesh_directory import INTRODUCE_EVERY_S, MeshDirectory
from .outgoing import Outgoing
from .pipe import Arrivals, Medium, Pipe
from .relay_port import MAX_FRAME, RelayPort
from .secure_transport import Limits, SecureTransport
from .udp_connections import UdpConnections
from .udp_wire import HEADER_SIZE, Cookies, Place

# Header, sender and recipient of a version 1 packet.
_PACKET = 14 + 2 * ID_SIZE
MAX_SEGMENT: Final = MAX_FRAME - _PACKET - HEADER_SIZE - 5
"""Bytes of a message in one packet."""
SETTINGS: Final = ArqSettings(
    payload=MAX_SEGMENT, initial_timeout_s=2.0, min_timeout_s=0.5, max_timeout_s=30.0, give_up_s=90.0
)
"""A hop takes 10 to 220 ms, and a busy relay drops."""
PATIENCE: Final = Patience(alive_s=60.0, idle_s=180.0, stalled_s=300.0)
"""The air is shared: a connection that has nothing to say says so once a minute."""

_ASK_AGAIN_S = 3.0


class MeshMedium(Medium):
    """Pipes through the mesh of one relay, whose port this medium has from now on and closes.

    Datagrams that come faster than the relay sends wait, as many as `outgoing` holds; others are dropped, and sent
    again later by whoever counts them.
    """

    def __init__(
        self,
        port: RelayPort,
        own: Callable[[], LocalIdentity],
        *,
        base: int = DIFFICULTY_BASE,
        settings: ArqSettings = SETTINGS,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__()
        self.directory = MeshDirectory(own().keys.peer_id, base)
        self._port = port
        self._own = own
        self._on_air_id = own().keys.on_air_id
        self._random = rng or random.Random()
        self._loop = asyncio.get_running_loop()
        self._header = Header()
        self._outgoing = Outgoing(port.send, self.dropped)
        self._news = asyncio.Event()
        self._connections = UdpConnections(
            settings,
            self.dropped,
            None,
            address_of=self._address_of,
            cookies=Cookies(pack=lambda place: bytes.fromhex(place[0])),
        )
        self._connections.send = self._send
        self._tasks = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._introduce()),
        ]

    async def listen(self, address: Address, arrivals: Arrivals) -> Address:
        assert isinstance(address, Mesh)
        if address.peer != self._own().keys.peer_id:
            raise WrongAddress("this computer's address in the mesh is its own PeerId")
        self._demand_port()
        self._connections.arrivals = arrivals
        return address

    async def open(self, address: Address) -> Pipe:
        assert isinstance(address, Mesh)
        while (on_air_id := self.directory.on_air_id(address.peer)) is None:
            self._demand_port()
            self._broadcast(TYPE_IDENTITY, address.peer)
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_ASK_AGAIN_S):
                    await self._news.wait()
        self._demand_port()
        return await self._connections.open(address, (on_air_id.hex(), 0))

    async def close(self) -> None:
        for pipe in tuple(self._connections.pipes.values()):
            pipe.abort()
        # What they said last is not worth waiting for.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._outgoing.close()
        await self._port.close()

    def _address_of(self, place: Place) -> Address:
        # Where it came from is all that is known before the handshake.
        on_air_id = bytes.fromhex(place[0])
        return Mesh(self.directory.peer_id(on_air_id) or on_air_id.ljust(32, b"\0"))

    def _send(self, datagram: bytes, place: Place) -> None:
        self._outgoing.put(self._packet(TYPE_DATAGRAM, datagram, bytes.fromhex(place[0])))

    def _broadcast(self, kind: int, payload: bytes) -> None:
        self._outgoing.put(self._packet(kind, payload, None))

    def _packet(self, kind: int, payload: bytes, recipient: bytes | None) -> bytes:
        now_ms = time.time_ns() // 1_000_000
        return encode(kind, MAX_TTL, now_ms, self._on_air_id, payload, recipient=recipient)

    async def _read(self) -> None:
        try:
            while True:
                self._hear(await self._port.receive())
                self._connections.on_batch_end()
        except BitrelayError:
            # Without the relay nothing goes on: those who wait learn it by their deadlines, the others at once.
            for pipe in tuple(self._connections.pipes.values()):
                self._connections.forget(pipe)
                pipe.vanish()

    def _hear(self, packet: bytes) -> None:
        header = self._header
        if header.parse(packet, len(packet)) < 0 or header.original_size:
            return
        sender = packet[header.sender_at : header.sender_at + ID_SIZE]
        if sender == self._on_air_id:
            return
        payload = packet[header.payload_at : header.payload_at + header.payload_len]
        if header.type == TYPE_DATAGRAM:
            to_us = (
                header.recipient_at and packet[header.recipient_at : header.recipient_at + ID_SIZE] == self._on_air_id
            )
            if to_us:
                self._connections.on_datagram(payload, (sender.hex(), 0))
        elif header.type == TYPE_IDENTITY:
            if self.directory.is_question(payload):
                self._say_who_we_are()
            elif self.directory.hear(sender, payload, self._loop.time(), int(time.time())):
                self._news.set()

    async def _introduce(self) -> None:
        while True:
            self._say_who_we_are()
            await asyncio.sleep(INTRODUCE_EVERY_S * self._random.uniform(0.9, 1.1))

    def _say_who_we_are(self) -> None:
        if self.directory.may_introduce(self._loop.time()):
            own = self._own()
            self._broadcast(TYPE_IDENTITY, to_record(own.proof, own.keys))

    def _demand_port(self) -> None:
        if self._tasks[0].done():
            raise TransportClosed("the relay has gone, and with it the way into the mesh")


class MeshTransport(SecureTransport):
    """Peers in the mesh of a relay. Messages are acknowledged and in order; 64 KiB take a mesh a minute or more."""

    accepts = (Mesh,)

    def __init__(
        self,
        port: RelayPort,
        own: Callable[[], LocalIdentity],
        *,
        gate: Gate | None = None,
        limits: Limits | None = None,
        settings: ArqSettings = SETTINGS,
    ) -> None:
        limits = limits or Limits(handshake_s=60.0, patience=PATIENCE)
        super().__init__(MeshMedium(port, own, base=limits.base, settings=settings), own, gate=gate, limits=limits)

    def _reached_at(self, channel: Channel) -> Address:
        return Mesh(channel.peer_id)
