"""The console's messages, as the host meets them: tables that fit together, and bodies from strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.counters import NAMES
from shared_protocol import console, counters

REQUESTS = [
    console.INFO,
    console.STATS,
    console.LINKS,
    console.LISTEN,
    console.SEND,
    console.LOG,
    console.GET,
    console.SET,
    console.REBOOT,
    console.TIME,
    console.CONFIRM,
    console.EXPORT,
    console.IMPORT,
]
VALUES = {
    "u": st.integers(0, 2**64 - 1),
    "i": st.integers(-(2**63), 2**63 - 1),
    "s": st.text(max_size=8),
    "x": st.binary(max_size=8),
    "b": st.booleans(),
    "U": st.lists(st.integers(0, 2**32 - 1), max_size=4),
}
MESSAGES = st.sampled_from(sorted(console.FIELDS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.integers(0, 0xFFFF),
        st.fixed_dictionaries({}, optional={name: VALUES[form] for name, form in console.fields(kind)}),
    )
)


@pytest.mark.parametrize("kind", REQUESTS)
def test_every_request_has_an_answer(kind: int) -> None:
    assert kind in console.FIELDS
    assert kind | console.ANSWER in console.FIELDS


@pytest.mark.parametrize("kind", sorted(console.FIELDS))
def test_names_are_unique_and_types_known(kind: int) -> None:
    fields = console.fields(kind)
    assert len({name for name, _ in fields}) == len(fields)
    assert {form for _, form in fields} <= set(VALUES)


@given(MESSAGES)
def test_round_trip(message: tuple[int, int, dict[str, object]]) -> None:
    assert console.decode(console.encode(*message)) == message


@given(st.binary(max_size=200))
def test_no_body_raises(body: bytes) -> None:
    decoded = console.decode(body)
    if decoded:
        assert decoded[0] == body[0]


@given(MESSAGES, st.data())
def test_no_damaged_message_raises(message: tuple[int, int, dict[str, object]], data: st.DataObject) -> None:
    body = bytearray(console.encode(*message))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    console.decode(body[: data.draw(st.integers(0, len(body)))])


def test_the_largest_answers_fit() -> None:
    stats = {"counters": [2**32 - 1] * counters.COUNT, "uptime_s": 2**32, "heap_free": 2**32, "heap_used": 2**32}
    assert len(console.encode(console.STATS | console.ANSWER, 1, stats)) < console.MAX_BODY
    piece = {"size": 2048, "offset": 1536, "data": bytes(console.PIECE)}
    assert len(console.encode(console.EXPORT | console.ANSWER, 1, piece)) < console.MAX_BODY
    piece |= {"what": console.SETTINGS, "crc": 2**32 - 1, "trial_min": 1440}
    assert len(console.encode(console.IMPORT, 1, piece)) < console.MAX_BODY
    heard = {"conn": 4, "frame": bytes(512), "verdict": "not relayed: not our business", "at_ms": 2**40}
    assert len(console.encode(console.EVENT_FRAME, 0, heard)) < console.MAX_BODY


def test_counters_are_numbered_in_their_order() -> None:
    numbered = {name.lower(): value for name, value in vars(counters).items() if name.isupper() and name != "COUNT"}
    assert [numbered[name] for name in NAMES] == list(range(counters.COUNT))
