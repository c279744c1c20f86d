"""Answers that were sent a moment ago: a question that comes again gets the same one, and is not worked on again."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from ..transports.address import Udp

MOST_ANSWERS: Final = 1024
MOST_REPEATS: Final = 4
"""So often an answer is sent again: whoever has heard a question cannot have us shower its sender."""


@dataclass(slots=True)
class Answered:
    """A question that came: from where, its whole bytes' signature, and the answer once there is one."""

    source: Udp
    signature: bytes
    datagram: bytes | None = None
    repeats: int = 0


class AnswerCache:
    """By sender and transaction; the oldest goes when there are MOST_ANSWERS."""

    def __init__(self, most: int = MOST_ANSWERS) -> None:
        self._most = most
        self._answered: OrderedDict[tuple[bytes, bytes], Answered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._answered)

    def begin(self, sender: bytes, transaction: bytes, source: Udp, signature: bytes) -> Answered:
        """Note a question whose signature holds."""
        answered = self._answered[sender, transaction] = Answered(source, signature)
        if len(self._answered) > self._most:
            self._answered.popitem(last=False)
        return answered

    def came_before(self, sender: bytes, transaction: bytes) -> bool:
        """Whether this transaction of this sender's has been taken on."""
        return (sender, transaction) in self._answered

    def again(self, sender: bytes, transaction: bytes, source: Udp, signature: bytes) -> bytes | None:
        """The answer to send once more, if this is the same datagram from the same place, and not too often."""
        answered = self._answered[sender, transaction]
        if (answered.source, answered.signature) != (source, signature) or answered.repeats >= MOST_REPEATS:
            return None
        if answered.datagram is not None:
            answered.repeats += 1
        return answered.datagram
