"""Who is in a table, who stays, and whom it names as nearest."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.dht.bucket import DEAD_AFTER, GONE_AFTER, MAX_WAITING, K
from bitrelay.dht.messages import Contact
from bitrelay.dht.node_id import distance
from bitrelay.dht.routing_table import NETWORK_PER_BUCKET, NETWORK_PER_TABLE, PROVED_S, Heard, RoutingTable
from bitrelay.transports.address import Udp

from .small_network import contact, near, node_id

OWN = node_id(99_999)
FAR = 0


def at(bits: int, number: int, host: str | None = None) -> Contact:
    """A node in one bucket, by default in a network of its own."""
    addresses = contact(number).addresses if host is None else (Udp(host, 8766),)
    return Contact(near(OWN, bits, number), addresses)


def full_bucket(now: float = 0.0) -> RoutingTable:
    table = RoutingTable(OWN)
    for number in range(K):
        assert table.heard(at(FAR, number), now + number, 0.1).accepted
    return table


@pytest.mark.requirement("DHT-09", "DHT-10")
def test_a_new_node_has_a_neutral_reputation_which_answers_raise_and_silence_lowers() -> None:
    table = RoutingTable(OWN)
    table.heard(at(FAR, 1), 5.0)
    record = table.get(at(FAR, 1).node_id)
    assert record is not None
    assert (record.reputation, record.rtt, record.last_seen, record.peer_id) == (0.5, None, 5.0, at(FAR, 1).node_id)
    assert record.contact.addresses == at(FAR, 1).addresses
    table.heard(at(FAR, 1), 6.0, 0.2)
    assert record.reputation > 0.5
    assert (record.rtt, record.last_seen) == (0.2, 6.0)
    higher = record.reputation
    table.failed(record.contact)
    assert record.reputation < higher


@pytest.mark.requirement("DHT-03", "DHT-04", "DHT-05")
def test_a_bucket_for_each_shared_prefix_holds_twenty_and_none_holds_oneself() -> None:
    table = RoutingTable(OWN)
    for bits in (0, 1, 128, 254, 255):
        assert table.heard(at(bits, bits), 0.0).heard is Heard.ADDED
        bucket = table.bucket(bits)
        assert bucket is not None
        assert at(bits, bits).node_id in bucket.records
    assert table.heard(Contact(OWN, contact(1).addresses), 0.0).heard is Heard.SELF
    assert len(table) == 5
    assert K == 20
    assert full_bucket().heard(at(FAR, K), 100.0).heard is Heard.WAITING


@pytest.mark.requirement("DHT-12", "DHT-13")
def test_a_full_bucket_names_the_oldest_to_be_pinged_and_keeps_it_if_it_answers() -> None:
    table = full_bucket()
    late = 100.0 + PROVED_S
    insertion = table.heard(at(FAR, 50), late)
    assert not insertion.accepted
    assert insertion.doubtful == at(FAR, 0)
    table.heard(at(FAR, 0), late, 0.1)
    assert table.get(at(FAR, 0).node_id) is not None
    assert table.get(at(FAR, 50).node_id) is None
    assert table.heard(at(FAR, 51), late).doubtful == at(FAR, 1)


def test_only_a_dead_node_gives_its_place_away() -> None:
    table = full_bucket()
    table.heard(at(FAR, 50), 200.0)
    for _ in range(DEAD_AFTER - 1):
        assert not table.failed(at(FAR, 0))
    assert table.failed(at(FAR, 0))
    assert table.get(at(FAR, 0).node_id) is None
    assert table.get(at(FAR, 50).node_id) is not None
    assert len(table) == K


def test_a_flood_of_newcomers_takes_no_living_nodes_place() -> None:
    table = full_bucket()
    for number in range(1000, 2000):
        table.heard(at(FAR, number), 20.0 + number, 0.001)
    assert all(table.get(at(FAR, number).node_id) for number in range(K))
    bucket = table.bucket(FAR)
    assert bucket is not None
    assert bucket.waiting is not None
    assert len(bucket.waiting) == MAX_WAITING


def test_among_failing_nodes_the_worst_by_reputation_is_doubted_first() -> None:
    table = full_bucket()
    for number in (3, 4):
        table.failed(at(FAR, number))
    table.failed(at(FAR, 7), misbehaved=True)
    assert table.heard(at(FAR, 50), 30.0).doubtful == at(FAR, 7)


def test_a_node_heard_a_moment_ago_is_not_pinged_again() -> None:
    table = full_bucket(now=0.0)
    assert table.heard(at(FAR, 50), PROVED_S - 1).doubtful is None
    assert table.heard(at(FAR, 50), PROVED_S + 1).doubtful == at(FAR, 0)


def test_without_anybody_to_take_its_place_a_silent_node_stays_for_longer() -> None:
    table = RoutingTable(OWN)
    table.heard(at(FAR, 1), 0.0)
    outcomes = [table.failed(at(FAR, 1)) for _ in range(GONE_AFTER)]
    assert outcomes == [False] * (GONE_AFTER - 1) + [True]
    assert len(table) == 0


def test_a_question_of_a_node_that_does_not_answer_does_not_clear_it() -> None:
    table = full_bucket()
    table.heard(at(FAR, 50), 100.0)
    table.failed(at(FAR, 0))
    table.heard(at(FAR, 0), 101.0)
    assert table.failed(at(FAR, 0))


@pytest.mark.parametrize(
    ("hosts", "accepted"),
    [
        ([f"203.0.114.{n}" for n in range(1, 6)], NETWORK_PER_BUCKET),
        ([f"2001:470:1:{n}::1" for n in range(1, 6)], NETWORK_PER_BUCKET),
        ([f"2001:470:{n}::1" for n in range(1, 6)], 5),
        ([f"192.168.0.{n}" for n in range(1, 6)], NETWORK_PER_BUCKET),
        (["127.0.0.1"] * 5, 5),
        (["::1"] * 5, 5),
    ],
)
def test_a_network_has_two_places_in_a_bucket(hosts: list[str], accepted: int) -> None:
    table = RoutingTable(OWN)
    insertions = [table.heard(at(FAR, number, host), 0.0) for number, host in enumerate(hosts)]
    assert sum(insertion.accepted for insertion in insertions) == accepted == len(table)


def test_a_network_has_ten_places_in_a_table_and_gets_them_back() -> None:
    table = RoutingTable(OWN)
    crowd = [at(number // 2, number, f"203.0.114.{number}") for number in range(40)]
    for who in crowd:
        table.heard(who, 0.0)
    assert len(table) == NETWORK_PER_TABLE
    assert table.heard(crowd[30], 1.0).heard is Heard.CROWDED
    table.remove(crowd[0].node_id)
    assert table.heard(crowd[30], 1.0).heard is Heard.ADDED


def test_private_networks_can_be_exempt() -> None:
    table = RoutingTable(OWN, exempt_private=True)
    for number in range(K):
        assert table.heard(at(FAR, number, f"192.168.0.{number + 1}"), 0.0).accepted


def test_a_node_that_hides_among_several_addresses_counts_in_all_their_networks() -> None:
    table = RoutingTable(OWN)
    for number in range(2):
        table.heard(at(FAR, number, f"203.0.114.{number + 1}"), 0.0)
    both = Contact(near(OWN, FAR, 7), (Udp("198.51.101.1", 1), Udp("203.0.114.9", 1)))
    assert table.heard(both, 0.0).heard is Heard.CROWDED


def test_a_node_that_moves_takes_its_place_along_unless_its_new_network_is_full() -> None:
    table = RoutingTable(OWN)
    for number in range(2):
        table.heard(at(FAR, number, f"203.0.114.{number + 1}"), 0.0)
    table.heard(at(FAR, 5, "198.51.101.1"), 0.0)
    table.heard(at(FAR, 5, "203.0.114.9"), 1.0)
    record = table.get(at(FAR, 5).node_id)
    assert record is not None
    assert record.contact.addresses == (Udp("198.51.101.1", 8766),)
    table.heard(at(FAR, 5, "198.51.102.1"), 2.0)
    assert record.contact.addresses == (Udp("198.51.102.1", 8766),)


@pytest.mark.requirement("DHT-14")
@given(st.integers(0, 2**32), st.integers(0, 120), st.integers(1, 40))
def test_the_closest_are_those_of_all_buckets_in_order_of_distance(seed: int, size: int, count: int) -> None:
    random = Random(seed)
    table = RoutingTable(OWN)
    known = []
    for number in range(size):
        who = Contact(near(OWN, random.choice((0, 1, 2, 3, 8, 60)), random.getrandbits(180)), contact(number).addresses)
        if table.heard(who, 0.0).accepted:
            known.append(who)
    target = random.choice([random.randbytes(32), OWN, near(OWN, random.randrange(256), random.getrandbits(200))])
    expected = sorted(known, key=lambda who: distance(who.node_id, target))
    assert table.closest(target, count) == expected[:count]


def test_failing_nodes_are_not_told_of_and_neither_is_the_one_who_asks() -> None:
    table = full_bucket()
    table.failed(at(FAR, 3))
    told = table.closest(OWN, without=at(FAR, 4).node_id, sound=True)
    assert {at(FAR, number) for number in range(K)} - set(told) == {at(FAR, 3), at(FAR, 4)}


def test_silence_counts_only_where_the_node_is_known_to_be() -> None:
    table = full_bucket()
    table.heard(at(FAR, 50), 100.0)
    for number in (0, 50):
        false = Contact(at(FAR, number).node_id, (Udp("198.51.101.9", 1), *at(FAR, number).addresses))
        for _ in range(GONE_AFTER):
            assert not table.failed(false, misbehaved=True)
    record, bucket = table.get(at(FAR, 0).node_id), table.bucket(FAR)
    assert record is not None and bucket is not None and bucket.waiting is not None
    assert (record.failures, record.reputation > 0.5) == (0, True)
    assert at(FAR, 50).node_id in bucket.waiting
    table.failed(at(FAR, 50))
    assert not bucket.waiting


@pytest.mark.requirement("DHT-11")
def test_a_bucket_is_stale_when_nothing_happened_in_it_for_the_given_time() -> None:
    table = RoutingTable(OWN)
    table.heard(at(3, 1), 0.0)
    table.heard(at(9, 2), 500.0)
    assert table.stale(900.0, 900.0) == []
    assert table.stale(901.0, 900.0) == [3]
    table.touch(near(OWN, 3, 12345), 901.0)
    assert table.stale(902.0, 900.0) == []
    assert table.stale(1402.0, 900.0) == [9]
    assert table.stale(-1.0, 900.0) == [3, 9], "a clock that went back"
