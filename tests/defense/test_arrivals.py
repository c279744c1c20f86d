"""Which addresses count as one place."""

import pytest

from bitrelay.defense.arrivals import address_group, link_group


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("203.0.113.77", "ip4:203.0.113.0/24"),
        ("203.0.113.1", "ip4:203.0.113.0/24"),
        ("2001:db8:1:2::3", "ip6:2001:db8:1::/48"),
        ("2001:db8:1:ffff::", "ip6:2001:db8:1::/48"),
        ("fe80::1%eth0", "ip6:fe80::/48"),
        ("::ffff:203.0.113.9", "ip4:203.0.113.0/24"),
        ("2002:cb00:7109::1", "ip4:203.0.113.0/24"),
        ("Gateway.Example", "name:gateway.example"),
        ("", "name:"),
    ],
)
def test_an_address_belongs_to_a_network(host: str, group: str) -> None:
    assert address_group(host) == group


def test_bluetooth_links_stand_alone() -> None:
    assert link_group("relay1", "aabb") != link_group("relay2", "aabb")
