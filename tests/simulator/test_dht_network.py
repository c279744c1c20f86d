"""The network in memory: what arrives, when, and what does not."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from bitrelay.dht.messages import Answer, Contact, Ping, Pong, Question
from bitrelay.dht.places import Reach, network_of, reach
from bitrelay.errors import DeviceTimeout
from bitrelay.simulator.dht_network import NEXT_S, Attachment, Conditions, MemoryNetwork, address_of
from bitrelay.simulator.virtual_time import VirtualTimeLoop

Test = Callable[[MemoryNetwork, Attachment, Attachment], Coroutine[Any, Any, None]]


def run(test: Test, **conditions: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        network = MemoryNetwork(loop, Random(1), Conditions(**conditions))
        one, two = (network.attach(Contact(bytes([number]) * 32, (address_of(number),))) for number in (1, 2))
        one.up(answering)
        two.up(answering)
        await test(network, one, two)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main())


def answering(asker: Contact | None, question: Question) -> Answer:
    return Pong(asker.addresses[0] if asker else None)


def test_an_answer_takes_the_way_there_and_back() -> None:
    async def test(network: MemoryNetwork, one: Attachment, two: Attachment) -> None:
        assert await one.ask(two.contact, Ping()) == Pong(one.contact.addresses[0])
        assert network.loop.time() == pytest.approx(0.2)

    run(test, median_latency_s=0.1, sigma=0.0)


def test_latencies_differ_around_their_median() -> None:
    async def test(network: MemoryNetwork, one: Attachment, two: Attachment) -> None:
        drawn = sorted(network.latency() for _ in range(1001))
        assert drawn[500] == pytest.approx(0.1, rel=0.1)
        assert drawn[50] < 0.06 < 0.15 < drawn[950]

    run(test, median_latency_s=0.1, sigma=0.5)


def test_a_node_that_is_gone_answers_nothing_and_the_question_ends_in_time() -> None:
    async def test(network: MemoryNetwork, one: Attachment, two: Attachment) -> None:
        two.down()
        with pytest.raises(DeviceTimeout):
            await one.ask(two.contact, Ping(), 3.0)
        assert network.loop.time() == pytest.approx(3.0)

    run(test)


def test_a_node_answers_where_it_is_and_nowhere_else() -> None:
    async def test(network: MemoryNetwork, one: Attachment, two: Attachment) -> None:
        with pytest.raises(DeviceTimeout):
            await one.ask(Contact(two.contact.node_id, (address_of(3),)), Ping(), 3.0)
        await one.ask(Contact(two.contact.node_id, (address_of(3), *two.contact.addresses)), Ping())
        assert network.loop.time() == pytest.approx(3.0 + NEXT_S + 0.2)

    run(test, median_latency_s=0.1, sigma=0.0)


def test_a_node_that_dies_while_it_is_asked_answers_nothing() -> None:
    async def test(network: MemoryNetwork, one: Attachment, two: Attachment) -> None:
        network.loop.call_later(0.05, two.down)
        with pytest.raises(DeviceTimeout):
            await one.ask(two.contact, Ping(), 3.0)

    run(test, median_latency_s=0.1, sigma=0.0)


def test_what_is_lost_is_sent_again() -> None:
    async def test(network: MemoryNetwork, one: Attachment, two: Attachment) -> None:
        answered = 0
        for _ in range(300):
            try:
                await one.ask(two.contact, Ping())
                answered += 1
            except DeviceTimeout:
                pass
        assert network.lost > 50
        assert answered > 290, "of three tries, each lost with a chance of 0.19"

    run(test, loss=0.1)


def test_without_anything_sent_again_the_loss_is_that_of_the_way_and_back() -> None:
    async def test(network: MemoryNetwork, one: Attachment, two: Attachment) -> None:
        outcomes = await asyncio.gather(*(one.ask(two.contact, Ping()) for _ in range(1000)), return_exceptions=True)
        assert sum(isinstance(outcome, Pong) for outcome in outcomes) == pytest.approx(810, abs=50)

    run(test, loss=0.1, tries=0)


def test_a_question_that_is_cancelled_leaves_no_error_behind() -> None:
    async def test(network: MemoryNetwork, one: Attachment, two: Attachment) -> None:
        task = asyncio.ensure_future(one.ask(two.contact, Ping()))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(10)
        assert task.cancelled()

    run(test)


def test_addresses_are_public_and_each_in_a_network_of_its_own() -> None:
    hosts = [address_of(number).host for number in range(20_000)]
    assert len({network_of(host) for host in hosts}) == len(hosts)
    assert all(reach(host) is Reach.ANYWHERE for host in hosts)
