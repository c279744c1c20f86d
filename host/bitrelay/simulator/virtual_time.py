"""An asyncio event loop in which nobody waits: when there is nothing to do, its clock jumps to the next timer.

What runs in it takes as long as it computes, and is the same each time if it draws its randomness from a seed: timers
fire in order of time, and those of one moment as they were set.
"""

import asyncio
import heapq
import selectors
from collections.abc import Callable
from itertools import count
from typing import Any


class _NoWaiting(selectors.DefaultSelector):
    """Looks at what came from outside, signals as it may be, without waiting for it, and lets the clock jump."""

    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float | None], None] = lambda _: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and (timeout is None or timeout > 0):
            self.jump(timeout)
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """The loop. Its clock begins at 0 seconds.

    RuntimeError is raised out of it if its tasks all wait for something that no timer brings: they would for ever.
    """

    def __init__(self) -> None:
        selector = _NoWaiting()
        super().__init__(selector)
        selector.jump = self._jump
        # A timer that is due within it fires. asyncio has a nanosecond, which a clock of years cannot tell apart.
        self._clock_resolution = 1e-6
        self._now = 0.0
        self._due: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = count()
        self._ticker: asyncio.TimerHandle | None = None

    def time(self) -> float:
        return self._now

    def deliver_later(self, delay: float, callback: Callable[..., object], *args: Any) -> None:
        """As call_later, cheaper by the half, for what is never cancelled."""
        when = self._now + delay
        heapq.heappush(self._due, (when, next(self._order), callback, args))
        if self._ticker is None or when < self._ticker.when():
            if self._ticker is not None:
                self._ticker.cancel()
            self._ticker = self.call_at(when, self._deliver)

    def _deliver(self) -> None:
        self._ticker = None
        due = self._due
        while due and due[0][0] <= self._now:
            _, _, callback, args = heapq.heappop(due)
            callback(*args)
        if due and self._ticker is None:
            self._ticker = self.call_at(due[0][0], self._deliver)

    def _jump(self, timeout: float | None) -> None:
        if timeout is None:
            raise RuntimeError("everything waits, and nothing will come: in virtual time this is for ever")
        self._now += timeout
