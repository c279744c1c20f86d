"""Packets survive the way over a serial line, and nothing that arrives takes more memory than a packet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.lab.slip import SlipDecoder, encode


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(1, 20)))
def test_what_is_sent_arrives_however_it_is_cut(packets: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(encode, packets))
    decoder = SlipDecoder(40)
    arrived: list[bytes] = []
    for cut in cuts:
        arrived += decoder.feed(stream[:cut])
        stream = stream[cut:]
    arrived += decoder.feed(stream)
    assert arrived == packets


@pytest.mark.parametrize(
    ("stream", "packets"),
    [
        (b"\xc0ab\xc0\xc0cd\xc0", [b"ab", b"cd"]),
        (b"\xc0ab\xc0cd\xc0", [b"ab", b"cd"]),
        (b"\xc0\xdb\xdc\xdb\xdd\xc0", [b"\xc0\xdb"]),
        (b"\xc0\xdb\xdd\xdc\xc0", [b"\xdb\xdc"]),
        (b"\xc0a\xdbb\xc0good\xc0", [b"good"]),
        (b"\xc0a\xdb\xc0good\xc0", [b"good"]),
        (b"\xc0" * 9, []),
    ],
)
def test_table_of_streams(stream: bytes, packets: list[bytes]) -> None:
    assert list(SlipDecoder(8).feed(stream)) == packets


def test_a_packet_that_is_too_long_is_dropped_and_the_next_one_is_not() -> None:
    decoder = SlipDecoder(8)
    assert list(decoder.feed(b"\xc0" + b"x" * 9 + b"\xc0" + encode(b"12345678"))) == [b"12345678"]
    for _ in range(1000):
        assert list(decoder.feed(b"endless noise")) == []
    assert len(decoder._raw) <= 16
    assert list(decoder.feed(b"\xc0after\xc0")) == [b"after"]
