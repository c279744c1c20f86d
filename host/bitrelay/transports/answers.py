"""What a peer asks for, sent by a task of its own, so that it waits behind no message."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Final

from ..errors import BitrelayError
from .control_frame import Ack, Pong, Reset

MOST_ANSWERS: Final = 8
"""That wait; more are dropped and counted."""


class Answers:
    """Answers to one peer.

    send: sends a frame over a transport; raises a BitrelayError. transports: the names of those that there are now.
    ack: has the acknowledgement as it is now, if there is anything to acknowledge. counts: dropped and failed answers.
    """

    def __init__(
        self,
        send: Callable[[str, Ack | Pong | Reset], Awaitable[None]],
        transports: Callable[[], list[str]],
        ack: Callable[[], Ack | None],
        counts: Counter[str],
    ) -> None:
        self._send = send
        self._transports = transports
        self._ack = ack
        self._counts = counts
        self._waiting: deque[tuple[str, Pong | Reset]] = deque()
        self._ack_due = False
        self._ack_via: str | None = None
        self._any = asyncio.Event()

    def reply(self, via: str, frame: Pong | Reset) -> None:
        """Answer over that transport and no other."""
        if len(self._waiting) >= MOST_ANSWERS:
            self._counts["answer dropped"] += 1
            return
        self._waiting.append((via, frame))
        self._any.set()

    def acknowledge(self, via: str | None = None) -> None:
        """Acknowledge what has come, once for all that comes meanwhile. via: over which transport it came."""
        self._ack_via = via or self._ack_via
        self._ack_due = True
        self._any.set()

    async def run(self) -> None:
        """Send, until cancelled."""
        while True:
            await self._any.wait()
            self._any.clear()
            while self._waiting:
                via, frame = self._waiting.popleft()
                await self._try(via, frame)
            ack = self._ack() if self._ack_due else None
            self._ack_due = False
            if ack is not None:
                # First where messages come: that way works.
                for via in sorted(self._transports(), key=lambda name: name != self._ack_via):
                    if await self._try(via, ack):
                        break

    async def _try(self, via: str, frame: Ack | Pong | Reset) -> bool:
        try:
            await self._send(via, frame)
        except BitrelayError:
            self._counts["answer failed"] += 1
            return False
        return True
