"""What one end of a path to be opened tells the other: its ICE candidates (RFC 8839), as a message of bounded size.

    u8 version, u8 length and ICE user, u8 length and ICE password, u8 candidates; each:
    u8 type (host, server reflexive), u32 priority, u8 length and foundation, u8 length and IP address, u16 port

Whoever carries it learns addresses and may keep the path from coming about. Who is at the other end of it is proved by
the Noise session that runs over it.
"""

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final

from aioice import Candidate

from ..errors import BadData

MAX_CANDIDATES: Final = 8
"""A peer has us send a few packets to each: not to more."""
MAX_SIZE: Final = 2 + (1 + 32) + (1 + 64) + MAX_CANDIDATES * (5 + (1 + 32) + (1 + 16) + 2)
"""Of the longest names there may be, and as many IPv6 addresses."""

_VERSION = 1
_TYPES = ("host", "srflx")
_WORD = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


@dataclass(frozen=True, slots=True)
class Offer:
    """user, password: ICE's, 4 to 32 and 22 to 64 characters. candidates: IP addresses and ports of one UDP socket."""

    user: str
    password: str
    candidates: tuple[Candidate, ...]


def encode(offer: Offer) -> bytes:
    """The message, at most MAX_SIZE bytes. Candidates that are no UDP host or server reflexive ones are left out, and
    those beyond the eighth."""
    usable = [one for one in offer.candidates if one.type in _TYPES and one.transport.lower() == "udp"]
    usable.sort(key=lambda one: one.priority, reverse=True)
    parts = [bytes((_VERSION,)), _text(offer.user), _text(offer.password), bytes((min(len(usable), MAX_CANDIDATES),))]
    for one in usable[:MAX_CANDIDATES]:
        packed = ipaddress.ip_address(one.host).packed
        parts.append(struct.pack("!BI", _TYPES.index(one.type), one.priority))
        parts.append(_text(one.foundation))
        parts.append(bytes((len(packed),)) + packed + struct.pack("!H", one.port))
    return b"".join(parts)


def decode(message: bytes) -> Offer:
    """Raises BadData, and for no bytes whatever anything else."""
    if len(message) > MAX_SIZE:
        raise BadData("an offer of a path is too long")
    try:
        return _decode(message)
    except (IndexError, ValueError, struct.error, UnicodeDecodeError):
        raise BadData("this is no offer of a path") from None


def _decode(message: bytes) -> Offer:
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        if at + size > len(message):
            raise ValueError("it is cut short")
        at += size
        return message[at - size : at]

    def word(least: int, most: int) -> str:
        text = take(take(1)[0]).decode("ascii")
        if not least <= len(text) <= most or not _WORD.issuperset(text):
            raise ValueError("no word of ICE")
        return text

    if take(1)[0] != _VERSION:
        raise ValueError("another version")
    user, password = word(4, 32), word(22, 64)
    count = take(1)[0]
    if not 1 <= count <= MAX_CANDIDATES:
        raise ValueError("no candidates, or too many")
    candidates = []
    for _ in range(count):
        kind, priority = struct.unpack("!BI", take(5))
        foundation = word(1, 32)
        host = ipaddress.ip_address(take(take(1)[0]))
        (port,) = struct.unpack("!H", take(2))
        if host.is_multicast or host.is_unspecified or not port or str(host) == "255.255.255.255":
            raise ValueError("nobody can be there")
        candidates.append(Candidate(foundation, 1, "udp", priority, str(host), port, _TYPES[kind]))
    if at != len(message):
        raise ValueError("there is more than an offer")
    return Offer(user, password, tuple(candidates))


def _text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode("ascii")
