"""What is remembered of frames by their keys, for long enough and in bounded memory.

Two generations: entries are made in the younger one, and when that is full or has lasted a lifetime, it becomes the
older one, and what was in that goes at once. So letting go costs nothing by the frame.
"""

from typing import Final, Generic, TypeVar

LIFETIME_S: Final = 300.0
"""An entry stays for one to two of it. A frame may be 120 s ahead of the time and 120 s behind it, so after four
minutes no copy of it crosses any more."""
MOST_KEYS: Final = 1 << 16
"""Of one generation: 218 frames a second for five minutes, five times what the air around a relay carries; both are
some 17 MB when they are full. A flood beyond that shortens the memory; then the TTL, lowered at each crossing, bounds
what may go round."""

Value = TypeVar("Value")


class FrameCache(Generic[Value]):
    """A value for each key, until it is too old or too many have come since. now: seconds."""

    def __init__(self, most: int = MOST_KEYS, lifetime_s: float = LIFETIME_S) -> None:
        self._most = most
        self._lifetime_s = lifetime_s
        self._young: dict[bytes, Value] = {}
        self._old: dict[bytes, Value] = {}
        self._since: float | None = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: bytes) -> Value | None:
        found = self._young.get(key)
        return found if found is not None else self._old.get(key)

    def put(self, key: bytes, value: Value, now: float) -> None:
        """Remember it from now on; what was remembered of this key before gives way."""
        young = self._young
        if len(young) >= self._most and key not in young:
            self._turn(now)
            young = self._young
        young[key] = value

    def drop(self, key: bytes) -> None:
        """As if it had never come."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def forget(self, now: float) -> None:
        """Let go of what is too old; to be called once in a while."""
        if self._since is None:
            self._since = now
        elif now - self._since >= self._lifetime_s:
            self._turn(now)

    def _turn(self, now: float) -> None:
        self._old = self._young
        self._young = {}
        self._since = now
