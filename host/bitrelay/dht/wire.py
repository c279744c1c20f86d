"""Datagrams of the DHT: who sends one is proved, and whom it is for; docs/protocol.md has the layout.

The recipient's id is part of what is signed and does not travel: shown to another node, a datagram is forged. Who does
not know yet whom it will find at an address may ping whoever is there.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey

from shared_protocol.identity_record import MAX_PAYLOAD as MAX_RECORD

from ..errors import BadDatagram, DatagramFault
from ..identity.keys import KEY_BYTES, SIGNATURE_BYTES, IdentityKeys, peer_id_of, signed_by
from .message_codec import Message, decode_body, encode_body, is_question, kind_of, malformed
from .messages import Ping
from .node_id import ID_SIZE

VERSION: Final = 1
MAX_DATAGRAM: Final = 1232
"""IPv6 carries 1,280 bytes everywhere; 40 are its header and 8 that of UDP."""
TRANSACTION_SIZE: Final = 8
COOKIE_SIZE: Final = 8
NO_COOKIE: Final = bytes(COOKIE_SIZE)
CLOCK_WINDOW_S: Final = 300
"""How far the sender's clock may be from ours: as far as that of an identity (`identity.verify`)."""

ANYONE: Final = bytes(ID_SIZE)
"""The recipient of a ping to an address where nobody is known yet."""

_TO_ANYONE: Final = 0x01
_HAS_RECORD: Final = 0x02
_WANTS_RECORD: Final = 0x04
_CAN_PROVE: Final = 0x08
_FLAGS: Final = _TO_ANYONE | _HAS_RECORD | _WANTS_RECORD | _CAN_PROVE

_HEAD: Final = struct.Struct(f">BBB{TRANSACTION_SIZE}sQ{KEY_BYTES}s{COOKIE_SIZE}s")
HEAD_SIZE: Final = _HEAD.size
_LENGTHS: Final = struct.Struct(">HH")
_SMALLEST: Final = _HEAD.size + _LENGTHS.size + SIGNATURE_BYTES
_DOMAIN: Final = b"bitrelay dht datagram 1\0"

ROOM: Final = MAX_DATAGRAM - _SMALLEST
"""For a message and a record, in bytes."""
LEAST_ASKING: Final = 200
"""A question that wants a record back is at least so long: padded, so that three times as much holds any record."""


@dataclass(frozen=True, slots=True)
class Head:
    """What can be read of a datagram before its signature is checked: nothing of it is proved.

    question: whether it asks; transaction: 8 random bytes of the question, which its answer repeats; sent_at: Unix
    seconds; sender_key: Ed25519; cookie: what the sender was told to show, or, in an answer, is told to.
    """

    question: bool
    to_anyone: bool
    transaction: bytes
    sent_at: int
    sender_key: bytes
    cookie: bytes

    @property
    def sender(self) -> bytes:
        """Its id, 32 bytes."""
        return peer_id_of(self.sender_key)


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram that is its sender's, and for this node.

    record: the sender's identity (`identity.record`), not verified, if it is in it. wants_record: the sender asks for
    ours. can_prove: it would send its own if it was asked for it.
    """

    head: Head
    message: Message
    record: bytes | None = None
    wants_record: bool = False
    can_prove: bool = False


class Signer:
    """Makes a node's datagrams. keys: its identity's; clock: Unix seconds."""

    def __init__(self, keys: IdentityKeys, clock: Callable[[], float]) -> None:
        self._key = SigningKey(keys.signing_seed)
        self._public = keys.signing_key
        self._clock = clock

    def seal(
        self,
        message: Message,
        recipient: bytes,
        transaction: bytes,
        cookie: bytes,
        *,
        record: bytes | None = None,
        wants_record: bool = False,
        can_prove: bool = False,
        body: bytes | None = None,
    ) -> bytes:
        """The datagram; recipient: an id, or ANYONE; body: the message's, if it was encoded already.

        Raises ValueError for what does not fit.
        """
        flags = (
            (recipient == ANYONE and _TO_ANYONE)
            | (record is not None and _HAS_RECORD)
            | (wants_record and _WANTS_RECORD)
            | (can_prove and _CAN_PROVE)
        )
        kind, shown = kind_of(message), record or b""
        if body is None:
            body = encode_body(message)
        padding = 0
        if wants_record and is_question(kind):
            padding = max(0, LEAST_ASKING - _SMALLEST - len(body) - len(shown))
        head = _HEAD.pack(VERSION, kind, flags, transaction, int(self._clock()), self._public, cookie)
        signed = b"".join((head, _LENGTHS.pack(len(body), len(shown)), body, shown, bytes(padding)))
        if len(signed) + SIGNATURE_BYTES > MAX_DATAGRAM or len(shown) > MAX_RECORD:
            raise ValueError("the datagram is too long")
        return signed + self._key.sign(signed_part(recipient, signed)).signature


def peek(datagram: bytes) -> Head:
    """What a datagram says of itself. Cheap, and nothing is believed. Raises BadDatagram."""
    if len(datagram) < _SMALLEST:
        raise BadDatagram(DatagramFault.TOO_SHORT)
    if len(datagram) > MAX_DATAGRAM:
        raise BadDatagram(DatagramFault.TOO_LONG)
    version, kind, flags, transaction, sent_at, key, cookie = _HEAD.unpack_from(datagram)
    if version != VERSION:
        raise BadDatagram(DatagramFault.OTHER_VERSION)
    if flags & ~_FLAGS or (flags & _TO_ANYONE and kind != kind_of(Ping())):
        raise malformed()
    return Head(is_question(kind), bool(flags & _TO_ANYONE), transaction, sent_at, key, cookie)


def unseal(datagram: bytes, head: Head, own_id: bytes, now: float) -> Datagram:
    """The datagram that `peek` has read this head of, checked. own_id: whom it must be for. Raises BadDatagram.

    Costs one Ed25519 verification, if all else holds.
    """
    if abs(now - head.sent_at) > CLOCK_WINDOW_S:
        raise BadDatagram(DatagramFault.STALE)
    kind, flags = datagram[1], datagram[2]
    body_size, record_size = _LENGTHS.unpack_from(datagram, _HEAD.size)
    start = _HEAD.size + _LENGTHS.size
    end = start + body_size + record_size
    signed = datagram[:-SIGNATURE_BYTES]
    if end > len(signed) or record_size > MAX_RECORD or bool(record_size) != bool(flags & _HAS_RECORD):
        raise malformed()
    if any(signed[end:]):
        raise malformed()  # padding is zeros
    body, record = signed[start : start + body_size], signed[start + body_size : end]
    message = decode_body(kind, body)
    recipient = ANYONE if head.to_anyone else own_id
    if not signed_by(head.sender_key, signed_part(recipient, signed), datagram[-SIGNATURE_BYTES:]):
        raise BadDatagram(DatagramFault.FORGED)
    return Datagram(head, message, record or None, bool(flags & _WANTS_RECORD), bool(flags & _CAN_PROVE))


def signed_part(recipient: bytes, signed: bytes) -> bytes:
    """What a signature is over. signed: the datagram without it."""
    return b"".join((_DOMAIN, recipient, signed))
