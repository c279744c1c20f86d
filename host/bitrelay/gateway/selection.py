"""Which of several gateways is taken: those that are good enough, and of these by preference (rows GWY-07 to GWY-11).

Pure functions of what is known of gateways. Trusted ones go first. If none is good enough, the best of what there is
is taken, which the result says (row LIM-23): a bad way out is better than none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from .config import Preference

# Gateways that are about as good as the best one share the work.
_LATENCY_FACTOR: Final = 2.0
_LATENCY_MS: Final = 20.0
_ROOM_SHARE: Final = 0.5
_UPTIME: Final = 0.05


@dataclass(frozen=True, slots=True)
class Criteria:
    """max_load, min_uptime: shares, strictly below and above which a gateway must be; max_fee: the most it may ask."""

    max_load: float = 0.8
    min_uptime: float = 0.95
    max_fee: int = 10


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of a gateway. load: share of its capacity in use. uptime: share of the time. capacity: frames a
    minute. latency_ms: there and back, None if nobody has measured it."""

    peer_id: bytes
    load: float = 0.0
    uptime: float = 1.0
    fee: int = 1
    capacity: int = 0
    latency_ms: float | None = None
    trusted: bool = False

    @property
    def room(self) -> float:
        """Frames a minute that it can still take."""
        return self.capacity * max(0.0, 1.0 - self.load)


@dataclass(frozen=True, slots=True)
class Selection:
    """candidates: best first. degraded: none is good enough, these are what there is."""

    candidates: tuple[Candidate, ...] = ()
    degraded: bool = False


def acceptable(candidate: Candidate, criteria: Criteria) -> bool:
    """Whether a gateway is good enough (rows GWY-08, GWY-09)."""
    return (
        candidate.load < criteria.max_load
        and candidate.uptime > criteria.min_uptime
        and candidate.fee <= criteria.max_fee
    )


def order(candidates: Iterable[Candidate], preference: Preference) -> list[Candidate]:
    """Best first. Where the preference makes no difference, the less loaded goes first, then the nearer."""
    return sorted(candidates, key=lambda each: (_rank(each, preference), each.load, _latency(each), each.peer_id))


def best(candidates: Iterable[Candidate], criteria: Criteria, preference: Preference) -> Candidate | None:
    """The gateway to take; None of none (row GWY-07)."""
    return next(iter(select(candidates, criteria, preference).candidates), None)


def select(candidates: Iterable[Candidate], criteria: Criteria, preference: Preference) -> Selection:
    """Those to take a gateway from: trusted ones if there are any, and of these the good enough, or else all."""
    known = list(candidates)
    pool = [each for each in known if each.trusted] or known
    good = [each for each in pool if acceptable(each, criteria)]
    return Selection(tuple(order(good or pool, preference)), degraded=bool(pool) and not good)


def alike(ordered: Sequence[Candidate], preference: Preference) -> list[Candidate]:
    """Of gateways in this order, those that are about as good as the first: they share the work (row GWY-19)."""
    if not ordered:
        return []
    first = ordered[0]
    match preference:
        case Preference.LOWEST_LATENCY:
            most = max(_LATENCY_FACTOR * _latency(first), _latency(first) + _LATENCY_MS)
            return [each for each in ordered if _latency(each) <= most]
        case Preference.LOWEST_COST:
            return [each for each in ordered if each.fee == first.fee]
        case Preference.HIGHEST_BANDWIDTH:
            return [each for each in ordered if each.room >= _ROOM_SHARE * first.room]
        case Preference.MOST_RELIABLE:
            return [each for each in ordered if each.uptime >= first.uptime - _UPTIME]


def _rank(candidate: Candidate, preference: Preference) -> float:
    match preference:
        case Preference.LOWEST_LATENCY:
            return _latency(candidate)
        case Preference.LOWEST_COST:
            return candidate.fee
        case Preference.HIGHEST_BANDWIDTH:
            return -candidate.room
        case Preference.MOST_RELIABLE:
            return -candidate.uptime


def _latency(candidate: Candidate) -> float:
    # What nobody has measured comes last (row GWY-11).
    return float("inf") if candidate.latency_ms is None else candidate.latency_ms
