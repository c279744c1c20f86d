"""What a board's `bluetooth` look-alike and its NimBLE host say to each other over their local socket.

Every message is a little-endian u16 (length of the body), a u8 (kind) and the body. The board sends calls, and one ACK
for each event; the host sends REPLY to the calls that have one, CREDIT when buffers came free, and events: EVENT + the
number of the IRQ. The next event is sent only after the ACK of the one before; after the last one comes IDLE, since on
an ESP32 the host task has the higher priority and the program sees all of its events together. `shim/bluetooth_shim.py`
holds the same numbers; it runs in a heap too small to share them.
"""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct("<HB")
MAX_BODY = 4096
"""Longest body a board may send: a table of services; values are far shorter."""


class Call(IntEnum):
    """From the board. Those up to UPDATED are data, without a reply."""

    ACK = 0  # i16 ATT error, then the value (read requests only)
    NOTIFY = 1  # u16 connection, u16 handle, u8 blocks, value
    WRITE_COMMAND = 2  # u16 connection, u16 handle, u8 blocks, value
    UPDATED = 3  # u16 handle, value
    ACTIVE = 16  # u8
    SET_MTU = 17  # u16
    SET_NAME = 18  # bytes
    SET_ADDRESS_MODE = 19  # u8
    GET_ADDRESS = 20  # -> u8 type, 6 bytes big-endian
    REGISTER = 21  # see nimble_server.parse_services -> u16 handles
    ADVERTISE = 22  # u32 interval us, u8 connectable, then data and response: u8 given, u8 length, bytes
    ADVERTISE_STOP = 23
    SCAN = 24  # u32 duration ms, u32 interval us, u32 window us, u8 active
    SCAN_STOP = 25
    CONNECT = 26  # u8 type, 6 bytes big-endian, u32 duration ms, u32 shortest interval us, u32 longest interval us
    CONNECT_CANCEL = 27
    DISCONNECT = 28  # u16 connection
    DISCOVER_SERVICES = 29  # u16 connection, uuid or nothing
    DISCOVER_CHARACTERISTICS = 30  # u16 connection, u16 start, u16 end, uuid or nothing
    DISCOVER_DESCRIPTORS = 31  # u16 connection, u16 start, u16 end
    READ = 32  # u16 connection, u16 handle
    WRITE = 33  # u16 connection, u16 handle, value
    EXCHANGE_MTU = 34  # u16 connection
    INDICATE = 35  # u16 connection, u16 handle, value


REPLY = 0  # i16 error number (0: none), then what the call gives
CREDIT = 1  # u16 blocks that came free
IDLE = 2  # the host task has nothing more to do: the board's own code may go on
EVENT = 0x40


class Irq(IntEnum):
    """Events as `bluetooth.BLE.irq` numbers them (MicroPython, docs/library/bluetooth.rst)."""

    CENTRAL_CONNECT = 1
    CENTRAL_DISCONNECT = 2
    GATTS_WRITE = 3
    GATTS_READ_REQUEST = 4
    SCAN_RESULT = 5
    SCAN_DONE = 6
    PERIPHERAL_CONNECT = 7
    PERIPHERAL_DISCONNECT = 8
    GATTC_SERVICE_RESULT = 9
    GATTC_SERVICE_DONE = 10
    GATTC_CHARACTERISTIC_RESULT = 11
    GATTC_CHARACTERISTIC_DONE = 12
    GATTC_DESCRIPTOR_RESULT = 13
    GATTC_DESCRIPTOR_DONE = 14
    GATTC_READ_RESULT = 15
    GATTC_READ_DONE = 16
    GATTC_WRITE_DONE = 17
    GATTC_NOTIFY = 18
    GATTC_INDICATE = 19
    GATTS_INDICATE_DONE = 20
    MTU_EXCHANGED = 21
    CONNECTION_UPDATE = 27


class Errno(IntEnum):
    """Error numbers as an ESP32 raises them: newlib's, which differ from those of a computer from 100 on."""

    ENOENT = 2
    EIO = 5
    E2BIG = 7
    EAGAIN = 11
    ENOMEM = 12
    EBUSY = 16
    ENODEV = 19
    EINVAL = 22
    EOPNOTSUPP = 95
    ETIMEDOUT = 116
    EALREADY = 120
    ENOTCONN = 128


class Status(IntEnum):
    """NimBLE's own codes where events report them (nimble/host/include/host/ble_hs.h)."""

    OK = 0
    ENOTCONN = 7
    ETIMEOUT = 13
    ATT_BASE = 0x100


class CallError(Exception):
    """Raised when a call fails; the board raises OSError with the same number."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


def pack(kind: int, body: bytes = b"") -> bytes:
    return HEADER.pack(len(body), kind) + body


class MessageReader:
    """Cuts a byte stream into messages. Raises ValueError for a body longer than MAX_BODY."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that `data` completes, each as (kind, body)."""
        self._data += data
        messages = []
        at = 0
        while len(self._data) - at >= HEADER.size:
            length, kind = HEADER.unpack_from(self._data, at)
            if length > MAX_BODY:
                raise ValueError(f"message of {length} bytes")
            end = at + HEADER.size + length
            if len(self._data) < end:
                break
            messages.append((kind, bytes(self._data[at + HEADER.size : end])))
            at = end
        del self._data[:at]
        return messages
