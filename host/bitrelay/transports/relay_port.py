"""A relay as a way into its mesh: frames go out over it, and all that it hears comes in.

Over its serial console, or over its BitCraps service. Who is at the other end is what a cable or the relay's own word
says; what goes through the mesh is secured from end to end by whoever sends it.
"""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from bleak import BleakScanner
from bleak.backends.scanner import BaseBleakScanner

from shared_protocol import console as messages

from ..ble.adapter import Adapter, bluetooth_errors
from ..ble.clock import Clock
from ..ble.session import LocalNode, Session
from ..console import Console
from ..counters import NAMES
from ..errors import BadData, BitrelayError, DeviceLost, DeviceTimeout, NoDevice, PeerError, RequestRefused
from .address import PEER_ID_SIZE, Bluetooth, Serial

MAX_FRAME = 512
OPEN_TIMEOUT_S = 10.0

# A relay tells what it hears for a minute only (docs/protocol.md, LISTEN).
_RENEW_S = 20.0
_LISTEN = {"on": True, "new": True}
_SEND_TIMEOUT_S = 5.0
_BUSY_AGAIN_S = 0.02
_CLAIM_S = 10.0
_ASK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class RelayLoad:
    """How busy a relay is. slots_used: the share of its slots for frames that is taken, 0 to 1.

    Counted since its start: copies of frames that were sent; that were dropped, for want of room; tries that its radio
    refused for lack of buffers, and that it makes again; untold: what it heard and did not tell us, for want of room in
    its console.
    """

    slots_used: float
    sent: int
    dropped: int
    refused: int
    untold: int


class RelayPort(ABC):
    """Frames of one relay's mesh. peer_id: the relay's, 32 bytes. dropped: frames that came too fast to be taken."""

    peer_id: bytes

    @property
    @abstractmethod
    def dropped(self) -> int: ...

    @abstractmethod
    async def send(self, frame: bytes) -> None:
        """Have the relay send a frame on all its links; waits while it is busy. Raises BadData for a frame of more than
        512 bytes, DeviceLost, DeviceTimeout, DeviceError."""

    @abstractmethod
    async def receive(self) -> bytes:
        """The next frame that the relay heard, once each. Raises DeviceLost when the relay has gone."""

    async def load(self) -> RelayLoad | None:
        """What the relay says of its queues; None if it cannot be asked. Raises as send()."""
        return None

    @abstractmethod
    async def close(self) -> None:
        """Let go of the relay. Harmless when repeated."""


class ConsolePort(RelayPort):
    """By the serial console; made by open()."""

    def __init__(self, console: Console, peer_id: bytes) -> None:
        self.peer_id = peer_id
        self._console = console
        self._events = console.events()
        self._restarted = asyncio.Event()
        self._renewing = asyncio.get_running_loop().create_task(self._renew())

    @classmethod
    async def open(cls, address: Serial, timeout: float = OPEN_TIMEOUT_S) -> "ConsolePort":
        """Raises what Console.open does, and PeerError for a relay that has no identity (yet)."""
        console = await Console.open(address.port, timeout)
        try:
            peer_id = console.info.get("peer_id")
            if not isinstance(peer_id, bytes) or len(peer_id) != 32:
                raise PeerError(
                    "the relay has no identity", device=address.port, hint="`bitrelay info` says why, and when it will."
                )
            await console.request(messages.LISTEN, _LISTEN)
            return cls(console, peer_id)
        except BaseException:
            await console.close()
            raise

    @property
    def dropped(self) -> int:
        return self._console.events_dropped

    async def send(self, frame: bytes) -> None:
        _demand_size(frame, self._console.port)
        try:
            async with asyncio.timeout(_SEND_TIMEOUT_S):
                while True:
                    if await self._try_send(frame):
                        return
                    await asyncio.sleep(_BUSY_AGAIN_S)
        except DeviceTimeout:
            raise
        except TimeoutError:
            raise DeviceTimeout("the relay is busy all the time", device=self._console.port) from None

    async def receive(self) -> bytes:
        async for event in self._events:
            if event.kind == messages.EVENT_HELLO:
                # It restarted, and has forgotten that it was asked.
                self._restarted.set()
            elif event.kind == messages.EVENT_FRAME and event.values.get("verdict") != "duplicate":
                return bytes(event.values["frame"])
        raise DeviceLost("the console was closed", device=self._console.port)

    async def load(self) -> RelayLoad | None:
        # Some 250 bytes there and back: 2 percent of what 115,200 baud carry, if it is asked every second.
        answer = await self._console.request(messages.STATS)
        counters = dict(zip(NAMES, answer.get("counters", ()), strict=False))
        total = max(1, answer.get("slots_total", 1))
        return RelayLoad(
            1.0 - min(total, answer.get("slots_free", total)) / total,
            counters.get("tx_frames", 0),
            counters.get("drop_queue_full", 0) + counters.get("drop_no_slot", 0),
            counters.get("backpressure", 0),
            counters.get("console_dropped", 0),
        )

    async def close(self) -> None:
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        await self._console.close()

    async def _try_send(self, frame: bytes) -> bool:
        try:
            await self._console.request(messages.SEND, {"frame": frame})
        except RequestRefused as refused:
            if refused.code == "busy":
                return False
            raise
        return True

    async def _renew(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_RENEW_S):
                    await self._restarted.wait()
            self._restarted.clear()
            try:
                await self._console.request(messages.LISTEN, _LISTEN)
            except DeviceLost:
                return  # receive() hears of it too
            except BitrelayError:
                # It is busy, or starts: it is asked again.
                await asyncio.sleep(_ASK_AGAIN_S)
                self._restarted.set()


class BlePort(RelayPort):
    """By Bluetooth; made by open(). peer_id is what a signed record of the relay's claims, zeros if none was needed."""

    def __init__(self, session: Session, peer_id: bytes) -> None:
        self.peer_id = peer_id
        self._session = session

    @classmethod
    async def open(
        cls,
        address: Bluetooth,
        adapter: Adapter,
        node: LocalNode,
        clock: Clock,
        timeout: float = OPEN_TIMEOUT_S,
        *,
        anonymous: bool = False,
    ) -> "BlePort":
        """anonymous: whoever is at this address will do; a relay without a clock does not say who it is.

        Raises NoDevice if it is not in reach, what Session.open does, and PeerError if it does not say who it is.
        """
        with bluetooth_errors(address.device):
            device = await BleakScanner.find_device_by_address(
                address.device, timeout, backend=cast(type[BaseBleakScanner], adapter.scanner)
            )
        if device is None:
            raise NoDevice("no such device is in reach", device=address.device)
        session = await Session.open(device, adapter, node, clock, timeout=timeout)
        if anonymous:
            return cls(session, bytes(PEER_ID_SIZE))
        try:
            claim = await session.heard_claim(_CLAIM_S)
            if claim is None:
                raise PeerError("the relay does not say who it is", device=address.device)
            return cls(session, claim.peer_id)
        except BaseException:
            await session.link.close()
            raise

    @property
    def dropped(self) -> int:
        return self._session.link.dropped

    async def send(self, frame: bytes) -> None:
        _demand_size(frame, self._session.link.address)
        await self._session.link.send(frame)

    async def receive(self) -> bytes:
        return await self._session.link.receive()

    async def close(self) -> None:
        await self._session.link.close()


def _demand_size(frame: bytes, device: str) -> None:
    if not 0 < len(frame) <= MAX_FRAME:
        raise BadData(f"a frame has 1 to {MAX_FRAME} bytes, not {len(frame)}", device=device)
