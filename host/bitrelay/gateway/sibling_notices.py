"""Tells the other gateways of a mesh of ours what we did there, many frames at a time."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from ..errors import BitrelayError
from ..transports.fair_queue import Traffic
from .exchange import Exchange
from .message import MOST_KEYS, Notice, NoticeMessage

_log = logging.getLogger(__name__)

GATHER_S: Final = 0.005
"""How long a notice waits for others."""
SEND_S: Final = 1.0


class SiblingNotices:
    """siblings: PeerIds of the other gateways of a mesh of ours, by its name."""

    def __init__(self, exchange: Exchange, siblings: Callable[[str], Iterable[bytes]]) -> None:
        self._exchange = exchange
        self._siblings = siblings
        self._loop = asyncio.get_running_loop()
        self._gathered: dict[tuple[Notice, str, str], list[bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self, what: Notice, mesh: str, key: bytes, target: str = "") -> None:
        """Tell them soon. target: where it was carried to."""
        if not any(True for _ in self._siblings(mesh)):
            return
        keys = self._gathered.setdefault((what, mesh, target), [])
        keys.append(key)
        if len(keys) >= MOST_KEYS:
            self._send_gathered()
        elif self._timer is None:
            self._timer = self._loop.call_later(GATHER_S, self._send_gathered)

    def tell_now(self, what: Notice, mesh: str, keys: list[bytes], target: str = "") -> None:
        """Tell them at once; the notice is on its way before anything that is sent later to the same gateway."""
        for gateway in self._siblings(mesh):
            task = self._loop.create_task(self._send(gateway, NoticeMessage(what, mesh, tuple(keys), target)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._send_gathered()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SEND_S)

    def _send_gathered(self) -> None:
        self._timer = None
        gathered, self._gathered = self._gathered, {}
        for (what, mesh, target), keys in gathered.items():
            self.tell_now(what, mesh, keys, target)

    async def _send(self, gateway: bytes, message: NoticeMessage) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await self._exchange.send(gateway, message, Traffic.INTERACTIVE)
        except (BitrelayError, TimeoutError) as error:
            _log.info("A notice did not go to %s: %s", gateway.hex()[:16], error)
