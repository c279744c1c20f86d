"""What a gateway says of itself in the DHT."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.dht.messages import MAX_DATA
from bitrelay.gateway.gateway_record import GatewayRecord, decode, encode
from bitrelay.transports.address import HostAddress, Quic, Tcp, Udp, WebSocket

RECORD = GatewayRecord(
    (Tcp("192.0.2.1", 8765), WebSocket("gate.example", 443, "/mesh", True)),
    True,
    False,
    40,
    2,
    0.9950,
    35.0,
    120,
    "u33d",
)

addresses = st.one_of(
    st.builds(Tcp, st.ip_addresses().map(str), st.integers(1, 65_535)),
    st.builds(Udp, st.ip_addresses().map(str), st.integers(1, 65_535)),
    st.builds(Quic, st.just("gate.example"), st.integers(1, 65_535)),
)
records = st.builds(
    GatewayRecord,
    st.lists(addresses, max_size=4).map(tuple),
    st.booleans(),
    st.booleans(),
    st.integers(0, 100),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 10_000).map(lambda share: share / 10_000),
    st.one_of(st.none(), st.integers(0, 65_534).map(float)),
    st.integers(0, (1 << 32) - 1),
    st.text("0123456789bcdefghjkmnpqrstuvwxyz", max_size=12),
)


@given(records)
def test_a_record_is_read_as_it_was_written(record: GatewayRecord) -> None:
    data = encode(record)
    assert len(data) <= MAX_DATA
    assert decode(data) == record


@given(st.binary(max_size=600))
def test_whatever_is_found_is_a_record_or_none(data: bytes) -> None:
    found = decode(data)
    assert found is None or decode(encode(found)) == found


def test_a_record_that_was_altered_is_a_record_or_none() -> None:
    chance = random.Random(1)
    for _ in range(5_000):
        data = bytearray(encode(RECORD))
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        found = decode(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))
        assert found is None or decode(encode(found)) == found


def test_what_does_not_fit_is_left_out_or_made_to_fit() -> None:
    long = [WebSocket("gate.example", 80, "/" + "x" * 230) for _ in range(3)]
    short = [Tcp("192.0.2.1", port) for port in range(1, 9)]
    crowded: tuple[HostAddress, ...] = (*long, *short)
    found = decode(
        encode(GatewayRecord(crowded, load=1000, fee=1 << 40, uptime=float("nan"), capacity=-5, geohash="?"))
    )
    assert found is not None
    assert found.addresses == (long[0], *short[:3])
    assert (found.load, found.fee, found.uptime, found.capacity, found.geohash) == (100, (1 << 32) - 1, 0.0, 0, "")


def test_addresses_of_kinds_that_we_do_not_know_are_left_out() -> None:
    data = encode(GatewayRecord((Tcp("192.0.2.1", 8765), Udp("192.0.2.2", 8766))))
    assert decode(data.replace(b"tcp:", b"xyz:")) == GatewayRecord((Udp("192.0.2.2", 8766),))
    assert decode(encode(GatewayRecord((Tcp("192.0.2.1", 0),)))) == GatewayRecord()


@pytest.mark.parametrize("change", [(0, 2), (2, 101), (7, 0xFF)], ids=["version", "load", "uptime"])
def test_what_is_out_of_range_is_no_record(change: tuple[int, int]) -> None:
    data = bytearray(encode(RECORD))
    data[change[0]] = change[1]
    assert decode(bytes(data)) is None


def test_what_a_later_version_appends_is_not_read() -> None:
    assert decode(encode(RECORD) + b"more") == RECORD
