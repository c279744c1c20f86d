"""The bitchat packet as a `construct` schema, and `decode()` for whole frames.

It shares no code with `shared_protocol.frame`, which finds the same fields by arithmetic for a board: each is the
other's test. Here a compressed payload is inflated too.
"""

import zlib
from typing import Any

from construct import (
    Byte,
    Bytes,
    Check,
    Computed,
    Construct,
    ConstructError,
    GreedyBytes,
    If,
    IfThenElse,
    Int16ub,
    Int32ub,
    Int64ub,
    OneOf,
    PrefixedArray,
    Struct,
    Tell,
    this,
)

from bitrelay.errors import BadData

MAX_PAYLOAD = 10_485_760
"""Bytes: the larger limit of the two apps, for the payload section and for what it inflates to."""

TYPE_NAMES = {
    0x01: "announce",
    0x02: "message",
    0x03: "leave",
    0x04: "courier",
    0x10: "handshake",
    0x11: "encrypted",
    0x20: "fragment",
    0x21: "sync request",
    0x22: "file",
    0x23: "board post",
    0x24: "prekeys",
    0x25: "group message",
    0x26: "ping",
    0x27: "pong",
    0x28: "Nostr carrier",
    0x29: "voice",
    0x2C: "announce 2",
    0xB0: "hello",  # version 2: a beacon, see type_name
    0xB1: "identity record",
    0xB2: "datagram",
    0xB3: "hosts",
}
"""What people call the types of frames."""


def type_name(version: int, number: int) -> str | None:
    """What people call frames of this version and type; None for types nobody knows."""
    return "beacon" if (version, number) == (2, 0xB0) else TYPE_NAMES.get(number)


MAX_RATIO = 50_000
"""How many times larger than its compressed form a payload may be."""
_AS_SAID = {"section": "payload"}
_RAW = -zlib.MAX_WBITS
_ENVELOPE = zlib.MAX_WBITS


def _packed(size_field: Construct) -> Struct:
    return Struct(
        "original_size" / size_field,
        "body" / GreedyBytes,
        "ratio_is_sane" / Check(lambda packed: packed.original_size <= MAX_RATIO * len(packed.body)),
        "size_is_sane" / Check(lambda packed: 0 < packed.original_size <= MAX_PAYLOAD),
    )


PACKED = {1: _packed(Int16ub), 2: _packed(Int32ub)}
"""By version: the payload section of a compressed frame, the size of the payload and then deflate."""

PACKET = Struct(
    "version" / OneOf(Byte, (1, 2)),
    "type" / Byte,
    "ttl" / Byte,
    "timestamp" / Int64ub,
    "flags" / Byte,
    "has_recipient" / Computed(lambda packet: bool(packet.flags & 0x01)),
    "has_signature" / Computed(lambda packet: bool(packet.flags & 0x02)),
    "compressed" / Computed(lambda packet: bool(packet.flags & 0x04)),
    "has_route" / Computed(lambda packet: packet.version == 2 and bool(packet.flags & 0x08)),
    "rsr" / Computed(lambda packet: bool(packet.flags & 0x10)),
    "length" / IfThenElse(this.version == 1, Int16ub, Int32ub),
    "length_is_sane" / Check(this.length <= MAX_PAYLOAD),
    "sender" / Bytes(8),
    "recipient" / If(this.has_recipient, Bytes(8)),
    "route" / If(this.has_route, PrefixedArray(Byte, Bytes(8))),
    "section" / Bytes(this.length),
    "signature" / If(this.has_signature, Bytes(64)),
    "frame_len" / Tell,
)
"""A frame without its padding; `section` is the payload as it travels."""


class FrameError(BadData):
    """Raised when bytes are no frame that either app would take; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(frame: bytes) -> dict[str, Any]:
    """Take one frame apart; bytes behind it (padding) are ignored.

    Byte strings come as lowercase hex. `recipient`, `route` (list of hops), `signature` and `original_size` are there
    only if the frame has them. `payload` and `payload_len` are those of the payload itself, inflated if it was
    compressed; `frame_len` is the frame's length on the air.

    A frame is taken if one of the two apps takes it: deflate may be raw or in a zlib envelope (Android), and raw
    deflate may go on behind the size it declares (iOS). Raises FrameError otherwise.
    """
    try:
        packet = PACKET.parse(frame)
    except ConstructError as error:
        raise FrameError(_reason(frame, error)) from None
    fields: dict[str, Any] = {
        "version": packet.version,
        "type": packet.type,
        "ttl": packet.ttl,
        "timestamp": packet.timestamp,
        "flags": packet.flags,
        "sender": packet.sender.hex(),
    }
    if packet.has_recipient:
        fields["recipient"] = packet.recipient.hex()
    # A route of no hops is no route (section 2.4).
    if packet.route:
        fields["route"] = [hop.hex() for hop in packet.route]
    payload = packet.section
    if packet.compressed:
        payload = _inflate(packet.version, packet.section)
        fields["original_size"] = len(payload)
    fields["payload_len"] = len(payload)
    fields["payload"] = payload.hex()
    if packet.has_signature:
        fields["signature"] = packet.signature.hex()
    fields["compressed"] = packet.compressed
    fields["rsr"] = packet.rsr
    fields["frame_len"] = packet.frame_len
    return fields


def _reason(frame: bytes, error: ConstructError) -> str:
    field = (error.path or "").split(" -> ")[1]
    if not frame:
        return "empty"
    if field == "version":
        return f"unknown version {frame[0]}"
    if field == "length_is_sane":
        return f"absurd payload length, more than {MAX_PAYLOAD} bytes"
    if field in ("recipient", "route", "section", "signature"):
        return f"truncated: {len(frame)} bytes end in the {_AS_SAID.get(field, field)}"
    return f"shorter than a header: {len(frame)} bytes"


def _inflate(version: int, section: bytes) -> bytes:
    try:
        packed = PACKED[version].parse(section)
    except ConstructError:
        raise FrameError("impossible compressed payload: no room for it, or its size is absurd") from None
    size: int = packed.original_size
    for window in (_RAW, _ENVELOPE):
        stream = zlib.decompressobj(window)
        try:
            # One byte more than declared tells an envelope that holds too much.
            payload = stream.decompress(packed.body, size if window == _RAW else size + 1)
        except zlib.error:
            continue
        if len(payload) == size and (window == _RAW or (stream.eof and not stream.unused_data)):
            return payload
    raise FrameError(f"compressed payload does not inflate to the {size} bytes it declares")
