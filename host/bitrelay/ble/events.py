"""What happens to peers, for whoever wants to know (DSC-09 to DSC-13)."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ..errors import BitrelayError

if TYPE_CHECKING:
    from .peers import DiscoveredPeer


class DisconnectReason(StrEnum):
    """Why a peer is not connected any more, or not there (BLE-09)."""

    USER_REQUESTED = "user requested"
    LINK_LOST = "link lost"
    UNSEEN = "unseen"
    EVICTED = "evicted"
    HANDOVER = "handover"
    INCOMPATIBLE = "incompatible"
    WRONG_PEER = "wrong peer"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True)
class PeerDiscovered:
    """A peer was seen for the first time, or again after it was gone."""

    peer: "DiscoveredPeer"


@dataclass(frozen=True)
class PeerConnected:
    """A link to the peer is up and its version is agreed on."""

    peer: "DiscoveredPeer"


@dataclass(frozen=True)
class PeerDisconnected:
    """The link to a peer ended, or it is forgotten: UNSEEN for too long, or EVICTED from a full table."""

    peer: "DiscoveredPeer"
    reason: DisconnectReason


@dataclass(frozen=True)
class PeerRangeChanged:
    """The peer came nearer or went away; distance in metres."""

    peer: "DiscoveredPeer"
    distance: float


@dataclass(frozen=True)
class DiscoveryError:
    """Scanning failed; it is tried again."""

    error: BitrelayError


PeerEvent = PeerDiscovered | PeerConnected | PeerDisconnected | PeerRangeChanged
Event = PeerEvent | DiscoveryError
