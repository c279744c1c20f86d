"""What happened between gateways on its way to whoever reads it: bounded, in order."""

import asyncio
from collections import deque
from typing import Final

from ..errors import TransportClosed
from .exchange import ExchangeEvent

_MOST_EVENTS: Final = 256


class EventBacklog:
    """What happened and was not read yet. All fits, so whoever reads from outside waits for room() first."""

    def __init__(self) -> None:
        self._waiting: deque[ExchangeEvent] = deque()
        self._filled = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._closed = False

    def put(self, event: ExchangeEvent) -> None:
        self._waiting.append(event)
        self._filled.set()
        if len(self._waiting) >= _MOST_EVENTS:
            self._has_room.clear()

    async def room(self) -> None:
        """Wait until few enough are there."""
        await self._has_room.wait()

    async def get(self) -> ExchangeEvent:
        """The next one. Raises TransportClosed when it was closed and is empty."""
        while not self._waiting:
            if self._closed:
                raise TransportClosed("the exchange was stopped")
            self._filled.clear()
            await self._filled.wait()
        event = self._waiting.popleft()
        if len(self._waiting) < _MOST_EVENTS:
            self._has_room.set()
        return event

    def close(self) -> None:
        """What is in it can still be had."""
        self._closed = True
        self._filled.set()
