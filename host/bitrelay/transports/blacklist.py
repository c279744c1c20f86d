"""Addresses that misbehaved, and are left out for a time (row LIM-22)."""

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BlacklistLimits:
    """So many faults within window_s put a source on the list for banned_s; of each table the oldest goes first."""

    faults: int = 16
    window_s: float = 60.0
    banned_s: float = 600.0
    most: int = 1024


class Blacklist:
    """Sources by any text. now: seconds of any one clock."""

    def __init__(self, limits: BlacklistLimits = BlacklistLimits()) -> None:
        self._limits = limits
        self._faults: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def fault(self, source: str, now: float) -> bool:
        """Note that it broke the protocol; whether it is on the list now."""
        count, since = self._faults.pop(source, (0, now))
        if now - since > self._limits.window_s:
            count, since = 0, now
        if count + 1 >= self._limits.faults:
            self.ban(source, now)
            return True
        self._faults[source] = (count + 1, since)
        if len(self._faults) > self._limits.most:
            self._faults.popitem(last=False)
        return self.left_s(source, now) > 0

    def ban(self, source: str, now: float) -> None:
        self._until[source] = now + self._limits.banned_s
        self._until.move_to_end(source)
        if len(self._until) > self._limits.most:
            self._until.popitem(last=False)

    def left_s(self, source: str, now: float) -> float:
        """For how long it is left out yet; 0 if it is not."""
        until = self._until.get(source)
        if until is None:
            return 0.0
        if until <= now:
            del self._until[source]
            return 0.0
        return until - now
