"""What gateways say to one another survives the way, and nothing that comes can do harm."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.gateway.message import (
    MOST_BYTES,
    MOST_MESHES,
    MOST_SUBSCRIPTIONS,
    FrameMessage,
    Hello,
    MeshOffer,
    Message,
    Notice,
    NoticeMessage,
    Outcome,
    Receipt,
    decode,
    encode,
    is_mesh_name,
)

MUTANTS = 20_000

names = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20).filter(is_mesh_name)
keys = st.binary(min_size=16, max_size=16)
u32 = st.integers(0, (1 << 32) - 1)
offers = st.builds(
    MeshOffer,
    names,
    st.text(st.characters(categories=("L", "N")), max_size=12),
    st.booleans(),
    st.booleans(),
    st.lists(st.one_of(st.just("*"), names), max_size=4).map(tuple),
)
hellos = st.builds(
    Hello,
    st.text(st.characters(categories=("L", "N")), max_size=20),
    st.lists(offers, max_size=4).map(tuple),
    u32,
    u32,
    st.integers(0, 255),
    u32,
)
messages: st.SearchStrategy[Message] = st.one_of(
    hellos,
    st.builds(FrameMessage, names, names, st.binary(min_size=1, max_size=512), u32),
    st.builds(Receipt, names, keys, st.sampled_from(Outcome)),
    st.builds(NoticeMessage, st.sampled_from(Notice), names, st.lists(keys, min_size=1, max_size=20).map(tuple)),
)

HELLO = Hello("roof", (MeshOffer("alpha", "u33d", True, True, ("*", "beta")), MeshOffer("beta")), 2, 120, 40, 3600)
SAMPLES: tuple[Message, ...] = (
    HELLO,
    FrameMessage("alpha", "beta", bytes(range(200)), 17),
    Receipt("beta", b"k" * 16, Outcome.QUEUED),
    NoticeMessage(Notice.CARRIED, "alpha", (b"a" * 16, b"b" * 16)),
)


@given(messages)
def test_a_message_comes_as_it_was_sent(message: Message) -> None:
    assert decode(encode(message)) == message


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_message_or_none(data: bytes) -> None:
    found = decode(data)
    assert found is None or decode(encode(found)) == found


def test_of_a_message_that_was_altered_nothing_is_left_that_cannot_be_sent() -> None:
    chance = random.Random(6)
    encoded = [encode(message) for message in SAMPLES]
    for _ in range(MUTANTS):
        data = bytearray(chance.choice(encoded))
        for _ in range(chance.randrange(1, 4)):
            match chance.randrange(3):
                case 0:
                    data[chance.randrange(len(data))] = chance.randrange(256)
                case 1:
                    del data[chance.randrange(len(data)) :]
                case 2:
                    data += chance.randbytes(chance.randrange(40))
            data = data or bytearray(1)
        found = decode(bytes(data))
        # Every text and name in it was checked, too: else it could not be encoded.
        assert found is None or decode(encode(found)) == found


@pytest.mark.parametrize("message", SAMPLES, ids=lambda message: type(message).__name__)
def test_a_message_that_was_cut_short_is_none(message: Message) -> None:
    whole = encode(message)
    # A frame has no length of its own: what is left of it is not taken for one by whoever parses it.
    least = len(whole) - len(message.value) if isinstance(message, FrameMessage) else len(whole)
    assert [size for size in range(least) if decode(whole[:size]) is not None] == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x05\x01",
        bytes(MOST_BYTES + 1),
        encode(SAMPLES[2]) + b"x",
        encode(SAMPLES[3]) + b"x",
        b"\x03\x04beta" + b"k" * 16 + b"\x63",
        b"\x02\x01a\x01b" + bytes(4),
        b"\x02\x01a\x01b" + bytes(4) + bytes(513),
        b"\x02\x01/\x01b" + bytes(4) + b"x",
        b"\x04\x01\x01a\x00",
        b"\x01\x02" + encode(HELLO)[2:],
        b"\x01\x01\x00" + bytes(17) + bytes((MOST_MESHES + 1,)),
        b"\x01\x01\x00" + bytes(17) + b"\x01\x01a\x00\x00" + bytes((MOST_SUBSCRIPTIONS + 1,)) + bytes(200),
        b"\x01\x01\x03\x1b[2" + bytes(18),
        b"\x01\x01\x00" + bytes(17) + b"\x01\x01a\x03\x1b[2\x00\x00",
    ],
    ids=[
        "nothing", "kind 0", "kind 5", "too long", "long receipt", "long notice", "outcome", "empty frame",
        "long frame", "name of a topic", "no keys", "version", "meshes", "subscriptions", "control characters",
        "control characters in a geohash",
    ],
)  # fmt: skip
def test_what_is_no_message_is_none(data: bytes) -> None:
    assert decode(data) is None


def test_a_hello_of_a_later_version_of_this_format_is_read_as_far_as_it_is_known() -> None:
    assert decode(encode(HELLO) + b"more") == HELLO


@pytest.mark.parametrize(
    "message",
    [
        FrameMessage("alpha", "beta", b""),
        FrameMessage("alpha", "beta", bytes(513)),
        FrameMessage("", "beta", b"x"),
        FrameMessage("alpha", "be/ta", b"x"),
        FrameMessage("alpha", "b" * 65, b"x"),
        Receipt("beta", b"short", Outcome.SENT),
        NoticeMessage(Notice.INTAKE, "alpha", ()),
        NoticeMessage(Notice.INTAKE, "alpha", (b"k" * 16,) * 256),
        Hello("roof", (MeshOffer("alpha"),) * 17),
        Hello("roof", (MeshOffer("alpha", subscribe=("*",) * 33),)),
        Hello("r" * 256, ()),
        Hello("\x1b[2J", ()),
    ],
)
def test_what_the_format_cannot_carry_is_refused(message: Message) -> None:
    with pytest.raises(ValueError):
        encode(message)


@pytest.mark.parametrize(
    ("subscribe", "origin", "geohash", "wants"),
    [
        (("*",), "beta", "", True),
        (("beta",), "beta", "", True),
        (("beta",), "gamma", "", False),
        (("geo:u33",), "beta", "u33db", True),
        (("geo:u33",), "beta", "u34", False),
        (("geo:",), "beta", "", False),
        ((), "beta", "u33", False),
    ],
)
def test_a_mesh_wants_what_it_subscribed_to(subscribe: tuple[str, ...], origin: str, geohash: str, wants: bool) -> None:
    assert MeshOffer("alpha", subscribe=subscribe).wants(origin, geohash) is wants
