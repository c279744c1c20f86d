"""Messages between two hosts that are connected over several transports."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from memory import MemoryNetwork, MemoryTransport, Wire
from virtual_time import later, now, virtual_time

from bitrelay.errors import TransportClosed
from bitrelay.transports.adaptive_timeout import TimeoutRange
from bitrelay.transports.address import HostAddress, Quic, Tcp, Udp
from bitrelay.transports.connection_manager import ConnectionManager
from bitrelay.transports.coordinator import (
    CoordinatorEvent,
    TransportCoordinator,
    TransportUp,
)
from bitrelay.transports.limits import Admission, ConnectionLimits
from bitrelay.transports.peer_channel import ChannelConfig
from bitrelay.transports.selector import TransportType
from bitrelay.transports.transport import DataReceived

ALICE, BOB, CAROL = b"A" * 32, b"B" * 32, b"C" * 32
KINDS: tuple[type[HostAddress], ...] = (Tcp, Quic, Udp)
GENEROUS = ConnectionLimits(max_per_address=100, max_per_minute=1000, cooldown_s=0.0)
TIMEOUTS = TimeoutRange(base_s=0.5, min_s=0.2, max_s=10.0)


class Host:
    """A coordinator, and everything it told."""

    def __init__(self, network: MemoryNetwork, peer_id: bytes, seed: int = 1, **options: object) -> None:
        self.peer_id = peer_id
        self.network = network
        self.coordinator = TransportCoordinator(
            lambda on_event: ConnectionManager(on_event, admission=Admission(GENEROUS)),
            rng=random.Random(seed),
            **{"config": ChannelConfig(timeouts=TIMEOUTS), "epoch": 1000, **options},
        )
        self.events: list[CoordinatorEvent] = []
        self.transports = {}
        self.addresses = []
        self._reader: asyncio.Task[None] | None = None

    async def start(self, kinds: tuple[type[HostAddress], ...], *, reading: bool = True) -> None:
        for kind in kinds:
            transport = MemoryTransport(self.network, self.peer_id, kind=kind)
            self.transports[kind.scheme] = transport
            self.coordinator.register_transport(transport, TransportType.INTERNET)
            self.addresses.append(await self.coordinator.listen(kind("192.0.2.9", 0)))
        if reading:
            self.read()

    def read(self) -> None:
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                self.events.append(await self.coordinator.next_event())
        except TransportClosed:
            pass

    def messages(self) -> list[bytes]:
        return [event.data for event in self.events if isinstance(event, DataReceived)]

    async def close(self) -> None:
        await self.coordinator.close()
        if self._reader is not None:
            await self._reader


@dataclass
class Pair:
    alice: Host
    bob: Host
    network: MemoryNetwork

    def wire(self, scheme: str) -> Wire:
        found = self.alice.transports[scheme].wire(BOB)
        assert found is not None
        return found

    async def send_all(self, count: int, size: int = 8) -> list[bytes]:
        messages = [number.to_bytes(size, "big") for number in range(count)]
        for message in messages:
            await self.alice.coordinator.send(BOB, message, until_acknowledged=False)
        await self.alice.coordinator.flush(BOB)
        return messages


@asynccontextmanager
async def pair(
    kinds: tuple[type[HostAddress], ...] = KINDS[:2], *, reading: bool = True, **options: object
) -> AsyncIterator[Pair]:
    network = MemoryNetwork()
    alice, bob = Host(network, ALICE, **options), Host(network, BOB, seed=2, **options)
    await alice.start(kinds)
    await bob.start(kinds, reading=reading)
    for address in bob.addresses:
        assert await alice.coordinator.connect(address, peer=BOB) == BOB
    await later(0.1)
    try:
        yield Pair(alice, bob, network)
    finally:
        await alice.close()
        await bob.close()


@pytest.mark.requirement("CRD-02", "CRD-15")
@virtual_time
async def test_a_peer_is_connected_over_each_transport_that_it_was_connected_over() -> None:
    async with pair() as both:
        assert both.alice.coordinator.transports_of(BOB) == ("tcp", "quic")
        assert both.alice.coordinator.peers == (BOB,)
        assert both.alice.coordinator.metrics(BOB).keys() == {"tcp", "quic"}
        assert [event.transport for event in both.alice.events if isinstance(event, TransportUp)] == ["tcp", "quic"]


@virtual_time
async def test_what_is_sent_arrives_once_and_in_order_in_both_directions() -> None:
    async with pair() as both:
        sent = await both.send_all(500)
        assert both.bob.messages() == sent
        await both.bob.coordinator.send(ALICE, b"back")
        await later(0)
        assert both.alice.messages() == [b"back"]


@pytest.mark.requirement("CRD-10", "EXE-03")
@pytest.mark.parametrize("in_silence", [False, True], ids=["with a word", "in silence"])
@pytest.mark.parametrize("seed", range(20))
@virtual_time
async def test_nothing_is_lost_nor_doubled_when_the_transport_in_use_is_cut_under_load(
    seed: int, in_silence: bool
) -> None:
    async with pair(KINDS) as both:
        chance = random.Random(seed)
        await both.send_all(5)
        used = max(("tcp", "quic", "udp"), key=lambda scheme: both.wire(scheme).carried)
        wire = both.wire(used)
        wire.cut_in_silence = in_silence
        wire.cut_at = wire.carried + chance.randrange(300)
        both.bob.events.clear()
        # What it is allowed to take before it is switched: the learnt timeout, as it is at the cut.
        started = now()
        sent = await both.send_all(500)
        assert wire.dead
        assert both.bob.messages() == sent
        assert now() - started < 2 * TIMEOUTS.base_s
        assert both.alice.coordinator.statistics().events["failovers"] >= 1
