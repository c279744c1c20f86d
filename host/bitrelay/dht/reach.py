"""Which addresses are taken from others, and which is our own: policies on plain data."""

import ipaddress
from collections import Counter, OrderedDict
from enum import IntEnum

from ..transports.address import Udp
from .messages import Contact

MOST_TELLERS = 32
LEAST_TELLERS = 2


class Scope(IntEnum):
    """How far an address carries."""

    NOWHERE = 0
    """No place to send a datagram to: unspecified, multicast, reserved, or IPv4 in IPv6's clothes."""
    HOST = 1
    LINK = 2
    SITE = 3
    """Private networks, and those that carriers share."""
    WORLD = 4


def version_of(address: Udp) -> int:
    """Its IP version, 4 or 6; 0 for a name. An address holds what `ipaddress` wrote, so that a look is enough."""
    if ":" in address.host:
        return 6
    return 4 if address.host.replace(".", "").isdigit() else 0


def scope_of(address: Udp) -> Scope:
    """How far an IP address carries."""
    ip = ipaddress.ip_address(address.host)
    mapped = ip.version == 6 and ip.ipv4_mapped is not None
    if not address.port or mapped or ip.is_unspecified or ip.is_multicast or (ip.is_reserved and not ip.is_loopback):
        return Scope.NOWHERE
    if ip.is_loopback:
        return Scope.HOST
    if ip.is_link_local:
        return Scope.LINK
    return Scope.WORLD if ip.is_global else Scope.SITE


def believable(contact: Contact, teller: Udp) -> Contact | None:
    """A contact that a node told, with those of its addresses that carry at least as far as the teller's own.

    So nobody on the internet gets us to send datagrams into our own network, or to ourselves. None if none is left.
    """
    least = max(scope_of(teller), Scope.HOST)
    kept = tuple(dict.fromkeys(address for address in contact.addresses if scope_of(address) >= least))
    return Contact(contact.node_id, kept) if kept else None


class ObservedAddress:
    """Where others see us: what more than half of them say, of the last MOST_TELLERS, and at least LEAST_TELLERS."""

    def __init__(self) -> None:
        self._told: OrderedDict[bytes, Udp] = OrderedDict()

    def tell(self, teller: bytes, observed: Udp) -> None:
        """Note what a node said; its last word counts."""
        if scope_of(observed) is Scope.NOWHERE:
            return
        self._told[teller] = observed
        self._told.move_to_end(teller)
        if len(self._told) > MOST_TELLERS:
            self._told.popitem(last=False)

    @property
    def addresses(self) -> tuple[Udp, ...]:
        """The address of each IP version that most agree on."""
        agreed = []
        for version in (4, 6):
            told = Counter(address for address in self._told.values() if version_of(address) == version)
            if told:
                address, times = told.most_common(1)[0]
                if times >= LEAST_TELLERS and times * 2 > told.total():
                    agreed.append(address)
        return tuple(agreed)
