"""What is remembered of an identity's first appearance: the plain data that the Sybil detector judges."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

ID_SIZE = 32
CHALLENGE_SIZE = 32
# The networks that one customer gets: what DHT implementations count as one place.
_IPV4_GROUP_BITS = 24
_IPV6_GROUP_BITS = 48
_BLE = "ble:"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified identity as it was when we first saw it (or, if renewal, when it came with a new solution).

    Times are Unix seconds: computed_at and created_at by the peer's clock, first_seen by ours. origin: the group it
    came from, as `address_group` or `link_group` give it. addresses: what it says it can be reached at.
    """

    peer_id: bytes
    challenge_data: bytes
    difficulty: int
    computed_at: float
    created_at: float
    first_seen: float
    origin: str
    addresses: tuple[str, ...] = ()
    renewal: bool = False

    @property
    def lag_s(self) -> float:
        """How long before its first appearance the proof of work was done; below 0 if its clock is ahead of ours."""
        return self.first_seen - self.computed_at

    @property
    def local(self) -> bool:
        """Whether it came over Bluetooth, where a link says nothing about who is behind it (resolution E7)."""
        return self.origin.startswith(_BLE)


def address_group(host: str) -> str:
    """The network that an IP address belongs to: the /24 or, of IPv6, the /48; a name stands alone."""
    try:
        # What stands behind % is a zone of this computer.
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return f"name:{host.lower()}"
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None:
            return f"ip6:{_network(address, _IPV6_GROUP_BITS)}"
        address = inner
    return f"ip4:{_network(address, _IPV4_GROUP_BITS)}"


def link_group(relay: str, link: str) -> str:
    """The group of what comes over one Bluetooth link of one relay."""
    return f"{_BLE}{relay}/{link}"


def _network(address: IPv4Address | IPv6Address, bits: int) -> str:
    host_bits = address.max_prefixlen - bits
    return f"{type(address)(int(address) >> host_bits << host_bits)}/{bits}"
