"""What carries messages between gateways, whatever it is made of: links of our own, or a broker."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..transports.address import Address
from ..transports.fair_queue import Traffic
from .config import FederationConfig
from .message import FrameMessage, Hello, Message


@dataclass(frozen=True, slots=True)
class GatewayView:
    """A gateway that can be reached now. hello: what it said of itself last. trusted: by our configuration.

    latency_ms: there and back, as measured, None if not yet. uptime: share of the time since we know it in which it
    could be reached, 0 to 1.
    """

    peer_id: bytes
    hello: Hello
    trusted: bool
    latency_ms: float | None = None
    uptime: float = 1.0


@dataclass(frozen=True, slots=True)
class GatewayUp:
    """A gateway can be reached, or said something new of itself."""

    gateway: GatewayView


@dataclass(frozen=True, slots=True)
class GatewayDown:
    """A gateway can no longer be reached."""

    peer_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class MessageCame:
    """A message of a gateway that can be reached, which was proved to be from it."""

    peer_id: bytes
    message: Message


ExchangeEvent = GatewayUp | GatewayDown | MessageCame


class Exchange(ABC):
    """Other gateways. What goes wrong with one of them is told by GatewayDown, never raised by next_event().

    live: the fields of FederationConfig that configure() takes.
    """

    live: ClassVar[frozenset[str]] = frozenset()

    @property
    def bound(self) -> tuple[Address, ...]:
        """Where it listens, from the start on; nowhere if gateways meet at a broker."""
        return ()

    def troubles(self) -> Mapping[str, str]:
        """Why gateways that it is to reach cannot be reached, by where they are."""
        return {}

    def refused(self) -> Mapping[str, int]:
        """How many that came were turned away, by reason."""
        return {}

    def untrusted(self) -> Mapping[bytes, str]:
        """The last that were turned away because nobody trusts them: PeerIds, and where they were."""
        return {}

    def configure(self, config: FederationConfig) -> None:  # noqa: B027 (there may be nothing that it can take)
        """Go on with this; what is not in `live` is as it was."""

    @abstractmethod
    async def start(self, hello: Hello) -> None:
        """Begin, saying this of ourselves. Raises what cannot be mended by trying again: a port in use, a key that
        cannot be read. A broker or a peer that does not answer is tried again, for ever."""

    @abstractmethod
    def update(self, hello: Hello) -> None:
        """Say this of ourselves from now on."""

    @abstractmethod
    def gateways(self) -> Sequence[GatewayView]:
        """Those that can be reached now."""

    @abstractmethod
    async def send(self, gateway: bytes, message: Message, traffic: Traffic) -> None:
        """Hand a message over for a gateway; it may be under way when this returns. Raises a BitrelayError if it cannot
        be handed over."""

    @abstractmethod
    async def send_to_mesh(
        self, message: FrameMessage, author: bytes, traffic: Traffic, avoid: Collection[bytes] = ()
    ) -> bytes | None:
        """Hand a frame over for one of the gateways that join message.target and take frames for it.

        The same author's frames go to the same one while it is there (election.elected). avoid: PeerIds that have
        failed with this frame. Returns whom it went to; None if the engine chooses and does not say. Raises Unreachable
        if there is nobody left.
        """

    @abstractmethod
    async def next_event(self) -> ExchangeEvent:
        """What happened next, in order; waits for it. Raises TransportClosed after stop()."""

    @abstractmethod
    async def stop(self) -> None:
        """Say goodbye and end. Harmless when repeated."""
