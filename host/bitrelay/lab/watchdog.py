"""The watchdog timer of a virtual board."""

import asyncio
from collections.abc import Callable


class Watchdog:
    """Calls `bite` when it was not fed for its timeout. Once started, nothing the program does stops it."""

    def __init__(self, bite: Callable[[], None]) -> None:
        self._bite = bite
        self._timeout_s = 0.0
        self._deadline = 0.0
        self._left_s: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, timeout_s: float) -> None:
        """Start it, or change its timeout."""
        self._timeout_s = timeout_s
        self.feed()

    def feed(self) -> None:
        """Begin the timeout anew."""
        if self._timeout_s > 0:
            self._deadline = asyncio.get_running_loop().time() + self._timeout_s
            self._arm()

    def expired(self) -> bool:
        """Whether the last feed is longer ago than the timeout."""
        return self._timeout_s > 0 and self._left_s is None and asyncio.get_running_loop().time() >= self._deadline

    def pause(self) -> None:
        """Stop its clock, together with that of the processor."""
        self._left_s = max(0.0, self._deadline - asyncio.get_running_loop().time())
        self._disarm()

    def resume(self) -> None:
        """Let its clock go on."""
        if self._left_s is not None:
            self._deadline = asyncio.get_running_loop().time() + self._left_s
            self._left_s = None
            if self._timeout_s > 0:
                self._arm()

    def stop(self) -> None:
        """Put it back to how it is after a reset of the chip: off."""
        self._timeout_s = 0.0
        self._left_s = None
        self._disarm()

    def _arm(self) -> None:
        # A feed only moves the deadline: the timer looks at it when it rings.
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._deadline, self._rings)
        elif self._timer.when() > self._deadline:
            self._disarm()
            self._arm()

    def _disarm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _rings(self) -> None:
        self._timer = None
        # The bite may find food that was on its way.
        if self.expired():
            self._bite()
        if self._timeout_s > 0 and not self.expired() and self._left_s is None:
            self._arm()
