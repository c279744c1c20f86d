"""What a gateway says of itself in the DHT (docs/protocol.md, "Between gateways"; row GWY-23), big-endian.

It is the data of a value of kind GATEWAY under the name of a mesh. Its owner signs the value, and its PeerId is the
hash of the owner's key: who links with it demands that PeerId, so nobody can answer in its place. All else is a claim.
"""

import struct
from dataclasses import dataclass
from typing import Final

from ..dht.messages import MAX_DATA
from ..errors import WrongAddress
from ..transports.address import HostAddress, parse

VERSION: Final = 1
MOST_ADDRESSES: Final = 4
MOST_GEOHASH: Final = 12

# version, flags, load in percent, fee, uptime in 1/10,000, latency in ms, capacity
_HEAD: Final = struct.Struct(">BBBIHHI")
_DOWNLINK, _UPLINK = 1, 2
_UNKNOWN: Final = 0xFFFF
_U32: Final = 0xFFFFFFFF
_WHOLE: Final = 10_000


@dataclass(frozen=True, slots=True)
class GatewayRecord:
    """One mesh that a gateway joins. load: percent of its capacity in use; uptime: share of the time in which it can be
    reached; latency_ms: to the gateways it is linked with, None if unknown; capacity: frames a minute."""

    addresses: tuple[HostAddress, ...] = ()
    downlink: bool = False
    uplink: bool = True
    load: int = 0
    fee: int = 1
    uptime: float = 1.0
    latency_ms: float | None = None
    capacity: int = 0
    geohash: str = ""


def encode(record: GatewayRecord) -> bytes:
    """At most 512 bytes. Numbers out of range become the nearest that fit; addresses that do not fit are left out."""
    latency = _UNKNOWN if record.latency_ms is None else _within(record.latency_ms, _UNKNOWN - 1)
    geohash = record.geohash[:MOST_GEOHASH].encode() if _is_geohash(record.geohash[:MOST_GEOHASH]) else b""
    data = _HEAD.pack(
        VERSION,
        _DOWNLINK * record.downlink | _UPLINK * record.uplink,
        _within(record.load, 100),
        _within(record.fee, _U32),
        _within(record.uptime * _WHOLE, _WHOLE),
        latency,
        _within(record.capacity, _U32),
    )
    data += bytes((len(geohash),)) + geohash
    texts: list[bytes] = []
    room = MAX_DATA - len(data) - 1
    for text in (str(address).encode() for address in record.addresses):
        if len(texts) < MOST_ADDRESSES and len(text) < min(room, 256):
            texts.append(bytes((len(text),)) + text)
            room -= len(texts[-1])
    return data + bytes((len(texts),)) + b"".join(texts)


def decode(data: bytes) -> GatewayRecord | None:
    """The record, or None if it is none. Never raises. Addresses of kinds that we do not know are left out."""
    if not _HEAD.size < len(data) <= MAX_DATA:
        return None
    version, flags, load, fee, uptime, latency, capacity = _HEAD.unpack_from(data)
    place, at = _text(data, _HEAD.size)
    if version != VERSION or load > 100 or uptime > _WHOLE or place is None or not _is_geohash(place):
        return None
    if at >= len(data) or data[at] > MOST_ADDRESSES:
        return None
    count, at = data[at], at + 1
    addresses = []
    for _ in range(count):
        text, at = _text(data, at)
        if text is None:
            return None
        address = _address(text)
        if address is not None:
            addresses.append(address)
    # What a later version appends is not ours to read.
    return GatewayRecord(
        tuple(addresses),
        bool(flags & _DOWNLINK),
        bool(flags & _UPLINK),
        load,
        fee,
        uptime / _WHOLE,
        None if latency == _UNKNOWN else float(latency),
        capacity,
        place,
    )


def _within(number: float, most: int) -> int:
    # Also of what is no number: it counts as nothing.
    return round(min(max(number, 0), most)) if number == number else 0


def _is_geohash(text: str) -> bool:
    return text == "" or (len(text) <= MOST_GEOHASH and text.isascii() and text.isalnum())


def _text(data: bytes, at: int) -> tuple[str | None, int]:
    # A text behind its length, and where it ends.
    if at >= len(data):
        return None, at
    end = at + 1 + data[at]
    raw = data[at + 1 : end]
    if end > len(data) or not raw.isascii():
        return None, at
    return raw.decode(), end


def _address(text: str) -> HostAddress | None:
    try:
        address = parse(text)
    except WrongAddress:
        return None
    return address if isinstance(address, HostAddress) and address.port else None
