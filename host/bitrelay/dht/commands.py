"""What a running node does for a command (`control`): put, get, lookup, peers, crawl, status."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import BadData, CheckFailed
from . import values
from .control import Request, Tell
from .crawler import Crawler
from .lookup import MAX_PATHS, Found, Plan
from .messages import MAX_DATA, Contact, SignedValue
from .node_id import ID_SIZE, bucket_index, hop_distance
from .service import NodeService
from .values import MAX_LIFETIME_S, Kind

MAX_CRAWL_S = 240
LEAST_CRAWL_MS = 50
"""Between two lookups: a crawl must be no burden to those it counts."""

_HEX = re.compile(r"([0-9a-fA-F]{2})*")


class Commands:
    """Does what requests say with one node. Raises BadData for a request that says nothing of the kind."""

    def __init__(self, service: NodeService) -> None:
        self._service = service
        self._node = service.node
        self._known: dict[str, Callable[[Request, Tell], Awaitable[Any]]] = {
            "put": self._put,
            "get": self._get,
            "lookup": self._lookup,
            "peers": self._peers,
            "crawl": self._crawl,
            "status": self._status,
        }

    async def handle(self, request: Request, tell: Tell) -> Any:
        """What comes of a request."""
        name = request.get("do")
        command = self._known.get(name) if isinstance(name, str) else None
        if command is None:
            raise BadData("the node does not know this command", hint="Restart the node after an update")
        return await command(request, tell)

    async def _put(self, request: Request, tell: Tell) -> Any:
        kind, name, data = _kind(request), _text(request, "name"), _bytes(request, "data", MAX_DATA)
        lifetime_s = _number(request, "lifetime_s", 1, MAX_LIFETIME_S)
        service, now = self._service, self._service.clock()
        keys = service.identity.local.keys
        try:
            value = values.sign(
                keys, kind, name, data, now=now, lifetime_s=lifetime_s, sequence=service.next_sequence()
            )  # fmt: skip
        except ValueError as error:
            raise BadData(str(error)) from None
        placed = await self._node.put(value)
        await service.save()
        if not placed.stored:
            raise CheckFailed("no node keeps the value", hint="It is brought again within the hour")
        return {
            "key": values.key_of(kind, name).hex(),
            "owner": value.owner.hex(),
            "sequence": value.sequence,
            "expires_at": value.expires_at,
            "stored": placed.stored,
            "refused": [reason.name for reason in placed.refused],
            "lost": placed.lost,
        }

    async def _get(self, request: Request, tell: Tell) -> Any:
        kind, name = _kind(request), _text(request, "name")
        owner = None if request.get("owner") is None else _bytes(request, "owner", ID_SIZE, ID_SIZE)
        found, seconds = await _timed(self._node.get(kind, name, owner=owner))
        return (
            {"key": found.target.hex()} | _cost(found, seconds) | {"values": [_value(value) for value in found.values]}
        )

    async def _lookup(self, request: Request, tell: Tell) -> Any:
        target = _bytes(request, "id", ID_SIZE, ID_SIZE)
        paths = _number(request, "paths", 1, MAX_PATHS) if "paths" in request else self._node.paths
        plan = Plan(paths, trace=request.get("trace") is True)
        found, seconds = await _timed(self._node.lookup(target, plan=plan))
        for step in found.steps:
            await tell(
                _contact(step.contact)
                | {
                    "path": step.path,
                    "depth": step.depth,
                    "outcome": step.outcome,
                    "told": step.told,
                    "bucket": bucket_index(target, step.contact.node_id),
                }
            )
        closest = [_contact(contact) for contact in found.closest]
        return {"target": found.target.hex()} | _cost(found, seconds) | {"closest": closest}

    async def _peers(self, request: Request, tell: Tell) -> Any:
        own = self._node.node_id
        records = sorted(self._node.table, key=lambda record: bucket_index(own, record.node_id))
        for record in records:
            await tell(
                _contact(record.contact)
                | {
                    "bucket": bucket_index(own, record.node_id),
                    "hop_distance": hop_distance(own, record.node_id),
                    "reputation": round(record.reputation, 3),
                    "last_seen": round(record.last_seen, 3),
                    "rtt_ms": None if record.rtt is None else round(record.rtt * 1000, 3),
                    "failures": record.failures,
                }
            )
        return {"peers": len(records)}

    async def _crawl(self, request: Request, tell: Tell) -> Any:
        # Until there is nobody left to look up, or the time is over.
        seconds = _number(request, "seconds", 1, MAX_CRAWL_S)
        interval_s = _number(request, "interval_ms", LEAST_CRAWL_MS, 60_000) / 1000
        crawler = Crawler(self._node, interval_s=interval_s)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        told: set[bytes] = set()
        crawler.seed()
        while crawler.queued and loop.time() < end:
            next_at = loop.time() + interval_s
            await crawler.step()
            for peer in [peer for peer in crawler.peers.values() if peer.peer_id not in told]:
                told.add(peer.peer_id)
                await tell(
                    _contact(Contact(peer.peer_id, peer.addresses))
                    | {
                        "hop_distance": peer.hop_distance,
                        "reputation": round(peer.reputation, 3),
                        "last_seen": round(peer.last_seen, 3),
                    }
                )
            await asyncio.sleep(max(0.0, min(next_at, end) - loop.time()))
        return {
            "peers": len(told),
            "crawled": crawler.crawled,
            "left": crawler.queued,
            "not_remembered": crawler.not_remembered,
            "estimated_size": round(self._node.estimated_size()),
        }

    async def _status(self, request: Request, tell: Tell) -> Any:
        node, network = self._node, self._service.network
        traffic, counted = network.traffic, node.statistics
        return {
            "id": node.node_id.hex(),
            "listen": [str(address) for address in network.bound],
            "udp": [str(address) for address in network.contact.addresses],
            "seen": [str(address) for address in network.seen],
            "peers": len(node.table),
            "estimated_size": round(node.estimated_size()),
            "values": len(node.store),
            "own_values": len(node.own),
            "datagrams": {"sent": traffic.sent, "received": traffic.received, "dropped": dict(traffic.dropped)},
            "bytes": {"sent": traffic.bytes_sent, "received": traffic.bytes_received},
            "asked": counted.asked,
            "timeouts": counted.timeouts,
            "questions": dict(counted.questions),
            "refused": dict(counted.refused),
            "store_dropped": dict(node.store.dropped),
            "tables": network.table_sizes,
        }


async def _timed(work: Awaitable[Found]) -> tuple[Found, float]:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    return await work, loop.time() - begun


def _cost(found: Found, seconds: float) -> dict[str, Any]:
    return {
        "hops": found.hops,
        "messages": found.messages,
        "failures": found.failures,
        "seconds": round(seconds, 3),
    }


def _contact(contact: Contact) -> dict[str, Any]:
    return {"id": contact.node_id.hex(), "addresses": [str(address) for address in contact.addresses]}


def _value(value: SignedValue) -> dict[str, Any]:
    return {
        "owner": value.owner.hex(),
        "sequence": value.sequence,
        "created_at": value.created_at,
        "expires_at": value.expires_at,
        "data": value.data.hex(),
    }


def _kind(request: Request) -> Kind:
    try:
        return Kind[_text(request, "kind").upper()]
    except KeyError:
        raise BadData(f"a value is of one of the kinds {', '.join(kind.name.lower() for kind in Kind)}") from None


def _text(request: Request, name: str) -> str:
    found = request.get(name)
    if not isinstance(found, str):
        raise BadData(f"the request has no {name}")
    return found


def _bytes(request: Request, name: str, most: int, least: int = 0) -> bytes:
    text = _text(request, name)
    if not least <= len(text) / 2 <= most or not _HEX.fullmatch(text):
        raise BadData(f"{name} is not hex digits of {f'{most} bytes' if least == most else f'at most {most} bytes'}")
    return bytes.fromhex(text)


def _number(request: Request, name: str, least: int, most: int) -> int:
    found = request.get(name)
    if type(found) is not int or not least <= found <= most:
        raise BadData(f"{name} is not a number from {least} to {most}")
    return found
