"""Small values that their owners sign: what they are, where they belong, and which of them count (row DHT-18).

A value is found under the hash of its kind and name. Who holds it can neither alter it nor make it last longer.
"""

import hashlib
from collections.abc import Iterable
from enum import IntEnum, StrEnum

from ..identity.keys import KEY_BYTES, SIGNATURE_BYTES, IdentityKeys, signed_by
from .messages import MAX_DATA, MAX_NAME, SignedValue

MAX_LIFETIME_S = 86_400
"""From created_at to expires_at (row DHT-22)."""
MAX_AHEAD_S = 300
"""How far the clock of an owner may be ahead of ours."""
MAX_SEQUENCE = (1 << 64) - 1

_KEY_DOMAIN = b"bitrelay dht key v1\0"
_VALUE_DOMAIN = b"bitrelay dht value v1\0"
_AROUND = 1 + 1 + KEY_BYTES + 8 + 8 + 8 + 2 + SIGNATURE_BYTES


class Kind(IntEnum):
    """What a value is for. The number is part of what is signed and hashed."""

    GATEWAY = 1
    """Where a gateway of a mesh can be reached. The name is the mesh's."""
    RELAYS = 2
    """A directory of relays."""
    APPLICATION = 3


class Fault(StrEnum):
    """Why a value does not count."""

    FORM = "its kind, name, size or a number in it is out of range"
    LIFETIME = "it lasts for too long, or ends before it begins"
    EARLY = "it is from the future"
    EXPIRED = "its time is over"
    FORGED = "its owner did not sign it"


PASSING = (Fault.EARLY, Fault.EXPIRED)
"""Faults by the clock: who passes such a value on may have meant well."""


def key_of(kind: int, name: str) -> bytes:
    """The key, 32 bytes, of values of this kind and name. Raises ValueError for a name that is none."""
    return hashlib.sha256(_KEY_DOMAIN + bytes((kind,)) + _name(name)).digest()


def sign(
    keys: IdentityKeys, kind: Kind, name: str, data: bytes, *, now: float, lifetime_s: int, sequence: int | None = None
) -> SignedValue:
    """A value of this owner's, from now on, Unix seconds; its sequence is the time in ms unless one is given.

    Raises ValueError for what `fault_of` would find.
    """
    created_at = int(now)
    number = int(now * 1000) if sequence is None else sequence
    bare = SignedValue(kind, name, keys.signing_key, number, created_at, created_at + lifetime_s, data, b"")
    fault = _form(bare) or _time(bare, now)
    if fault is not None:
        raise ValueError(f"not a value: {fault}")
    return SignedValue(
        bare.kind, name, bare.owner, number, created_at, bare.expires_at, data, keys.sign(signed_part(bare))
    )


def fault_of(value: SignedValue, now: float) -> Fault | None:
    """Why a value does not count at this time (Unix seconds), or None if it does. One signature check, last of all."""
    fault = Fault.FORM if len(value.signature) != SIGNATURE_BYTES else _form(value) or _time(value, now)
    if fault is None and not signed_by(value.owner, signed_part(value), value.signature):
        return Fault.FORGED
    return fault


def signed_part(value: SignedValue) -> bytes:
    """What the owner signs: all of the value, each part of a fixed length or with its length. Its form must be good."""
    name = _name(value.name)
    return b"".join(
        (
            _VALUE_DOMAIN,
            bytes((value.kind, len(name))),
            name,
            value.owner,
            value.sequence.to_bytes(8, "big"),
            value.created_at.to_bytes(8, "big"),
            value.expires_at.to_bytes(8, "big"),
            len(value.data).to_bytes(2, "big"),
            value.data,
        )
    )


def size_of(value: SignedValue) -> int:
    """About how many bytes a value takes in a datagram."""
    return _AROUND + len(value.name.encode()) + len(value.data)


def is_later(value: SignedValue, than: SignedValue) -> bool:
    """Whether a value replaces another of the same owner and key; all nodes come to the same one."""
    return _rank(value) > _rank(than)


def latest(values: Iterable[SignedValue]) -> tuple[SignedValue, ...]:
    """Of each owner the latest value, by owner, ascending. For values of one key."""
    best: dict[bytes, SignedValue] = {}
    for value in values:
        known = best.get(value.owner)
        if known is None or is_later(value, known):
            best[value.owner] = value
    return tuple(best[owner] for owner in sorted(best))


def _rank(value: SignedValue) -> tuple[int, int, int, bytes]:
    return value.sequence, value.created_at, value.expires_at, value.signature


def _name(name: str) -> bytes:
    encoded = name.encode()  # UnicodeEncodeError is a ValueError
    if not 0 < len(encoded) <= MAX_NAME or not name.isprintable():
        raise ValueError("the name of a value is 1 to 64 bytes of printable text")
    return encoded


def _form(value: SignedValue) -> Fault | None:
    try:
        Kind(value.kind)
        _name(value.name)
    except ValueError:
        return Fault.FORM
    numbers = (value.sequence, value.created_at, value.expires_at)
    if len(value.owner) != KEY_BYTES or len(value.data) > MAX_DATA or not all(0 <= n <= MAX_SEQUENCE for n in numbers):
        return Fault.FORM
    return None


def _time(value: SignedValue, now: float) -> Fault | None:
    if not 0 < value.expires_at - value.created_at <= MAX_LIFETIME_S:
        return Fault.LIFETIME
    if value.created_at > now + MAX_AHEAD_S:
        return Fault.EARLY
    return Fault.EXPIRED if value.expires_at <= now else None
