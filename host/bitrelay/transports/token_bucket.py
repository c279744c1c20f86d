"""A token bucket: how often something may be done, on average and at once (row LIM-15)."""


class TokenBucket:
    """Full at first, it holds `capacity` tokens; `per_s` tokens a second come in.

    now, wherever it is asked for, is seconds of any one clock; one that goes back brings no tokens.
    """

    def __init__(self, capacity: float, per_s: float) -> None:
        self.capacity = capacity
        self.per_s = per_s
        self._tokens = float(capacity)
        self._at: float | None = None

    def tokens(self, now: float) -> float:
        """How many there are."""
        if self._at is None:
            self._at = now
        elif now > self._at:
            self._tokens = min(self.capacity, self._tokens + (now - self._at) * self.per_s)
            self._at = now
        return self._tokens

    def has_token(self, now: float) -> bool:
        return self.tokens(now) >= 1

    def take(self, tokens: float = 1) -> None:
        """Take tokens that are known to be there."""
        self._tokens -= tokens

    def consume(self, now: float, tokens: float = 1) -> bool:
        """Take tokens if all of them are there; whether they were."""
        if self.tokens(now) < tokens:
            return False
        self.take(tokens)
        return True

    def wait_s(self, now: float, tokens: float = 1) -> float:
        """How long until so many are there; infinite if they will never be."""
        missing = tokens - self.tokens(now)
        if missing <= 0:
            return 0.0
        if tokens > self.capacity or self.per_s <= 0:
            return float("inf")
        return missing / self.per_s
