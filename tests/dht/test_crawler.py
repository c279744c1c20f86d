"""The crawl finds everybody, slowly, and remembers so many."""

import asyncio

import pytest

from bitrelay.dht.crawler import EMPTY_S, Crawler
from bitrelay.dht.messages import FindNode
from bitrelay.dht.node_id import hop_distance

from .small_network import SmallNetwork, contact, in_virtual_time


@pytest.mark.requirement("DSC-24", "DSC-26", "DSC-27", "DSC-28")
def test_from_whom_it_knows_by_joining_it_finds_everybody() -> None:
    async def test() -> None:
        network = SmallNetwork()
        await network.grow(80)
        node = network.make(contact(1000))
        await node.join([contact(0)])
        crawler = Crawler(node)
        assert 0 < crawler.seed() == crawler.queued < 80
        everybody = {other.node_id for other in network.nodes} - {node.node_id}
        while crawler.peers.keys() != everybody:
            await crawler.step()
            assert crawler.crawled < 120
        await network.stop()

    in_virtual_time(test)


@pytest.mark.requirement("DSC-25", "DSC-30", "DSC-31")
def test_a_peer_has_the_addresses_it_was_found_at_and_a_neutral_reputation() -> None:
    async def test() -> None:
        network = SmallNetwork()
        await network.grow(2)
        one, two = network.nodes
        crawler = Crawler(one)
        crawler.seed()
        (peer,) = crawler.peers.values()
        assert peer.peer_id == two.node_id
        assert peer.addresses == two.network.contact.addresses
        record = one.table.get(two.node_id)
        assert record is not None
        assert (peer.reputation, peer.last_seen) == (record.reputation, record.last_seen)
        assert peer.hop_distance == hop_distance(one.node_id, two.node_id)
        one.table.remove(two.node_id)
        await crawler.step()
        assert crawler.peers[two.node_id].last_seen == record.last_seen, "it was not asked"
        await network.stop()

    in_virtual_time(test)


@pytest.mark.requirement("DSC-29")
def test_with_nobody_left_it_rests_ten_seconds_and_begins_again() -> None:
    async def test() -> None:
        network = SmallNetwork()
        lonely = network.make(contact(0))
        crawler = Crawler(lonely)
        crawl = asyncio.ensure_future(crawler.run(35.0))
        await asyncio.sleep(EMPTY_S / 2)
        network.make(contact(1))
        await lonely.ping(contact(1))
        await asyncio.sleep(EMPTY_S / 2 - 1.0)
        assert (crawler.crawled, len(crawler.peers)) == (1, 0)
        await asyncio.sleep(2.0)
        assert (crawler.crawled, len(crawler.peers)) == (2, 1)
        await crawl
        assert network.loop.time() == pytest.approx(35.0)
        assert EMPTY_S == 10.0

    in_virtual_time(test)


def test_it_makes_no_more_lookups_than_it_may() -> None:
    async def test() -> None:
        network = SmallNetwork()
        await network.grow(30)
        before = network.network.questions
        crawler = Crawler(network.nodes[0], interval_s=5.0)
        await crawler.run(52.0)
        assert crawler.crawled == 11
        assert network.network.questions - before <= 11 * 30
        await network.stop()

    in_virtual_time(test)


def test_it_remembers_and_queues_so_many_and_counts_the_others() -> None:
    async def test() -> None:
        network = SmallNetwork()
        await network.grow(40)
        crawler = Crawler(network.nodes[0], max_peers=12, max_queue=5)
        crawler.seed()
        known = len(network.nodes[0].table)
        assert (len(crawler.peers), crawler.queued) == (12, 5)
        assert (crawler.not_remembered, crawler.not_queued) == (known - 12, 7)
        await network.stop()

    in_virtual_time(test)


@pytest.mark.requirement("DSC-32")
def test_peers_are_chosen_by_reputation() -> None:
    async def test() -> None:
        network = SmallNetwork()
        await network.grow(10)
        node = network.nodes[0]
        for other in network.nodes[1:4]:
            for _ in range(5):
                await node.ping(other.network.contact)
        liar = network.nodes[5]
        node.table.failed(liar.network.contact, misbehaved=True)
        crawler = Crawler(node)
        crawler.seed()
        best = crawler.select(3)
        assert {peer.peer_id for peer in best} == {other.node_id for other in network.nodes[1:4]}
        assert best[0].reputation >= best[1].reputation >= best[2].reputation > 0.5
        assert crawler.select(100)[-1].peer_id == liar.node_id
        await network.stop()

    in_virtual_time(test)


def test_it_asks_nothing_but_for_nodes() -> None:
    async def test() -> None:
        network = SmallNetwork()
        await network.grow(10)
        asked = network.nodes[1].statistics.questions
        before = asked.total() - asked[FindNode.__name__]
        crawler = Crawler(network.nodes[0])
        crawler.seed()
        for _ in range(20):
            await crawler.step()
        assert asked.total() - asked[FindNode.__name__] == before
        await network.stop()

    in_virtual_time(test)
