"""Frames, meshes and moments for the tests of the bridge."""

from itertools import count
from typing import Any

from bitrelay.gateway.bridge_frame import BridgeFrame, parse_frame
from bitrelay.gateway.config import DownlinkConfig, MeshConfig
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
