"""A circuit breaker: what failed again and again is left alone for a while, then tried with care (row LIM-16)."""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class Circuit(StrEnum):
    CLOSED = "closed"
    """All may pass."""
    OPEN = "open"
    """Nothing may."""
    HALF_OPEN = "half-open"
    """A few may, to see."""


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Seconds and counts: so many failures within the window open it; after so long, so many may try at a time."""

    failures: int = 5
    window_s: float = 60.0
    open_s: float = 30.0
    probes: int = 3
    successes: int = 3


class CircuitBreaker:
    """One breaker. Ask `allow` before each attempt, and tell how it ended: `succeeded`, `failed` or `abandoned`.

    now: seconds of any one clock.
    """

    def __init__(self, limits: BreakerLimits = BreakerLimits()) -> None:
        self._limits = limits
        self._failures: deque[float] = deque(maxlen=limits.failures)
        self._opened_at: float | None = None
        self._half_open = False
        self._probing = 0
        self._successes = 0

    def state(self, now: float) -> Circuit:
        if self._opened_at is not None and now - self._opened_at >= self._limits.open_s:
            self._opened_at = None
            self._half_open = True
            self._probing = self._successes = 0
        if self._opened_at is not None:
            return Circuit.OPEN
        return Circuit.HALF_OPEN if self._half_open else Circuit.CLOSED

    def allow(self, now: float) -> bool:
        """Whether one more attempt may begin; half open, it counts as one of the probes under way."""
        state = self.state(now)
        if state is Circuit.HALF_OPEN:
            if self._probing >= self._limits.probes:
                return False
            self._probing += 1
        return state is not Circuit.OPEN

    def retry_s(self, now: float) -> float:
        """How long it stays open."""
        if self.state(now) is not Circuit.OPEN or self._opened_at is None:
            return 0.0
        return self._opened_at + self._limits.open_s - now

    def succeeded(self, now: float) -> None:
        if self.state(now) is Circuit.HALF_OPEN:
            self._probing = max(0, self._probing - 1)
            self._successes += 1
            self._half_open = self._successes < self._limits.successes

    def failed(self, now: float) -> None:
        state = self.state(now)
        if state is Circuit.OPEN:
            return
        self._failures.append(now)
        many = len(self._failures) == self._limits.failures and now - self._failures[0] <= self._limits.window_s
        if state is Circuit.HALF_OPEN or many:
            self._opened_at = now
            self._half_open = False
            self._failures.clear()

    def abandoned(self, now: float) -> None:
        """The attempt ended without telling anything about the other end: it was cancelled."""
        if self.state(now) is Circuit.HALF_OPEN:
            self._probing = max(0, self._probing - 1)
