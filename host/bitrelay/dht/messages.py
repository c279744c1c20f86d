"""What nodes ask one another, and answer. How it looks on the wire is in `wire`; a network in memory passes it on.

Ping -> Pong      FindNode -> Nodes      FindValue -> Values      Store -> Stored      any -> Refused
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..transports.address import Udp
from .node_id import ID_SIZE

MAX_CONTACTS: Final = 20
"""In one answer: k (row DHT-05)."""
MAX_ADDRESSES: Final = 4
"""Of one contact."""
MAX_DATA: Final = 512
"""Of one value, in bytes: with all around it, it fits one datagram of 1,232 bytes, the least that IPv6 promises."""
MAX_NAME: Final = 64
"""Of a value's name, in bytes of UTF-8."""


@dataclass(frozen=True, slots=True)
class Contact:
    """A node, as others are told of it. addresses: IP addresses and ports, at most MAX_ADDRESSES, best first."""

    node_id: bytes
    addresses: tuple[Udp, ...]


@dataclass(frozen=True, slots=True)
class SignedValue:
    """What its owner put under a key.

    Many owners may put one value each under the same key, which is `values.key_of(kind, name)`: so gateways of one mesh
    find one another. kind, name: what it is (`values.Kind`); owner: the Ed25519 key, 32 bytes; sequence: the later one
    counts; created_at, expires_at: Unix seconds; signature: the owner's, 64 bytes, over all the rest.
    """

    kind: int
    name: str
    owner: bytes
    sequence: int
    created_at: int
    expires_at: int
    data: bytes
    signature: bytes


class Refusal(StrEnum):
    """Why a question was not answered; the text is for people, the name for programs."""

    TOO_MANY = "too many questions"
    BAD_VALUE = "the value is not valid"
    OLD_VALUE = "there is a later value of this owner"
    NO_ROOM = "there is no room for the value"
    TOO_FAR = "others are closer to the key"
    NOT_PROVEN = "it has not shown that it is where it says, or who"


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class Pong:
    """observed: where the question came from, as the answering node sees it; None where there are no places."""

    observed: Udp | None = None


@dataclass(frozen=True, slots=True)
class FindNode:
    target: bytes


@dataclass(frozen=True, slots=True)
class Nodes:
    """The closest nodes to the target that the answering node knows, at most MAX_CONTACTS, without the asking one."""

    contacts: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class FindValue:
    """after: of many owners' values under a key, those of owners above this one are wanted (all: 32 zero bytes)."""

    key: bytes
    after: bytes = bytes(ID_SIZE)


@dataclass(frozen=True, slots=True)
class Values:
    """values: by owner, ascending, as many as fit; more: there are others. contacts: as in Nodes, if there are none."""

    values: tuple[SignedValue, ...]
    more: bool
    contacts: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class Store:
    value: SignedValue


@dataclass(frozen=True, slots=True)
class Stored:
    pass


@dataclass(frozen=True, slots=True)
class Refused:
    reason: Refusal


Question = Ping | FindNode | FindValue | Store
Answer = Pong | Nodes | Values | Stored | Refused
