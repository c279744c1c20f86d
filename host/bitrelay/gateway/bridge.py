"""What goes up, what comes down, once each: the policy of a gateway, without I/O and without a clock.

now: seconds of a clock that does not go back; wall_ms: Unix milliseconds. Everything is bounded, every drop counted by
its reason.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..transports.fair_queue import Traffic
from .bridge_frame import BridgeFrame
from .config import MeshConfig
from .message import MeshOffer, Outcome


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
    """A frame that was waiting to go down and will not."""

    frame: BridgeFrame
    gateway: bytes
    mesh: str
    reason: Drop


class Bridge:
    """The policy for all meshes of one gateway.

    own: our PeerId. offers: the meshes that can be reached over other gateways, set by whoever knows; names of our own
    are not in it. drops: by (direction, class, reason), direction "up" or "down". dropped: those that waited, to be
    taken by whoever tells their gateways. throttled: by PeerId, gateways over their budget, with how many frames of
    theirs were refused for it.
    """

    def __init__(self, own: bytes, meshes: Sequence[MeshConfig]) -> None:
        self.offers: Mapping[str, MeshOffer] = {}
        self.drops: Counter[tuple[str, Traffic, Drop]] = Counter()
        self.dropped: list[Dropped] = []
        self.throttled: Counter[bytes] = Counter()
        raise NotImplementedError

    def configure(self, meshes: Sequence[MeshConfig]) -> None:
        """Go on with these meshes: budgets and subscriptions may change, what is remembered and waits stays."""
        raise NotImplementedError

    def heard(self, mesh: str, frame: BridgeFrame, now: float, wall_ms: int) -> Heard:
        """A frame came from a mesh of ours. Remembers it, and where its author is."""
        raise NotImplementedError

    def arrived(self, mesh: str, frame: BridgeFrame, origin: str, gateway: bytes, now: float, wall_ms: int) -> Outcome:
        """A frame for a mesh of ours came from elsewhere: QUEUED, or why not. Remembers where its author is."""
        raise NotImplementedError

    def brought(self, mesh: str, keys: Iterable[bytes], now: float) -> None:
        """Another gateway of this mesh of ours brings these frames into it: they neither go up nor down here."""
        raise NotImplementedError

    def next_down(self, mesh: str, now: float, wall_ms: int) -> Down | float | None:
        """What goes into a mesh now; or in how many seconds something may; or None: nothing waits.

        What it gives counts as sent: it is charged to the budgets, and known in the mesh.
        """
        raise NotImplementedError

    def not_sent(self, mesh: str, down: Down, now: float) -> None:
        """The relay did not take it after all: it goes back to the front of its queue."""
        raise NotImplementedError

    def relay_pressure(self, mesh: str, pressure: float, now: float) -> None:
        """How full the relay says it is, 0 (idle) to 1 (its queues are full): what goes down adapts (row GWY-15)."""
        raise NotImplementedError

    def waiting(self, mesh: str) -> dict[Traffic, int]:
        """How many frames wait to go down, by class."""
        raise NotImplementedError

    def load(self) -> int:
        """Percent of the downlink's budget in use now, that of the busiest mesh."""
        raise NotImplementedError

    def expires_in(self, frame: BridgeFrame, wall_ms: int) -> float:
        """For how many seconds phones will still accept it (bitchat protocol, 4.8); negative when they do not."""
        raise NotImplementedError

    def forget(self, now: float) -> None:
        """Let go of what is too old to matter; to be called once in a while."""
        raise NotImplementedError

    def remember(self, mesh: str, keys: Iterable[bytes], now: float) -> None:
        """These frames were sent into a mesh of ours before we were started."""
        raise NotImplementedError
