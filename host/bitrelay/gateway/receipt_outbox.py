"""Receipts on their way to other gateways: in order to each, and one that takes none holds up nobody else."""

import asyncio
import logging
from collections import deque
from typing import Final

from ..errors import BitrelayError
from ..transports.fair_queue import Traffic
from .exchange import Exchange
from .message import Receipt
from .numbers import Numbers

_log = logging.getLogger(__name__)

MOST_RECEIPTS: Final = 2048
"""That wait for one gateway; more are dropped."""
RECEIPT_S: Final = 5.0
"""For a receipt to be taken; of a gateway that takes that long, all that wait are dropped."""


class ReceiptOutbox:
    """numbers: counts what is dropped."""

    def __init__(self, exchange: Exchange, numbers: Numbers) -> None:
        self._exchange = exchange
        self._numbers = numbers
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[bytes, deque[Receipt]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def put(self, gateway: bytes, receipt: Receipt) -> None:
        """Send it as soon as the gateway takes it."""
        waiting = self._waiting.get(gateway)
        if self._closed:
            self._dropped(1)
        elif waiting is None:
            self._waiting[gateway] = deque((receipt,))
            task = self._loop.create_task(self._send_all(gateway))
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        elif len(waiting) < MOST_RECEIPTS:
            waiting.append(receipt)
        else:
            self._dropped(1)

    async def close(self) -> None:
        """Send nothing more; harmless when repeated."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send_all(self, gateway: bytes) -> None:
        waiting = self._waiting[gateway]
        try:
            while waiting:
                try:
                    async with asyncio.timeout(RECEIPT_S):
                        await self._exchange.send(gateway, waiting[0], Traffic.INTERACTIVE)
                    waiting.popleft()
                except TimeoutError:
                    self._dropped(len(waiting))
                    waiting.clear()
                except BitrelayError:
                    self._dropped(1)
                    waiting.popleft()
        finally:
            del self._waiting[gateway]

    def _dropped(self, count: int) -> None:
        self._numbers.events["receipts dropped"] += count

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("A task of the gateway has failed", exc_info=error)
