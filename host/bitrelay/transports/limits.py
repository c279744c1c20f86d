"""Who may connect: the limits that keep strangers from exhausting a node (rows LIM-01 to LIM-11, LIM-23).

The limits are meant for strangers (resolution E19). A known peer, one we have talked to before and that behaved, is
held to the total, and otherwise to an exponential backoff of its own; `kept_for_known` of the places are only for known
peers, and it is counted beside the strangers of its address. Whether a peer is known shows in its handshake; before
that, an address that a known peer proved itself from, or is remembered at, counts as its own. Anybody behind the same
router comes from there too, so until the handshake such an address has no backoff, but a token bucket.

What we dial ourselves has a minute, cooldowns, counts by address and `kept_for_outbound` places that who comes in
cannot use up.

Nothing is remembered of what is refused but a count, so a refusal costs a few look-ups however many addresses a flood
has. What is remembered is bounded: places by the total, attempts by `most_attempts`, known sources and backoffs by
`most_known`; of each the oldest goes first. A cooldown is one of an address and a kind of transport, so that a peer can
be connected to over several.
"""

import random
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from ..errors import LimitReached, WrongAddress
from .address import Address, HostAddress, parse
from .sockets import source_of_host
from .token_bucket import TokenBucket

if TYPE_CHECKING:
    from ..identity.peer_cache import KnownPeer, PeerCache

RATE_WINDOW_S: Final = 60.0
CLEAN_S: Final = 60.0
HISTORY_S: Final = 300.0
KNOWN_AFTER_S: Final = 600.0
"""How long we must have talked to a peer for it to be known: nobody becomes that within one flood."""
# Where a peer is reached is what it says itself: it shall not name many hosts as known ones.
_MOST_ADDRESSES = 4
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Limit(StrEnum):
    """Which limit says no. The first four are asked in this order (row LIM-05)."""

    TOTAL = "total"
    PER_ADDRESS = "per address"
    PER_MINUTE = "per minute"
    COOLDOWN = "cooldown"
    BLACKLIST = "blacklist"
    CIRCUIT = "circuit"


class Pressure(StrEnum):
    """What there still is room for."""

    NONE = "everybody"
    STRAINED = "known peers only"
    FULL = "nobody"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections, how often.

    known_retry_s: a known peer's first wait, which doubles up to cooldown_s. known_at_once, known_per_s: of attempts
    from one known source so many are sure to be let in at once, and so many a second as long as it may be.
    """

    max_total: int = 100
    max_per_address: int = 3
    max_per_minute: int = 10
    cooldown_s: float = 60.0
    kept_for_known: int = 20
    kept_for_outbound: int = 10
    known_retry_s: float = 1.0
    known_at_once: int = 6
    known_per_s: float = 1.0
    most_attempts: int = 4096
    most_known: int = 1024

    def __post_init__(self) -> None:
        kept = (self.kept_for_known, self.kept_for_outbound)
        least = min(self.max_per_address, self.max_per_minute, self.known_at_once)
        if min(kept) < 0 or sum(kept) >= self.max_total or least < 1:
            raise ValueError("limits leave room for somebody")


@dataclass(slots=True, eq=False)
class Place:
    """One connection's place, from the attempt to its end.

    known: it is one of a known peer, or of its address. outbound: we dialled.
    """

    source: str
    known: bool
    outbound: bool
    key: Hashable
    held: bool = True


@dataclass(frozen=True, slots=True)
class ConnectionStatistics:
    """Row LIM-11. connections_by_address: by `source_of`; recent_attempts: of the last minute; refused: by limit."""

    total_connections: int
    connections_by_address: dict[str, int]
    recent_attempts: int
    connection_limit: int
    known_connections: int
    refused: dict[str, int]


def source_of(address: Address) -> str:
    """What connections are counted by: the host, of IPv6 its /64, which one customer has whole; else the address."""
    return source_of_host(address.host) if isinstance(address, HostAddress) else str(address)


def is_known_good(peer: "KnownPeer | None", known_after_s: float = KNOWN_AFTER_S) -> bool:
    """Whether the limits for strangers are not meant for it: of good reputation, and talked to over some time."""
    return peer is not None and peer.routes and peer.last_seen - peer.first_seen >= known_after_s


def known_addresses(cache: "PeerCache", most: int = 1024) -> list[Address]:
    """Where the known good ones among the `most` peers seen last are reached: for `Admission`, which keeps the last.

    Addresses that cannot be read are left out. Raises what `PeerCache.get` raises.
    """
    found = []
    for peer_id in reversed(cache.peer_ids()[:most]):
        peer = cache.get(peer_id)
        if peer is None or not is_known_good(peer):
            continue
        for text in peer.addresses[:_MOST_ADDRESSES]:
            try:
                found.append(parse(text))
            except WrongAddress:
                continue
    return found


class Admission:
    """Gives places and takes them back. now: seconds of any one clock. Methods cost O(1), `statistics` aside.

    known_sources: where known peers were before (`known_addresses`); what is known at run time is lost with the node.
    chance: random numbers from 0 to 1.
    """

    def __init__(
        self,
        limits: ConnectionLimits = ConnectionLimits(),
        *,
        known_sources: Iterable[Address] = (),
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.limits = limits
        self.refused: Counter[Limit] = Counter()
        self._chance = chance
        # Of strangers those who came in, and those we dialled.
        self._strangers: dict[Place, None] = {}
        self._dialled: dict[Place, None] = {}
        self._known: dict[Place, None] = {}
        self._by_source: Counter[tuple[str, bool, bool]] = Counter()
        self._history: deque[float] = deque(maxlen=limits.most_attempts)
        self._minute_in: deque[float] = deque(maxlen=limits.max_per_minute)
        self._minute_out: deque[float] = deque(maxlen=limits.max_per_minute)
        self._last: OrderedDict[Hashable, float] = OrderedDict()
        self._known_sources: OrderedDict[str, TokenBucket] = OrderedDict()
        # Of known peers: how often they came, or were dialled, in vain, and when last.
        self._backoff: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()
        self._cleaned = 0.0
        for address in known_sources:
            self.remember(address)

    def __len__(self) -> int:
        return len(self._strangers) + len(self._dialled) + len(self._known)

    @property
    def entries(self) -> int:
        """Everything that is remembered, for whoever watches memory."""
        tables = (self._by_source, self._history, self._last, self._known_sources, self._backoff)
        minutes = len(self._minute_in) + len(self._minute_out)
        return len(self) + minutes + sum(len(table) for table in tables)

    @property
    def pressure(self) -> Pressure:
        if len(self) >= self.limits.max_total:
            return Pressure.FULL
        return Pressure.STRAINED if self._no_room_for_strangers(outbound=False) else Pressure.NONE

    @property
    def newest_stranger(self) -> Place | None:
        """Whose place a known peer may have when all are taken: those who flood came last, and were not dialled."""
        return next(reversed(self._strangers or self._dialled), None)

    def is_known_source(self, address: Address) -> bool:
        """Whether a known peer proved itself from that address, or is remembered there."""
        return source_of(address) in self._known_sources

    def remember(self, address: Address) -> None:
        """A known good peer is there: who comes in from there is no stranger until its handshake shows that."""
        self._know(source_of(address))

    def admit(self, address: Address, now: float, *, peer: bytes | None = None, outbound: bool = False) -> Place:
        """A place for a connection that begins; `release` it when that ends or fails.

        peer: a known good peer that is to be connected to, or is proven; None for whoever it is. outbound: we dial. The
        attempt counts from here on, however it ends (row LIM-06). Raises LimitReached.
        """
        self._clean(now)
        source = source_of(address)
        bucket = self._known_sources.get(source)
        known = peer is not None or bucket is not None
        key = (source if peer is None else peer, address.scheme, outbound)
        if len(self) >= self.limits.max_total or (not known and self._no_room_for_strangers(outbound)):
            raise self.refuse(Limit.TOTAL, address)
        if self._by_source[source, known, outbound] >= self.limits.max_per_address:
            raise self.refuse(Limit.PER_ADDRESS, address)
        if not known:
            minute = self._minute_out if outbound else self._minute_in
            self._check_rate(minute, address, now)
            self._check_cooldown(key, address, now)
            minute.append(now)
            self._last[key] = now
            _keep_newest(self._last, key, self.limits.most_attempts)
        elif bucket is not None and peer is None and not outbound:
            self._check_bucket(bucket, address, now)
            bucket.take()
        else:
            self._check_backoff(key, address, now)
            self._backoff[key] = (self._backoff.get(key, (-1, now))[0] + 1, now)
            _keep_newest(self._backoff, key, self.limits.most_known)
        self._history.append(now)
        place = Place(source, known, outbound, key)
        self._take(place)
        return place

    def proven(self, place: Place, known: bool) -> None:
        """The handshake has shown whose place it is. Raises LimitReached, and takes it back, if that leaves no room."""
        if not place.held:
            return
        if known:
            self._know(place.source)
            if place.key in self._backoff:
                self._backoff[place.key] = (0, self._backoff[place.key][1])
        if known == place.known:
            return
        self.release(place)
        if not known and self._no_room_for_strangers(place.outbound):
            raise self.refuse(Limit.TOTAL, place.source)
        if self._by_source[place.source, known, place.outbound] >= self.limits.max_per_address:
            raise self.refuse(Limit.PER_ADDRESS, place.source)
        place.known = known
        place.held = True
        self._take(place)

    def release(self, place: Place) -> None:
        """Its connection has ended (row LIM-09). Nothing if that was told before."""
        if not place.held:
            return
        place.held = False
        del self._places_like(place)[place]
        count = (place.source, place.known, place.outbound)
        self._by_source[count] -= 1
        if not self._by_source[count]:
            del self._by_source[count]

    def statistics(self, now: float) -> ConnectionStatistics:
        by_source: Counter[str] = Counter()
        for (source, _, _), count in self._by_source.items():
            by_source[source] += count
        recent = sum(now - at < RATE_WINDOW_S for at in self._history)
        refused = {limit.value: count for limit, count in self.refused.items()}
        return ConnectionStatistics(
            len(self), dict(by_source), recent, self.limits.max_total, len(self._known), refused
        )

    def refuse(self, limit: Limit, address: object, retry_s: float | None = None) -> LimitReached:
        """Counts a refusal; the error to raise for it."""
        self.refused[limit] += 1
        when = "" if retry_s is None else f" for {retry_s:.0f} s more"
        return LimitReached(
            f"no connection: the limit '{limit}' says no{when}", limit=limit, retry_s=retry_s, device=str(address)
        )

    def _check_rate(self, minute: deque[float], address: Address, now: float) -> None:
        if len(minute) == self.limits.max_per_minute and now - minute[0] < RATE_WINDOW_S:
            raise self.refuse(Limit.PER_MINUTE, address, minute[0] + RATE_WINDOW_S - now)

    def _check_cooldown(self, key: Hashable, address: Address, now: float) -> None:
        last = self._last.get(key)
        if last is not None and now - last < self.limits.cooldown_s:
            raise self.refuse(Limit.COOLDOWN, address, last + self.limits.cooldown_s - now)

    def _check_backoff(self, key: Hashable, address: Address, now: float) -> None:
        tries, last = self._backoff.get(key, (0, float("-inf")))
        # 2 ** 32 s are longer than any cooldown.
        wait_s = min(self.limits.cooldown_s, self.limits.known_retry_s * 2.0 ** min(tries, 32))
        if now - last < wait_s:
            raise self.refuse(Limit.COOLDOWN, address, last + wait_s - now)

    def _check_bucket(self, bucket: TokenBucket, address: Address, now: float) -> None:
        # The lower half is drawn for: first come, first served would give all of it to whoever tries most often, and
        # nothing to a known peer that comes a moment later.
        if bucket.tokens(now) < self._chance() * self.limits.known_at_once:
            raise self.refuse(Limit.COOLDOWN, address, bucket.wait_s(now, self.limits.known_at_once))

    def _know(self, source: str) -> None:
        if source not in self._known_sources:
            self._known_sources[source] = TokenBucket(2 * self.limits.known_at_once, self.limits.known_per_s)
        _keep_newest(self._known_sources, source, self.limits.most_known)

    def _no_room_for_strangers(self, outbound: bool) -> bool:
        most = self.limits.max_total - self.limits.kept_for_known
        return (
            len(self) >= self.limits.max_total
            or len(self._strangers) + len(self._dialled) >= most
            or (not outbound and len(self._strangers) >= most - self.limits.kept_for_outbound)
        )

    def _places_like(self, place: Place) -> dict[Place, None]:
        if place.known:
            return self._known
        return self._dialled if place.outbound else self._strangers

    def _take(self, place: Place) -> None:
        self._places_like(place)[place] = None
        self._by_source[place.source, place.known, place.outbound] += 1

    def _clean(self, now: float) -> None:
        if now - self._cleaned < CLEAN_S:
            return
        self._cleaned = now
        while self._history and now - self._history[0] > HISTORY_S:
            self._history.popleft()
        kept_s = max(HISTORY_S, self.limits.cooldown_s)
        while self._last and now - next(iter(self._last.values())) > kept_s:
            self._last.popitem(last=False)


def _keep_newest(table: OrderedDict[_Key, _Value], newest: _Key, most: int) -> None:
    table.move_to_end(newest)
    if len(table) > most:
        table.popitem(last=False)
