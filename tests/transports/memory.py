"""A transport in memory: all of the interface, over wires with latency, bandwidth and an end."""

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from bitrelay.errors import (
    BadData,
    DeviceLost,
    DeviceTimeout,
    HandshakeFailed,
    HandshakeFault,
    LimitReached,
    NotConnected,
    PortBusy,
    TransportClosed,
    Unreachable,
)
from bitrelay.transports.address import Address, HostAddress, Tcp
from bitrelay.transports.transport import (
    CONNECT_TIMEOUT_S,
    SEND_TIMEOUT_S,
    Connected,
    DataReceived,
    Disconnected,
    Ended,
    Event,
    Transport,
)

ON_THE_WIRE = 64
"""Messages that a wire holds before its sender has to wait."""


class MemoryNetwork:
    """Where transports find one another. silent: addresses that never answer."""

    def __init__(self, *, latency_s: float = 0.01, bytes_per_s: float = 1e9) -> None:
        self.latency_s = latency_s
        self.bytes_per_s = bytes_per_s
        self.listening: dict[Address, MemoryTransport] = {}
        self.silent: set[Address] = set()
        self.wires: list[Wire] = []
        self.ports = itertools.count(40_000)


class Wire:
    """Between two transports. Cut when it has carried `cut_at`: with a word (both ends are told) or in silence."""

    def __init__(self, network: MemoryNetwork, ends: "tuple[MemoryTransport, MemoryTransport]") -> None:
        self.network = network
        self.ends = ends
        self.latency_s = network.latency_s
        self.bytes_per_s = network.bytes_per_s
        self.cut_at: int | None = None
        self.cut_in_silence = False
        self.dead = False
        self.carried = 0
        self.carried_at: list[tuple[float, bytes]] = []
        """When what was handed to it, and by whom."""
        self.cut_since: float | None = None
        self._under_way = dict.fromkeys(ends, 0)
        self._free_at = dict.fromkeys(ends, 0.0)
        self._room = asyncio.Event()

    def other(self, end: "MemoryTransport") -> "MemoryTransport":
        return self.ends[1] if self.ends[0] is end else self.ends[0]

    def cut(self) -> None:
        """With a word."""
        self.end(Ended.LOST, Ended.LOST)

    def end(self, *reasons: Ended) -> None:
        for end, reason in zip(self.ends, reasons, strict=True):
            end.drop(self, reason)
        self.dead = True
        self._room.set()

    async def carry(self, end: "MemoryTransport", data: bytes) -> None:
        while not self.dead and self._under_way[end] >= ON_THE_WIRE:
            self._room.clear()
            await self._room.wait()
        if self.cut_at is not None and self.carried >= self.cut_at and not self.dead:
            self.cut_since = asyncio.get_running_loop().time()
            if self.cut_in_silence:
                self.dead = True
            else:
                self.cut()
        self.carried += 1
        self.carried_at.append((asyncio.get_running_loop().time(), end.peer_id))
        if self.dead:
            if end.wire(self.other(end).peer_id) is not self:
                raise DeviceLost("the wire is cut")
            return
        loop = asyncio.get_running_loop()
        self._free_at[end] = max(self._free_at[end], loop.time()) + len(data) / self.bytes_per_s
        self._under_way[end] += 1
        loop.call_at(self._free_at[end] + self.latency_s, self._arrive, end, data)

    def _arrive(self, end: "MemoryTransport", data: bytes) -> None:
        if self.dead:
            return
        receiver = self.other(end)
        if not receiver.receive(self, data):
            asyncio.get_running_loop().call_later(self.latency_s, self._arrive, end, data)
            return
        self._under_way[end] -= 1
        self._room.set()


class MemoryTransport(Transport):
    """kind: the addresses it takes; host: where it is seen to come from; gate: whom it asks who may come in."""

    def __init__(
        self,
        network: MemoryNetwork,
        peer_id: bytes,
        *,
        kind: type[HostAddress] = Tcp,
        host: str = "192.0.2.1",
        gate: Any = None,
    ) -> None:
        super().__init__()
        self.gate = gate
        self.accepts = (kind,)  # type: ignore[misc]
        self.max_message = 65_536
        self.peer_id = peer_id
        self.host = host
        self._kind = kind
        self._network = network
        self.asked: dict[Wire, Address] = {}
        """Of what came in."""
        self._wires: dict[bytes, Wire] = {}
        self._events: deque[Event] = deque()
        self._come = asyncio.Event()
        self._closed = False

    async def listen(self, address: Address) -> Address:
        self.demand(address)
        self._demand_open()
        assert isinstance(address, HostAddress)
        taken = self._kind(address.host, address.port or next(self._network.ports))
        if taken in self._network.listening:
            raise PortBusy(f"{taken} is taken")
        self._network.listening[taken] = self
        return taken

    async def connect(
        self, address: Address, *, expected: bytes | None = None, timeout: float = CONNECT_TIMEOUT_S
    ) -> bytes:
        self.demand(address)
        self._demand_open()
        try:
            async with asyncio.timeout(timeout):
                if address in self._network.silent:
                    await asyncio.Event().wait()
                await asyncio.sleep(2 * self._network.latency_s)
        except TimeoutError:
            raise DeviceTimeout("it does not answer", device=str(address)) from None
        other = self._network.listening.get(address)
        if other is None:
            raise Unreachable("nobody is there", device=str(address))
        if other.peer_id in self._wires:
            return other.peer_id
        here = self._kind(self.host, next(self._network.ports))
        if other.gate is not None:
            try:
                other.gate.admit(here)
            except LimitReached:
                raise Unreachable("it hung up at once", device=str(address)) from None
            try:
                other.gate.known(SimpleNamespace(peer_id=self.peer_id), here, True)
            except LimitReached:
                other.gate.left(here)
                raise Unreachable("it hung up after the handshake", device=str(address)) from None
        if expected is not None and other.peer_id != expected:
            if other.gate is not None:
                other.gate.left(here)
            raise HandshakeFailed(HandshakeFault.WRONG_PEER)
        wire = Wire(self._network, (self, other))
        self._network.wires.append(wire)
        self.add(wire, Connected(other.peer_id, address))
        other.add(wire, Connected(self.peer_id, here, inbound=True))
        other.asked[wire] = here
        return other.peer_id

    async def send(self, peer: bytes, data: bytes, *, timeout: float = SEND_TIMEOUT_S) -> None:
        self._demand_open()
        wire = self._wires.get(peer)
        if wire is None:
            raise NotConnected("there is no connection with it", device=peer.hex())
        if len(data) > self.max_message:
            raise BadData("the message is too long")
        try:
            async with asyncio.timeout(timeout):
                await wire.carry(self, data)
        except TimeoutError:
            raise DeviceTimeout("there is no room for it", device=peer.hex()) from None
        self.statistics.packets_sent += 1
        self.statistics.bytes_sent += len(data)

    async def disconnect(self, peer: bytes) -> None:
        wire = self._wires.get(peer)
        if wire is not None:
            first = wire.ends[0] is self
            wire.end(*((Ended.LOCAL, Ended.REMOTE) if first else (Ended.REMOTE, Ended.LOCAL)))

    def is_connected(self, peer: bytes) -> bool:
        return peer in self._wires

    def connected_peers(self) -> Sequence[bytes]:
        return list(self._wires)

    async def next_event(self) -> Event:
        while not self._events:
            if self._closed:
                raise TransportClosed("the transport was closed")
            self._come.clear()
            await self._come.wait()
        return self._events.popleft()

    async def close(self) -> None:
        for peer in list(self._wires):
            await self.disconnect(peer)
        self._closed = True
        self._come.set()

    def wire(self, peer: bytes) -> Wire | None:
        return self._wires.get(peer)

    def add(self, wire: Wire, event: Connected) -> None:
        self._wires[event.peer_id] = wire
        self.statistics.connection_count += 1
        self.tell(event)

    def drop(self, wire: Wire, reason: Ended) -> None:
        peer = wire.other(self).peer_id
        if self._wires.get(peer) is wire:
            del self._wires[peer]
            self.statistics.connection_count -= 1
            address = self.asked.pop(wire, None)
            if self.gate is not None and address is not None:
                self.gate.left(address)
            self.tell(Disconnected(peer, reason))

    def receive(self, wire: Wire, data: bytes) -> bool:
        """Whether there was room for it."""
        if len(self._events) >= ON_THE_WIRE:
            return False
        self.statistics.packets_received += 1
        self.statistics.bytes_received += len(data)
        self.tell(DataReceived(wire.other(self).peer_id, data))
        return True

    def tell(self, event: Event) -> None:
        self._events.append(event)
        self._come.set()

    def _demand_open(self) -> None:
        if self._closed:
            raise TransportClosed("the transport was closed")
