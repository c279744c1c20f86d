"""An answer is held against its question."""

from dataclasses import replace

import pytest

from bitrelay.dht.answers import checked
from bitrelay.dht.messages import (
    Answer,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Pong,
    Question,
    Refusal,
    Refused,
    Store,
    Stored,
    Values,
)
from bitrelay.dht.values import Kind, key_of, sign
from bitrelay.errors import PeerError

from .small_network import EPOCH, contact, keys, node_id

VALUES = tuple(
    sorted(
        (sign(keys(n), Kind.GATEWAY, "mesh", b"", now=EPOCH, lifetime_s=60) for n in range(3)), key=lambda v: v.owner
    )
)
KEY = key_of(Kind.GATEWAY, "mesh")
MANY = tuple(contact(number) for number in range(21))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (Ping(), Pong()),
        (FindNode(KEY), Nodes(MANY[:20])),
        (FindValue(KEY), Values((), False, MANY[:20])),
        (FindValue(KEY), Values(VALUES, True, ())),
        (FindValue(KEY, VALUES[0].owner), Values(VALUES[1:], False, ())),
        (Store(VALUES[0]), Stored()),
        (Store(VALUES[0]), Refused(Refusal.NO_ROOM)),
    ],
)
def test_what_fits_the_question_is_taken(question: Question, answer: Answer) -> None:
    assert checked(question, answer, EPOCH) == answer


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (Ping(), Stored()),
        (FindNode(KEY), Pong()),
        (FindNode(KEY), Values((), False, ())),
        (Store(VALUES[0]), Pong()),
        (FindNode(KEY), Nodes(MANY)),
        (FindValue(KEY), Values((), False, MANY)),
        (FindValue(node_id(1)), Values(VALUES, False, ())),
        (FindValue(KEY), Values(VALUES[::-1], False, ())),
        (FindValue(KEY), Values((VALUES[0], VALUES[0]), False, ())),
        (FindValue(KEY, VALUES[0].owner), Values(VALUES, False, ())),
        (FindValue(KEY), Values((replace(VALUES[0], data=b"x"),), False, ())),
    ],
)
def test_what_does_not_is_none(question: Question, answer: Answer) -> None:
    with pytest.raises(PeerError):
        checked(question, answer, EPOCH)


def test_a_value_that_has_expired_on_its_way_is_left_out_and_held_against_nobody() -> None:
    assert checked(FindValue(KEY), Values(VALUES, False, ()), EPOCH + 60) == Values((), False, ())
