"""What a medium is to the rest: it opens and accepts pipes, through which whole messages go in order (row TRN-03).

Nothing that comes out of a pipe is to be trusted: `channel` makes it a connection with somebody known.
"""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from .address import Address

MAX_RECORD: Final = 65_535
"""The longest message of a pipe: that of Noise."""
CLOSE_S: Final = 2.0
"""How long an orderly close may take."""
OPENING_S: Final = 10.0
"""How long a medium's own handshake may take before a pipe is there."""


class Pipe(ABC):
    """One message after another, each whole, none lost while the pipe lasts.

    remote: the far end, as the medium sees it. Used by one reading and one writing task.
    """

    def __init__(self, remote: Address) -> None:
        self.remote = remote

    @property
    def heard_at(self) -> float:
        """When something of a message last came, by the loop's clock. A medium that does not tell is never heard."""
        return -math.inf

    @abstractmethod
    async def room(self) -> None:
        """Wait until one more message may be put. Raises DeviceLost."""

    @abstractmethod
    def put(self, message: bytes) -> None:
        """Hand over at most MAX_RECORD bytes, after `room`; without it the medium's buffer grows by one."""

    @abstractmethod
    async def receive(self, limit: int) -> bytes:
        """The next message, of at most so many bytes. Raises DeviceLost, MessageRefused for a longer one."""

    @abstractmethod
    async def close(self) -> None:
        """Send what was put and end in good order, within CLOSE_S. Nobody may be receiving. Raises no error."""

    @abstractmethod
    def abort(self) -> None:
        """End at once. Harmless when it has ended."""


class DatagramPipe(Pipe):
    """A pipe that has datagrams beside it, which may be lost, come twice or out of order."""

    on_datagram: Callable[[bytes], None] | None = None
    """Called for every datagram that comes; must not raise."""
    max_datagram: int = 0
    """In bytes."""

    @abstractmethod
    def put_datagram(self, datagram: bytes) -> None:
        """Send it, or drop it where there is no room."""


class Admission:
    """One inbound connection that was let in, for as long as it lasts."""

    give_way: Callable[[], None] | None = None
    """Ends it while it comes about. Set by the medium where a pipe is not there at once; the taker's from then on."""

    def __init__(self, left: Callable[[], None]) -> None:
        self._left: Callable[[], None] | None = left

    def release(self) -> None:
        """It has ended. Harmless the second time."""
        self.give_way = None
        left, self._left = self._left, None
        if left is not None:
            left()


class Arrivals(Protocol):
    """Who takes what comes to a medium that listens."""

    def admit(self, address: Address) -> Admission:
        """Asked before anything is kept for a connection, which may be told to give way. Raises LimitReached."""
        ...

    def arrived(self, pipe: Pipe, admission: Admission) -> None:
        """A pipe came; from now on it and its admission are the taker's to end."""
        ...


class Medium(ABC):
    """A way to open and accept pipes. dropped: what was not taken, by reason."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()

    @abstractmethod
    async def listen(self, address: Address, arrivals: Arrivals) -> Address:
        """Accept pipes at an address; the address that it has become. Raises WrongAddress, PortBusy, PortError."""

    @abstractmethod
    async def open(self, address: Address) -> Pipe:
        """Raises Unreachable. Takes as long as it takes: the caller has the deadline, and cancels."""

    @abstractmethod
    async def close(self) -> None:
        """Stop listening and end all pipes that are left."""
