"""Which addresses can be a node's, and who may tell of them."""

import pytest

from bitrelay.dht.messages import Contact
from bitrelay.dht.places import Reach, can_be_told, reach
from bitrelay.transports.address import Udp

from .small_network import contact, node_id

OWN = node_id(1000)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("8.8.8.8", Reach.ANYWHERE),
        ("2606:4700::1", Reach.ANYWHERE),
        ("192.168.1.7", Reach.SITE),
        ("10.0.0.1", Reach.SITE),
        ("fd00::1", Reach.SITE),
        ("fe80::1", Reach.SITE),
        ("169.254.1.1", Reach.SITE),
        ("127.0.0.1", Reach.HOST),
        ("::1", Reach.HOST),
        ("::ffff:127.0.0.1", Reach.HOST),
        ("::ffff:192.168.1.7", Reach.SITE),
        ("0.0.0.0", Reach.NOWHERE),
        ("::", Reach.NOWHERE),
        ("224.0.0.1", Reach.NOWHERE),
        ("ff02::1", Reach.NOWHERE),
        ("255.255.255.255", Reach.NOWHERE),
        ("relay.example", Reach.NOWHERE),
    ],
)
def test_from_where_a_host_is_reached(host: str, expected: Reach) -> None:
    assert reach(host) is expected


@pytest.mark.parametrize(
    ("teller", "told", "believed"),
    [
        ("8.8.8.8", "9.9.9.9", True),
        ("8.8.8.8", "192.168.1.1", False),
        ("8.8.8.8", "127.0.0.1", False),
        ("192.168.1.1", "192.168.1.2", True),
        ("192.168.1.1", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "192.168.1.2", True),
        ("8.8.8.8", "224.0.0.1", False),
        ("8.8.8.8", "victim.example", False),
    ],
)
def test_only_neighbours_tell_of_addresses_nearby(teller: str, told: str, believed: bool) -> None:
    who = Contact(node_id(1), (Udp(teller, 8766),))
    assert can_be_told(Contact(node_id(2), (Udp(told, 8766),)), who, OWN) is believed


@pytest.mark.parametrize(
    "told",
    [
        Contact(OWN, contact(1).addresses),
        Contact(b"short", contact(1).addresses),
        Contact(node_id(2), ()),
        Contact(node_id(2), (Udp("8.8.8.8", 0),)),
        Contact(node_id(2), tuple(Udp("8.8.8.8", port) for port in range(1, 6))),
    ],
    ids=["ourselves", "no id", "nowhere", "no port", "too many addresses"],
)
def test_what_is_no_contact_is_not_asked(told: Contact) -> None:
    assert not can_be_told(told, contact(1), OWN)
