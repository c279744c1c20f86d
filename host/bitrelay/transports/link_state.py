"""One transport to one peer, as it is measured while it is used (row CRD-13)."""

import asyncio
from typing import Final

from .adaptive_timeout import AdaptiveTimeout, TimeoutRange
from .metrics import Metrics, drifted, failed, succeeded, with_bandwidth, with_latency
from .selector import Candidate, TransportType

_SAMPLE_BYTES: Final = 16 * 1024
"""Fewer bytes tell nothing of a bandwidth."""


class LinkState:
    """now: seconds of the event loop's clock.

    suspect: it did not answer in time, and has not answered since; misses: health checks in a row without an answer.
    """

    def __init__(self, name: str, kind: TransportType, timeouts: TimeoutRange, now: float) -> None:
        self.name = name
        self.kind = kind
        self.sent_bytes = 0
        self.suspect = False
        self.misses = 0
        self.heard_at = now
        self.checking = False
        self.pings: dict[int, asyncio.Future[None]] = {}
        self._timeout = AdaptiveTimeout(timeouts)
        self._metrics = Metrics(last_updated=now, bandwidth_updated=now)
        self._busy_since: float | None = None
        self._busy_bytes = 0

    def metrics(self, now: float) -> Metrics:
        return drifted(self._metrics, now)

    def candidate(self, now: float) -> Candidate:
        return Candidate(self.name, self.kind, self.metrics(now), self.sent_bytes, self.suspect)

    def wait_s(self, now: float, size: int = 0) -> float:
        """How long so many bytes may take to be acknowledged.

        What was learnt, and never less than two usual round trips; and twice the time that the bytes take.
        """
        metrics = self.metrics(now)
        return max(self._timeout.current_s, metrics.latency_ms / 500) + size / 62.5 / max(metrics.bandwidth_kbps, 1.0)

    def heard(self, now: float) -> None:
        """Something came from the peer over it."""
        self.heard_at = now
        self.misses = 0

    def began(self, size: int, now: float) -> None:
        """A message goes out."""
        self.sent_bytes += size
        if self._busy_since is None:
            self._busy_since = now

    def arrived(self, size: int, now: float, *, latency_ms: float | None, more: bool) -> None:
        """Messages of that many bytes are acknowledged. more: others are still under way over it."""
        self.suspect = False
        self._timeout.succeeded()
        self._metrics = succeeded(self._metrics, now)
        if latency_ms is not None:
            self._metrics = with_latency(self._metrics, latency_ms, now)
        self._busy_bytes += size
        if self._busy_since is not None and now > self._busy_since and self._busy_bytes >= _SAMPLE_BYTES:
            rate = self._busy_bytes * 8 / 1000 / (now - self._busy_since)
            self._metrics = with_bandwidth(self._metrics, rate, now)
            self._busy_since, self._busy_bytes = now, 0
        if not more:
            self._busy_since, self._busy_bytes = None, 0

    def answered(self, latency_ms: float, now: float) -> None:
        """A ping came back."""
        self.suspect = False
        self._metrics = with_latency(succeeded(self._metrics, now), latency_ms, now)

    def failed(self, now: float, *, late: bool) -> None:
        """A message or ping did not arrive, or (late) was not answered in time."""
        self.suspect = True
        self._metrics = failed(self._metrics, now)
        self._busy_since, self._busy_bytes = None, 0
        if late:
            self._timeout.timed_out()
