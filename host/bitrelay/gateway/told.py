"""What a gateway tells of what happens."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import BitrelayError
from .exchange import GatewayView


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


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file of ours was damaged; it is kept under this name, and begun anew."""

    path: Path


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The configuration was read again. changed: keys that count now; restart: keys that count from the next start."""

    changed: tuple[str, ...]
    restart: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReloadRefused:
    """It was read again and has a mistake: the old one stays."""

    error: BitrelayError


Told = (
    GatewayJoined
    | GatewayLost
    | RelayUp
    | RelayLost
    | Throttled
    | MeshUnreachable
    | MeshReachable
    | Trouble
    | SetAside
    | Reloaded
    | ReloadRefused
)
