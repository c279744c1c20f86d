"""Messages in a stream whose library takes any amount of data: the ends give one another credit. No I/O.

Who sends stops when WINDOW bytes have not been read at the other end; who receives more than that has a peer that
breaks the rules.

    u32, big-endian    below 2**31: the length of a message, which follows
                       else: 2**31 and so many more bytes that have been read, headers included
"""

from collections import deque
from typing import Final

from ..errors import MessageFault
from .pipe import MAX_RECORD
from .tcp import HEADER, framed

WINDOW: Final = 1 << 18
"""In bytes. More than one message has."""

_CREDIT: Final = 1 << 31


class MessageStream:
    """Cuts a stream into messages and keeps the account of credit, both ways. No I/O."""

    def __init__(self) -> None:
        self.credit = WINDOW
        """Bytes that may still be sent."""
        self.messages: deque[bytes] = deque()
        self.fault: MessageFault | None = None
        """Set when the peer has broken the rules; nothing more is taken then."""
        self._buffer = bytearray()
        self._unread = 0
        self._owed = 0

    def feed(self, data: bytes) -> None:
        """Bytes came. Raises for none whatever."""
        if self.fault is not None:
            return
        self._buffer += data
        at = 0
        while self.fault is None and len(self._buffer) - at >= HEADER.size:
            (word,) = HEADER.unpack_from(self._buffer, at)
            if word & _CREDIT:
                at += HEADER.size
                self.credit += word ^ _CREDIT
                # Nobody has read more than was sent.
                if self.credit > WINDOW:
                    self.fault = MessageFault.FORGED
                continue
            if not 0 < word <= MAX_RECORD:
                self.fault = MessageFault.TOO_LONG if word else MessageFault.TOO_SHORT
                continue
            end = at + HEADER.size + word
            if len(self._buffer) < end:
                break
            self.messages.append(bytes(self._buffer[at + HEADER.size : end]))
            self._unread += end - at
            at = end
        del self._buffer[:at]
        if self._unread + len(self._buffer) > WINDOW:
            self.fault = MessageFault.TOO_LONG

    def frame(self, message: bytes) -> bytes:
        """A message as it goes into the stream; takes credit, which may become less than nothing by one message."""
        whole = framed(message)
        self.credit -= len(whole)
        return whole

    def read(self, message: bytes) -> bytes:
        """A message was read: the credit to send for it, which is saved up to a quarter of the window."""
        size = HEADER.size + len(message)
        self._unread -= size
        self._owed += size
        if self._owed < WINDOW // 4:
            return b""
        owed, self._owed = self._owed, 0
        return HEADER.pack(_CREDIT | owed)

    @property
    def has_room(self) -> bool:
        """Whether a message of any size may be sent."""
        return self.credit >= HEADER.size + MAX_RECORD
