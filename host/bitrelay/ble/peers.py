"""The table of peers that were seen: sightings merged, changes told, bounded, without clock and radio of its own.

A peer is found again by its on-air id wherever it has one, since addresses change; else by its address. The id is a
claim: so a strange address with a connected peer's id changes nothing about that peer.

Bounded: when the table is full, a newcomer takes the place of the peer that was sighted least often, of those the one
unseen longest; a peer that was ever connected gives way last, a connected one never. A flood of made-up ids, each sent
once, thus drives out only itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bleak.backends.device import BLEDevice

from .events import DisconnectReason, PeerConnected, PeerDisconnected, PeerDiscovered, PeerEvent, PeerRangeChanged
from .ranging import EXPONENT, distance, smoothed
from .sighting import Beacon, Services, Sighting

UNSEEN_S = 30.0
"""Seconds without a sighting after which a peer that is not connected is forgotten (DSC-06, E18)."""

RANGE_STEP_DB = 4.0
"""How far a level moves before it is told: the error of the guess is one of dB, so a step of metres would be noise far
away and deaf nearby. 4 dB is a factor of 1.6 in distance at exponent 2, and more than the smoothed level wavers by."""

MAX_PEERS = 256
_MANY = 1000


@dataclass(frozen=True)
class DiscoveredPeer:
    """A peer as it is known now (DSC-07). Times are monotonic seconds, rssi and level dBm, distance metres.

    number names it for as long as it is in the table and is never used again. on_air_id is what it advertises,
    claimed_peer_id what signed packets on its link claim (32 bytes; nobody has proved it, claim.py); neither is ever
    all zero. rssi is the last level heard, level its running mean,
    from which distance follows. connection_attempts counts those since the last that succeeded; until retry_at it is
    left alone.
    """

    number: int
    on_air_id: bytes | None
    device_address: str
    name: str
    services: Services
    rssi: int
    level: float
    distance: float
    first_seen: float
    last_seen: float
    sightings: int = 1
    beacon: Beacon | None = None
    claimed_peer_id: bytes | None = None
    connection_attempts: int = 0
    retry_at: float = 0.0
    was_connected: bool = False
    is_connected: bool = False
    device: BLEDevice | None = field(default=None, compare=False, repr=False)


class PeerTable:
    """Who is there. Every method that changes something returns the events it makes.

    discovered counts the first sightings; ignored those that changed nothing: of a stranger with a connected peer's id,
    incomplete ones of nobody known, and newcomers when all in the table are connected.
    """

    def __init__(self, exponent: float = EXPONENT, capacity: int = MAX_PEERS) -> None:
        distance(0.0, exponent)
        self.discovered = 0
        self.ignored = 0
        self._exponent = exponent
        self._capacity = capacity
        self._peers: dict[int, DiscoveredPeer] = {}
        self._by_id: dict[bytes, int] = {}
        self._by_address: dict[str, int] = {}
        self._told: dict[int, float] = {}
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[DiscoveredPeer]:
        return iter(list(self._peers.values()))

    def get(self, number: int) -> DiscoveredPeer | None:
        """The peer of that number as it is now."""
        return self._peers.get(number)

    # --- sightings ---

    def see(self, sighting: Sighting, now: float) -> list[PeerEvent]:
        """Merge one sighting."""
        known = self._find(sighting)
        if known is None:
            return self._add(sighting, now)
        if known.is_connected and known.device_address != sighting.address:
            self.ignored += 1
            return []
        level = smoothed(known.level, sighting.rssi)
        peer = replace(
            known,
            on_air_id=sighting.on_air_id or known.on_air_id,
            device_address=sighting.address,
            name=sighting.name or known.name,
            services=known.services | sighting.services,
            rssi=sighting.rssi,
            level=level,
            distance=distance(level, self._exponent),
            last_seen=now,
            sightings=min(known.sightings + 1, _MANY),
            beacon=sighting.beacon or known.beacon,
            device=sighting.device or known.device,
        )
        self._put(peer, known)
        if abs(level - self._told[peer.number]) < RANGE_STEP_DB:
            return []
        self._told[peer.number] = level
        return [PeerRangeChanged(peer, peer.distance)]

    def expire(self, now: float) -> list[PeerEvent]:
        """Forget who was not seen for more than 30 s. A connected peer stays: its link's own timeout says when it has
        gone, and a relay that is full does not advertise."""
        gone = [p for p in self._peers.values() if not p.is_connected and now - p.last_seen > UNSEEN_S]
        return [self._remove(peer, DisconnectReason.UNSEEN) for peer in gone]

    # --- links ---

    def attempted(self, number: int, retry_at: float) -> None:
        """A connection to the peer did not come about."""
        if peer := self._peers.get(number):
            attempts = peer.connection_attempts + 1
            self._peers[number] = replace(peer, connection_attempts=attempts, retry_at=retry_at)

    def connected(self, number: int, now: float) -> list[PeerEvent]:
        """A link to the peer is up."""
        if (peer := self._peers.get(number)) is None:
            return []
        peer = replace(peer, is_connected=True, was_connected=True, connection_attempts=0, retry_at=0.0, last_seen=now)
        self._peers[number] = peer
        return [PeerConnected(peer)]

    def claimed(self, number: int, peer_id: bytes) -> None:
        """A signed packet on the peer's link claims this PeerId for it."""
        if peer := self._peers.get(number):
            self._peers[number] = replace(peer, claimed_peer_id=peer_id)

    def disconnected(self, number: int, now: float, reason: DisconnectReason, retry_at: float = 0.0) -> list[PeerEvent]:
        """The link to the peer is gone; it counts as seen until now."""
        peer = self._peers.get(number)
        if peer is None or not peer.is_connected:
            return []
        peer = replace(peer, is_connected=False, last_seen=now, retry_at=retry_at)
        self._peers[number] = peer
        return [PeerDisconnected(peer, reason)]

    # --- the table itself ---

    def _find(self, sighting: Sighting) -> DiscoveredPeer | None:
        if sighting.on_air_id is not None and (number := self._by_id.get(sighting.on_air_id)):
            return self._peers[number]
        number = self._by_address.get(sighting.address)
        if number is None:
            return None
        peer = self._peers[number]
        is_other = sighting.on_air_id is not None and peer.on_air_id is not None
        return None if is_other and sighting.on_air_id != peer.on_air_id else peer

    def _add(self, sighting: Sighting, now: float) -> list[PeerEvent]:
        if sighting.is_incomplete:
            self.ignored += 1
            return []
        events: list[PeerEvent] = []
        if len(self._peers) >= self._capacity:
            weakest = min(
                (peer for peer in self._peers.values() if not peer.is_connected),
                key=lambda peer: (peer.was_connected, peer.sightings, peer.last_seen),
                default=None,
            )
            if weakest is None:
                self.ignored += 1
                return []
            events.append(self._remove(weakest, DisconnectReason.EVICTED))
        self._last_number += 1
        self.discovered += 1
        level = float(sighting.rssi)
        peer = DiscoveredPeer(
            self._last_number,
            sighting.on_air_id,
            sighting.address,
            sighting.name,
            sighting.services,
            sighting.rssi,
            level,
            distance(level, self._exponent),
            first_seen=now,
            last_seen=now,
            beacon=sighting.beacon,
            device=sighting.device,
        )
        self._told[peer.number] = level
        self._put(peer, None)
        return [*events, PeerDiscovered(peer)]

    def _put(self, peer: DiscoveredPeer, before: DiscoveredPeer | None) -> None:
        if before is not None and before.device_address != peer.device_address:
            self._forget_address(before)
        # Somebody without an id at this address was this peer all along.
        other = self._peers.get(self._by_address.get(peer.device_address, 0))
        if other is not None and other.number != peer.number and other.on_air_id is None and not other.is_connected:
            peer = replace(peer, first_seen=min(peer.first_seen, other.first_seen))
            self._drop(other)
        self._by_address[peer.device_address] = peer.number
        if peer.on_air_id is not None:
            self._by_id[peer.on_air_id] = peer.number
        self._peers[peer.number] = peer

    def _remove(self, peer: DiscoveredPeer, reason: DisconnectReason) -> PeerEvent:
        self._drop(peer)
        return PeerDisconnected(peer, reason)

    def _drop(self, peer: DiscoveredPeer) -> None:
        del self._peers[peer.number]
        self._told.pop(peer.number, None)
        self._forget_address(peer)
        if peer.on_air_id is not None and self._by_id.get(peer.on_air_id) == peer.number:
            del self._by_id[peer.on_air_id]

    def _forget_address(self, peer: DiscoveredPeer) -> None:
        if self._by_address.get(peer.device_address) == peer.number:
            del self._by_address[peer.device_address]
