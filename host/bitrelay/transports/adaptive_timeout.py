"""A timeout that learns: shorter with each success, longer with each wait in vain (row LIM-18)."""

from dataclasses import dataclass

_SHORTER, _LONGER = 0.95, 1.5


@dataclass(frozen=True, slots=True)
class TimeoutRange:
    """Seconds. base: at first."""

    base_s: float = 1.0
    min_s: float = 0.2
    max_s: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.min_s <= self.base_s <= self.max_s:
            raise ValueError("a timeout begins within its range")


class AdaptiveTimeout:
    """current_s: how long to wait now."""

    def __init__(self, within: TimeoutRange = TimeoutRange()) -> None:
        self._range = within
        self.current_s = within.base_s

    def succeeded(self) -> None:
        self.current_s = max(self._range.min_s, self.current_s * _SHORTER)

    def timed_out(self) -> None:
        self.current_s = min(self._range.max_s, self.current_s * _LONGER)
