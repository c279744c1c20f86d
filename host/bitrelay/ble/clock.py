"""Time, as a parameter: the loops of this package wait on a clock, so that a test need not."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Monotonic seconds."""

    def unix_ms(self) -> int:
        """Milliseconds since 1970, for what goes on the air."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""


class SystemClock:
    """The computer's own."""

    def now(self) -> float:
        return time.monotonic()

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
