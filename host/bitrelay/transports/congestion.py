"""How long to wait for an acknowledgement, and how much to have under way; no clock (rows TRN-14, TRN-15)."""

from typing import Final

GRANULARITY_S: Final = 0.001


class RoundTrip:
    """Measured round trips, and the timeout that follows from them (RFC 6298).

    min_s, max_s: bounds of the timeout. RFC 6298 has 1 s as the lower one; what TCPs use is 0.2 s.
    """

    def __init__(self, *, initial_s: float = 1.0, min_s: float = 0.2, max_s: float = 10.0) -> None:
        self.smoothed: float | None = None
        self.variation = 0.0
        self.latest = initial_s
        self._min = min_s
        self._max = max_s
        self._timeout = initial_s
        self._backoff = 1

    @property
    def timeout(self) -> float:
        """In seconds; doubled for every time it has passed since the last answer."""
        return min(self._timeout * self._backoff, self._max)

    def sample(self, seconds: float) -> None:
        """A message was acknowledged after so long; one that was sent once, else it is not known which was meant."""
        self.latest = seconds = max(seconds, 0.0)
        if self.smoothed is None:
            self.smoothed, self.variation = seconds, seconds / 2
        else:
            self.variation = 0.75 * self.variation + 0.25 * abs(self.smoothed - seconds)
            self.smoothed = 0.875 * self.smoothed + 0.125 * seconds
        spread = max(GRANULARITY_S, 4 * self.variation)
        self._timeout = min(max(self.smoothed + spread, self._min), self._max)

    def timed_out(self) -> None:
        """Nothing came in time."""
        if self._timeout * self._backoff < self._max:
            self._backoff *= 2

    def answered(self) -> None:
        """Something came."""
        self._backoff = 1

    @property
    def reordering_s(self) -> float:
        """How long after a later one an earlier message may still come (RFC 9002, section 6.1.2)."""
        usual = self.latest if self.smoothed is None else max(self.smoothed, self.latest)
        return max(usual * 9 / 8, GRANULARITY_S)


class CongestionWindow:
    """How many segments may be under way: slow start, then one more each round trip, half after a loss (RFC 5681)."""

    MINIMUM: Final = 2.0

    def __init__(self, *, initial: int = 10, most: int = 256) -> None:
        self.size = float(initial)
        self.threshold = float(most)
        self._most = float(most)
        # Of a loss among what was sent before it was noticed, it was the first; numbers of transmissions.
        self._reduced_at = -1

    def acknowledged(self, count: int, was_full: bool) -> None:
        """So many were, for the first time. One that was not full has not shown that there is room for more."""
        if not was_full:
            return
        grown = self.size + (count if self.size < self.threshold else count / self.size)
        self.size = min(grown, self._most)

    def lost(self, transmission: int, sent: int) -> None:
        """A transmission of this number is lost; `sent` is the latest one's. Counts once for what was under way."""
        if transmission > self._reduced_at:
            self.size = self.threshold = max(self.size / 2, self.MINIMUM)
            self._reduced_at = sent

    def timed_out(self, sent: int) -> None:
        """Nothing came back at all."""
        self.threshold = max(self.size / 2, self.MINIMUM)
        self.size = self.MINIMUM
        self._reduced_at = sent
