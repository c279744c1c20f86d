"""Messages as bytes: each comes back as it was, and no bytes do harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.dht.message_codec import Message, decode_body, encode_body, fitted, kind_of
from bitrelay.dht.messages import MAX_CONTACTS, MAX_DATA, MAX_NAME, Nodes, SignedValue, Store, Values
from bitrelay.dht.wire import ROOM
from bitrelay.errors import BadDatagram
from tests.dht.samples import MESSAGES, contact, value


@given(MESSAGES)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert decode_body(kind_of(message), encode_body(message)) == message


@given(st.integers(0, 255), st.binary(max_size=1200))
def test_bytes_are_a_message_or_refused(kind: int, body: bytes) -> None:
    try:
        message = decode_body(kind, body)
    except BadDatagram:
        return
    assert encode_body(message) == body


@given(MESSAGES, st.data())
def test_a_message_that_was_cut_or_has_more_is_refused(message: Message, data: st.DataObject) -> None:
    body = encode_body(message)
    kept = data.draw(st.integers(0, len(body)))
    for other in {body[:kept], body + b"\0"} - {body}:
        try:
            assert decode_body(kind_of(message), other) != message
        except BadDatagram:
            pass


@given(MESSAGES)
def test_an_answer_is_cut_until_it_fits(message: Message) -> None:
    if isinstance(message, Nodes | Values):
        cut = fitted(message, ROOM)
        assert len(encode_body(cut)) <= ROOM
        if isinstance(message, Values) and isinstance(cut, Values):
            assert cut.values == message.values[: len(cut.values)]
            assert cut.more == (message.more or len(cut.values) < len(message.values))


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_all_contacts_fit_with_one_address_each(host: str) -> None:
    nodes = Nodes(tuple(contact(number, host, host, host, host) for number in range(MAX_CONTACTS)))
    cut = fitted(nodes, ROOM)
    assert isinstance(cut, Nodes)
    assert [(known.node_id, known.addresses[:1]) for known in nodes.contacts] == [
        (known.node_id, known.addresses) for known in cut.contacts
    ]


def test_the_largest_value_fits_into_a_question_and_into_an_answer() -> None:
    largest = value(1, bytes(MAX_DATA), "n" * MAX_NAME)
    assert len(encode_body(Store(largest))) <= ROOM
    both = Values((largest, value(2, bytes(MAX_DATA))), False, ())
    assert fitted(both, ROOM) == Values((largest,), True, ())


@pytest.mark.parametrize(
    "wrong",
    [
        SignedValue(256, "", bytes(32), 1, 1, 1, b"", bytes(64)),
        SignedValue(1, "n" * (MAX_NAME + 1), bytes(32), 1, 1, 1, b"", bytes(64)),
        SignedValue(1, "", bytes(31), 1, 1, 1, b"", bytes(64)),
        SignedValue(1, "", bytes(32), -1, 1, 1, b"", bytes(64)),
        SignedValue(1, "", bytes(32), 1, 1 << 64, 1, b"", bytes(64)),
        SignedValue(1, "", bytes(32), 1, 1, 1, bytes(MAX_DATA + 1), bytes(64)),
        SignedValue(1, "", bytes(32), 1, 1, 1, b"", bytes(63)),
    ],
)
def test_a_value_that_no_datagram_can_carry_is_not_sent(wrong: SignedValue) -> None:
    with pytest.raises(ValueError, match=r"value|bytes"):
        encode_body(Store(wrong))
