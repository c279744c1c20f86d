"""How many handshakes are taken on: a token bucket for each source, and one for all together.

A handshake costs four multiplications on the curve, and anybody can ask for one under any name.
"""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from ..transports.token_bucket import TokenBucket


@dataclass(frozen=True)
class HandshakeRate:
    """The phone apps' figures. A bucket holds a minute's worth."""

    per_source_per_min: int = 10
    per_min: int = 30
    sources: int = 1024
    """How many are remembered; the one that asked least recently is forgotten first, with a full bucket."""


def _bucket(per_min: int) -> TokenBucket:
    return TokenBucket(per_min, per_min / 60)


class HandshakeLimiter:
    """Says whether one more handshake may begin."""

    def __init__(self, rate: HandshakeRate | None = None) -> None:
        self._rate = rate or HandshakeRate()
        self._all = _bucket(self._rate.per_min)
        self._sources: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def allow(self, source: Hashable, now: float) -> bool:
        """Takes a token of both buckets, or of none. A source that is over its own limit takes nothing from others."""
        bucket = self._sources.get(source)
        if bucket is None:
            bucket = self._sources[source] = _bucket(self._rate.per_source_per_min)
            if len(self._sources) > self._rate.sources:
                self._sources.popitem(last=False)
        self._sources.move_to_end(source)
        if not bucket.has_token(now) or not self._all.has_token(now):
            return False
        bucket.take()
        self._all.take()
        return True
