"""Which numbered messages of a session were there already (RFC 6479's question, with one big integer as the answer)."""

from typing import Final

from ..errors import MessageFault

WINDOW: Final = 1024
"""How many numbers back a message may come late. The phone apps have the same."""


class ReplayWindow:
    """The highest number seen, and which of the `WINDOW` numbers up to it were."""

    def __init__(self, size: int = WINDOW) -> None:
        self.highest = -1
        self._size = size
        # Bit i stands for highest - i.
        self._seen = 0

    def fault(self, number: int) -> MessageFault | None:
        """Why a message of this number must not be taken; None if it may. Changes nothing: the number is a claim until
        the message has been opened."""
        behind = self.highest - number
        if behind < 0:
            return None
        if behind >= self._size:
            return MessageFault.TOO_OLD
        return MessageFault.REPLAYED if self._seen >> behind & 1 else None

    def mark(self, number: int) -> None:
        """A message of this number was opened. Of a number that has a fault it changes nothing."""
        behind = self.highest - number
        if behind < 0:
            # A jump must not shift by more than the window has: the number is 32 bits of the sender's choice.
            kept = self._seen << min(-behind, self._size)
            self._seen = (kept | 1) & ((1 << self._size) - 1)
            self.highest = number
        elif behind < self._size:
            self._seen |= 1 << behind
