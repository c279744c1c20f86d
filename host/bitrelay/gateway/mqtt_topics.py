"""The topics of a fleet on its broker: what is said where, and by whom it is read.

| topic, after `<first part>/1/` | what | read by |
|---|---|---|
| `gateway/<PeerId in hex>/hello` | who is there; retained, and the will | all |
| `gateway/<PeerId in hex>/inbox` | messages for one gateway | that one |
| `mesh/<name>/frames` | frames for whichever gateway of a mesh | one of those, by a shared subscription |
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from .message import is_mesh_name

VERSION: Final = "1"
MOST_PREFIX: Final = 128
"""Bytes of the first part."""
_ID_DIGITS: Final = 64
_MOST_TOPIC: Final = 512


class PlaceKind(Enum):
    HELLO = auto()
    INBOX = auto()
    FRAMES = auto()


@dataclass(frozen=True, slots=True)
class Place:
    """What a topic is for. gateway: whose it is; mesh: its name; each only where there is one."""

    kind: PlaceKind
    gateway: bytes = b""
    mesh: str = ""


def is_prefix(text: str) -> bool:
    """Whether all topics of a fleet may begin so: printable, no mark that MQTT gives a meaning; slashes only inside."""
    return (
        0 < len(text.encode(errors="replace")) <= MOST_PREFIX
        and text.isprintable()
        and not set(text) & set("+#$")
        and all(text.split("/"))
    )


class Topics:
    """prefix: the first part of all of them. fleet: what tells our shared subscriptions from those of another fleet."""

    def __init__(self, prefix: str, fleet: str) -> None:
        self._root = f"{prefix}/{VERSION}"
        self._fleet = fleet
        self.hellos = f"{self._root}/gateway/+/hello"

    def hello(self, gateway: bytes) -> str:
        return f"{self._root}/gateway/{gateway.hex()}/hello"

    def inbox(self, gateway: bytes) -> str:
        return f"{self._root}/gateway/{gateway.hex()}/inbox"

    def frames(self, mesh: str) -> str:
        return f"{self._root}/mesh/{mesh}/frames"

    def shared_frames(self, mesh: str) -> str:
        """What to subscribe to, so that each message goes to one of those who do.

        Fleets that share a broker and a first part have subscriptions of their own: otherwise they would take one
        another's frames, and could not open them.
        """
        return f"$share/{self._fleet}/{self.frames(mesh)}"

    def read(self, topic: str) -> Place | None:
        """What a topic is for; None if it is none of ours."""
        if len(topic) > _MOST_TOPIC or not topic.startswith(self._root + "/"):
            return None
        match topic[len(self._root) + 1 :].split("/"):
            case ["gateway", digits, "hello" | "inbox" as what]:
                gateway = _id(digits)
                if gateway is None:
                    return None
                return Place(PlaceKind.HELLO if what == "hello" else PlaceKind.INBOX, gateway)
            case ["mesh", mesh, "frames"] if is_mesh_name(mesh):
                return Place(PlaceKind.FRAMES, mesh=mesh)
        return None


def _id(digits: str) -> bytes | None:
    if len(digits) != _ID_DIGITS or set(digits) - set("0123456789abcdef"):
        return None
    return bytes.fromhex(digits)
