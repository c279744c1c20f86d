"""The events of a transport on their way to whoever reads them: bounded, in order (row TRN-10)."""

import asyncio
from collections import deque

from ..errors import TransportClosed
from .transport import Event, Failed

CAPACITY = 64
MAX_FAILURES = 64


class EventQueue:
    """Events wait here, at most `capacity` of those whose sender can wait.

    Of those whose sender cannot: ends of connections always fit, one for each that is up; of failures MAX_FAILURES wait
    and the next ones are dropped, so that a flood of bad connections neither fills it nor slows good ones down; other
    events are dropped when it is full. dropped: how many were.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self._waiting: deque[tuple[Event, bool]] = deque()
        self._filled = asyncio.Semaphore(0)
        self._free = capacity
        # In the order in which they came; a place that becomes free is handed to the first.
        self._senders: deque[asyncio.Future[None]] = deque()
        self._failures = 0
        self._closed = False

    async def put(self, event: Event) -> None:
        """Add an event, once there is room."""
        if self._free > 0:
            self._free -= 1
        else:
            turn = asyncio.get_running_loop().create_future()
            self._senders.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._senders:
                    self._senders.remove(turn)
                elif not turn.cancelled():
                    self._give_place()
                raise
        self._append(event, True)

    def offer(self, event: Event) -> bool:
        """Add an event if there is room; whether there was."""
        if self._free <= 0:
            self.dropped += 1
            return False
        self._free -= 1
        self._append(event, True)
        return True

    def tell(self, event: Event) -> None:
        """Add an event that cannot wait: the end of a connection, or a failure."""
        if isinstance(event, Failed):
            if self._failures >= MAX_FAILURES:
                self.dropped += 1
                return
            self._failures += 1
        self._append(event, False)

    async def get(self) -> Event:
        """The next event. Raises TransportClosed when it was closed and is empty."""
        await self._filled.acquire()
        if not self._waiting:
            self._filled.release()
            raise TransportClosed("the transport was closed")
        event, counted = self._waiting.popleft()
        if counted:
            self._give_place()
        if isinstance(event, Failed):
            self._failures -= 1
        return event

    def close(self) -> None:
        """What is in it can still be had; nothing more comes."""
        if not self._closed:
            self._closed = True
            self._filled.release()

    def _give_place(self) -> None:
        while self._senders:
            turn = self._senders.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _append(self, event: Event, counted: bool) -> None:
        if not self._closed:
            self._waiting.append((event, counted))
            self._filled.release()
