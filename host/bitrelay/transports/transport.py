"""What every transport can do, and what it tells (rows TRN-01, TRN-05 to TRN-08, TRN-18, TRN-20).

A peer is named by its PeerId, 32 bytes, which the transport has proved before it reports it. Data is a message: it
arrives whole, as it was sent, or not at all. Any number of tasks may use one transport at once.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from ..errors import BitrelayError, WrongAddress
from .address import Address

CONNECT_TIMEOUT_S = 20.0
SEND_TIMEOUT_S = 30.0


class Ended(StrEnum):
    """Why a connection ended; the text is for people, the name for programs."""

    LOCAL = "we hung up"
    REMOTE = "the peer hung up"
    LOST = "the peer went away without a word"
    IDLE = "nothing was heard from it for too long"
    REPLACED = "it was replaced by a newer connection with the same peer"
    MISBEHAVED = "the peer broke the protocol"
    TOO_SLOW = "the peer does not take what is sent"
    CLOSED = "the transport was closed"


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection with a peer is up. address: where it is reached; inbound: it came to us."""

    peer_id: bytes
    address: Address
    inbound: bool = False


@dataclass(frozen=True, slots=True)
class Disconnected:
    peer_id: bytes
    reason: Ended


@dataclass(frozen=True, slots=True)
class DataReceived:
    peer_id: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """Something went wrong that no caller waits for. peer_id: None if it is not known whose fault it is."""

    peer_id: bytes | None
    error: BitrelayError


Event = Connected | Disconnected | DataReceived | Failed


@dataclass(slots=True)
class Statistics:
    """Counts since the transport was made (row TRN-18). Packets are messages; bytes those of messages.

    connection_count: connections now. error_count: connections that failed or broke, and messages that were refused.
    """

    bytes_sent: int = 0
    bytes_received: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    connection_count: int = 0
    error_count: int = 0


class Transport(ABC):
    """One way to reach peers.

    accepts: the kinds of addresses it takes; others raise WrongAddress. max_message: the longest message, in bytes.
    Events of one peer come in the order in which they happened; they wait in a bounded queue, and while that is full no
    more data is taken from peers: who does not read slows them down, and loses nothing.
    """

    accepts: ClassVar[tuple[type[Address], ...]] = ()
    max_message: int = 0

    def __init__(self) -> None:
        self.statistics = Statistics()

    @abstractmethod
    async def listen(self, address: Address) -> Address:
        """Take connections at an address from now on; the address that it has become (port 0 means any).

        Raises WrongAddress, PortBusy, PortError.
        """

    @abstractmethod
    async def connect(
        self, address: Address, *, expected: bytes | None = None, timeout: float = CONNECT_TIMEOUT_S
    ) -> bytes:
        """Connect; the peer's PeerId, proved. expected: the PeerId that it must have.

        With a peer that is connected already, that connection stays or is replaced, and the peer has one. Raises
        WrongAddress, Unreachable, DeviceTimeout, HandshakeFailed, IncompatiblePeer.
        """

    @abstractmethod
    async def send(self, peer: bytes, data: bytes, *, timeout: float = SEND_TIMEOUT_S) -> None:
        """Send one message, and wait until the medium has room for more.

        Raises NotConnected, BadData for a message that is too long, DeviceLost, DeviceTimeout.
        """

    @abstractmethod
    async def disconnect(self, peer: bytes) -> None:
        """Hang up. Harmless for a peer that is not connected."""

    @abstractmethod
    def is_connected(self, peer: bytes) -> bool: ...

    @abstractmethod
    def connected_peers(self) -> Sequence[bytes]: ...

    @abstractmethod
    async def next_event(self) -> Event:
        """The next event; waits for it. After close() it gives what is left, then raises TransportClosed."""

    @abstractmethod
    async def close(self) -> None:
        """Hang up on everybody and take no more connections. Harmless when it is closed."""

    def demand(self, address: Address) -> None:
        """Raises WrongAddress for an address that this transport does not take (row TRN-08)."""
        if not isinstance(address, self.accepts):
            wanted = " or ".join(f"{kind.scheme}://" for kind in self.accepts)
            raise WrongAddress(f"{address} is not for this transport, which takes {wanted}")
