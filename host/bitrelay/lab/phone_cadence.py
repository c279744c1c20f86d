"""When an app announces itself (bitchat protocol, sections 1.4 and 1.8). Policies; times are monotonic seconds."""

import random
from collections.abc import Collection
from typing import Protocol

from .phone_profile import AppRules

# iOS: what a central that subscribes again and again gets.
_BACKOFF_S = 2.0
_BACKOFF_MOST_S = 30.0


class Cadence(Protocol):
    """announced() is told of every announce, whatever called for it, and of the direct peers that were known then."""

    def announced(self, now: float, direct: Collection[bytes]) -> None:
        """An announce is sent now."""

    def due(self, now: float, direct: int, traffic_at: float | None) -> float | None:
        """When the next periodic announce is due, None for never, as things are.

        direct: how many direct peers there are; traffic_at: when a frame arrived last.
        """


class IosCadence:
    """The more peers the fewer announces; traffic makes the next one come early."""

    def __init__(self, rules: AppRules, rng: random.Random, start: float) -> None:
        self._rules = rules
        self._random = rng
        self._last = start
        self._jitter = rng.uniform(-1, 1)

    def announced(self, now: float, direct: Collection[bytes]) -> None:
        """An announce is sent now."""
        self._last = now
        self._jitter = self._random.uniform(-1, 1)

    def due(self, now: float, direct: int, traffic_at: float | None) -> float | None:
        """When the next periodic announce is due."""
        rules = self._rules
        if not direct:
            wait = rules.announce_alone_s or 0.0
        elif direct < rules.dense_peers:
            wait = rules.announce_every_s + self._jitter * rules.announce_jitter_s
        else:
            wait = rules.announce_dense_s + self._jitter * rules.announce_dense_jitter_s
        if rules.announce_busy_s is not None and traffic_at is not None and now - traffic_at < rules.traffic_s:
            wait = min(wait, rules.announce_busy_s)
        return self._last + wait


class AndroidCadence:
    """Announces every so often while it knows of a direct peer, and looks who is one only when it builds an announce.

    So a peer whose announce comes after this phone's own first one does not start the cadence (section 1.8).
    """

    def __init__(self, rules: AppRules) -> None:
        self._rules = rules
        self._had_peers = False
        self._due: float | None = None

    def announced(self, now: float, direct: Collection[bytes]) -> None:
        """An announce is sent now: this is when the app looks who is there."""
        has_peers = bool(direct)
        if not has_peers:
            self._due = None
        elif not self._had_peers or (self._due is not None and now >= self._due):
            self._due = now + self._rules.announce_every_s
        self._had_peers = has_peers

    def due(self, now: float, direct: int, traffic_at: float | None) -> float | None:
        """When the next periodic announce is due, None for never."""
        return self._due


def cadence_of(rules: AppRules, rng: random.Random, now: float) -> Cadence:
    """The cadence of a phone that is switched on now."""
    return IosCadence(rules, rng, now) if rules.platform == "ios" else AndroidCadence(rules)


class SubscriptionLimit:
    """iOS does not announce itself again to a central that has subscribed just before; the more often, the longer."""

    def __init__(self) -> None:
        self._centrals: dict[str, tuple[float, float]] = {}

    def allows(self, central: str, now: float) -> bool:
        """Whether a central that subscribes now is announced to."""
        allowed_at, backoff = self._centrals.get(central, (now, 0.0))
        if now - allowed_at >= backoff:
            self._centrals[central] = (now, _BACKOFF_S)
            return True
        self._centrals[central] = (allowed_at, min(backoff * 2, _BACKOFF_MOST_S))
        return False
