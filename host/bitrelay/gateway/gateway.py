"""A gateway at work: relays, policy, other gateways, store and ledger brought together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import BitrelayError
from ..mesh.relay_ledger import RelayLedger
from .bridge import Bridge
from .config import GatewayConfig
from .exchange import Exchange, GatewayView
from .numbers import Numbers
from .relay_link import RelayLink
from .store import FrameStore


@dataclass(frozen=True, slots=True)
class GatewayJoined:
    """Another gateway can be reached."""

    gateway: GatewayView


@dataclass(frozen=True, slots=True)
class GatewayLost:
    """It no longer can."""

    peer_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class RelayUp:
    mesh: str
    relay: str


@dataclass(frozen=True, slots=True)
class RelayLost:
    mesh: str
    relay: str
    why: str


@dataclass(frozen=True, slots=True)
class Throttled:
    """A gateway sends more than its budget. refused: frames of it since it was told last."""

    peer_id: bytes
    name: str
    refused: int


@dataclass(frozen=True, slots=True)
class MeshUnreachable:
    """Frames for a mesh wait from now on."""

    mesh: str


@dataclass(frozen=True, slots=True)
class MeshReachable:
    """It can be reached again; so many frames wait for it."""

    mesh: str
    waiting: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something does not go well, and is tried again."""

    error: BitrelayError


Told = GatewayJoined | GatewayLost | RelayUp | RelayLost | Throttled | MeshUnreachable | MeshReachable | Trouble


class Gateway:
    """Carries frames between its meshes and those of other gateways, from start() to stop().

    relays: by the name of their mesh; closed in the end, as exchange, store and ledger are. ledger: None to keep none.
    tell: called with what happens; must not raise. clock: Unix seconds. Use it in one event loop.
    """

    def __init__(
        self,
        own: bytes,
        config: GatewayConfig,
        exchange: Exchange,
        relays: Mapping[str, Sequence[RelayLink]],
        store: FrameStore,
        ledger: RelayLedger | None,
        *,
        tell: Callable[[Told], None],
        clock: Callable[[], float],
    ) -> None:
        self.own = own
        self.config = config
        self.exchange = exchange
        self.relays = relays
        self.store = store
        self.ledger = ledger
        self.bridge = Bridge(own, config.meshes)
        self.numbers = Numbers()

    async def start(self) -> None:
        """Begin. Raises what Exchange.start raises."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Send what is under way for a moment, say goodbye, save, close. Harmless when repeated."""
        raise NotImplementedError

    def configure(self, config: GatewayConfig) -> None:
        """Go on with other budgets, subscriptions, names: what concerns the policy."""
        raise NotImplementedError

    def underway(self) -> dict[str, int]:
        """Frames that are on their way: "standby", "sending", "awaiting receipts"."""
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        """All of it as JSON may have it; keys as docs/gateway-guide.md says."""
        raise NotImplementedError
