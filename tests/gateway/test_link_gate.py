"""Who is named of those that were turned away."""

from dataclasses import replace

import pytest

from bitrelay.errors import LimitReached
from bitrelay.gateway.config import FederationConfig
from bitrelay.gateway.link_gate import MOST_NAMED, LinkGate
from bitrelay.identity.proof import PowIdentity
from bitrelay.transports.address import Tcp
from bitrelay.transports.gate import OpenGate
from tests.transports.ends import identity


def stranger(number: int) -> PowIdentity:
    return replace(identity(1).proof, peer_id=number.to_bytes(32, "big"))


def turned_away(gate: LinkGate, number: int) -> None:
    with pytest.raises(LimitReached):
        gate.known(stranger(number), Tcp("192.0.2.1", number), True)


def test_the_last_ones_are_named_however_often_and_however_many_come() -> None:
    gate = LinkGate(bytes(32), FederationConfig(), OpenGate)
    for number in (*range(1, 101), 97, 97):
        turned_away(gate, number)
    assert [int.from_bytes(peer_id) for peer_id in gate.untrusted] == [93, 94, 95, 96, 98, 99, 100, 97]
    assert len(gate.untrusted) == MOST_NAMED
    assert gate.untrusted[stranger(97).peer_id] == Tcp("192.0.2.1", 97)


def test_who_is_trusted_meanwhile_is_not_named_any_more() -> None:
    gate = LinkGate(bytes(32), FederationConfig(), OpenGate)
    turned_away(gate, 1)
    turned_away(gate, 2)
    gate.configure(FederationConfig(trust=frozenset({stranger(1).peer_id})))
    assert list(gate.untrusted) == [stranger(2).peer_id]
    gate.known(stranger(1), Tcp("192.0.2.1", 1), True)
