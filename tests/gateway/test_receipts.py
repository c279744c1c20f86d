"""The entry for a frame that went into a mesh has the facts of row MSH-42."""

import pytest

from bitrelay.gateway.bridge_frame import BridgeFrame, parse_frame
from bitrelay.gateway.receipts import event_of
from bitrelay.mesh.relay_chain import RelayEvent, packet_hash
from bitrelay.mesh.relay_fee import HopFee
from shared_protocol.frame import BROADCAST, encode


def heard(ttl: int = 5, recipient: bytes | None = None) -> BridgeFrame:
    frame = parse_frame(encode(2, ttl, 1_786_000_000_000, b"author 1", b"hello", recipient=recipient))
    assert frame is not None
    return frame


@pytest.mark.requirement("MSH-42")
@pytest.mark.parametrize(
    ("recipient", "destination"), [(b"reader 2", b"reader 2"), (None, bytes(8)), (BROADCAST, bytes(8))]
)
def test_who_what_from_where_to_where(recipient: bytes | None, destination: bytes) -> None:
    frame = heard(recipient=recipient)
    name = packet_hash(frame.lowered(1))
    assert event_of(frame, "east", "west", 5, HopFee()) == RelayEvent(
        name, b"author 1", destination, 4, "east", "west", 5, fee=3
    )


@pytest.mark.requirement("MSH-42")
@pytest.mark.parametrize(("ttl", "hops"), [(255, 2), (8, 2), (7, 2), (6, 3), (2, 7), (1, 8), (0, 8)])
def test_hops_are_8_less_the_ttl_once_it_is_lowered(ttl: int, hops: int) -> None:
    assert event_of(heard(ttl), "east", "west", 5, HopFee()).hops == hops


@pytest.mark.requirement("GWY-17")
def test_a_rule_sees_how_quick_it_was() -> None:
    rule = HopFee(base=0, bonus=lambda relayed: int(relayed.waited_ms) + relayed.size)
    frame = heard()
    assert event_of(frame, "east", "west", 5, rule, waited_ms=1000.5).fee == 1000 + len(frame.value)
