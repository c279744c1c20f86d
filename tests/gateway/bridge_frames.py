"""Frames, meshes and moments for the tests of the bridge, and what it is asked most."""

from collections.abc import Sequence
from itertools import count
from typing import Any

from bitrelay.gateway.bridge import Bridge, Down, Heard
from bitrelay.gateway.bridge_frame import BridgeFrame, parse_frame
from bitrelay.gateway.config import DownlinkConfig, MeshConfig
from bitrelay.gateway.message import MeshOffer, Outcome
from bitrelay.lab.phone_identity import PhoneIdentity
from shared_protocol.frame import TYPE_MESSAGE, encode

WALL = 1_700_000_000_000
"""Unix milliseconds."""
OWN = b"o" * 32
ALICE, BOB, EVE = PhoneIdentity("alice"), PhoneIdentity("bob"), PhoneIdentity("eve")
OPEN = DownlinkConfig(enabled=True, frames_per_minute=6000, airtime_percent=100.0)

_numbers = count()


def author(number: int) -> bytes:
    """An on-air id."""
    return number.to_bytes(8, "big")


def gateway(number: int) -> bytes:
    """A PeerId."""
    return number.to_bytes(32, "big")


def made(value: bytes) -> BridgeFrame:
    frame = parse_frame(value)
    assert frame is not None
    return frame


def frame(
    type: int = TYPE_MESSAGE,
    ttl: int = 7,
    at: int = WALL,
    sender: bytes = ALICE.peer_id,
    payload: bytes | None = None,
    **fields: Any,
) -> BridgeFrame:
    """One that was not there before, unless it is told its payload."""
    text = b"number %d" % next(_numbers) if payload is None else payload
    return made(encode(type, ttl, at, sender, text, **fields))


def announce(phone: PhoneIdentity = ALICE, at: int = WALL) -> BridgeFrame:
    return made(phone.announce(at))


def mesh(name: str, downlink: DownlinkConfig = OPEN, **fields: Any) -> MeshConfig:
    return MeshConfig(name, (), downlink=downlink, **fields)


FAR = gateway(1)
"""Another gateway."""
CLOSED = DownlinkConfig()


def bridge(*meshes: MeshConfig, offers: Sequence[MeshOffer] = ()) -> Bridge:
    found = Bridge(OWN, meshes or (mesh("A"),))
    found.offers = {offer.name: offer for offer in offers}
    return found


def offer(name: str, **fields: object) -> MeshOffer:
    return MeshOffer(name, **{"downlink": True, **fields})  # type: ignore[arg-type]


def downs(found: Bridge, name: str = "A", now: float = 0, wall_ms: int = WALL) -> list[Down]:
    """All that goes down at once."""
    result = []
    while isinstance(down := found.next_down(name, now, wall_ms), Down):
        result.append(down)
    return result


def heard(found: Bridge, said: BridgeFrame, name: str = "A", now: float = 0, wall_ms: int = WALL) -> Heard:
    return found.heard(name, said, now, wall_ms)


def arrived(
    found: Bridge,
    said: BridgeFrame,
    name: str = "A",
    origin: str = "X",
    whence: bytes = FAR,
    now: float = 0,
    wall_ms: int = WALL,
) -> Outcome:
    return found.arrived(name, said, origin, whence, now, wall_ms)
