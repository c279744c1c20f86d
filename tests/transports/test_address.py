"""Addresses: what is one, what is none, and that their text says all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.errors import WrongAddress
from bitrelay.transports.address import (
    Address,
    Bluetooth,
    Mesh,
    Quic,
    Serial,
    Tcp,
    Udp,
    Via,
    WebSocket,
    parse,
)

PEER = bytes(range(32))


@pytest.mark.requirement("TRN-02", "TRN-16", "TRN-17")
@pytest.mark.parametrize(
    ("text", "address", "canonical"),
    [
        ("tcp://192.0.2.1:9", Tcp("192.0.2.1", 9), None),
        ("tcp://Relay.Example.", Tcp("relay.example", 8765), "tcp://relay.example:8765"),
        ("TCP://[::1]:8765", Tcp("::1", 8765), "tcp://[::1]:8765"),
        ("udp://[2001:DB8::0:1]", Udp("2001:db8::1", 8766), "udp://[2001:db8::1]:8766"),
        ("quic://host:0", Quic("host", 0), None),
        ("ws://host", WebSocket("host", 80), "ws://host:80/"),
        ("wss://host:8443/mesh", WebSocket("host", 8443, "/mesh", True), None),
        ("ble://aa:bb:cc:dd:ee:ff", Bluetooth("AA:BB:CC:DD:EE:FF"), "ble://AA:BB:CC:DD:EE:FF"),
        ("serial:///dev/ttyUSB0", Serial("/dev/ttyUSB0"), None),
        ("serial://COM3", Serial("COM3"), None),
        ("serial://rfc2217://localhost:4000", Serial("rfc2217://localhost:4000"), None),
        (f"mesh://{PEER.hex()}", Mesh(PEER), None),
        (f"via://{PEER.hex()}@{bytes(32).hex()}", Via(PEER, bytes(32)), None),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address, canonical: str | None) -> None:
    assert parse(text) == address
    assert str(address) == (canonical or text)
    assert {parse(str(address))} == {address}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host:8765",
        "http://host",
        "tcp://",
        "tcp://1.2.3",
        "tcp://host:65536",
        "tcp://host:-1",
        "tcp://host:x",
        "tcp://host:1/path",
        "tcp://user@host:1",
        "tcp://[::1",
        "tcp://ho st",
        "ws://host/a?b",
        "ws://host/#a",
        "ble://nothing",
        "serial://",
        "mesh://00",
        "mesh://zz",
        "via://00@00",
        f"via://{PEER.hex()}",
        "tcp://" + "a" * 2000,
    ],
)
def test_what_is_no_address_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(WrongAddress) as refused:
        parse(text)
    assert refused.value.what


@given(st.text(max_size=80).map("tcp://".__add__) | st.text(max_size=80) | st.from_regex(r"[a-z]{2,6}://.{0,40}"))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        address = parse(text)
    except WrongAddress:
        return
    assert parse(str(address)) == address


@pytest.mark.requirement("TRN-02")
def test_addresses_are_ordered_whatever_their_kind() -> None:
    mixed: list[Address] = [Udp("b", 1), Tcp("b", 1), Mesh(PEER), Tcp("a", 1)]
    assert [str(one)[:8] for one in sorted(mixed)] == ["mesh://0", "tcp://a:", "tcp://b:", "udp://b:"]


@pytest.mark.requirement("TRN-11")
@pytest.mark.parametrize("size", [0, 8, 31, 33])
def test_a_peer_id_has_32_bytes(size: int) -> None:
    with pytest.raises(WrongAddress):
        Mesh(bytes(size))
    with pytest.raises(WrongAddress):
        Via(PEER, bytes(size))
