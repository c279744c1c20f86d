"""What an address of a node says about where it is: whether it can be one at all, and which network it is in.

Ids cost work and addresses cost money; so no network, a /24 of IPv4 or a /48 of IPv6, may fill a routing table.
"""

import ipaddress
from enum import Enum
from functools import lru_cache

from ..defense.arrivals import address_group
from ..transports.address import Udp
from .messages import MAX_ADDRESSES, Contact
from .node_id import ID_SIZE


class Reach(Enum):
    """From where an address can be reached."""

    ANYWHERE = 0
    SITE = 1
    """A private network, or one link."""
    HOST = 2
    """This computer alone: loopback."""
    NOWHERE = 3
    """No address of a node: none at all, multicast, a name."""


@lru_cache(maxsize=1 << 14)
def reach(host: str) -> Reach:
    """From where the host can be reached."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return Reach.NOWHERE
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast or host == "255.255.255.255":
        return Reach.NOWHERE
    if address.is_loopback:
        return Reach.HOST
    return Reach.SITE if address.is_private or address.is_link_local else Reach.ANYWHERE


@lru_cache(maxsize=1 << 14)
def network_of(host: str) -> str:
    """The name of the network that a host is in."""
    return address_group(host)


def can_be_told(contact: Contact, teller: Contact, own_id: bytes) -> bool:
    """Whether a contact that a node told of is to be believed as far as to be asked.

    Only a node that is on this computer, or in a private network, may tell of others there: else anybody could have us
    send datagrams into our own network.
    """
    if len(contact.node_id) != ID_SIZE or contact.node_id == own_id or not 0 < len(contact.addresses) <= MAX_ADDRESSES:
        return False
    return all(_may_tell(address, teller) for address in contact.addresses)


def _may_tell(address: Udp, teller: Contact) -> bool:
    where = reach(address.host)
    if where is Reach.NOWHERE or not address.port:
        return False
    return where is Reach.ANYWHERE or any(reach(own.host).value >= where.value for own in teller.addresses)
