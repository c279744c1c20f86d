"""Nodes find one another in the mesh of a relay."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.dht.mesh_discovery import (
    ANSWER_AFTER_S,
    MOST_FOUND,
    TAKEN_PER_MIN,
    MeshDiscovery,
    decode_hosts,
    encode_hosts,
)
from bitrelay.errors import TransportClosed
from bitrelay.transports.address import Udp
from shared_protocol.frame import MAX_TTL, TYPE_HOSTS, Header, encode
from tests.transports.bus import Bus

HOSTS = (Udp("192.0.2.7", 8766), Udp("2001:db8::7", 1))
DEADLINE_S = 20
ADDRESSES = st.builds(
    Udp, st.ip_addresses().filter(lambda ip: not (ip.is_multicast or ip.is_unspecified)).map(str), st.integers(1, 65535)
)


@given(st.lists(ADDRESSES, min_size=1, max_size=4))
def test_addresses_come_back_as_they_were(addresses: list[Udp]) -> None:
    assert decode_hosts(encode_hosts(addresses)) == tuple(addresses)


@given(st.binary(max_size=100))
def test_no_payload_raises(payload: bytes) -> None:
    assert len(decode_hosts(payload)) <= 4


def test_whoever_cannot_be_asked_is_not_told_of() -> None:
    told = (Udp("224.0.0.1", 9), Udp("0.0.0.0", 9), Udp("192.0.2.1", 0), Udp("192.0.2.1", 9))
    assert decode_hosts(encode_hosts(told)) == (Udp("192.0.2.1", 9),)


async def test_a_node_that_looks_for_others_is_told_by_one_in_its_mesh_where_that_is() -> None:
    bus = Bus()
    there = MeshDiscovery(bus.port(), b"there   ", lambda: HOSTS)
    here = MeshDiscovery(bus.port(), b"here    ", lambda: ())
    try:
        await there.start()
        await here.start()
        async with asyncio.timeout(DEADLINE_S):
            assert [await here.next(), await here.next()] == list(HOSTS)
        await bus.ports[1].close()
        with pytest.raises(TransportClosed):
            async with asyncio.timeout(DEADLINE_S):
                await here.next()
    finally:
        await here.close()
        await there.close()


def heard(discovery: MeshDiscovery, payload: bytes, now: float, sender: bytes = b"stranger") -> None:
    packet = encode(TYPE_HOSTS, MAX_TTL, 1, sender, payload)
    header = Header()
    header.parse(packet, len(packet))
    discovery.hear(packet, header, now)


async def test_many_questions_have_one_answer() -> None:
    discovery = MeshDiscovery(Bus().port(), b"here    ", lambda: HOSTS)
    due = []
    for now in (0.0, 0.1, ANSWER_AFTER_S - 0.1, ANSWER_AFTER_S):
        heard(discovery, b"", now)
        due.append(discovery._answer_due.is_set())
        discovery._answer_due.clear()
    assert due == [True, False, False, True]


async def test_a_flood_of_addresses_is_bounded_and_counted() -> None:
    discovery = MeshDiscovery(Bus().port(), b"here    ", lambda: ())
    for number in range(100):
        heard(discovery, encode_hosts([Udp("192.0.2.1", number + 1)]), 0.0)
    assert discovery.dropped == 100 - TAKEN_PER_MIN
    for number in range(500):
        heard(discovery, encode_hosts([Udp("192.0.2.2", number + 1)]), 60.0 * number)
    assert discovery._found.qsize() == MOST_FOUND
    heard(discovery, encode_hosts(HOSTS), 1e6, sender=b"here    ")
    assert discovery._found.qsize() == MOST_FOUND
