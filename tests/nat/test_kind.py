"""What is found out of a path, and the kind of translation it shows."""

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.nat.kind import Findings, NatKind, can_punch, nat_kind
from bitrelay.nat.stun_client import find_out
from bitrelay.nat.stun_server import StunServer, answer_to
from bitrelay.transports.address import Udp

HERE = Udp("192.168.1.2", 4000)
SEEN = Udp("203.0.113.9", 4000)
ELSE = Udp("203.0.113.9", 4001)


@pytest.mark.requirement("DSC-33")
@pytest.mark.parametrize(
    ("findings", "kind"),
    [
        (Findings(HERE, ()), NatKind.BLOCKED),
        (Findings(HERE, (HERE,)), NatKind.NONE),
        (Findings(HERE, (HERE, HERE), True, True), NatKind.NONE),
        (Findings(HERE, (HERE, HERE), False, False), NatKind.FIREWALL),
        (Findings(HERE, (SEEN, SEEN), True, True), NatKind.FULL_CONE),
        (Findings(HERE, (SEEN, SEEN), False, True), NatKind.RESTRICTED),
        (Findings(HERE, (SEEN, SEEN), False, False), NatKind.PORT_RESTRICTED),
        (Findings(HERE, (SEEN, SEEN)), NatKind.CONE),
        (Findings(HERE, (SEEN, ELSE)), NatKind.SYMMETRIC),
        (Findings(HERE, (SEEN, ELSE), False, False), NatKind.SYMMETRIC),
    ],
)
def test_findings_show_a_kind(findings: Findings, kind: NatKind) -> None:
    assert nat_kind(findings) is kind


@pytest.mark.parametrize(
    ("a", "b", "can"),
    [
        (NatKind.PORT_RESTRICTED, NatKind.PORT_RESTRICTED, True),
        (NatKind.SYMMETRIC, NatKind.FULL_CONE, True),
        (NatKind.SYMMETRIC, NatKind.RESTRICTED, True),
        (NatKind.SYMMETRIC, NatKind.PORT_RESTRICTED, False),
        (NatKind.SYMMETRIC, NatKind.SYMMETRIC, False),
        (NatKind.BLOCKED, NatKind.NONE, False),
    ],
)
def test_whether_a_path_can_be_expected(a: NatKind, b: NatKind, can: bool) -> None:
    assert can_punch(a, b) is can_punch(b, a) is can


async def test_a_server_with_two_addresses_is_asked_for_everything() -> None:
    server = await StunServer.open(Udp("127.0.0.1", 0), Udp("127.0.0.2", 0))
    try:
        findings = await find_out([server.address])
    finally:
        server.close()
    assert findings.mapped == (findings.local, findings.local)
    assert (findings.other_address, findings.other_port) == (True, True)
    assert nat_kind(findings) is NatKind.NONE


async def test_a_server_with_one_address_tells_only_where_this_host_is_seen() -> None:
    server = await StunServer.open(Udp("::1", 0))
    try:
        findings = await find_out([server.address])
    finally:
        server.close()
    assert (findings.mapped, findings.other_address) == ((findings.local,), None)


async def test_no_answer_is_an_answer() -> None:
    silent = await StunServer.open(Udp("127.0.0.1", 0))
    silent.close()
    assert nat_kind(await find_out([silent.address], timeout=0.3)) is NatKind.BLOCKED


@given(st.binary(max_size=600) | st.binary(max_size=60).map(lambda rest: b"\0\1\0\x08\x21\x12\xa4\x42" + rest))
def test_no_datagram_harms_a_stun_server_or_is_answered_at_length(datagram: bytes) -> None:
    answer = answer_to(datagram, ("192.0.2.1", 9), ("192.0.2.2", 10))
    assert answer is None or len(answer.datagram) <= 3 * len(datagram)


def test_a_bare_question_is_answered() -> None:
    question = bytes(stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST))
    for source, other in ((("192.0.2.1", 9), ("192.0.2.2", 10)), (("2001:db8::1", 9), ("2001:db8::2", 10))):
        answer = answer_to(question, source, other)
        assert answer is not None
        assert stun.parse_message(answer.datagram).attributes["XOR-MAPPED-ADDRESS"] == source
