"""A node's table and values as plain data that JSON can carry, and back; what comes back is believed in nothing.

Nodes are remembered only: they are pinged as the node joins, and those that answer come into its table. Values count if
they would count from the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import WrongAddress
from ..transports.address import Udp, parse
from .messages import MAX_ADDRESSES, MAX_DATA, Contact, SignedValue
from .node import MAX_OWN_VALUES, DhtNode
from .node_id import ID_SIZE
from .places import Reach, reach
from .store import MAX_VALUES
from .values import fault_of, key_of

MAX_NODES = 1024
"""That are remembered: more than a table of millions of nodes has."""


@dataclass(frozen=True, slots=True)
class Restored:
    """nodes, values: how many were taken; dropped: how many entries were none, or did not count any more."""

    nodes: int
    values: int
    dropped: int


def snapshot(node: DhtNode) -> dict[str, Any]:
    """What a node knows: its nodes, nearest first, and the values it keeps, those of its own user apart."""
    contacts = node.table.closest(node.node_id, MAX_NODES)
    return {
        "node_id": node.node_id.hex(),
        "nodes": [[contact.node_id.hex(), *map(str, contact.addresses)] for contact in contacts],
        "values": [_plain(value) for value in node.store],
        "own": [_plain(value) for value in node.own.values()],
    }


def restore(node: DhtNode, data: Any) -> Restored:
    """Take what `snapshot` gave into a node that is to join; whatever the data is, nothing is raised."""
    found = data if isinstance(data, Mapping) else {}
    dropped = 0 if isinstance(data, Mapping) else 1
    contacts: dict[bytes, Contact] = {}
    for entry in _entries(found.get("nodes"), MAX_NODES):
        contact = _contact(entry)
        if contact is None or contact.node_id == node.node_id:
            dropped += 1
        else:
            contacts[contact.node_id] = contact
    node.remembered = list(contacts.values())
    values, now = 0, node.clock()
    for entry in _entries(found.get("values"), MAX_VALUES):
        value = _value(entry)
        if value is None or node.store.put(value, now) is not None:
            dropped += 1
        else:
            values += 1
    for entry in _entries(found.get("own"), MAX_OWN_VALUES):
        value = _value(entry)
        if value is None or fault_of(value, now) is not None:
            dropped += 1
        else:
            node.own[key_of(value.kind, value.name), value.owner] = value
            values += 1
    return Restored(len(contacts), values, dropped)


def _entries(found: Any, most: int) -> list[Any]:
    return found[:most] if isinstance(found, list) else []


def _contact(entry: Any) -> Contact | None:
    if not (
        isinstance(entry, list) and 2 <= len(entry) <= 1 + MAX_ADDRESSES and all(isinstance(e, str) for e in entry)
    ):
        return None
    try:
        node_id = bytes.fromhex(entry[0])
        addresses = tuple(parse(text) for text in entry[1:])
    except (ValueError, WrongAddress):
        return None
    udp = tuple(address for address in addresses if isinstance(address, Udp) and address.port)
    if len(node_id) != ID_SIZE or len(udp) < len(addresses) or any(reach(a.host) is Reach.NOWHERE for a in udp):
        return None
    return Contact(node_id, udp)


def _plain(value: SignedValue) -> list[Any]:
    return [
        int(value.kind),
        value.name,
        value.owner.hex(),
        value.sequence,
        value.created_at,
        value.expires_at,
        value.data.hex(),
        value.signature.hex(),
    ]


def _value(entry: Any) -> SignedValue | None:
    if not isinstance(entry, list) or len(entry) != 8:
        return None
    if not all(type(entry[place]) is int for place in (0, 3, 4, 5)):
        return None
    if not all(isinstance(entry[place], str) and len(entry[place]) <= 2 * MAX_DATA for place in (1, 2, 6, 7)):
        return None
    try:
        owner, data, signature = (bytes.fromhex(entry[place]) for place in (2, 6, 7))
    except ValueError:
        return None
    return SignedValue(entry[0], entry[1], owner, entry[3], entry[4], entry[5], data, signature)
