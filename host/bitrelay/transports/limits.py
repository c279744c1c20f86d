"""Who may connect: the limits that keep strangers from exhausting a node (rows LIM-01 to LIM-11, LIM-23).

The limits are meant for strangers (resolution E19). A known peer, one we have talked to before and that behaved, is
held to the total, and otherwise to an exponential backoff of its own; `kept_for_known` of the places are only for known
peers, and it is counted beside the strangers of its address. Whether a peer is known shows in its handshake; before
that, an address that a known peer proved itself from counts as its own.

Nothing is remembered of what is refused but a count, so a refusal costs a few look-ups however many addresses a flood
has. What is remembered is bounded: places by the total, attempts by `most_attempts`, known sources and backoffs by
`most_known`; of each the oldest goes first. A cooldown is one of an address and a kind of transport, so that a peer can
be connected to over several.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final, TypeVar

from ..errors import LimitReached
from .address import Address, HostAddress

if TYPE_CHECKING:
    from ..identity.peer_cache import KnownPeer

RATE_WINDOW_S: Final = 60.0
CLEAN_S: Final = 60.0
HISTORY_S: Final = 300.0
KNOWN_AFTER_S: Final = 600.0
"""How long we must have talked to a peer for it to be known: nobody becomes that within one flood."""
_IPV6_HOST_BITS = 64
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
    """How many connections, how often. known_retry_s: a known peer's first wait, which doubles up to cooldown_s."""

    max_total: int = 100
    max_per_address: int = 3
    max_per_minute: int = 10
    cooldown_s: float = 60.0
    kept_for_known: int = 20
    known_retry_s: float = 1.0
    most_attempts: int = 4096
    most_known: int = 1024

    def __post_init__(self) -> None:
        if not 0 <= self.kept_for_known < self.max_total or min(self.max_per_address, self.max_per_minute) < 1:
            raise ValueError("limits leave room for somebody")


@dataclass(slots=True, eq=False)
class Place:
    """One connection's place, from the attempt to its end. known: it is one of a known peer, or of its address."""

    source: str
    known: bool
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
    if not isinstance(address, HostAddress):
        return str(address)
    try:
        ip = ip_address(address.host)
    except ValueError:
        return address.host
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return f"{IPv6Address(int(ip) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS)}/{_IPV6_HOST_BITS}"
    return str(ip)


def is_known_good(peer: "KnownPeer | None", known_after_s: float = KNOWN_AFTER_S) -> bool:
    """Whether the limits for strangers are not meant for it: of good reputation, and talked to over some time."""
    return peer is not None and peer.routes and peer.last_seen - peer.first_seen >= known_after_s


class Admission:
    """Gives places and takes them back. now: seconds of any one clock. Methods cost O(1), `statistics` aside."""

    def __init__(self, limits: ConnectionLimits = ConnectionLimits()) -> None:
        self.limits = limits
        self.refused: Counter[Limit] = Counter()
        self._strangers: dict[Place, None] = {}
        self._known: dict[Place, None] = {}
        self._by_source: Counter[tuple[str, bool]] = Counter()
        self._history: deque[float] = deque(maxlen=limits.most_attempts)
        self._minute: deque[float] = deque(maxlen=limits.max_per_minute)
        self._last: OrderedDict[Hashable, float] = OrderedDict()
        self._known_sources: OrderedDict[str, None] = OrderedDict()
        # Of known peers: how often they came in vain, and when last.
        self._backoff: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()
        self._cleaned = 0.0

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    @property
    def entries(self) -> int:
        """Everything that is remembered, for whoever watches memory."""
        tables = (self._by_source, self._history, self._minute, self._last, self._known_sources, self._backoff)
        return len(self) + sum(len(table) for table in tables)

    @property
    def pressure(self) -> Pressure:
        if len(self) >= self.limits.max_total:
            return Pressure.FULL
        return Pressure.STRAINED if self._no_room_for_strangers() else Pressure.NONE

    @property
    def newest_stranger(self) -> Place | None:
        """Whose place a known peer may have when all are taken: those who flood came last."""
        return next(reversed(self._strangers), None)

    def is_known_source(self, address: Address) -> bool:
        """Whether a known peer proved itself from that address."""
        return source_of(address) in self._known_sources

    def admit(self, address: Address, now: float, *, peer: bytes | None = None) -> Place:
        """A place for a connection that begins; `release` it when that ends or fails.

        peer: a known good peer that is to be connected to; None for whoever it is. The attempt counts from here on,
        however it ends (row LIM-06). Raises LimitReached.
        """
        self._clean(now)
        source = source_of(address)
        known = peer is not None or source in self._known_sources
        key = (peer if peer is not None else source, address.scheme)
        if len(self) >= self.limits.max_total or (not known and self._no_room_for_strangers()):
            raise self.refuse(Limit.TOTAL, address)
        if self._by_source[source, known] >= self.limits.max_per_address:
            raise self.refuse(Limit.PER_ADDRESS, address)
        if known:
            self._check_backoff(key, address, now)
        else:
            self._check_rate(address, now)
            self._check_cooldown(key, address, now)
        self._record(key, known, now)
        place = Place(source, known, key)
        self._take(place)
        return place

    def proven(self, place: Place, known: bool) -> None:
        """The handshake has shown whose place it is. Raises LimitReached, and takes it back, if that leaves no room."""
        if not place.held:
            return
        if known:
            self._known_sources[place.source] = None
            _keep_newest(self._known_sources, place.source, self.limits.most_known)
            if place.key in self._backoff:
                self._backoff[place.key] = (0, self._backoff[place.key][1])
        if known == place.known:
            return
        self.release(place)
        if not known and self._no_room_for_strangers():
            raise self.refuse(Limit.TOTAL, place.source)
        if self._by_source[place.source, known] >= self.limits.max_per_address:
            raise self.refuse(Limit.PER_ADDRESS, place.source)
        place.known = known
        place.held = True
        self._take(place)

    def release(self, place: Place) -> None:
        """Its connection has ended (row LIM-09). Nothing if that was told before."""
        if not place.held:
            return
        place.held = False
        del (self._known if place.known else self._strangers)[place]
        count = (place.source, place.known)
        self._by_source[count] -= 1
        if not self._by_source[count]:
            del self._by_source[count]

    def statistics(self, now: float) -> ConnectionStatistics:
        by_source: Counter[str] = Counter()
        for (source, _), count in self._by_source.items():
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

    def _check_rate(self, address: Address, now: float) -> None:
        if len(self._minute) == self.limits.max_per_minute and now - self._minute[0] < RATE_WINDOW_S:
            raise self.refuse(Limit.PER_MINUTE, address, self._minute[0] + RATE_WINDOW_S - now)

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

    def _record(self, key: Hashable, known: bool, now: float) -> None:
        self._history.append(now)
        if known:
            self._backoff[key] = (self._backoff.get(key, (-1, now))[0] + 1, now)
            _keep_newest(self._backoff, key, self.limits.most_known)
        else:
            self._minute.append(now)
            self._last[key] = now
            _keep_newest(self._last, key, self.limits.most_attempts)

    def _no_room_for_strangers(self) -> bool:
        return (
            len(self) >= self.limits.max_total
            or len(self._strangers) >= self.limits.max_total - self.limits.kept_for_known
        )

    def _take(self, place: Place) -> None:
        (self._known if place.known else self._strangers)[place] = None
        self._by_source[place.source, place.known] += 1

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
