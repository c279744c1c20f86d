"""Which frames may cross at all."""

import pytest

from bitrelay.gateway.crossing import Drop
from bitrelay.gateway.eligibility import barred, seconds_left
from shared_protocol.frame import (
    TYPE_ANNOUNCE,
    TYPE_FRAGMENT,
    TYPE_HELLO,
    TYPE_HOSTS,
    TYPE_MESSAGE,
    TYPE_NOISE_ENCRYPTED,
    TYPE_REQUEST_SYNC,
    TYPE_VOICE,
)

from .bridge_frames import WALL, frame


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"type": TYPE_NOISE_ENCRYPTED, "recipient": b"somebody"}, None),
        ({"type": TYPE_FRAGMENT}, None),
        ({"type": 0x7E}, None),
        ({"ttl": 2}, None),
        ({"type": TYPE_HELLO}, Drop.LOCAL_TYPE),
        ({"type": TYPE_HELLO, "version": 2}, Drop.LOCAL_TYPE),
        ({"type": TYPE_HOSTS}, Drop.LOCAL_TYPE),
        ({"type": TYPE_REQUEST_SYNC}, Drop.LOCAL_TYPE),
        ({"rsr": True}, Drop.SYNC_ANSWER),
        ({"ttl": 1}, Drop.TTL),
        ({"ttl": 0}, Drop.TTL),
        ({"at": WALL - 120_001}, Drop.STALE),
        ({"at": WALL + 120_001}, Drop.STALE),
        ({"at": 2**64 - 1}, Drop.STALE),
    ],
    ids=str,
)
def test_what_is_barred(fields: dict[str, object], reason: Drop | None) -> None:
    assert barred(frame(**fields), WALL) is reason


@pytest.mark.parametrize(
    ("type", "age_ms", "left_s"),
    [
        (TYPE_MESSAGE, 0, 120),
        (TYPE_MESSAGE, 120_000, 0),
        (TYPE_MESSAGE, 121_000, -1),
        (TYPE_MESSAGE, -120_000, 240),
        (TYPE_MESSAGE, -121_000, -1),
        (TYPE_ANNOUNCE, 119_000, 1),
        (TYPE_VOICE, 0, 30),
        (TYPE_VOICE, 31_000, -1),
        (TYPE_VOICE, -31_000, -1),
    ],
)
def test_how_long_phones_accept_it(type: int, age_ms: int, left_s: float) -> None:
    found = frame(type, at=WALL - age_ms)
    assert seconds_left(found, WALL) == left_s
    assert (barred(found, WALL) is None) == (left_s >= 0)
