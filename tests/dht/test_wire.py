"""Datagrams: from whom and for whom they are is proved, and nothing about them can be changed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.dht.message_codec import Message, encode_body
from bitrelay.dht.messages import FindNode, Nodes, Ping, Pong
from bitrelay.dht.wire import (
    ANYONE,
    CLOCK_WINDOW_S,
    LEAST_ASKING,
    MAX_DATAGRAM,
    NO_COOKIE,
    ROOM,
    Datagram,
    Signer,
    peek,
    unseal,
)
from bitrelay.errors import BadDatagram, DatagramFault
from tests.dht.fuzz import mutated
from tests.dht.samples import MESSAGES, contact
from tests.identity.mined import NOW, keys_of

ADA, BOB, EVE = keys_of(1), keys_of(2), keys_of(3)
SIGNER = Signer(ADA, lambda: NOW)
TRANSACTION = b"question"
COOKIE = b"a cookie"


def sealed(message: Message, recipient: bytes = BOB.peer_id, **options: object) -> bytes:
    return SIGNER.seal(message, recipient, TRANSACTION, COOKIE, **options)  # type: ignore[arg-type]


def opened(datagram: bytes, own_id: bytes = BOB.peer_id, now: float = NOW) -> Datagram:
    return unseal(datagram, peek(datagram), own_id, now)


def fault_of(datagram: bytes, own_id: bytes = BOB.peer_id, now: float = NOW) -> DatagramFault:
    with pytest.raises(BadDatagram) as caught:
        opened(datagram, own_id, now)
    return caught.value.fault


@pytest.mark.requirement("DHT-01")
@given(MESSAGES, st.none() | st.binary(min_size=1, max_size=303), st.booleans(), st.booleans())
def test_a_datagram_comes_as_it_was_sent(message: Message, record: bytes | None, wants: bool, can: bool) -> None:
    if len(encode_body(message)) + len(record or b"") > ROOM:
        with pytest.raises(ValueError, match="too long"):
            sealed(message, record=record)
        return
    datagram = sealed(message, record=record, wants_record=wants, can_prove=can)
    assert len(datagram) <= MAX_DATAGRAM
    got = opened(datagram)
    assert (got.message, got.record, got.wants_record, got.can_prove) == (message, record, wants, can)
    head = got.head
    assert (head.transaction, head.cookie, head.sent_at) == (TRANSACTION, COOKIE, NOW)
    assert (head.sender_key, head.sender) == (ADA.signing_key, ADA.peer_id)


def test_shown_to_another_node_it_is_forged() -> None:
    assert fault_of(sealed(FindNode(bytes(32))), EVE.peer_id) == DatagramFault.FORGED


def test_a_ping_may_go_to_whoever_is_there_and_nothing_else_may() -> None:
    assert opened(sealed(Ping(), ANYONE), EVE.peer_id).head.to_anyone
    assert fault_of(sealed(FindNode(bytes(32)), ANYONE)) == DatagramFault.MALFORMED


@pytest.mark.parametrize("apart", [CLOCK_WINDOW_S + 1, -CLOCK_WINDOW_S - 1])
def test_an_old_one_and_one_of_the_future_are_refused(apart: int) -> None:
    assert fault_of(sealed(Ping()), now=NOW + apart) == DatagramFault.STALE
    assert opened(sealed(Ping()), now=NOW + apart - (1 if apart > 0 else -1))


def test_no_byte_of_it_can_be_changed() -> None:
    datagram = sealed(Nodes((contact(1, "192.0.2.1"),)), record=b"record", wants_record=True)
    for at in range(len(datagram)):
        fault_of(datagram[:at] + bytes([datagram[at] ^ 1]) + datagram[at + 1 :])
    for size in range(len(datagram)):
        fault_of(datagram[:size])
    fault_of(datagram + b"\0")
    assert fault_of(datagram + bytes(MAX_DATAGRAM)) == DatagramFault.TOO_LONG


def test_another_version_is_told_apart() -> None:
    assert fault_of(b"\2" + sealed(Ping())[1:]) == DatagramFault.OTHER_VERSION


def test_a_question_that_wants_a_record_leaves_room_for_it_in_three_times_its_size() -> None:
    asks = SIGNER.seal(Ping(), BOB.peer_id, TRANSACTION, NO_COOKIE, wants_record=True)
    answer = sealed(Pong(contact(1, "2001:db8::1").addresses[0]), record=bytes(418))
    assert len(asks) == LEAST_ASKING
    assert len(answer) <= 3 * len(asks)


def test_mutated_datagrams_are_refused() -> None:
    source = random.Random(7)
    datagrams = [sealed(Ping()), sealed(Nodes((contact(1, "192.0.2.1", "2001:db8::1"),)), record=bytes(100))]
    for _ in range(10_000):
        datagram = mutated(source.choice(datagrams), source)
        if datagram not in datagrams:
            fault_of(datagram)
