"""What the bridge answers: where a frame goes, what goes down, and why the rest does not cross."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .bridge_frame import BridgeFrame
from .message import Outcome


class Drop(StrEnum):
    """Why a frame does not cross, or not to this mesh."""

    MALFORMED = "malformed"
    LOCAL_TYPE = "local type"
    """Hellos, hosts and sync requests concern one link or one mesh."""
    SYNC_ANSWER = "sync answer"
    TTL = "ttl"
    """It came with 1 or 0: nobody forwards that."""
    STALE = "stale"
    """Its time is off by more than phones accept."""
    DUPLICATE = "duplicate"
    FROM_INTERNET = "from the internet"
    """We or another gateway brought it into this mesh: it does not go back."""
    ANNOUNCE_FORGED = "announce forged"
    ANNOUNCE_RATE = "announce rate"
    UPLINK_OFF = "uplink off"
    DOWNLINK_OFF = "downlink off"
    NOT_SUBSCRIBED = "not subscribed"
    """Nobody wants it."""
    RECIPIENT_HERE = "recipient is here"
    AUTHOR_BUDGET = "author's budget"
    GATEWAY_BUDGET = "gateway's budget"
    BANDWIDTH = "bandwidth"
    QUEUE_FULL = "queue full"
    EXPIRED = "expired"
    """It waited until phones would no longer accept it."""
    NO_RELAY = "no relay"
    IN_FLIGHT = "in flight"
    """The gateway it was sent to has gone, and nobody else took it."""
    STORE_FULL = "store full"


OUTCOMES: Final[dict[Drop, Outcome]] = {
    Drop.MALFORMED: Outcome.MALFORMED,
    Drop.LOCAL_TYPE: Outcome.REFUSED,
    Drop.SYNC_ANSWER: Outcome.REFUSED,
    Drop.TTL: Outcome.REFUSED,
    Drop.STALE: Outcome.STALE,
    Drop.DUPLICATE: Outcome.KNOWN,
    Drop.ANNOUNCE_FORGED: Outcome.MALFORMED,
    Drop.ANNOUNCE_RATE: Outcome.REFUSED,
    Drop.DOWNLINK_OFF: Outcome.REFUSED,
    Drop.NOT_SUBSCRIBED: Outcome.REFUSED,
    Drop.AUTHOR_BUDGET: Outcome.OVER_BUDGET,
    Drop.GATEWAY_BUDGET: Outcome.OVER_BUDGET,
    Drop.BANDWIDTH: Outcome.OVER_BUDGET,
    Drop.QUEUE_FULL: Outcome.OVER_BUDGET,
    Drop.EXPIRED: Outcome.STALE,
    Drop.NO_RELAY: Outcome.NO_RELAY,
}
"""What the gateway that sent a frame is told when it does not go down."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What becomes of a frame that a mesh said. targets: meshes it goes to, in no order; if none, drop says why.

    before: frames of the same mesh that have to cross first (its author's announce), with the same targets.
    """

    targets: tuple[str, ...] = ()
    drop: Drop | None = None
    before: tuple[BridgeFrame, ...] = ()


@dataclass(frozen=True, slots=True)
class Down:
    """A frame that goes into a mesh now. origin, gateway: where it came from (gateway: PeerId, ours for a mesh of
    ours). value: what is sent, its TTL lowered."""

    frame: BridgeFrame
    value: bytes
    origin: str
    gateway: bytes


@dataclass(frozen=True, slots=True)
class Dropped:
    """A frame that was waiting to go down and will not. DUPLICATE: it came into the mesh by another way meanwhile."""

    frame: BridgeFrame
    gateway: bytes
    mesh: str
    reason: Drop
