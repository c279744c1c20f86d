"""Nodes in the local network: what is announced, and what is taken from others (test_service.py has them meet)."""

from zeroconf import ServiceInfo

from bitrelay.dht.lan import MOST_FOUND, SERVICE, LanDiscovery
from bitrelay.transports.address import Udp

ADA = bytes([1]) * 32


def test_what_is_announced_has_one_port_and_only_addresses_that_work() -> None:
    both = LanDiscovery(ADA, [Udp("192.0.2.1", 4001), Udp("2001:db8::1", 4001), Udp("2001:db8::2", 9)])
    info = both.announcement()
    assert info is not None
    assert (info.port, sorted(info.parsed_addresses())) == (4001, ["192.0.2.1", "2001:db8::1"])
    assert LanDiscovery(ADA, [Udp("::", 4001)]).announcement() is None
    assert LanDiscovery(ADA, []).announcement() is None
    assert LanDiscovery(ADA, [Udp("127.0.0.1", 4001)]).announcement() is None


async def test_what_is_found_is_bounded_and_what_is_more_is_counted() -> None:
    lan = LanDiscovery(ADA, [])
    for number in range(MOST_FOUND + 10):
        lan.take(ServiceInfo(SERVICE, f"{number}.{SERVICE}", 4000 + number, addresses=[bytes((192, 0, 2, 1))]))
    lan.take(ServiceInfo(SERVICE, f"none.{SERVICE}", 0, addresses=[bytes((192, 0, 2, 1))]))
    lan.take(ServiceInfo(SERVICE, f"host.{SERVICE}", 4000, addresses=[bytes((127, 0, 0, 1))]))
    assert lan.dropped == 12
    assert await lan.next() == Udp("192.0.2.1", 4000)
