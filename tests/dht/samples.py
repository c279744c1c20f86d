"""Messages of every kind, of any contents that a datagram can carry."""

import ipaddress

from hypothesis import strategies as st

from bitrelay.dht.message_codec import MAX_VALUES, Message
from bitrelay.dht.messages import (
    MAX_ADDRESSES,
    MAX_CONTACTS,
    MAX_DATA,
    MAX_NAME,
    Contact,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Pong,
    Refusal,
    Refused,
    SignedValue,
    Store,
    Stored,
    Values,
)
from bitrelay.transports.address import Udp

IDS = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, (1 << 64) - 1)
ADDRESSES = st.builds(Udp, st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str), st.integers(0, 0xFFFF))
CONTACTS = st.builds(Contact, IDS, st.lists(ADDRESSES, max_size=MAX_ADDRESSES).map(tuple))
NAMES = st.text(max_size=MAX_NAME).filter(lambda name: len(name.encode()) <= MAX_NAME)
VALUES = st.builds(
    SignedValue,
    st.integers(0, 255), NAMES, IDS, U64, U64, U64, st.binary(max_size=MAX_DATA), st.binary(min_size=64, max_size=64),
)  # fmt: skip
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.just(Ping()),
    st.just(Stored()),
    st.builds(Pong, st.none() | ADDRESSES),
    st.builds(FindNode, IDS),
    st.builds(FindValue, IDS, IDS),
    st.builds(Store, VALUES),
    st.builds(Nodes, st.lists(CONTACTS, max_size=MAX_CONTACTS).map(tuple)),
    st.builds(
        Values,
        st.lists(VALUES, max_size=MAX_VALUES).map(tuple),
        st.booleans(),
        st.lists(CONTACTS, max_size=MAX_CONTACTS).map(tuple),
    ),
    st.builds(Refused, st.sampled_from(Refusal)),
)


def contact(number: int, *hosts: str) -> Contact:
    addresses = tuple(Udp(str(ipaddress.ip_address(host)), 8766) for host in hosts)
    return Contact(bytes([number]) * 32, addresses)


def value(number: int, data: bytes = b"here", name: str = "mesh") -> SignedValue:
    """A value as it travels; its signature is none."""
    return SignedValue(1, name, bytes([number]) * 32, 7, 1_786_000_000, 1_786_086_400, data, bytes(64))
