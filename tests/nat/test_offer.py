"""Offers of a path: they come back as they were made, and hostile ones are refused."""

import pytest
from aioice import Candidate
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.errors import BadData
from bitrelay.nat.offer import MAX_CANDIDATES, MAX_SIZE, Offer, decode, encode

WORDS = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789+/")
ADDRESSES = st.sampled_from(["192.0.2.7", "10.0.0.1", "2001:db8::7", "127.0.0.1"])


def candidate(host: str = "192.0.2.7", port: int = 4000, kind: str = "host", foundation: str = "f" * 32) -> Candidate:
    return Candidate(foundation, 1, "udp", 2130706431, host, port, kind)


CANDIDATES = st.builds(candidate, ADDRESSES, st.integers(1, 65535), st.sampled_from(["host", "srflx"]))


@given(
    st.text("abcXYZ09+/", min_size=4, max_size=32),
    st.text("abcXYZ09+/", min_size=22, max_size=64),
    st.lists(CANDIDATES, min_size=1, max_size=MAX_CANDIDATES),
)
def test_an_offer_comes_back_as_it_was_made(user: str, password: str, candidates: list[Candidate]) -> None:
    message = encode(Offer(user, password, tuple(candidates)))
    back = decode(message)
    assert (back.user, back.password) == (user, password)
    assert [one.to_sdp() for one in back.candidates] == [one.to_sdp() for one in candidates]


def test_the_best_eight_candidates_fit_whatever_they_are() -> None:
    many = tuple(candidate(f"2001:db8::{number:x}", 65535, foundation="f" * 32) for number in range(1, 20))
    message = encode(Offer("u" * 32, "p" * 64, many))
    assert len(message) == MAX_SIZE == 556
    assert len(decode(message).candidates) == MAX_CANDIDATES


@pytest.mark.parametrize("host", ["224.0.0.1", "0.0.0.0", "255.255.255.255", "ff02::1", "::"])
def test_nobody_is_had_send_to_everybody(host: str) -> None:
    with pytest.raises(BadData):
        decode(encode(Offer("u" * 4, "p" * 22, (candidate(host),))))


@given(st.binary(max_size=MAX_SIZE + 40))
def test_no_bytes_raise_anything_else(message: bytes) -> None:
    try:
        decode(message)
    except BadData:
        pass


@given(st.data())
def test_no_damage_to_an_offer_raises_anything_else(data: st.DataObject) -> None:
    message = bytearray(encode(Offer("user", "p" * 22, (candidate(), candidate("2001:db8::1", 1, "srflx")))))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(message[: data.draw(st.integers(0, len(message)))]))
    except BadData:
        pass
