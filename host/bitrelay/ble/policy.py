"""Whom to connect to, and when to change from one relay to another: pure functions of what is known now.

Links are scarce on both ends: a relay has four. So a computer keeps few, to the near ones (DSC-05), goes farther only
while it has fewer than it needs (E20), leaves alone what has no room, and waits longer after each failure.

Handover (DSC-23) replaces the weakest link by a better peer when all places are taken, make before break: the new link
is up before the old one is closed, which takes one place more for a moment. It does not flap: the new peer must be
louder by HANDOVER_DB, the old link must have lasted MIN_STAY_S and be fading, and both levels must be fresh.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .peers import DiscoveredPeer
from .sighting import Services

CONNECT_BELOW_M = 10.0
TICK_S = 10.0

HANDOVER_DB = 8.0
"""More than twice what the smoothed level of a peer that stands still wavers by."""

FADING_DBM = -79.0
"""10 m by the estimate of DSC-19 (DSC-20): nearer than that no link is worth giving up."""

MIN_STAY_S = 30.0
FRESH_S = 15.0
"""Three scans: a level that is older says where a walker was, not where he is."""

FIRST_BACKOFF_S = 10.0
LONGEST_BACKOFF_S = 300.0

# A relay at its limit serves a new link badly; as much worse as one a third of the distance farther.
_FULL_LOAD_DB = 10.0


@dataclass(frozen=True)
class Limits:
    """How many links a computer keeps (at most `maximum`, one more during a handover), and from how many on only to
    peers nearer than `below_m` metres. Raises ValueError unless 1 <= minimum <= maximum."""

    minimum: int = 2
    maximum: int = 4
    below_m: float = CONNECT_BELOW_M

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ValueError("limits must be 1 <= minimum <= maximum")


@dataclass(frozen=True)
class HeldLink:
    """A link that is up: the number of its peer, and since when (monotonic seconds)."""

    peer: int
    since: float


@dataclass(frozen=True)
class Plan:
    """What to do now: peers to connect to, the best first, or a peer to change to and the one it replaces."""

    dial: tuple[DiscoveredPeer, ...] = ()
    handover: tuple[DiscoveredPeer, DiscoveredPeer] | None = None


def plan(peers: Iterable[DiscoveredPeer], held: Iterable[HeldLink], limits: Limits, now: float) -> Plan:
    """Decide about all peers that are known."""
    links = list(held)
    known = list(peers)
    best_first = sorted((p for p in known if is_candidate(p, now)), key=lambda peer: -worth(peer))
    free = limits.maximum - len(links)
    if free <= 0:
        return Plan(handover=_handover(known, links, best_first, now))
    chosen = [peer for peer in best_first if peer.distance < limits.below_m][:free]
    missing = limits.minimum - len(links) - len(chosen)
    if missing > 0:
        chosen += [peer for peer in best_first if peer not in chosen][:missing]
    return Plan(dial=tuple(chosen))


def is_candidate(peer: DiscoveredPeer, now: float) -> bool:
    """Whether a link to the peer could be made now, however far it is. Only BitCraps nodes that say who they are count:
    nobody else could be held to it."""
    has_room = peer.beacon is None or peer.beacon.free_links != 0
    return (
        Services.BITCRAPS in peer.services
        and peer.on_air_id is not None
        and peer.device is not None
        and not peer.is_connected
        and has_room
        and peer.retry_at <= now
        and now - peer.last_seen <= FRESH_S
    )


def worth(peer: DiscoveredPeer) -> float:
    """How good a link to the peer promises to be: its level in dB, less what its load takes from it."""
    load = peer.beacon.load if peer.beacon and peer.beacon.load is not None else 0
    return peer.level - _FULL_LOAD_DB * load / 100


def backoff_s(attempts: int, chance: float) -> float:
    """Seconds to leave a peer alone after so many failures in a row: 10 s, doubled each time up to 300 s, and of that
    at least half, so that two computers do not meet again and again; chance is from 0 to 1."""
    longest: float = min(FIRST_BACKOFF_S * 2.0 ** min(attempts - 1, 10), LONGEST_BACKOFF_S)
    return longest * (0.5 + chance / 2)


def _handover(
    known: list[DiscoveredPeer], links: list[HeldLink], best_first: list[DiscoveredPeer], now: float
) -> tuple[DiscoveredPeer, DiscoveredPeer] | None:
    since = {link.peer: link.since for link in links}
    fading = [
        peer
        for peer in known
        if peer.number in since
        and peer.level < FADING_DBM
        and now - since[peer.number] >= MIN_STAY_S
        and now - peer.last_seen <= FRESH_S
    ]
    if not fading or not best_first:
        return None
    weakest = min(fading, key=worth)
    better = best_first[0]
    return (better, weakest) if worth(better) >= worth(weakest) + HANDOVER_DB else None
