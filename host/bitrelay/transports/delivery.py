"""Numbers on messages, so that each arrives once and in order whatever ways they take; no I/O and no clock.

A sender numbers its messages from 0 within an epoch, keeps each until the peer has acknowledged it, and sends it again
over another transport when the one it went over is cut. A receiver takes each number once, holds what comes too early,
and acknowledges all below the first that is missing. Epochs only grow: a sender that has started anew begins with the
time, so it is above what it used before; if its clock went back, the receiver's acknowledgement names the epoch it must
exceed. A receiver that has forgotten an epoch, because it started anew, says so (RESET), and the sender numbers what is
unacknowledged anew in a higher one. Only then can a message arrive twice: what the peer took just before it forgot.

Bounds: WINDOW messages and WINDOW_BYTES are under way, or one message; a receiver grants room as its reader takes
messages, and drops what comes in spite of that.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .control_frame import MAX_EPOCH, MAX_SEQUENCE, Ack, Data, Reset
from .fair_queue import Traffic

WINDOW: Final = 64
WINDOW_BYTES: Final = 256 * 1024
UNREAD_BYTES: Final = 256 * 1024
"""When so much waits for the reader, no more is granted; what is under way may come on top."""


@dataclass(slots=True, eq=False)
class Outgoing:
    """A message on its way. via: the transport it was sent over last, None if it is to be sent (again); sent_at: then.

    waiter: told when it was acknowledged, or, if that is not waited for, when it is under way.
    """

    message: bytes
    traffic: Traffic
    waiter: asyncio.Future[None]
    until_acknowledged: bool
    sequence: int = 0
    via: str | None = None
    sent_at: float = 0.0
    sends: int = 0


class SendWindow:
    """What is on its way to one peer. epoch: above all that were used with it before; Unix milliseconds are."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.progress_at = 0.0
        """When the peer last acknowledged something new."""
        self._unacknowledged: deque[Outgoing] = deque()
        self._bytes = 0
        self._next = 0
        self._granted = WINDOW

    def __len__(self) -> int:
        return len(self._unacknowledged)

    @property
    def oldest(self) -> Outgoing | None:
        return self._unacknowledged[0] if self._unacknowledged else None

    @property
    def has_room(self) -> bool:
        """Whether one more may be under way."""
        if not self._unacknowledged and self._next == MAX_SEQUENCE:
            self._begin(self.epoch + 1)
        return (
            len(self._unacknowledged) < WINDOW
            and self._next < min(self._granted, MAX_SEQUENCE)
            and self._bytes < WINDOW_BYTES
        )

    def add(self, outgoing: Outgoing) -> None:
        """Give it the next number; it is to be sent now. There must be room."""
        outgoing.sequence = self._next
        self._next += 1
        self._bytes += len(outgoing.message)
        self._unacknowledged.append(outgoing)

    def unsent(self) -> Outgoing | None:
        """The first that is to be sent."""
        return next((each for each in self._unacknowledged if each.via is None), None)

    def frame(self, outgoing: Outgoing) -> Data:
        lag = outgoing.sequence - self._first
        return Data(self.epoch, outgoing.sequence, lag, outgoing.message)

    def is_using(self, via: str) -> bool:
        """Whether anything is under way over that transport."""
        return any(each.via == via for each in self._unacknowledged)

    def recall(self, via: str) -> int:
        """Send again what went over that transport; how many."""
        recalled = [each for each in self._unacknowledged if each.via == via]
        for each in recalled:
            each.via = None
        return len(recalled)

    def acknowledged(self, ack: Ack, now: float) -> list[Outgoing]:
        """What is acknowledged by it for the first time, in order."""
        if self.epoch < ack.epoch < MAX_EPOCH and not self._was_acknowledged:
            self._begin(ack.epoch + 1)
        # A peer cannot acknowledge what it was not sent.
        if ack.epoch != self.epoch or ack.next > self._next:
            return []
        limit = ack.next + min(ack.room, WINDOW)
        first = self._first
        if ack.next > first:
            self._granted = limit
            self.progress_at = now
        elif ack.next == first:
            # Of two that say the same, whichever came last, the one with more room was sent last.
            self._granted = max(self._granted, limit)
        arrived = []
        while self._unacknowledged and self._unacknowledged[0].sequence < ack.next:
            arrived.append(self._unacknowledged.popleft())
            self._bytes -= len(arrived[-1].message)
        return arrived

    def reset(self, reset: Reset) -> None:
        """The peer has forgotten that epoch: number anew what is unacknowledged."""
        # It can have forgotten only what it had acknowledged; so it cannot ask for the same again and again.
        if reset.epoch == self.epoch and self._was_acknowledged:
            self._begin(self.epoch + 1)

    def abandon(self) -> list[Outgoing]:
        """Give up everything that is under way."""
        given_up = list(self._unacknowledged)
        self._unacknowledged.clear()
        self._bytes = 0
        self._begin(self.epoch + 1)
        return given_up

    @property
    def _was_acknowledged(self) -> bool:
        return self._first > 0

    @property
    def _first(self) -> int:
        return self._unacknowledged[0].sequence if self._unacknowledged else self._next

    def _begin(self, epoch: int) -> None:
        self.epoch = epoch
        self._granted = WINDOW
        self._next = 0
        for outgoing in self._unacknowledged:
            outgoing.sequence = self._next
            outgoing.via = None
            self._next += 1


class ReceiveWindow:
    """What comes from one peer.

    deliver: called with each message once, in order; its reader tells with `read` what it has taken. counts: of what is
    dropped, by reason.
    """

    def __init__(self, deliver: Callable[[bytes], None], counts: Counter[str]) -> None:
        self._deliver = deliver
        self._counts = counts
        self._epoch = -1
        self._forgotten = False
        self._next = 0
        self._told = 0
        """Up to which number the peer was last told that it may send."""
        self._early: dict[int, bytes] = {}
        self._early_bytes = 0
        self._unread = 0
        self._unread_bytes = 0

    def take(self, data: Data) -> Ack | Reset | None:
        """Take one frame, for any content; what to answer."""
        if data.epoch > self._epoch:
            self._begin(data)
        if data.epoch < self._epoch:
            self._counts["of an old epoch"] += 1
        elif self._forgotten:
            self._counts["of a forgotten epoch"] += 1
            return Reset(self._epoch)
        elif data.sequence < self._next or data.sequence in self._early:
            self._counts["duplicate"] += 1
        elif not self._has_room(data):
            self._counts["no room"] += 1
        else:
            self._keep(data)
        return self.ack()

    def ack(self) -> Ack | None:
        """All that has arrived, and how much more may come; None if nothing is known of the peer."""
        if self._epoch < 0 or self._forgotten:
            return None
        room = self._room()
        self._told = self._next + room
        return Ack(self._epoch, self._next, room)

    def read(self, size: int) -> bool:
        """The reader took a message of that size; whether the peer should be told that there is room again."""
        self._unread -= 1
        self._unread_bytes -= size
        return self._next + self._room() - self._told >= WINDOW // 4

    def _begin(self, data: Data) -> None:
        self._epoch = data.epoch
        # Its sender has had an acknowledgement that this end knows nothing of.
        self._forgotten = data.lag != data.sequence
        self._next = 0
        self._early.clear()
        self._early_bytes = 0

    def _room(self) -> int:
        return max(0, WINDOW - self._unread) if self._unread_bytes < UNREAD_BYTES else 0

    def _has_room(self, data: Data) -> bool:
        if data.sequence >= self._next + WINDOW - self._unread:
            return False
        if data.sequence > self._next:
            return self._early_bytes + len(data.message) <= WINDOW_BYTES
        return self._unread_bytes < UNREAD_BYTES + WINDOW_BYTES

    def _keep(self, data: Data) -> None:
        if data.sequence > self._next:
            self._early[data.sequence] = data.message
            self._early_bytes += len(data.message)
            return
        self._pass_on(data.message)
        while self._next in self._early:
            message = self._early.pop(self._next)
            self._early_bytes -= len(message)
            self._pass_on(message)

    def _pass_on(self, message: bytes) -> None:
        self._next += 1
        self._unread += 1
        self._unread_bytes += len(message)
        self._deliver(message)
