"""Gateways found in the DHT by the names of their meshes, and ours put there (rows GWY-07, GWY-20, GWY-23).

A record counts if its owner signed it and its time is not over; whose it is, is the hash of the owner's key. What it
says of load, fee and uptime is a claim, by which strangers are chosen until they are measured.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from ..dht.messages import SignedValue
from ..dht.values import Kind, fault_of, latest, sign
from ..errors import BadData, BitrelayError, CheckFailed
from ..identity.keys import IdentityKeys, peer_id_of
from ..transports.address import HostAddress
from ..watched_task import watched
from .config import Preference
from .gateway_record import GatewayRecord, decode, encode
from .selection import Candidate, Criteria, select

if TYPE_CHECKING:
    from ..dht.service import NodeService

_log = logging.getLogger(__name__)

LOOK_S: Final = 30.0
"""Between two looks (row GWY-20); the first ones come sooner."""
PUBLISH_S: Final = 300.0
LIFETIME_S: Final = 900
CHECK_S: Final = 60.0
"""How often at most a record is put again because of what it says."""
LOAD_POINTS: Final = 20
"""By how many percent the load must have changed for that."""
MOST_OFFERED: Final = 8
"""Gateways of one mesh that are to be linked with."""
MOST_NAMES: Final = 64
"""Meshes that are looked for; of more, those named last are not."""
MOST_VALUES: Final = 128
"""Of one name whose signatures are checked."""
_NOBODY: Final = "no gateway of this mesh was found in the DHT"
_NOT_TRUSTED: Final = "those found in the DHT under this name may not link. Are the PeerIds of its gateways in trust?"
_FIRST_S: Final = 2.0
_ANSWER_S: Final = 30.0


class Dht(Protocol):
    """Values of kind GATEWAY."""

    async def put(self, name: str, data: bytes, lifetime_s: int) -> None:
        """Put ours under the name of a mesh. Raises a BitrelayError."""
        ...

    async def get(self, name: str) -> Sequence[SignedValue]:
        """All under the name of a mesh. Raises a BitrelayError."""
        ...


class NodeDht:
    """The DHT by a node of our own. keys: those that sign, which are the gateway's."""

    def __init__(self, service: "NodeService", keys: Callable[[], IdentityKeys]) -> None:
        self._service = service
        self._keys = keys

    async def put(self, name: str, data: bytes, lifetime_s: int) -> None:
        service = self._service
        try:
            value = sign(
                self._keys(), Kind.GATEWAY, name, data,
                now=service.clock(), lifetime_s=lifetime_s, sequence=service.next_sequence(),
            )  # fmt: skip
        except ValueError as error:
            raise BadData(str(error)) from None
        placed = await service.node.put(value)
        if not placed.stored:
            raise CheckFailed("no node of the DHT keeps the gateway's record")

    async def get(self, name: str) -> Sequence[SignedValue]:
        return (await self._service.node.get(Kind.GATEWAY, name)).values


class Seeker(Protocol):
    """Who looks for gateways, and is one."""

    def wanted(self) -> Iterable[str]:
        """Names of meshes whose gateways it wants."""
        ...

    def candidate(self, peer_id: bytes, record: GatewayRecord) -> Candidate | None:
        """What is known of a gateway with this record; None if it is not to be linked with."""
        ...

    def offer(self, found: Mapping[bytes, Sequence[HostAddress]]) -> None:
        """These are there, by PeerId, and where they are reached."""
        ...

    def records(self) -> Mapping[str, GatewayRecord]:
        """What it says of itself, by mesh."""
        ...


class Discovery:
    """Looks for gateways and publishes one, from start() to stop().

    clock: Unix seconds. degraded: meshes of which no gateway is good enough, so that others are offered. counts:
    records that did not count, by reason, and what failed. troubles: why nobody is offered of a mesh, by its name.
    """

    def __init__(self, dht: Dht, *, clock: Callable[[], float] = time.time) -> None:
        self.degraded: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.troubles: dict[str, str] = {}
        self._dht = dht
        self._clock = clock
        self._found: dict[str, dict[bytes, tuple[HostAddress, ...]]] = {}
        self._published: dict[str, tuple[GatewayRecord, float]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, seeker: Seeker, criteria: Criteria, preference: Preference) -> None:
        """Begin. Harmless if it runs."""
        if not self._tasks:
            looks = _again_and_again(lambda: self.look(seeker, criteria, preference), LOOK_S)
            puts = _again_and_again(lambda: self.publish(seeker.records()), CHECK_S)
            self._tasks = [watched(work, "Discovery of gateways has failed") for work in (looks, puts)]

    async def stop(self) -> None:
        """Harmless when repeated. What was published is found until its time is over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def look(self, seeker: Seeker, criteria: Criteria, preference: Preference) -> None:
        """Look once for all that is wanted, and offer it. What the DHT did not say this time is as it was."""
        names = list(dict.fromkeys(seeker.wanted()))[:MOST_NAMES]
        for name in names:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    found = await self._dht.get(name)
            except (BitrelayError, TimeoutError) as error:
                self.counts["looks that failed"] += 1
                _log.info("Gateways of %s could not be looked for: %s", name, error)
                if not self._found.get(name):
                    self.troubles[name] = str(error) or "the DHT does not answer"
                continue
            self._found[name] = self._chosen(name, found, seeker, criteria, preference)
            self.troubles.pop(name, None)
            if not self._found[name]:
                self.troubles[name] = _NOT_TRUSTED if found else _NOBODY
        self._found = {name: self._found[name] for name in names if name in self._found}
        self.troubles = {name: self.troubles[name] for name in names if name in self.troubles}
        offered = {peer: addresses for found in self._found.values() for peer, addresses in found.items()}
        seeker.offer(offered)

    async def publish(self, records: Mapping[str, GatewayRecord]) -> bool:
        """Put what is due: new records, and those that say something else or were put long ago; whether all were taken.
        Records without an address help nobody and stay here."""
        now = asyncio.get_running_loop().time()
        done = True
        self._published = {name: put for name, put in self._published.items() if name in records}
        for name, record in records.items():
            put = self._published.get(name)
            if not record.addresses or (put is not None and not _is_due(put[0], record, now - put[1])):
                continue
            try:
                async with asyncio.timeout(_ANSWER_S):
                    await self._dht.put(name, encode(record), LIFETIME_S)
            except (BitrelayError, TimeoutError) as error:
                self.counts["records not put"] += 1
                _log.info("The record of %s was not put: %s", name, error)
                done = False
            else:
                self._published[name] = record, now
        return done

    def _chosen(
        self, name: str, found: Sequence[SignedValue], seeker: Seeker, criteria: Criteria, preference: Preference
    ) -> dict[bytes, tuple[HostAddress, ...]]:
        judged: dict[SignedValue, tuple[GatewayRecord, Candidate]] = {}
        claims = [claim for value in found if (claim := self._claim(name, value, seeker)) is not None]
        # Anybody may put values under the name of a mesh: however many they are, they hide no trusted gateway.
        claims.sort(key=lambda claim: not claim[2].trusted)
        for value, record, candidate in claims[:MOST_VALUES]:
            # The signature last: it is what costs.
            if (fault := fault_of(value, self._clock())) is None:
                judged[value] = record, candidate
            else:
                self.counts[fault.name.lower()] += 1
        addresses: dict[bytes, tuple[HostAddress, ...]] = {}
        candidates = []
        for value in latest(judged):
            record, candidate = judged[value]
            addresses[candidate.peer_id] = record.addresses
            candidates.append(candidate)
        selection = select(candidates, criteria, preference)
        if selection.degraded and name not in self.degraded:
            _log.info("No gateway of %s is good enough: others are taken", name)
        (self.degraded.add if selection.degraded else self.degraded.discard)(name)
        return {each.peer_id: addresses[each.peer_id] for each in selection.candidates[:MOST_OFFERED]}

    def _claim(
        self, name: str, value: SignedValue, seeker: Seeker
    ) -> tuple[SignedValue, GatewayRecord, Candidate] | None:
        # What a value says, and what is known of its owner; None if it is not to be looked at.
        record = decode(value.data)
        if record is None or not record.addresses or value.kind != Kind.GATEWAY or value.name != name:
            self.counts["records that are none"] += 1
            return None
        candidate = seeker.candidate(peer_id_of(value.owner), record)
        return None if candidate is None else (value, record, candidate)


def _is_due(put: GatewayRecord, record: GatewayRecord, age_s: float) -> bool:
    if age_s >= PUBLISH_S or abs(record.load - put.load) > LOAD_POINTS:
        return True
    # Latency and uptime change all the time.
    same = replace(record, load=put.load, latency_ms=put.latency_ms, uptime=put.uptime)
    return same != put


async def _again_and_again(work: Callable[[], Awaitable[bool | None]], every_s: float) -> None:
    # At the start sooner, until the work is done: the node may know nobody yet, and others may start with us. To look
    # is never done.
    pause_s = min(_FIRST_S, every_s)
    while True:
        if await work():
            pause_s = every_s
        await asyncio.sleep(pause_s)
        pause_s = min(every_s, 2 * pause_s)
