"""Gateways are found in the DHT by the names of their meshes, and only as who they are."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrelay.dht.messages import SignedValue
from bitrelay.dht.values import Kind, sign
from bitrelay.errors import BadData, CheckFailed
from bitrelay.gateway.config import FederationConfig, Preference
from bitrelay.gateway.discovery import LIFETIME_S, MOST_OFFERED, MOST_VALUES, Discovery, NodeDht
from bitrelay.gateway.exchange import GatewayUp
from bitrelay.gateway.gateway_record import GatewayRecord, decode, encode
from bitrelay.gateway.link_exchange import LinkExchange
from bitrelay.gateway.message import Hello, MeshOffer
from bitrelay.gateway.selection import Candidate, Criteria
from bitrelay.transports.address import Address, Tcp
from tests.dht.test_service import running
from tests.gateway.linked_sites import Site, address, hello_of, sites
from tests.gateway.test_links_over_sockets import told
from tests.identity.mined import BITS, keys_of
from tests.transports.ends import identity, peer_id
from tests.transports.memory import MemoryNetwork
from tests.transports.virtual_time import later, now, virtual_time

START = 1_786_000_000.0
PLACE = Tcp("192.0.2.7", 8765)


class MemoryDht:
    """All values by name and owner. puts: when each was put, and its record; fails: it is out of order."""

    def __init__(self) -> None:
        self.values: dict[str, dict[bytes, SignedValue]] = defaultdict(dict)
        self.puts: list[tuple[float, str, GatewayRecord]] = []
        self.gets: list[tuple[float, str]] = []
        self.fails = False

    def of(self, number: int) -> "OwnersDht":
        return OwnersDht(self, number)

    def add(self, number: int, mesh: str, record: GatewayRecord | bytes, **changes: Any) -> None:
        data = record if isinstance(record, bytes) else encode(record)
        value = sign(keys_of(number), Kind.GATEWAY, mesh, data, now=unix(), lifetime_s=LIFETIME_S)
        self.values[mesh][value.owner] = replace(value, **changes)


class OwnersDht:
    """The same with the keys of one owner."""

    def __init__(self, dht: MemoryDht, number: int) -> None:
        self._dht = dht
        self._number = number

    async def put(self, name: str, data: bytes, lifetime_s: int) -> None:
        if self._dht.fails:
            raise CheckFailed("no node keeps it")
        assert lifetime_s == LIFETIME_S
        record = decode(data)
        assert record is not None
        self._dht.puts.append((now(), name, record))
        self._dht.add(self._number, name, record)

    async def get(self, name: str) -> Sequence[SignedValue]:
        self._dht.gets.append((now(), name))
        if self._dht.fails:
            raise BadData("out of order")
        return tuple(self._dht.values[name].values())


class Seeker:
    """Wants beta, trusts whom it is told to, and keeps what it is offered."""

    def __init__(self, trusted: Iterable[int] = (), is_open: bool = True) -> None:
        self.trusted = set(map(peer_id, trusted))
        self.is_open = is_open
        self.offered: Mapping[bytes, Sequence[Address]] = {}
        self.own: dict[str, GatewayRecord] = {}

    def wanted(self) -> Iterable[str]:
        return ("beta",)

    def candidate(self, peer: bytes, record: GatewayRecord) -> Candidate | None:
        if not self.is_open and peer not in self.trusted:
            return None
        facts = (record.load / 100, record.uptime, record.fee, record.capacity, record.latency_ms)
        return Candidate(peer, *facts, peer in self.trusted)

    def offer(self, found: Mapping[bytes, Sequence[Address]]) -> None:
        self.offered = found

    def records(self) -> Mapping[str, GatewayRecord]:
        return self.own

    @property
    def numbers(self) -> set[int]:
        return {number for number in range(40) if peer_id(number) in self.offered}


def unix() -> float:
    return START + now()


async def looked(dht: MemoryDht, seeker: Seeker, preference: Preference = Preference.MOST_RELIABLE) -> Discovery:
    discovery = Discovery(dht.of(39), clock=unix)
    await discovery.look(seeker, Criteria(), preference)
    return discovery


@pytest.mark.requirement("GWY-07")
@virtual_time
async def test_gateways_that_know_nothing_but_the_name_of_a_mesh_find_one_another() -> None:
    network, dht = MemoryNetwork(), MemoryDht()
    made = [
        Site(
            network,
            number,
            hello_of(number, mesh),
            own_id=peer_id(number),
            discovery=Discovery(dht.of(number), clock=unix),
            is_open=True,
        )
        for number, mesh in ((1, "beta"), (2, "beta"), (3, "gamma"))
    ]
    made[2].hello = replace(made[2].hello, meshes=(replace(made[2].hello.meshes[0], subscribe=("beta", "geo:u33")),))
    async with sites(*made):
        await later(60)
        # The third one wants beta; nobody wants gamma but itself.
        assert [{view.peer_id for view in site.exchange.gateways()} for site in made] == [
            {peer_id(2), peer_id(3)},
            {peer_id(1), peer_id(3)},
            {peer_id(1), peer_id(2)},
        ]
        assert {name for _, name in dht.gets} == {"beta", "gamma"}
        assert [not site.exchange.gateways()[0].trusted for site in made] == [True] * 3
        assert dict.fromkeys(record.addresses for _, _, record in dht.puts).keys() == {
            (address(number),) for number in (1, 2, 3)
        }


@pytest.mark.requirement("GWY-20")
@virtual_time
async def test_it_looks_every_thirty_seconds_and_sooner_at_the_start_whomever_it_finds() -> None:
    dht, seeker = MemoryDht(), Seeker()
    dht.add(3, "beta", GatewayRecord((PLACE,)))
    discovery = Discovery(dht.of(1), clock=unix)
    discovery.start(seeker, Criteria(), Preference.MOST_RELIABLE)
    await later(40)
    assert [moment for moment, _ in dht.gets] == [0, 2, 6, 14, 30]
    assert seeker.numbers == {3}
    dht.add(2, "beta", GatewayRecord((PLACE,)))
    dht.gets.clear()
    await later(195)
    assert seeker.numbers == {2, 3}
    assert [moment for moment, _ in dht.gets] == [60, 90, 120, 150, 180, 210]
    await discovery.stop()


@virtual_time
async def test_a_record_is_put_every_five_minutes_and_sooner_if_it_says_something_else_but_once_a_minute_at_most() -> (
    None
):
    dht, seeker = MemoryDht(), Seeker()
    discovery = Discovery(dht.of(1), clock=unix)
    record = GatewayRecord((PLACE,), downlink=True, load=10)
    seeker.own = {"beta": record, "nowhere": GatewayRecord()}
    discovery.start(seeker, Criteria(), Preference.MOST_RELIABLE)

    async def put_at(seconds: float, **says: Any) -> list[float]:
        dht.puts.clear()
        seeker.own["beta"] = replace(record, **says)
        await later(seconds)
        return [moment for moment, _, _ in dht.puts]

    assert await put_at(301) == [0, 300]
    assert await put_at(130, load=30, latency_ms=9.0, uptime=0.5) == []
    assert await put_at(60, load=31) == [480]
    assert await put_at(60, load=31, fee=2) == [540]
    for load in range(0, 90, 30):
        await put_at(1, load=load, fee=2)
    assert await put_at(120, load=60, fee=2) == [600]
    await discovery.stop()


@virtual_time
async def test_a_dht_that_is_out_of_order_is_tried_again_and_what_was_found_stays() -> None:
    dht, seeker = MemoryDht(), Seeker()
    dht.add(2, "beta", GatewayRecord((PLACE,)))
    seeker.own = {"beta": GatewayRecord((PLACE,))}
    dht.fails = True
    discovery = Discovery(dht.of(1), clock=unix)
    discovery.start(seeker, Criteria(), Preference.MOST_RELIABLE)
    await later(3)
    assert seeker.numbers == set() and dht.puts == []
    dht.fails = False
    await later(4)
    assert seeker.numbers == {1, 2} and len(dht.puts) == 1
    dht.fails = True
    await later(100)
    assert seeker.numbers == {1, 2}
    assert discovery.counts["looks that failed"] >= 3
    await discovery.stop()


@pytest.mark.requirement("GWY-23")
@pytest.mark.parametrize(
    "changes",
    [
        {"data": encode(GatewayRecord((Tcp("192.0.2.66", 1),)))},
        {"owner": keys_of(3).signing_key},
        {"signature": bytes(64)},
        {"expires_at": int(START) - 1},
        {"created_at": int(START) + 10_000, "expires_at": int(START) + 10_900},
        {"name": "alpha"},
        {"kind": Kind.APPLICATION},
    ],
    ids=["altered", "another owner's", "not signed", "expired", "of the future", "of another mesh", "of another kind"],
)
@virtual_time
async def test_a_record_that_its_owner_did_not_sign_for_this_mesh_and_time_does_not_count(
    changes: dict[str, Any],
) -> None:
    dht, seeker = MemoryDht(), Seeker()
    dht.add(1, "beta", GatewayRecord((PLACE,)), **changes)
    dht.add(2, "beta", GatewayRecord((PLACE,)))
    discovery = await looked(dht, seeker)
    assert seeker.numbers == {2} and seeker.offered == {peer_id(2): (PLACE,)}
    assert discovery.counts.total() == 1


@pytest.mark.parametrize("record", [b"", b"junk" * 20, encode(GatewayRecord())], ids=["empty", "junk", "no address"])
@virtual_time
async def test_a_record_that_leads_nowhere_is_passed_over(record: bytes) -> None:
    dht, seeker = MemoryDht(), Seeker()
    dht.add(1, "beta", record)
    await looked(dht, seeker)
    assert seeker.offered == {}


@pytest.mark.requirement("GWY-08", "GWY-09", "GWY-10")
@pytest.mark.parametrize(
    ("records", "offered", "degraded"),
    [
        (
            {1: {}, 2: {"load": 80}, 3: {"uptime": 0.95}, 4: {"fee": 11}, 5: {"load": 79, "uptime": 0.9501}},
            {1, 5},
            False,
        ),
        ({2: {"load": 80}, 3: {"uptime": 0.95}}, {2, 3}, True),
    ],
    ids=["good enough", "what there is"],
)
@virtual_time
async def test_gateways_are_offered_that_are_good_enough_or_else_all(
    records: dict[int, dict[str, Any]], offered: set[int], degraded: bool
) -> None:
    dht, seeker = MemoryDht(), Seeker()
    for number, says in records.items():
        dht.add(number, "beta", GatewayRecord((PLACE,), **says))
    discovery = await looked(dht, seeker)
    assert seeker.numbers == offered
    assert discovery.degraded == ({"beta"} if degraded else set())


@virtual_time
async def test_of_many_the_best_are_offered_by_preference() -> None:
    dht, seeker = MemoryDht(), Seeker()
    for number in range(20):
        dht.add(number, "beta", GatewayRecord((PLACE,), latency_ms=100.0 - number))
    await looked(dht, seeker, Preference.LOWEST_LATENCY)
    assert seeker.numbers == set(range(20 - MOST_OFFERED, 20))


@virtual_time
async def test_a_gateway_that_is_not_open_is_offered_those_it_trusts_alone() -> None:
    dht, seeker = MemoryDht(), Seeker(trusted=(2,), is_open=False)
    for number in range(5):
        dht.add(number, "beta", GatewayRecord((PLACE,)))
    await looked(dht, seeker)
    assert seeker.numbers == {2}


@virtual_time
async def test_who_was_found_and_is_not_trusted_any_more_is_dialled_no_more() -> None:
    network, dht = MemoryNetwork(), MemoryDht()
    dht.add(2, "beta", GatewayRecord((PLACE,)))
    trust = frozenset({peer_id(2)})
    site = Site(network, 1, own_id=peer_id(1), discovery=Discovery(dht.of(1), clock=unix), trust=trust)
    async with sites(site):
        await later(10)
        assert list(site.exchange.troubles()) == [str(PLACE)]
        dht.fails = True
        site.exchange.configure(replace(site.config, trust=frozenset()))
        await later(60)
        assert site.exchange.troubles() == {}


@virtual_time
async def test_why_nobody_of_a_mesh_is_offered_is_told() -> None:
    dht, seeker = MemoryDht(), Seeker(is_open=False)
    discovery = await looked(dht, seeker)
    assert "no gateway of this mesh" in discovery.troubles["beta"]
    dht.add(2, "beta", GatewayRecord((PLACE,)))
    await discovery.look(seeker, Criteria(), Preference.MOST_RELIABLE)
    assert "in trust?" in discovery.troubles["beta"]
    seeker.trusted.add(peer_id(2))
    await discovery.look(seeker, Criteria(), Preference.MOST_RELIABLE)
    dht.fails = True
    await discovery.look(seeker, Criteria(), Preference.MOST_RELIABLE)
    assert discovery.troubles == {}
    assert "out of order" in (await looked(dht, seeker)).troubles["beta"]


@virtual_time
async def test_however_many_strangers_are_under_a_name_they_hide_no_trusted_gateway() -> None:
    dht, seeker = MemoryDht(), Seeker(trusted=(2,))
    for number in range(100, 101 + MOST_VALUES):
        dht.add(number, "beta", GatewayRecord((PLACE,)))
    dht.add(2, "beta", GatewayRecord((PLACE,)))
    await looked(dht, seeker)
    assert seeker.numbers == {2}


@virtual_time
async def test_strangers_who_are_not_where_they_say_make_room_for_those_who_are() -> None:
    network, dht = MemoryNetwork(), MemoryDht()
    for number in range(10, 18):
        dht.add(number, "beta", GatewayRecord((Tcp(f"198.51.100.{number}", 8765),), latency_ms=0.0))
    made = [
        Site(
            network, number, hello_of(number), own_id=peer_id(number),
            discovery=Discovery(dht.of(number), clock=unix), is_open=True,
        )
        for number in (1, 2)
    ]  # fmt: skip
    async with sites(*made):
        await later(1)
        assert made[0].exchange.gateways() == () and len(made[0].exchange.troubles()) == MOST_OFFERED
        await later(60)
        assert [len(site.exchange.gateways()) for site in made] == [1, 1]


async def test_over_three_nodes_of_the_dht_two_gateways_find_each_other_and_link(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(tmp_path / "a", number=3))
        place = first.service.network.bound[0]
        made: list[LinkExchange] = []
        for number in (1, 2):
            node = await stack.enter_async_context(running(tmp_path / str(number), place, number=number))
            own: Callable[[], Any] = lambda number=number: identity(number)  # noqa: E731
            exchange = LinkExchange(
                own,
                FederationConfig(listen=(Tcp("127.0.0.1", 0),), is_open=True),
                difficulty=BITS,
                discovery=Discovery(
                    NodeDht(node.service, lambda number=number: identity(number).keys), clock=time.time
                ),
            )
            await exchange.start(Hello(f"gateway {number}", (MeshOffer("beta", downlink=True),)))
            stack.push_async_callback(exchange.stop)
            made.append(exchange)
        for exchange, other in zip(made, (2, 1), strict=True):
            event = await told(exchange, lambda event: isinstance(event, GatewayUp))
            assert isinstance(event, GatewayUp) and event.gateway.peer_id == peer_id(other)
