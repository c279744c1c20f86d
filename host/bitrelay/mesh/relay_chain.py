"""What the proof-of-relay ledger is made of: events, the chain of hashes over them, and the relayer's seals on it.

    ledger id  SHA-256 over "bitrelay ledger 1", Ed25519 key, begun_ms
    hash       SHA-256 over "bitrelay relay 1", previous hash, number, packet_hash, source, destination, hops, time_ms,
               fee, origin, target
    seal       Ed25519 over "bitrelay block 1" (of a claim: "bitrelay claim 1"), ledger id, first, last, head, time_ms

Numbers are 8 bytes, big-endian, but hops is 1; origin and target are a length (1) and UTF-8. The hash before entry 1 is
the ledger id.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Final

from shared_protocol.frame import FLAGS, REASONS, RSR, TTL, Header

from ..errors import BrokenLedger
from ..identity.keys import signed_by

HASH_BYTES: Final = 32
ID_BYTES: Final = 8
MOST_NAME: Final = 255
"""Bytes of the name of a mesh."""
MOST_BLOCK: Final = 65_536
"""Entries under one seal."""

_LEDGER: Final = b"bitrelay ledger 1"
_RELAY: Final = b"bitrelay relay 1"
_BLOCK: Final = b"bitrelay block 1"
_CLAIM: Final = b"bitrelay claim 1"
_EVENT: Final = Struct(">Q32s8s8sBQQ")
_SEAL: Final = Struct(">32sQQ32sQ")


@dataclass(frozen=True, slots=True)
class RelayEvent:
    """One frame relayed. packet_hash: see `packet_hash`. source: on-air id of the author (8); destination: of the
    recipient, zeros if absent (8). hops: 8 - TTL after it was lowered. origin, target: the meshes. time_ms: Unix. fee:
    by the rule in force."""

    packet_hash: bytes
    source: bytes
    destination: bytes
    hops: int
    origin: str
    target: str
    time_ms: int
    fee: int


@dataclass(frozen=True, slots=True)
class Entry:
    """number: from 1 on, without gaps. previous, hash: the chain."""

    number: int
    event: RelayEvent
    previous: bytes
    hash: bytes
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class Seal:
    """The relayer's signature on entries first to last, the last of which has the hash `head`. time_ms: when, Unix."""

    first: int
    last: int
    head: bytes
    time_ms: int
    signature: bytes


def packet_hash(value: bytes) -> bytes:
    """What a frame is called in a ledger: SHA-256 of it without padding, with TTL 0 and without RSR.

    So it is the same for whoever relays it. Raises ValueError if it is no frame.
    """
    header = Header()
    size = header.parse(value, len(value))
    if size < 0:
        raise ValueError(REASONS[size])
    image = bytearray(value[:size])
    image[TTL] = 0
    image[FLAGS] &= ~RSR
    return hashlib.sha256(image).digest()


def ledger_id(signing_key: bytes, begun_ms: int) -> bytes:
    """32 bytes that tell this ledger from all others, of the same relayer as well."""
    return hashlib.sha256(_LEDGER + signing_key + begun_ms.to_bytes(8, "big")).digest()


def linked(previous: bytes, number: int, event: RelayEvent) -> bytes:
    """The hash of an entry. Raises ValueError for an event that is none: sizes, negative numbers, long names."""
    origin, target = event.origin.encode(), event.target.encode()
    if len(event.packet_hash) != HASH_BYTES or len(event.source) != ID_BYTES or len(event.destination) != ID_BYTES:
        raise ValueError("a packet hash has 32 bytes, an on-air id 8")
    if (event.time_ms | event.fee) >> 63:
        raise ValueError("a time and a fee are no less than 0, and have 63 bits")
    if len(origin) > MOST_NAME or len(target) > MOST_NAME:
        raise ValueError("the name of a mesh has at most 255 bytes")
    try:
        fixed = _EVENT.pack(
            number, event.packet_hash, event.source, event.destination, event.hops, event.time_ms, event.fee
        )
    except StructError:
        raise ValueError("hops are 0 to 255") from None
    names = bytes((len(origin),)) + origin + bytes((len(target),)) + target
    return hashlib.sha256(_RELAY + previous + fixed + names).digest()


def block_image(ledger: bytes, first: int, last: int, head: bytes, time_ms: int) -> bytes:
    """What the relayer signs with every block."""
    return _BLOCK + _SEAL.pack(ledger, first, last, head, time_ms)


def claim_image(ledger: bytes, first: int, last: int, head: bytes, time_ms: int) -> bytes:
    """What the relayer signs when entries up to `last` are claimed; first is 1."""
    return _CLAIM + _SEAL.pack(ledger, first, last, head, time_ms)


def is_sealed(
    signing_key: bytes, ledger: bytes, seal: Seal, image: Callable[[bytes, int, int, bytes, int], bytes] = block_image
) -> bool:
    """Whether a seal is the relayer's. Raises for no values whatever."""
    try:
        signed = image(ledger, seal.first, seal.last, seal.head, seal.time_ms)
    except StructError:
        return False
    return len(seal.head) == HASH_BYTES and signed_by(signing_key, signed, seal.signature)


class Chain:
    """Follows a chain from one point on, and believes of it what is under a seal.

    number, head: of the last entry; sealed: of the last one under a seal. Methods raise BrokenLedger.
    """

    def __init__(self, signing_key: bytes, ledger: bytes, number: int, head: bytes) -> None:
        self._key = signing_key
        self._ledger = ledger
        self.number = self.sealed = number
        self.head = head

    def entry(self, number: int, event: RelayEvent, hash: bytes) -> None:
        """The next entry."""
        due = self.number + 1
        if number != due:
            why = f"entry {due} is missing" if number > due else f"entry {number} is in the wrong place"
            raise BrokenLedger(why, number=due)
        if number - self.sealed > MOST_BLOCK:
            raise BrokenLedger(f"entry {self.sealed + 1} is under no seal", number=self.sealed + 1)
        try:
            found = linked(self.head, number, event)
        except ValueError as error:
            raise BrokenLedger(f"entry {number} is none: {error}", number=number) from None
        if found != hash:
            raise BrokenLedger(f"entry {number} is not what its hash says", number=number)
        self.number, self.head = number, hash

    def seal(self, seal: Seal) -> None:
        """The seal on the entries since the last one."""
        due = self.sealed + 1
        if (seal.first, seal.last, seal.head) != (due, self.number, self.head):
            raise BrokenLedger(f"the seal after entry {self.number} is on others", number=due)
        if not is_sealed(self._key, self._ledger, seal):
            raise BrokenLedger(f"entries {seal.first} to {seal.last} were not signed by the relayer", number=due)
        self.sealed = self.number

    def end(self) -> None:
        """Nothing follows."""
        if self.sealed != self.number:
            raise BrokenLedger(f"entry {self.sealed + 1} is under no seal", number=self.sealed + 1)
