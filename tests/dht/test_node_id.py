"""Ids: distance and buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.dht.node_id import bucket_index, distance, hop_distance

IDS = st.binary(min_size=32, max_size=32)
ZERO = bytes(32)


@pytest.mark.requirement("DHT-02", "DHT-03")
@pytest.mark.parametrize(
    ("other", "index"),
    [(b"\x80" + bytes(31), 0), (b"\x01" + bytes(31), 7), (bytes(31) + b"\x01", 255), (ZERO, 256)],
)
def test_a_bucket_is_the_number_of_leading_bits_two_ids_share(other: bytes, index: int) -> None:
    assert bucket_index(ZERO, other) == index


@given(IDS, IDS, IDS)
@pytest.mark.requirement("DHT-02")
def test_distance_is_a_metric(a: bytes, b: bytes, c: bytes) -> None:
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert distance(a, b).to_bytes(32, "big") == bytes(x ^ y for x, y in zip(a, b, strict=True))


@pytest.mark.requirement("DSC-31")
def test_hop_distance_counts_the_bits_that_differ() -> None:
    assert hop_distance(ZERO, b"\x81" + bytes(30) + b"\xff") == 10
