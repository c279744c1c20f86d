"""NimBLE's buffers on the way out: one pool of small blocks for all links, then the controller's own few packets.

A value that is notified or written is copied into blocks at once and stays there until the controller has taken all its
fragments. When no block is left, calls fail with ENOMEM: that is the back-pressure an application feels. One slow link
can hold every block, as on a board.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bumble import hci

BLOCK_COUNT = 12
BLOCK_PAYLOAD = 240
"""ESP-IDF's defaults (CONFIG_BT_NIMBLE_MSYS_1_BLOCK_COUNT, _SIZE = 256 less a block's header). Its second pool, of
larger blocks, is out of reach: NimBLE asks for buffers by the size of a header and does not fall back to another pool.
"""

CONTROLLER_PACKETS = 12
"""Data packets the controller holds for all links; an assumption, Espressif does not document its controller."""

CID_ATT = 4


def blocks_for(length: int) -> int:
    """Blocks of a value of `length` bytes: one for the ATT header, then the value."""
    return 1 + -(-length // BLOCK_PAYLOAD)


@dataclass
class _Pdu:
    fragments: list[bytes]
    blocks: int


@dataclass
class _Line:
    handle: int
    pdus: deque[_Pdu] = field(default_factory=deque)
    next_fragment: int = 0
    in_controller: int = 0


class Transmitter:
    """Sends L2CAP PDUs of all links of one host, as fast as the controller's buffers allow.

    `send` takes one HCI packet; `on_freed` learns how many blocks came free.
    """

    def __init__(
        self, packet_length: int, send: Callable[[hci.HCI_AclDataPacket], None], on_freed: Callable[[int], None]
    ) -> None:
        self._packet_length = packet_length
        self._send = send
        self._on_freed = on_freed
        self._lines: dict[int, _Line] = {}
        self._free_packets = CONTROLLER_PACKETS

    def open(self, handle: int) -> None:
        self._lines[handle] = _Line(handle)

    def close(self, handle: int) -> None:
        """The link is gone, and all that waited for it."""
        if (line := self._lines.pop(handle, None)) is None:
            return
        self._free_packets += line.in_controller
        if freed := sum(pdu.blocks for pdu in line.pdus):
            self._on_freed(freed)
        self._pump()

    def queued(self, handle: int) -> int:
        """PDUs of a link that the controller has not taken yet."""
        return len(self._lines[handle].pdus) if handle in self._lines else 0

    def send(self, handle: int, cid: int, payload: bytes, blocks: int = 0) -> None:
        """Queue one L2CAP payload; `blocks` are given back when it left."""
        line = self._lines.get(handle)
        if line is None:
            if blocks:
                self._on_freed(blocks)
            return
        frame = struct.pack("<HH", len(payload), cid) + payload
        size = self._packet_length
        line.pdus.append(_Pdu([frame[at : at + size] for at in range(0, len(frame), size)], blocks))
        self._pump()

    def on_completed(self, handle: int, count: int) -> None:
        """The controller has room for `count` packets again."""
        if (line := self._lines.get(handle)) is not None:
            line.in_controller -= count
            self._free_packets += count
            self._pump()

    def _pump(self) -> None:
        # Links take turns, one packet each, as NimBLE's transmit queues do when credits come back.
        progress = True
        while progress and self._free_packets > 0:
            progress = False
            for line in list(self._lines.values()):
                if line.pdus and self._free_packets > 0:
                    self._send_fragment(line)
                    progress = True

    def _send_fragment(self, line: _Line) -> None:
        pdu = line.pdus[0]
        fragment = pdu.fragments[line.next_fragment]
        flag = 0 if line.next_fragment == 0 else 1
        line.next_fragment += 1
        line.in_controller += 1
        self._free_packets -= 1
        if line.next_fragment == len(pdu.fragments):
            line.pdus.popleft()
            line.next_fragment = 0
            if pdu.blocks:
                self._on_freed(pdu.blocks)
        self._send(hci.HCI_AclDataPacket(line.handle, flag, 0, len(fragment), fragment))


class Reassembler:
    """Puts the fragments of one link together to L2CAP payloads. Anything out of order is dropped."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._data = bytearray()
        self._expected = 0

    def feed(self, packet: hci.HCI_AclDataPacket) -> tuple[int, bytes] | None:
        """The (channel, payload) that `packet` completes, or None."""
        if packet.pb_flag != 1:
            self._data = bytearray(packet.data)
            if len(self._data) < 4:
                self._expected = 0
                return None
            self._expected = 4 + struct.unpack_from("<H", self._data)[0]
        elif self._expected:
            self._data += packet.data
        if not self._expected or self._expected > self._longest + 4 or len(self._data) > self._expected:
            self._expected = 0
            return None
        if len(self._data) < self._expected:
            return None
        self._expected = 0
        return struct.unpack_from("<H", self._data, 2)[0], bytes(self._data[4:])
