"""Relays as peers: what is sent to one goes into its mesh, and what it hears comes as its data.

A message is one frame of the mesh (docs/protocol.md). A relay has no Noise session, since a board has no room for one:
over the console its PeerId is as sure as the cable, over Bluetooth it is what the relay says of itself. Whoever needs
to know who is at the other end uses the mesh transport, which goes through relays and trusts none.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence

from ..ble.adapter import Adapter
from ..ble.clock import Clock, SystemClock
from ..ble.session import LocalNode
from ..errors import (
    BitrelayError,
    DeviceLost,
    DeviceTimeout,
    HandshakeFailed,
    HandshakeFault,
    NotConnected,
    TransportClosed,
    WrongAddress,
)
from .address import Address, Bluetooth, Serial
from .event_queue import CAPACITY, EventQueue
from .relay_port import MAX_FRAME, BlePort, ConsolePort, RelayPort
from .transport import (
    CONNECT_TIMEOUT_S,
    SEND_TIMEOUT_S,
    Connected,
    DataReceived,
    Disconnected,
    Ended,
    Event,
    Failed,
    Transport,
)


class RelayTransport(Transport):
    """Relays by PeerId. Frames that a relay hears while nobody reads events wait in its port, where the oldest go."""

    max_message = MAX_FRAME

    def __init__(self, events: int = CAPACITY) -> None:
        super().__init__()
        self._events = EventQueue(events)
        self._ports: dict[bytes, RelayPort] = {}
        self._reading: dict[bytes, asyncio.Task[None]] = {}
        self._ends: dict[bytes, Ended] = {}
        self._registering = asyncio.Lock()
        self._closed = False

    @abstractmethod
    async def _open(self, address: Address, timeout: float) -> RelayPort: ...

    async def listen(self, address: Address) -> Address:
        """Relays do not call: this raises WrongAddress."""
        self.demand(address)
        raise WrongAddress(f"nobody connects to a computer at {address}")

    async def connect(
        self, address: Address, *, expected: bytes | None = None, timeout: float = CONNECT_TIMEOUT_S
    ) -> bytes:
        """Open the relay at an address. Raises what opening its port does, and HandshakeFailed if it is another one
        than expected."""
        self.demand(address)
        self._demand_open()
        try:
            async with asyncio.timeout(timeout):
                port = await self._open(address, timeout)
        except BitrelayError:
            self.statistics.error_count += 1
            raise
        except TimeoutError:
            self.statistics.error_count += 1
            raise DeviceTimeout("the relay did not answer in time", device=str(address)) from None
        try:
            if expected is not None and expected != port.peer_id:
                raise HandshakeFailed(HandshakeFault.WRONG_PEER, device=str(address))
            async with self._registering:
                # Its end is told before the new beginning.
                await self._end(port.peer_id, Ended.REPLACED)
                self._demand_open()
                self._register(port, address)
        except BaseException:
            await port.close()
            raise
        return port.peer_id

    async def send(self, peer: bytes, data: bytes, *, timeout: float = SEND_TIMEOUT_S) -> None:
        port = self._ports.get(peer)
        if port is None:
            self._demand_open()
            raise NotConnected("there is no connection with the relay", device=peer.hex())
        try:
            async with asyncio.timeout(timeout):
                await port.send(data)
        except BitrelayError:
            raise
        except TimeoutError:
            raise DeviceTimeout("the relay does not take what is sent", device=peer.hex()) from None
        self.statistics.packets_sent += 1
        self.statistics.bytes_sent += len(data)

    async def disconnect(self, peer: bytes) -> None:
        await self._end(peer, Ended.LOCAL)

    def is_connected(self, peer: bytes) -> bool:
        return peer in self._ports

    def connected_peers(self) -> Sequence[bytes]:
        return tuple(self._ports)

    async def next_event(self) -> Event:
        return await self._events.get()

    async def close(self) -> None:
        self._closed = True
        for peer in tuple(self._reading):
            await self._end(peer, Ended.CLOSED)
        self._events.close()

    def _register(self, port: RelayPort, address: Address) -> None:
        peer = port.peer_id
        self._ports[peer] = port
        self._reading[peer] = asyncio.get_running_loop().create_task(self._read(port, address))
        self.statistics.connection_count = len(self._ports)

    async def _read(self, port: RelayPort, address: Address) -> None:
        peer = port.peer_id
        reason = Ended.LOST
        told = False
        try:
            await self._events.put(Connected(peer, address))
            told = True
            while True:
                frame = await port.receive()
                self.statistics.packets_received += 1
                self.statistics.bytes_received += len(frame)
                await self._events.put(DataReceived(peer, frame))
        except DeviceLost:
            pass
        except BitrelayError as error:
            self._events.tell(Failed(peer, error))
        except asyncio.CancelledError:
            reason = self._ends.get(peer, Ended.CLOSED)
        finally:
            await self._leave(port)
            if told:
                self._events.tell(Disconnected(peer, reason))
            self._forget(port)

    async def _leave(self, port: RelayPort) -> None:
        if self._ports.get(port.peer_id) is port:
            del self._ports[port.peer_id]
        self.statistics.connection_count = len(self._ports)
        await port.close()

    def _forget(self, port: RelayPort) -> None:
        self._reading.pop(port.peer_id, None)
        self._ends.pop(port.peer_id, None)

    async def _end(self, peer: bytes, reason: Ended) -> None:
        reading = self._reading.get(peer)
        if reading is None:
            return
        port = self._ports.get(peer)
        if port is not None:
            self._ends.setdefault(peer, reason)
            reading.cancel()
        await asyncio.wait((reading,))
        if port is not None and self._ports.get(peer) is port:
            # It was cancelled before it began.
            await self._leave(port)
            self._forget(port)

    def _demand_open(self) -> None:
        if self._closed:
            raise TransportClosed("the transport was closed")


class SerialTransport(RelayTransport):
    """Relays on cables."""

    accepts = (Serial,)

    async def _open(self, address: Address, timeout: float) -> RelayPort:
        assert isinstance(address, Serial)
        return await ConsolePort.open(address, timeout)


class BleTransport(RelayTransport):
    """Relays in reach of a Bluetooth adapter. node: who this computer is on the air."""

    accepts = (Bluetooth,)

    def __init__(
        self,
        adapter: Adapter,
        node: Callable[[], LocalNode],
        *,
        clock: Clock | None = None,
        events: int = CAPACITY,
    ) -> None:
        super().__init__(events)
        self._adapter = adapter
        self._node = node
        self._clock = clock or SystemClock()

    async def _open(self, address: Address, timeout: float) -> RelayPort:
        assert isinstance(address, Bluetooth)
        return await BlePort.open(address, self._adapter, self._node(), self._clock, timeout)
