"""Datagrams on their way to where sending one takes a while."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ..errors import BitrelayError

CAPACITY = 64


class Outgoing:
    """Sends one after the other. CAPACITY may wait, the next ones are dropped: whoever sends datagrams has to expect
    that. dropped: counts them, and those that could not be sent, by reason."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], dropped: Counter[str]) -> None:
        self._send = send
        self._dropped = dropped
        self._waiting: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def put(self, datagram: bytes) -> None:
        if len(self._waiting) >= CAPACITY:
            self._dropped["too fast"] += 1
            return
        self._waiting.append(datagram)
        self._idle.clear()
        self._wake.set()

    async def flush(self, timeout: float) -> None:
        """Wait until all has been sent, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._idle.wait()

    async def close(self) -> None:
        """Send nothing more. Harmless when repeated."""
        self._task.cancel()
        await asyncio.wait((self._task,))

    async def _run(self) -> None:
        while True:
            self._idle.set()
            await self._wake.wait()
            while self._waiting:
                datagram = self._waiting.popleft()
                try:
                    await self._send(datagram)
                except BitrelayError as error:
                    # That there is no way any more, whoever reads finds out.
                    self._dropped[f"not sent: {type(error).__name__}"] += 1
            self._wake.clear()
