"""One Bluetooth link to a relay over its BitCraps service: frames out, frames in, and how it ends.

One frame per write and per notification, at most 512 bytes (docs/protocol.md). Frames that arrive wait in a bounded
queue; when it is full the oldest goes, and is counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError

from shared_protocol.frame import Header

from ..errors import BadData, DeviceLost, NotARelay
from .adapter import Adapter, bluetooth_errors
from .events import DisconnectReason
from .sighting import BITCRAPS_SERVICE

MAX_VALUE = 512
MAX_QUEUED = 256
CONNECT_TIMEOUT_S = 30.0
WRITE_TIMEOUT_S = 30.0
"""What the attribute protocol itself gives a peer to answer (Core 5.4, vol 3 part F 3.3.3)."""

# The system hangs up by itself when a program has gone; whoever waits for it is not kept longer than this.
_HANG_UP_S = 2.0

WRITE_UUID = "12345678-1234-5678-1234-567812345679"
NOTIFY_UUID = "12345678-1234-5678-1234-567812345680"


class BleLink:
    """A link that is open until `closed` is set; `reason` then says why. Made by open().

    on_frame gets each frame and its parsed header, in the order of arrival, and returns whether it is to be queued for
    receive(). Counters: sent, received (frames), bytes_out, bytes_in, malformed, dropped.
    """

    def __init__(self, device: BLEDevice, on_frame: Callable[[bytes, Header], bool] | None = None) -> None:
        self.address = device.address
        self.closed = asyncio.Event()
        self.reason: DisconnectReason | None = None
        self.on_closed: Callable[[], None] | None = None
        self.sent = 0
        self.received = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.malformed = 0
        self.dropped = 0
        self._on_frame = on_frame
        self._client: BleakClient
        self._characteristic: BleakGATTCharacteristic
        self._header = Header()
        self._frames: deque[bytes] = deque()
        self._arrived = asyncio.Event()

    @classmethod
    async def open(
        cls,
        device: BLEDevice,
        adapter: Adapter,
        *,
        on_frame: Callable[[bytes, Header], bool] | None = None,
        timeout: float = CONNECT_TIMEOUT_S,
    ) -> Self:
        """Connect, subscribe, and return the link (BLE-10). Raises DeviceTimeout, DeviceLost, NotARelay, DeviceError or
        NoBluetooth; then nothing is left connected."""
        link = cls(device, on_frame)
        # Only this service: systems that can do so then look for nothing else.
        link._client = BleakClient(device, link._ended, [BITCRAPS_SERVICE], timeout=timeout, backend=adapter.client)
        try:
            with bluetooth_errors(device.address):
                async with asyncio.timeout(timeout):
                    await link._client.connect()
                    await link._subscribe()
        except BaseException:
            await link._hang_up()
            raise
        return link

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent."""
        return not self.closed.is_set()

    async def send(self, frame: bytes) -> None:
        """Send one frame and wait until the air took it, or the peer confirmed it if it is longer than a plain write of
        this link. Raises BadData for more than 512 bytes, DeviceLost, DeviceTimeout or DeviceError."""
        if not frame or len(frame) > MAX_VALUE:
            raise BadData(f"a frame has 1 to {MAX_VALUE} bytes here, not {len(frame)}", device=self.address)
        if not self.is_open:
            raise DeviceLost("the link is closed", device=self.address)
        is_long = len(frame) > self._characteristic.max_write_without_response_size
        with bluetooth_errors(self.address):
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._client.write_gatt_char(self._characteristic, frame, response=is_long)
        self.sent += 1
        self.bytes_out += len(frame)

    async def receive(self) -> bytes:
        """The next frame that arrived. Raises DeviceLost when the link is closed and all has been read."""
        while not self._frames:
            if not self.is_open:
                raise DeviceLost("the link is closed", device=self.address)
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()

    async def close(self, reason: DisconnectReason = DisconnectReason.USER_REQUESTED) -> None:
        """Hang up, for this reason (BLE-09). Harmless when the link is closed."""
        if not self.is_open:
            return
        self.reason = reason
        await self._hang_up()
        self._ended(self._client)

    async def _subscribe(self) -> None:
        service = self._client.services.get_service(BITCRAPS_SERVICE)
        write = service.get_characteristic(WRITE_UUID) if service else None
        notify = service.get_characteristic(NOTIFY_UUID) if service else None
        if write is None or notify is None:
            raise NotARelay("it has no BitCraps service, or not all of it", device=self.address)
        self._characteristic = write
        await self._client.start_notify(notify, self._value_arrived)

    async def _hang_up(self) -> None:
        # An adapter that fails at this has lost the link as well; the system ends what is left of it.
        with suppress(BleakError, OSError, EOFError):
            async with asyncio.timeout(_HANG_UP_S):
                await self._client.disconnect()

    def _ended(self, _client: BleakClient) -> None:
        if not self.is_open:
            return
        self.reason = self.reason or DisconnectReason.LINK_LOST
        self.closed.set()
        self._arrived.set()
        if self.on_closed:
            self.on_closed()

    def _value_arrived(self, _characteristic: BleakGATTCharacteristic, value: bytearray) -> None:
        if len(value) > MAX_VALUE or self._header.parse(value, len(value)) < 0:
            self.malformed += 1
            return
        frame = bytes(value)
        self.received += 1
        self.bytes_in += len(frame)
        if self._on_frame is not None and not self._on_frame(frame, self._header):
            return
        if len(self._frames) >= MAX_QUEUED:
            self._frames.popleft()
            self.dropped += 1
        self._frames.append(frame)
        self._arrived.set()
