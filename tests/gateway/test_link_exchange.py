"""Gateways link, tell of one another, notice who has gone, and share frames: in virtual time."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from bitrelay.errors import BadData, BitrelayError, DeviceTimeout, NotConnected, TransportClosed, Unreachable
from bitrelay.gateway.config import FederationConfig, PeerConfig, Preference
from bitrelay.gateway.exchange import GatewayDown, GatewayUp, MessageCame
from bitrelay.gateway.gateway_links import NO_ROOM
from bitrelay.gateway.gateway_record import GatewayRecord
from bitrelay.gateway.link_gate import NOT_TRUSTED
from bitrelay.gateway.message import FrameMessage, Hello, Outcome, Receipt, encode
from bitrelay.gateway.selection import Candidate
from bitrelay.transports.coordinator import TransportCoordinator
from bitrelay.transports.fair_queue import Traffic
from bitrelay.transports.transport import DataReceived
from tests.gateway.linked_sites import FRAME, Site, address, hello_of, named, peer_id, sites, stranger
from tests.transports.memory import MemoryNetwork, MemoryTransport
from tests.transports.virtual_time import later, now, virtual_time

EMPTY_HELLO = encode(Hello("", ()))
AUTHORS = [number.to_bytes(8, "big") for number in range(64)]


def pair(network: MemoryNetwork) -> tuple[Site, Site]:
    return Site(network, 1, hello_of(1, "alpha"), peers=named(2)), Site(network, 2, trust=frozenset({peer_id(1)}))


@virtual_time
async def test_gateways_that_link_tell_of_themselves_and_send_frames_both_ways_in_order() -> None:
    one, two = pair(MemoryNetwork())
    async with sites(one, two):
        await later(5)
        assert (one.linked, two.linked) == ({2}, {1})
        (view,) = one.exchange.gateways()
        assert (view.hello.name, view.trusted, view.uptime) == ("gateway 2", True, 1.0)
        assert one.events == [GatewayUp(replace(view, latency_ms=None))]
        frames = [FrameMessage("alpha", "beta", bytes((number,)), number) for number in range(200)]
        for frame in frames:
            await one.send(two, frame)
        await two.send(one, Receipt("beta", bytes(16), Outcome.SENT))
        await later(1)
        assert two.came == [(1, frame) for frame in frames]
        assert one.came == [(2, Receipt("beta", bytes(16), Outcome.SENT))]


@virtual_time
async def test_what_a_gateway_says_anew_is_told_and_that_it_is_still_there_is_not() -> None:
    one, two = pair(MemoryNetwork())
    async with sites(one, two):
        await later(100)
        assert one.ups == [2]
        assert one.exchange.gateways()[0].hello.uptime_s >= 90
        two.exchange.update(replace(two.hello, load=70, uptime_s=100))
        await later(0.1)
        assert one.ups == [2, 2]
        (view,) = one.exchange.gateways()
        assert (view.hello.load, view.hello.uptime_s) == (70, 100)
        with pytest.raises(BadData):
            two.exchange.update(Hello("x" * 300, ()))


@virtual_time
async def test_who_says_something_new_of_itself_all_the_time_is_not_listened_to_each_time() -> None:
    one, two = pair(MemoryNetwork())
    async with sites(one, two):
        await later(5)
        for number in range(600):
            two.exchange.update(hello_of(2, f"mesh {number}"))
            await later(0.1)
        assert len(one.ups) < 75
        assert one.exchange.counts["too many hellos"] > 500
        await later(30)
        assert one.exchange.gateways()[0].hello.mesh("mesh 599")


@pytest.mark.requirement("GWY-11")
@virtual_time
async def test_the_latency_of_a_link_is_measured() -> None:
    network = MemoryNetwork(latency_s=0.2)
    one, two = pair(network)
    async with sites(one, two):
        await later(600)
        assert one.exchange.gateways()[0].latency_ms == pytest.approx(400, rel=0.1)


@virtual_time
async def test_two_that_dial_each_other_have_one_link() -> None:
    network = MemoryNetwork()
    one, two = (Site(network, number, peers=named(3 - number)) for number in (1, 2))
    async with sites(one, two):
        await later(100)
        assert one.linked == {2} and two.linked == {1}
        assert len(network.wires) == 1
        assert (one.downs, two.downs) == ([], [])


@virtual_time
async def test_who_answers_where_the_operator_said_is_trusted() -> None:
    network = MemoryNetwork()
    one = Site(network, 1, peers=(PeerConfig(address(2)),))
    two = Site(network, 2, trust=frozenset({peer_id(1)}))
    async with sites(one, two):
        await later(5)
        assert [view.trusted for view in one.exchange.gateways()] == [True]


@virtual_time
async def test_many_trusted_gateways_behind_one_router_are_let_in() -> None:
    network = MemoryNetwork()
    numbers = range(2, 8)
    one = Site(network, 1, trust=frozenset(map(peer_id, numbers)))
    others = [Site(network, number, peers=named(1), host="192.0.2.200") for number in numbers]
    async with sites(one, *others):
        await later(60)
        assert one.linked == set(numbers)


@virtual_time
async def test_a_gateway_that_is_itself_among_its_peers_is_left_alone() -> None:
    network = MemoryNetwork()
    one, two = Site(network, 1, peers=named(1, 2)), Site(network, 2, trust=frozenset({peer_id(1)}))
    async with sites(one, two):
        await later(100)
        assert one.linked == {2}
        assert one.exchange.troubles() == {}


@virtual_time
async def test_a_stranger_is_hung_up_on_and_both_ends_can_tell_why() -> None:
    network = MemoryNetwork()
    one, two = Site(network, 1), Site(network, 2, peers=named(1))
    async with sites(one, two):
        await later(100)
        assert one.linked == two.linked == set()
        assert one.events == two.events == []
        assert one.exchange.refused()[NOT_TRUSTED] >= 1
        assert list(one.exchange.untrusted()) == [peer_id(2)]
        assert "hung up" in two.exchange.troubles()[str(address(1))]


@virtual_time
async def test_a_gateway_that_is_open_links_with_strangers_and_does_not_trust_them() -> None:
    network = MemoryNetwork()
    one, two = Site(network, 1, is_open=True), Site(network, 2, peers=named(1))
    async with sites(one, two):
        await later(5)
        assert [view.trusted for view in one.exchange.gateways()] == [False]
        assert [view.trusted for view in two.exchange.gateways()] == [True]


@pytest.mark.parametrize("links", [3, 20])
@virtual_time
async def test_strangers_leave_room_for_trusted_gateways_that_come_from_wherever(links: int) -> None:
    network = MemoryNetwork()
    one = Site(network, 1, is_open=True, links=links, trust=frozenset({peer_id(200)}))
    strangers = [Site(network, number, peers=named(1)) for number in range(2, links + 5)]
    trusted = Site(network, 200, peers=named(1))
    async with sites(one, *strangers):
        await later(60)
        assert len(one.linked) >= links // 2
        assert one.exchange.refused()[NO_ROOM] > 0
        await trusted.start()
        await later(60)
        assert 200 in one.linked
        await trusted.stop()


@virtual_time
async def test_one_who_comes_again_and_again_does_not_keep_out_who_is_trusted() -> None:
    network = MemoryNetwork()
    one, trusted = Site(network, 1, trust=frozenset({peer_id(2)})), Site(network, 2, peers=named(1))

    async def hammer() -> None:
        transport = MemoryTransport(network, peer_id(66), host="198.51.100.9")
        while True:
            with suppress(BitrelayError):
                await transport.connect(address(1))
            await later(0.2)

    await one.start()
    hammering = asyncio.create_task(hammer())
    await later(20)
    await trusted.start()
    await later(5)
    assert one.linked == {2}
    hammering.cancel()
    await asyncio.wait((hammering,))
    await trusted.stop()
    await one.stop()


@virtual_time
async def test_trust_may_change_while_it_runs() -> None:
    network = MemoryNetwork()
    one, two = Site(network, 1, is_open=True), Site(network, 2, peers=named(1))
    trusting = FederationConfig(trust=frozenset({peer_id(2)}))
    async with sites(one, two):
        await later(5)
        for config, trusted in ((trusting, True), (FederationConfig(), False)):
            one.exchange.configure(config)
            await later(1)
            assert [view.trusted for view in one.exchange.gateways()] == [trusted]
            event = one.events[-1]
            assert isinstance(event, GatewayUp) and event.gateway.trusted == trusted
    one, two = Site(network, 3, trust=frozenset({peer_id(4)})), Site(network, 4, peers=named(3))
    async with sites(one, two):
        await later(5)
        assert one.linked == {4}
        one.exchange.configure(FederationConfig())
        await later(100)
        assert one.linked == two.linked == set()
        assert one.downs == [(4, "it is not trusted any more")]
        one.exchange.configure(FederationConfig(trust=frozenset({peer_id(4)})))
        await later(100)
        assert one.linked == {4}


@pytest.mark.requirement("GWY-20")
@virtual_time
async def test_who_says_no_hello_in_time_is_hung_up_on_and_who_says_no_more_is_gone() -> None:
    network = MemoryNetwork()
    one = Site(network, 1, is_open=True)
    async with sites(one), stranger(network) as mute:
        await mute.connect(address(1))
        await later(9.5)
        assert mute.peers == (peer_id(1),) and one.linked == set()
        await later(1)
        assert mute.peers == () and one.events == []
        # It says hello once, and then only answers pings.
        await later(60)
        await mute.connect(address(1))
        await mute.send(peer_id(1), EMPTY_HELLO)
        await later(1)
        assert one.linked == {9}
        await later(28)
        assert one.downs == []
        await later(12)
        assert one.downs == [(9, "it said nothing for too long")]


@pytest.mark.requirement("GWY-20")
@virtual_time
async def test_hello_is_said_every_ten_seconds() -> None:
    network = MemoryNetwork()
    one = Site(network, 1, is_open=True)
    heard: list[float] = []

    async def listen(listener: TransportCoordinator) -> None:
        while True:
            event = await listener.next_event()
            if isinstance(event, DataReceived):
                heard.append(now())
                await listener.send(peer_id(1), EMPTY_HELLO, until_acknowledged=False)

    async with sites(one), stranger(network) as listener:
        listening = asyncio.create_task(listen(listener))
        await listener.connect(address(1))
        await later(65)
        assert [round(moment) for moment in heard] == [0, 10, 20, 30, 40, 50, 60]
        listening.cancel()


@virtual_time
async def test_a_gateway_that_has_started_anew_is_greeted_at_once_though_its_connection_stayed() -> None:
    network = MemoryNetwork()
    one = Site(network, 1, is_open=True)
    heard: list[float] = []

    async def listen(listener: TransportCoordinator) -> None:
        while True:
            if isinstance(await listener.next_event(), DataReceived):
                heard.append(now())

    async with sites(one), stranger(network) as other:
        listening = asyncio.create_task(listen(other))
        await other.connect(address(1))
        for moment, run in ((0, 50), (3, 50), (5, 51)):
            await later(moment - now())
            await other.send(peer_id(1), encode(Hello("", (), run=run)))
        await later(2)
        assert [round(moment) for moment in heard] == [0, 5]
        assert one.ups == [9, 9] and one.downs == []
        listening.cancel()


@virtual_time
async def test_a_gateway_that_vanishes_under_traffic_is_missed_within_three_seconds() -> None:
    one, two = pair(MemoryNetwork())
    async with sites(one, two):
        await later(5)
        for _ in range(100):
            await one.send(two)
            await later(0.02)
        one.wire(two).dead = True
        vanished = now()
        with pytest.raises(NotConnected):
            while True:
                await one.send(two)
                await later(0.05)
        assert 2.0 <= now() - vanished <= 3.0
        await later(0.1)
        assert one.downs == [(2, "it does not answer")]


@virtual_time
async def test_a_gateway_that_vanishes_while_nobody_talks_is_missed_at_the_next_heartbeat() -> None:
    one, two = pair(MemoryNetwork())
    async with sites(one, two):
        await later(25)
        one.wire(two).dead = True
        await later(13.5)
        # Whichever end has missed the other first hangs up.
        assert [number for number, _ in one.downs] == [2]


@virtual_time
async def test_a_far_gateway_is_not_missed_for_answering_slowly() -> None:
    network = MemoryNetwork(latency_s=0.8)
    one, two = pair(network)
    async with sites(one, two):
        for _ in range(600):
            await later(0.5)
            if one.linked:
                await one.send(two)
        assert one.downs == []


@virtual_time
async def test_who_waits_to_hand_a_message_over_is_told_as_soon_as_the_gateway_has_gone() -> None:
    one, two = pair(MemoryNetwork())
    async with sites(one, two):
        await later(5)
        one.wire(two).dead = True
        vanished = now()
        sending = [asyncio.create_task(one.send(two)) for _ in range(100)]
        results = await asyncio.gather(*sending, return_exceptions=True)
        assert {type(result) for result in results} == {type(None), NotConnected}
        assert now() - vanished <= 4.0


@virtual_time
async def test_a_gateway_that_comes_back_is_linked_with_again() -> None:
    network = MemoryNetwork()
    one, two = pair(network)
    await one.start()
    await two.start()
    await later(5)
    await two.stop()
    await later(30)
    assert one.linked == set() and one.downs == [(2, "the peer hung up")]
    again = Site(network, 2, trust=frozenset({peer_id(1)}))
    await again.start()
    await later(60)
    assert one.linked == {2} and again.linked == {1}
    assert one.exchange.gateways()[0].uptime == pytest.approx((5 + 30) / 95, abs=0.4)
    await again.stop()
    await one.stop()


@virtual_time
async def test_a_gateway_that_is_not_there_is_dialled_for_as_long_as_it_takes() -> None:
    network = MemoryNetwork()
    one = Site(network, 1, peers=named(2))
    async with sites(one):
        await later(3600)
        assert "nobody is there" in one.exchange.troubles()[str(address(2))]
        two = Site(network, 2, trust=frozenset({peer_id(1)}))
        await two.start()
        await later(120)
        assert one.linked == {2} and one.exchange.troubles() == {}
        await two.stop()


@virtual_time
async def test_who_is_not_read_makes_others_wait_and_nothing_is_lost_nor_anybody_taken_for_gone() -> None:
    one, two = pair(MemoryNetwork())
    await two.start(reading=False)
    await one.start()
    await later(5)
    sent = 0

    async def send() -> None:
        nonlocal sent
        for number in range(2000):
            frame = FrameMessage("alpha", "beta", number.to_bytes(2, "big"))
            while True:
                try:
                    await one.send(two, frame)
                    break
                except DeviceTimeout:
                    pass
            sent += 1

    sending = asyncio.create_task(send())
    await later(300)
    assert sent < 1000 and one.downs == []
    two.read()
    await sending
    await later(5)
    came = [int.from_bytes(message.value, "big") for _, message in two.came if isinstance(message, FrameMessage)]
    assert came == list(range(2000))
    assert one.downs == two.downs == []
    await one.stop()
    await two.stop()


@virtual_time
async def test_malformed_messages_are_counted_and_too_many_end_the_link() -> None:
    network = MemoryNetwork()
    one = Site(network, 1, is_open=True)
    async with sites(one), stranger(network) as hostile:
        await hostile.connect(address(1))
        await hostile.send(peer_id(1), encode(Receipt("beta", bytes(16), Outcome.SENT)))
        await hostile.send(peer_id(1), EMPTY_HELLO)
        for _ in range(20):
            try:
                await hostile.send(peer_id(1), b"\xff", until_acknowledged=False)
            except NotConnected:
                break
        await later(1)
        assert one.exchange.counts["malformed"] >= 15
        assert one.ups == [9] and one.downs == [(9, "the peer broke the protocol")]
        assert one.came == [] and one.exchange.counts["before its hello"] == 1


@pytest.mark.requirement("GWY-19")
@virtual_time
async def test_authors_are_shared_out_among_the_gateways_of_a_mesh_and_stay_with_theirs() -> None:
    network = MemoryNetwork()
    trust = frozenset({peer_id(1)})
    one = Site(network, 1, hello_of(1, "alpha"), peers=named(2, 3, 4))
    others = [Site(network, 2, trust=trust), Site(network, 3, trust=trust)]
    elsewhere = Site(network, 4, hello_of(4, "gamma"), trust=trust)
    async with sites(one, *others, elsewhere):
        await later(5)
        taken = {author: await one.carry(author) for author in AUTHORS}
        assert set(taken.values()) == {2, 3}
        assert {author: await one.carry(author) for author in AUTHORS} == taken
        assert await one.carry(AUTHORS[0], avoid=(peer_id(taken[AUTHORS[0]]),)) == 5 - taken[AUTHORS[0]]
        with pytest.raises(Unreachable):
            await one.carry(avoid=(peer_id(2), peer_id(3)))
        # One vanishes: what it had goes to the other at once, and what the other had stays there.
        one.wire(others[0]).cut()
        await later(0)
        assert {await one.carry(author) for author in AUTHORS} == {3}


@virtual_time
async def test_a_mesh_that_takes_nothing_is_sent_nothing() -> None:
    network = MemoryNetwork()
    one, two = pair(network)
    two.hello = replace(two.hello, meshes=(replace(two.hello.meshes[0], downlink=False),))
    async with sites(one, two):
        await later(5)
        assert one.linked == {2}
        with pytest.raises(Unreachable):
            await one.carry()


@pytest.mark.requirement("GWY-08", "GWY-10")
@virtual_time
async def test_frames_go_to_the_gateways_that_are_good_enough_and_preferred_and_if_none_is_to_the_best_there_is() -> (
    None
):
    network = MemoryNetwork()
    one = Site(network, 1, hello_of(1, "alpha"), is_open=True, preference=Preference.LOWEST_COST)
    busy, dear, cheap = (
        Site(network, number, hello_of(number, load=load, fee=fee), peers=named(1))
        for number, load, fee in ((2, 80, 0), (3, 79, 5), (4, 0, 2))
    )
    async with sites(one, busy, dear, cheap):
        await later(5)
        assert one.linked == {2, 3, 4}
        assert {await one.carry(author) for author in AUTHORS} == {4}
        assert one.exchange.counts["degraded selections"] == 0
        for site in (dear, cheap):
            site.exchange.update(replace(site.hello, load=100))
        await later(0.1)
        assert {await one.carry(author) for author in AUTHORS} == {2}
        assert one.exchange.counts["degraded selections"] == 1


@pytest.mark.requirement("CRD-16")
@virtual_time
async def test_frames_go_to_the_nearest_gateway_if_that_is_preferred_once_it_is_measured() -> None:
    network = MemoryNetwork(latency_s=0.15)
    one = Site(network, 1, hello_of(1, "alpha"), peers=named(2, 3), preference=Preference.LOWEST_LATENCY)
    far, near = (Site(network, number, trust=frozenset({peer_id(1)})) for number in (2, 3))
    async with sites(one, far, near):
        await later(2)
        one.wire(near).latency_s = 0.002
        await later(300)
        assert {await one.carry(author) for author in AUTHORS} == {3}


@pytest.mark.requirement("CRD-16", "GWY-10")
@virtual_time
async def test_frames_go_to_the_gateway_with_most_room_if_that_is_preferred_and_to_another_as_it_fills() -> None:
    network = MemoryNetwork()
    one = Site(network, 1, hello_of(1, "alpha"), peers=named(2, 3), preference=Preference.HIGHEST_BANDWIDTH)
    wide, narrow = (
        Site(network, number, hello_of(number, capacity=capacity), trust=frozenset({peer_id(1)}))
        for number, capacity in ((2, 1000), (3, 450))
    )
    async with sites(one, wide, narrow):
        await later(5)
        assert {await one.carry(author) for author in AUTHORS} == {2}
        wide.exchange.update(replace(wide.hello, load=60))
        await later(0.1)
        assert {await one.carry(author) for author in AUTHORS} == {2, 3}
        wide.exchange.update(replace(wide.hello, load=79))
        await later(0.1)
        assert {await one.carry(author) for author in AUTHORS} == {3}


@pytest.mark.requirement("GWY-09")
@virtual_time
async def test_of_a_gateway_that_is_known_what_was_measured_counts_and_not_what_it_says() -> None:
    one, two = pair(MemoryNetwork())
    said = GatewayRecord(load=30, fee=4, uptime=0.99, latency_ms=7.0, capacity=60)
    async with sites(one, two):
        assert one.exchange.candidate(peer_id(2), said) == Candidate(peer_id(2), 0.3, 0.99, 4, 60, 7.0, True)
        await later(50)
        await two.exchange.stop()
        await later(50)
        found = one.exchange.candidate(peer_id(2), said)
        assert found is not None and found.uptime == pytest.approx(0.5, abs=0.01)
        assert one.exchange.candidate(peer_id(3), said) is None
        assert one.exchange.candidate(peer_id(1), said) is None


@virtual_time
async def test_after_its_end_it_says_so_and_nothing_is_left() -> None:
    one, two = pair(MemoryNetwork())
    async with sites(one, two):
        await later(5)
        await one.send(two)
        await one.exchange.stop()
        await one.exchange.stop()
        for _ in range(2):
            with pytest.raises(TransportClosed):
                await one.exchange.next_event()
        with pytest.raises(NotConnected):
            await one.exchange.send(two.peer_id, FRAME, Traffic.BULK)
        await later(0.1)
        # What was under way arrived before the goodbye.
        assert two.came == [(1, FRAME)] and two.downs == [(1, "the peer hung up")]


@pytest.mark.parametrize("seed", range(3))
@virtual_time
async def test_whatever_links_go_through_what_is_told_makes_sense_and_in_the_end_all_are_linked(seed: int) -> None:
    chance = random.Random(seed)
    network = MemoryNetwork()
    made = [Site(network, number, hello_of(number), peers=named(*({1, 2, 3} - {number}))) for number in (1, 2, 3)]
    async with sites(*made):
        for _ in range(200):
            await later(chance.uniform(0.0, 4.0))
            wire = chance.choice(network.wires) if network.wires else None
            match chance.randrange(5):
                case 0 if wire is not None and not wire.dead:
                    wire.cut()
                case 1 if wire is not None:
                    wire.dead = True
                case 2:
                    site = chance.choice(made)
                    site.exchange.update(replace(site.hello, load=chance.randrange(100)))
                case _:
                    one, two = chance.sample(made, 2)
                    try:
                        await one.send(two)
                    except BitrelayError:
                        pass
        await later(200)
        for site in made:
            up: set[bytes] = set()
            for event in site.events:
                match event:
                    case GatewayUp(view):
                        up.add(view.peer_id)
                    case GatewayDown(gone):
                        assert gone in up
                        up.discard(gone)
                    case MessageCame(sender):
                        assert sender in up
            assert up == {other.peer_id for other in made if other is not site}
            assert site.linked == {1, 2, 3} - {site.number}
        assert sum(bool(site.downs) for site in made) == 3
