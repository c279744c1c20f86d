"""A node among others: it joins, answers, finds, keeps and brings again."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bitrelay.dht.bucket import DEAD_AFTER, K
from bitrelay.dht.events import Event, NodeAdded, NodeLost, ValueKept
from bitrelay.dht.messages import (
    Answer,
    Contact,
    FindNode,
    FindValue,
    Nodes,
    Ping,
    Pong,
    Refusal,
    Refused,
    SignedValue,
    Store,
    Stored,
    Values,
)
from bitrelay.dht.node import MAX_OWN_VALUES, VALUES_ROOM, DhtNode
from bitrelay.dht.node_id import ID_BITS, bucket_index
from bitrelay.dht.question_limit import PER_NODE
from bitrelay.dht.routing_table import NETWORK_PER_TABLE, PROVED_S
from bitrelay.dht.upkeep import REFRESH_S, REPUBLISH_S
from bitrelay.dht.values import Kind, key_of, sign, size_of
from bitrelay.errors import BadData, DeviceTimeout
from bitrelay.simulator.dht_network import Conditions
from bitrelay.transports.address import Udp

from .small_network import EPOCH, SmallNetwork, contact, in_virtual_time, keys, near, node_id

Test = Callable[[SmallNetwork], Coroutine[Any, Any, None]]


def run(test: Test, **options: Any) -> None:
    async def whole() -> None:
        network = SmallNetwork(**options)
        try:
            await test(network)
        finally:
            await network.stop()

    in_virtual_time(whole)


def value(owner: int = 1, name: str = "mesh", now: float = EPOCH, **options: Any) -> SignedValue:
    return sign(keys(owner), Kind.GATEWAY, name, b"data", now=now, **({"lifetime_s": 86_400, "sequence": 1} | options))


@pytest.mark.requirement("DHT-05", "DHT-15", "DHT-16", "DHT-25")
def test_every_node_finds_the_nearest_to_any_id() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(60)
        for node in network.nodes:
            target = network.random.randbytes(32)
            found = await node.lookup(target)
            assert [who.node_id for who in found.closest] == network.nearest(target, K, without=node.node_id)

    run(test)


@pytest.mark.requirement("DHT-17", "DHT-18")
def test_a_value_that_one_node_puts_all_others_get() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(60)
        mine = value(now=network.now())
        placed = await network.nodes[3].put(mine)
        assert (placed.stored, placed.refused, placed.lost) == (K, (), 0)
        for node in network.nodes:
            assert (await node.get(Kind.GATEWAY, "mesh")).values == (mine,)
        assert (await network.nodes[5].get(Kind.RELAYS, "mesh")).values == ()

    run(test)


def test_values_of_many_owners_are_all_found_and_one_owners_alone_if_wanted() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(40)
        values = sorted((value(owner, now=network.now()) for owner in range(12)), key=lambda v: v.owner)
        for number, one in enumerate(values):
            await network.nodes[number].put(one)
        assert list((await network.nodes[30].get(Kind.GATEWAY, "mesh")).values) == values
        found = await network.nodes[30].get(Kind.GATEWAY, "mesh", owner=values[5].owner)
        assert found.values == (values[5],)

    run(test)


@pytest.mark.requirement("DHT-25")
def test_a_value_outlives_a_third_of_the_nodes() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(60)
        mine = value(now=network.now())
        await network.nodes[0].put(mine)
        for node in network.random.sample(network.nodes[1:], 20):
            network.kill(node)
        up = [node for node in network.nodes if network.attachments[node.node_id].is_up]
        for node in up:
            assert (await node.get(Kind.GATEWAY, "mesh")).values == (mine,)

    run(test)


def test_a_network_that_loses_a_tenth_of_all_datagrams_still_finds_values() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(40)
        await network.nodes[0].put(value(now=network.now()))
        for node in network.nodes:
            assert (await node.get(Kind.GATEWAY, "mesh")).values

    run(test, conditions=Conditions(loss=0.1))


def test_nobody_to_join_by_is_no_fault() -> None:
    async def test(network: SmallNetwork) -> None:
        node = network.make(contact(0))
        assert await node.join() == 0
        assert await node.join([contact(5)]) == 0
        placed = await node.put(value(now=network.now()))
        assert placed.stored == 1, "it keeps its own value"
        assert (await node.get(Kind.GATEWAY, "mesh")).values

    run(test)


@pytest.mark.requirement("DHT-19")
def test_a_ping_measures_the_way_and_a_dead_node_ends_it() -> None:
    async def test(network: SmallNetwork) -> None:
        one, two = network.make(contact(0)), network.make(contact(1))
        rtt = await one.ping(contact(1))
        record = one.table.get(two.node_id)
        assert record is not None
        assert record.rtt == rtt > 0
        network.kill(two)
        before = network.loop.time()
        with pytest.raises(DeviceTimeout):
            await one.ping(contact(1))
        assert network.loop.time() - before == pytest.approx(3.0)
        with pytest.raises(DeviceTimeout):
            await one.ask(contact(1), FindNode(one.node_id))
        assert network.loop.time() - before == pytest.approx(8.0)

    run(test)


@pytest.mark.requirement("DHT-12")
def test_the_oldest_is_pinged_when_another_wants_in_and_loses_its_place_only_if_it_is_dead() -> None:
    async def test(network: SmallNetwork) -> None:
        events: list[Event] = []
        node = network.make(contact(0), tell=events.append)
        others = [Contact(near(node.node_id, 0, number), contact(number).addresses) for number in range(1, K + 3)]
        for who in others[:K]:
            network.make(who)
            await node.ping(who)
        await asyncio.sleep(2 * PROVED_S)
        network.make(others[K])
        node.reply(others[K], Ping())
        await asyncio.sleep(10)
        assert node.table.get(others[K].node_id) is None, "the oldest has answered"
        network.kill(network.nodes[2])
        await asyncio.sleep(2 * PROVED_S)
        network.make(others[K + 1])
        node.reply(others[K + 1], Ping())
        await asyncio.sleep(3.5 * DEAD_AFTER)
        assert node.table.get(others[1].node_id) is None
        assert node.table.get(others[K + 1].node_id) is not None
        assert [e for e in events if isinstance(e, NodeLost)] == [NodeLost(others[1].node_id)]
        assert sum(isinstance(e, NodeAdded) for e in events) == K

    run(test)


def test_nobody_is_blamed_when_our_own_link_is_down() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(20)
        node = network.nodes[0]
        known = len(node.table)
        network.attachments[node.node_id].down()
        await asyncio.sleep(60)
        for _ in range(3):
            assert (await node.lookup(node_id(5))).closest == ()
        assert len(node.table) == known

    run(test)


def test_answers() -> None:
    async def test(network: SmallNetwork) -> None:
        node = network.make(contact(0))
        asker, other = contact(1), contact(2)
        assert node.reply(None, Ping()) == Pong(None)
        assert len(node.table) == 0, "who proved nothing is not remembered"
        assert node.reply(asker, Ping()) == Pong(asker.addresses[0])
        assert await node.answer(other, Ping()) == Pong(other.addresses[0])
        assert node.reply(asker, FindNode(node_id(9))) == Nodes((other,)), "without the asking one"
        mine = value(now=network.now())
        key = key_of(mine.kind, mine.name)
        assert node.reply(asker, FindValue(key)) == Values((), False, (other,))
        assert node.reply(None, Store(mine)) == Refused(Refusal.NOT_PROVEN)
        assert node.reply(asker, Store(mine)) == Stored()
        assert node.reply(asker, FindValue(key)) == Values((mine,), False, ())
        assert node.reply(asker, Store(value(lifetime_s=1, now=EPOCH - 5))) == Refused(Refusal.BAD_VALUE)
        assert node.statistics.refused == {"NOT_PROVEN": 1, "BAD_VALUE": 1}

    run(test)


def test_values_in_one_answer_fit_a_datagram() -> None:
    async def test(network: SmallNetwork) -> None:
        node = network.make(contact(0))
        for owner in range(20):
            node.reply(contact(1), Store(value(owner, now=network.now())))
        answer = node.reply(contact(1), FindValue(key_of(Kind.GATEWAY, "mesh")))
        assert isinstance(answer, Values)
        assert answer.more
        assert sum(map(size_of, answer.values)) <= VALUES_ROOM

    run(test)


def test_who_asks_too_much_is_refused() -> None:
    async def test(network: SmallNetwork) -> None:
        node = network.make(contact(0))
        answers = [node.reply(contact(1), Ping()) for _ in range(PER_NODE + 1)]
        assert answers[-1] == Refused(Refusal.TOO_MANY)
        assert answers[-2] == Pong(contact(1).addresses[0])
        assert node.reply(contact(2), Ping()) == Pong(contact(2).addresses[0])

    run(test)


def test_an_answer_that_is_none_costs_reputation() -> None:
    async def test(network: SmallNetwork) -> None:
        node, liar = network.make(contact(0)), network.make(contact(1))
        await node.ping(contact(1))
        record = node.table.get(liar.node_id)
        assert record is not None
        before = record.reputation
        network.attachments[liar.node_id].up(lambda asker, question: Stored())
        found = await node.lookup(node_id(9))
        assert (found.closest, found.failures) == ((), 1)
        assert record.reputation == pytest.approx(before / 2)
        assert node.statistics.bad_answers == 1

    run(test)


def test_a_liar_about_addresses_neither_pushes_out_nor_hides_anybody() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(30)
        node = network.nodes[0]
        ids = network.nearest(node.node_id, 30, without=node.node_id)
        liar = network.make(Contact(near(ids[3], 200, 1), contact(900).addresses))

        def lie(asker: Contact | None, question: Any) -> Answer:
            answer = liar.reply(asker, question)
            if not isinstance(answer, Nodes):
                return answer
            return Nodes(tuple(Contact(who.node_id, (Udp("198.51.101.9", 1),)) for who in answer.contacts))

        await liar.join([node.network.contact])
        network.attachments[liar.node_id].up(lie)
        known = {record.node_id for record in node.table}
        for _ in range(8):
            found = await node.lookup(node.node_id)
            assert [who.node_id for who in found.closest] == network.nearest(node.node_id, K, without=node.node_id)
            assert found.failures, "the false addresses were asked"
        assert {record.node_id for record in node.table if not record.failures} >= known

    run(test)


def test_only_the_address_that_answered_is_remembered_of_what_others_told() -> None:
    async def test(network: SmallNetwork) -> None:
        node, other = network.make(contact(0)), network.make(contact(1))
        false = (Udp("198.51.101.9", 1), Udp("198.51.102.9", 1))
        for _ in range(2):
            await node.ask(Contact(other.node_id, (*false, *contact(1).addresses)), Ping())
            assert node.table.closest(node.node_id) == [contact(1)]
        for number in range(2, 2 + 2 * NETWORK_PER_TABLE):
            network.make(contact(number))
            await node.ask(Contact(node_id(number), (*false, *contact(number).addresses)), FindNode(node_id(9)))
        assert node.statistics.crowded == 0, "nobody counts in a network that he was only said to be in"
        assert isinstance(told := node.reply(None, FindNode(node_id(9))), Nodes)
        assert not {address for who in told.contacts for address in who.addresses} & set(false)

    run(test)


@pytest.mark.requirement("DHT-08", "DHT-20")
def test_a_bucket_that_is_stale_is_refreshed_by_a_random_id_in_it() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(30)
        node = network.nodes[0]
        asked: list[bytes] = []
        for other in network.nodes[1:]:

            def reply(who: Contact | None, question: Any, other: DhtNode = other) -> Answer:
                if isinstance(question, FindNode) and who == node.network.contact:
                    asked.append(question.target)
                return other.reply(who, question)

            network.attachments[other.node_id].up(reply)
        stale = {bucket_index(node.node_id, who.node_id) for who in node.table.closest(node.node_id, 100)}
        await node.start()
        await asyncio.sleep(REFRESH_S + 200)
        targets = {target for target in asked if bucket_index(node.node_id, target) == 0}
        assert len(targets) == 1, "the farthest bucket is the first to be refreshed, once"
        assert {bucket_index(node.node_id, target) for target in asked} - {ID_BITS} <= stale
        assert node.table.stale(network.now(), 300) == []

    run(test)


@pytest.mark.requirement("DHT-07", "DHT-21")
def test_values_are_brought_again_to_those_who_are_nearest_now() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(45)
        mine = value(now=network.now())
        key = key_of(mine.kind, mine.name)
        owner = network.nodes[0]
        await owner.put(mine)
        await owner.start()
        for holder in network.nearest(key, K // 2, without=owner.node_id):
            network.kill(next(node for node in network.nodes if node.node_id == holder))
        await asyncio.sleep(REPUBLISH_S - 120)
        assert owner.statistics.republished == 0
        await asyncio.sleep(300)
        assert owner.statistics.republished == 1
        up = {node.node_id: node for node in network.nodes if network.attachments[node.node_id].is_up}
        assert all(len(up[near_by].store) for near_by in network.nearest(key, K))

    run(test)


@pytest.mark.requirement("DHT-21")
def test_holders_keep_a_value_alive_without_its_owner_and_seldom_all_bring_it() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(45)
        mine = value(now=network.now())
        owner = network.nodes[0]
        await owner.put(mine)
        network.kill(owner)
        for node in network.nodes[1:]:
            await node.start()
        await asyncio.sleep(2.4 * REPUBLISH_S)
        republished = sum(node.statistics.republished for node in network.nodes)
        assert 2 <= republished <= 12, "of about 20 holders, in two rounds"
        assert (await network.nodes[20].get(Kind.GATEWAY, "mesh")).values == (mine,)

    run(test)


@pytest.mark.requirement("DHT-22")
def test_an_expired_value_is_gone_from_everywhere() -> None:
    async def test(network: SmallNetwork) -> None:
        await network.grow(20)
        for node in network.nodes:
            await node.start()
        await network.nodes[0].put(value(now=network.now(), lifetime_s=7200))
        await asyncio.sleep(7300)
        assert sum(len(node.store) + len(node.own) for node in network.nodes) == 0
        assert (await network.nodes[3].get(Kind.GATEWAY, "mesh")).values == ()

    run(test)


@pytest.mark.requirement("DHT-23")
def test_start_and_stop() -> None:
    async def test(network: SmallNetwork) -> None:
        node = network.make(contact(0))
        assert not node.running
        before = len(asyncio.all_tasks())
        await node.start()
        await node.start()
        assert node.running
        assert len(asyncio.all_tasks()) == before + 2, "one task refreshes, one republishes"
        await node.stop()
        await node.stop()
        assert not node.running
        assert len(asyncio.all_tasks()) == before

    run(test)


def test_what_cannot_be_put_or_got_is_said() -> None:
    async def test(network: SmallNetwork) -> None:
        node = network.make(contact(0))
        with pytest.raises(BadData, match="over"):
            await node.put(value(now=EPOCH - 100_000))
        await node.put(value(now=network.now(), sequence=2))
        with pytest.raises(BadData, match="later"):
            await node.put(value(now=network.now(), sequence=1))
        with pytest.raises(BadData, match="name"):
            await node.get(Kind.GATEWAY, "")
        with pytest.raises(BadData, match="32 bytes"):
            await node.lookup(b"short")
        for number in range(MAX_OWN_VALUES):
            node.own[node_id(number), b""] = value()
        with pytest.raises(BadData, match="at most"):
            await node.put(value(now=network.now(), name="one more"))

    run(test)


def test_the_size_of_the_network_is_estimated_from_its_density() -> None:
    async def test(network: SmallNetwork) -> None:
        assert network.make(contact(0)).estimated_size() == 1
        await network.grow(99)
        estimates = sorted(node.estimated_size() for node in network.nodes)
        assert 60 < estimates[50] < 160

    run(test)


def test_a_value_kept_is_told() -> None:
    async def test(network: SmallNetwork) -> None:
        events: list[Event] = []
        node = network.make(contact(0), tell=events.append)
        mine = value(now=network.now())
        node.reply(contact(1), Store(mine))
        assert events == [NodeAdded(contact(1)), ValueKept(mine)]

    run(test)
