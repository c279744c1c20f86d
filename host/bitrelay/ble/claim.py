"""Whom signed packets claim to be at the other end of a link.

Two kinds name the Noise key, from which the on-air id follows, and the signing key, from which the PeerId follows: an
announce (0x01) while its TTL is 7, and an identity record (0xB1) whose TTL is 1. Both are claims. The signing key alone
signs, so anybody can sign for the Noise key of somebody else; a TTL is not signed, and a relay forwards a record of TTL
2 with TTL 1; what is signed can be recorded and played back. That the peer holds the keys, only a Noise session shows.
"""

from dataclasses import dataclass

from shared_protocol import announce, hello
from shared_protocol.frame import (
    ID_SIZE,
    MAX_TTL,
    SIGNATURE_SIZE,
    TIMESTAMP,
    TYPE_ANNOUNCE,
    TYPE_IDENTITY,
    Header,
    signing_preimage,
)
from shared_protocol.pow import DIFFICULTY_BASE

from ..errors import IdentityRefused
from ..identity.keys import on_air_id_of, peer_id_of, signed_by
from ..identity.proof import PowIdentity
from ..identity.record import from_record

MAX_AGE_MS = 600_000
"""How far an announce's time may be off, as the Android app has it (bitchat protocol, section 5)."""


@dataclass(frozen=True)
class ClaimedIdentity:
    """What a packet with a valid signature says: on-air id (8 bytes), PeerId and both public keys (32 bytes each).

    work is the verified proof of work, None where only an announce was heard.
    """

    on_air_id: bytes
    peer_id: bytes
    noise_key: bytes
    signing_key: bytes
    work: PowIdentity | None = None


def may_claim(header: Header) -> bool:
    """Whether a packet with this header is worth a look."""
    if header.type == TYPE_ANNOUNCE:
        return header.ttl == MAX_TTL and header.signature_at > 0
    return header.type == TYPE_IDENTITY and header.ttl == hello.TTL


def claimed_in(frame: bytes, header: Header, now_ms: int, difficulty: int = DIFFICULTY_BASE) -> ClaimedIdentity | None:
    """The identity that a packet claims and its author signed; header is the packet's, parsed. None if there is none.

    now_ms: Unix milliseconds. difficulty: the least a record's proof of work must have.
    """
    if not may_claim(header):
        return None
    payload = frame[header.payload_at : header.payload_at + header.payload_len]
    if header.type == TYPE_IDENTITY:
        found = _of_record(payload, now_ms // 1000, difficulty)
    else:
        found = _of_announce(frame, header, payload, now_ms)
    if found is None or found.on_air_id != frame[header.sender_at : header.sender_at + ID_SIZE]:
        return None
    return found


def _of_record(payload: bytes, now: int, difficulty: int) -> ClaimedIdentity | None:
    try:
        work = from_record(payload, now, difficulty)
    except IdentityRefused:
        return None
    return ClaimedIdentity(on_air_id_of(work.noise_key), work.peer_id, work.noise_key, work.public_key, work)


def _of_announce(frame: bytes, header: Header, payload: bytes, now_ms: int) -> ClaimedIdentity | None:
    if abs(int.from_bytes(frame[TIMESTAMP : TIMESTAMP + 8], "big") - now_ms) > MAX_AGE_MS:
        return None
    fields = announce.parse(payload)
    if fields is None:
        return None
    noise_key, signing_key = fields["noise_key"], fields["signing_key"]
    assert isinstance(noise_key, bytes) and isinstance(signing_key, bytes)
    signature = frame[header.signature_at : header.signature_at + SIGNATURE_SIZE]
    if not signed_by(signing_key, signing_preimage(frame), signature):
        return None
    return ClaimedIdentity(on_air_id_of(noise_key), peer_id_of(signing_key), noise_key, signing_key)
