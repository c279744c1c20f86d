"""One frame of a mesh as a gateway sees it: the bytes that were heard, and what they say of themselves."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from shared_protocol.fragment import HEADER_SIZE, INDEX
from shared_protocol.frame import (
    FLAGS,
    ID_SIZE,
    MAX_TTL,
    RSR,
    TIMESTAMP,
    TTL,
    TYPE,
    TYPE_FRAGMENT,
    Header,
    is_broadcast,
)

from ..transports.fair_queue import Traffic
from .classes import class_of

KEY_SIZE: Final = 16
MAX_VALUE: Final = 512
"""Bytes of one frame with its padding: what one write or notification carries."""

_header = Header()  # parsing leaves nothing behind


@dataclass(slots=True, eq=False)
class BridgeFrame:
    """value: as it was heard, padding included; it is carried as it is. key: alike for all copies, on all gateways.

    recipient: None if it is for everybody. timestamp_ms: the author's, Unix.
    """

    value: bytes
    key: bytes
    type: int
    ttl: int
    flags: int
    version: int
    sender: bytes
    recipient: bytes | None
    timestamp_ms: int
    traffic: Traffic

    @property
    def is_sync_answer(self) -> bool:
        return bool(self.flags & RSR)

    def lowered(self, most: int = MAX_TTL - 1) -> bytes:
        """The value with a TTL lower than it came with, and at most `most`: all that a gateway ever changes."""
        ttl = min(self.ttl, MAX_TTL) - 1
        return self.value[:TTL] + bytes((min(ttl, most),)) + self.value[TTL + 1 :]


def parse_frame(value: bytes) -> BridgeFrame | None:
    """What a value says, or None if it is no frame that a mesh carries. Never raises."""
    if not 0 < len(value) <= MAX_VALUE:
        return None
    header = _header
    size = header.parse(value, len(value))
    if size < 0:
        return None
    sender = value[header.sender_at : header.sender_at + ID_SIZE]
    recipient = None
    if not is_broadcast(value, header):
        recipient = value[header.recipient_at : header.recipient_at + ID_SIZE]
    return BridgeFrame(
        value,
        _key(value, header),
        value[TYPE],
        value[TTL],
        value[FLAGS],
        header.version,
        sender,
        recipient,
        int.from_bytes(value[TIMESTAMP:FLAGS], "big"),
        class_of(value[TYPE]),
    )


def _key(value: bytes, header: Header) -> bytes:
    # What makes two frames the same is told in shared_protocol/dedup.py; here without a secret, so that gateways agree.
    at = header.payload_at
    moment = value[header.sender_at : header.sender_at + ID_SIZE] + value[TIMESTAMP:FLAGS]
    if header.type == TYPE_FRAGMENT and header.payload_len >= HEADER_SIZE and not header.original_size:
        rest = b"f" + moment[:ID_SIZE] + value[at : at + INDEX + 2]
        return sha256(rest).digest()[:KEY_SIZE]
    kind = bytes((header.type,))
    if header.signature_at:
        rest = b"s" + value[header.signature_at : header.signature_at + 8]
    elif header.original_size:
        rest = b"z" + header.original_size.to_bytes(4, "big")
    else:
        rest = b"p" + value[at : at + header.payload_len]
    return sha256(moment + kind + rest).digest()[:KEY_SIZE]
