"""How many handshakes are taken on: a token bucket for each source, and one for all together.

A handshake costs four multiplications on the curve, and anybody can ask for one under any name.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class HandshakeRate:
    """The phone apps' figures. A bucket holds a minute's worth."""

    per_source_per_min: int = 10
    per_min: int = 30
    sources: int = 1024
    """How many are remembered; the one that asked least recently is forgotten first, with a full bucket."""


class TokenBucket:
    """Full at first; `capacity` tokens a minute come in."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._tokens = float(capacity)
        self._at: float | None = None

    def has_token(self, now: float) -> bool:
        """now: seconds of a clock; one that goes back brings no tokens."""
        if self._at is None:
            self._at = now
        elif now > self._at:
            self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._capacity / 60)
            self._at = now
        return self._tokens >= 1

    def take(self) -> None:
        self._tokens -= 1


class HandshakeLimiter:
    """Says whether one more handshake may begin."""

    def __init__(self, rate: HandshakeRate | None = None) -> None:
        self._rate = rate or HandshakeRate()
        self._all = TokenBucket(self._rate.per_min)
        self._sources: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def allow(self, source: Hashable, now: float) -> bool:
        """Takes a token of both buckets, or of none. A source that is over its own limit takes nothing from others."""
        bucket = self._sources.get(source)
        if bucket is None:
            bucket = self._sources[source] = TokenBucket(self._rate.per_source_per_min)
            if len(self._sources) > self._rate.sources:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        if not bucket.has_token(now) or not self._all.has_token(now):
            return False
        bucket.take()
        self._all.take()
        return True
