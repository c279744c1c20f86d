"""What gateways add is measured between their relays, for each frame once."""

import random

import pytest

from bitrelay.lab.crossings import Crossings
from bitrelay.lab.frame_maker import FrameMaker, Kind
from bitrelay.lab.ledger import Ledger
from bitrelay.lab.phone_identity import PhoneIdentity

MESH_OF = {"alice": "west", "r1": "west", "r2": "west", "r3": "east", "r4": "east", "bob": "east"}
RECIPIENT = PhoneIdentity("bob").peer_id


class Air:
    """Frames of alice, and crossings that are told of them at the times a test says."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ledger = Ledger()
        self.crossings = Crossings(self.ledger, MESH_OF, ("r2", "r3"), lambda: self.now)
        self._maker = FrameMaker(PhoneIdentity("alice"), random.Random(1))

    def frame(self) -> bytes:
        (value,) = self._maker.make(Kind.DIRECTED, RECIPIENT)
        self.ledger.sent(value, "alice", frozenset(("bob",)), self.now)
        return value

    def said(self, at_ms: float, sender: str, receiver: str, value: bytes, lowered: int = 0) -> None:
        self.now = at_ms / 1000
        self.crossings.on_value(sender, receiver, value[:2] + bytes((value[2] - lowered,)) + value[3:])


@pytest.fixture
def air() -> Air:
    return Air()


def test_from_the_gateways_relay_here_to_the_first_on_the_air_there(air: Air) -> None:
    value = air.frame()
    air.said(0, "alice", "r1", value)
    air.said(50, "r1", "r2", value, 1)
    air.said(130, "r3", "r4", value, 2)
    air.said(180, "r4", "bob", value, 3)
    assert air.crossings.percentile_ms(95) == pytest.approx(80)
    assert (air.crossings.said("r2"), air.crossings.said("r3")) == (0, 1)


def test_copies_count_once(air: Air) -> None:
    value = air.frame()
    for at_ms in (50, 60):
        air.said(at_ms, "r1", "r2", value, 1)
    for at_ms in (100, 900):
        air.said(at_ms, "r3", "r4", value, 2)
    air.said(950, "r1", "r2", value, 1)
    air.said(990, "r3", "r4", value, 2)
    assert air.crossings.percentile_ms(0) == air.crossings.percentile_ms(100) == pytest.approx(50)
    assert air.crossings.said("r3") == 1


def test_what_no_phone_sent_does_not_count(air: Air) -> None:
    value = air.frame()
    air.said(50, "r1", "r2", value[:-1] + bytes((value[-1] ^ 1,)))
    air.said(100, "r3", "r4", value[:-1] + bytes((value[-1] ^ 1,)))
    air.said(100, "somebody", "r1", value)
    assert air.crossings.percentile_ms(95) is None
    assert air.crossings.said("r3") == 0
