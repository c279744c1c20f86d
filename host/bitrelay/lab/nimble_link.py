"""What NimBLE keeps about one connection, and the ATT numbers its server and client share (Core 5.4, vol 3 part F)."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from bumble import hci

if TYPE_CHECKING:
    from bitrelay.lab.nimble_client import Procedure
    from bitrelay.lab.nimble_protocol import Irq

DEFAULT_MTU = 23
PREFERRED_MTU = 256
MAX_MTU = 527
"""NimBLE allows for a signed write of 512 bytes (BLE_ATT_MTU_MAX)."""

MAX_VALUE = 512


class Op(IntEnum):
    ERROR_RSP = 0x01
    MTU_REQ = 0x02
    MTU_RSP = 0x03
    FIND_INFO_REQ = 0x04
    FIND_INFO_RSP = 0x05
    FIND_TYPE_VALUE_REQ = 0x06
    FIND_TYPE_VALUE_RSP = 0x07
    READ_TYPE_REQ = 0x08
    READ_TYPE_RSP = 0x09
    READ_REQ = 0x0A
    READ_RSP = 0x0B
    READ_BLOB_REQ = 0x0C
    READ_BLOB_RSP = 0x0D
    READ_GROUP_REQ = 0x10
    READ_GROUP_RSP = 0x11
    WRITE_REQ = 0x12
    WRITE_RSP = 0x13
    PREPARE_REQ = 0x16
    PREPARE_RSP = 0x17
    EXECUTE_REQ = 0x18
    EXECUTE_RSP = 0x19
    NOTIFY = 0x1B
    INDICATE = 0x1D
    CONFIRM = 0x1E
    WRITE_CMD = 0x52


class AttCode(IntEnum):
    INVALID_HANDLE = 0x01
    READ_NOT_PERMITTED = 0x02
    WRITE_NOT_PERMITTED = 0x03
    INVALID_PDU = 0x04
    REQUEST_NOT_SUPPORTED = 0x06
    INVALID_OFFSET = 0x07
    PREPARE_QUEUE_FULL = 0x09
    ATTRIBUTE_NOT_FOUND = 0x0A
    INVALID_LENGTH = 0x0D
    UNLIKELY = 0x0E
    UNSUPPORTED_GROUP = 0x10


@dataclass
class Link:
    """One connection as the host sees it. `interval` and `timeout` in the units of HCI."""

    handle: int
    is_central: bool
    peer: hci.Address
    interval: int
    latency: int
    timeout: int
    my_mtu: int
    peer_mtu: int = 0
    has_sent_mtu: bool = False
    is_terminating: bool = False
    subscriptions: dict[int, int] = field(default_factory=dict)
    """Value handle -> what the peer wrote to its client characteristic configuration."""
    prepared: list[tuple[int, int, bytes]] = field(default_factory=list)
    indications: deque[int] = field(default_factory=deque)
    procedures: deque[Procedure] = field(default_factory=deque)

    @property
    def mtu(self) -> int:
        return max(DEFAULT_MTU, min(self.my_mtu, self.peer_mtu)) if self.peer_mtu else DEFAULT_MTU

    @property
    def peer_bytes(self) -> bytes:
        """Address type and address, big-endian, as MicroPython gives them."""
        return bytes([self.peer.address_type & 1]) + bytes(self.peer)[::-1]


class Stack(Protocol):
    """What the parts of the host ask of the whole."""

    links: dict[int, Link]
    preferred_mtu: int
    device_name: bytes

    async def emit(self, irq: Irq, body: bytes = b"") -> bytes:
        """Let the board handle an event; returns the body of its acknowledgement."""

    def post(self, work: Callable[..., Awaitable[None]], *args: object) -> None:
        """Have `work` done by the host task, in its turn."""

    def send_att(self, link: Link, pdu: bytes, blocks: int = 0) -> None:
        """Send an ATT PDU, cut to the MTU of the link."""

    def find_link(self, handle: int) -> Link:
        """The link with this handle. Raises CallError(ENOTCONN)."""
