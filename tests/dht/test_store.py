"""What a node keeps for others, and what it drops."""

import pytest

from bitrelay.dht.messages import Refusal, SignedValue
from bitrelay.dht.node_id import distance
from bitrelay.dht.store import MAX_OWNERS, MAX_PER_NODE, MAX_PER_OWNER, ValueStore
from bitrelay.dht.values import Kind, key_of, sign, size_of

from .small_network import EPOCH, keys, node_id

NOW = EPOCH
OWN = node_id(1)


def value(
    owner: int = 1, name: str = "mesh", sequence: int = 1, lifetime_s: int = 3600, data: bytes = b"d"
) -> SignedValue:
    return sign(keys(owner), Kind.APPLICATION, name, data, now=NOW, lifetime_s=lifetime_s, sequence=sequence)


def key(name: str = "mesh") -> bytes:
    return key_of(Kind.APPLICATION, name)


def found(store: ValueStore, name: str = "mesh", now: float = NOW) -> tuple[SignedValue, ...]:
    return store.find(key(name), bytes(32), 1 << 20, now)[0]


@pytest.mark.requirement("DHT-18")
def test_what_was_put_is_found_under_its_key_by_owner() -> None:
    store = ValueStore(OWN)
    values = [value(owner) for owner in range(5)]
    assert [store.put(v, NOW) for v in values] == [None] * 5
    assert found(store) == tuple(sorted(values, key=lambda v: v.owner))
    assert found(store, "nothing") == ()


def test_values_come_in_pieces_that_fit() -> None:
    store = ValueStore(OWN)
    values = sorted((value(owner) for owner in range(7)), key=lambda v: v.owner)
    for v in values:
        store.put(v, NOW)
    after, pieces = bytes(32), []
    more = True
    while more:
        piece, more = store.find(key(), after, 2 * size_of(values[0]), NOW)
        pieces.append(len(piece))
        after = piece[-1].owner
    assert pieces == [2, 2, 2, 1]
    assert store.find(key(), bytes(32), 1, NOW) == ((values[0],), True)


@pytest.mark.parametrize(
    ("then", "refusal"),
    [(2, None), (1, None), (0, Refusal.OLD_VALUE)],
    ids=["later", "the same", "earlier"],
)
def test_the_later_sequence_counts(then: int, refusal: Refusal | None) -> None:
    store = ValueStore(OWN)
    store.put(value(sequence=1), NOW)
    assert store.put(value(sequence=then), NOW) is refusal
    assert [v.sequence for v in found(store)] == [max(1, then)]
    assert len(store) == 1


def test_a_value_that_does_not_count_is_refused() -> None:
    store = ValueStore(OWN)
    assert store.put(value(lifetime_s=10), NOW + 10) is Refusal.BAD_VALUE
    assert len(store) == 0


@pytest.mark.requirement("DHT-22")
def test_values_expire() -> None:
    store = ValueStore(OWN)
    store.put(value(1, lifetime_s=10), NOW)
    store.put(value(2, lifetime_s=20), NOW)
    assert len(found(store, now=NOW + 10)) == 1, "even before it is cleared away"
    assert store.expire(NOW + 10) == 1
    assert len(store) == 1
    assert store.dropped["expired"] == 1


def test_an_older_value_does_not_come_back_when_the_later_one_has_expired() -> None:
    store = ValueStore(OWN)
    older, later = (value(1, sequence=number, lifetime_s=86_400 // number) for number in (1, 2))
    newest = value(1, sequence=3, lifetime_s=86_000)
    assert [store.put(older, NOW), store.put(later, NOW)] == [None, None]
    assert store.put(older, NOW + 43_200) is Refusal.OLD_VALUE, "before it is cleared away"
    store.expire(NOW + 43_200)
    store.expire(NOW + 43_201)
    assert store.put(older, NOW + 43_202) is Refusal.OLD_VALUE
    assert store.put(value(2, lifetime_s=86_000), NOW + 43_202) is None, "another owner's"
    assert store.put(newest, NOW + 43_203) is None
    assert found(store, now=NOW + 43_203).count(newest) == 1


def test_of_what_has_expired_so_much_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitrelay.dht.store.MAX_GONE", 3)
    store = ValueStore(OWN)
    for owner in range(5):
        store.put(value(owner, sequence=2, lifetime_s=10 + owner), NOW)
        store.expire(NOW + 10 + owner)
    older = [value(owner, sequence=1, lifetime_s=600) for owner in range(5)]
    outcomes = [store.put(one, NOW + 20) for one in older]
    assert outcomes == [None] * 2 + [Refusal.OLD_VALUE] * 3, "the last three"


def test_one_owner_has_room_for_so_many_and_pushes_nobody_out() -> None:
    store = ValueStore(OWN)
    store.put(value(2, "others"), NOW)
    outcomes = [store.put(value(1, str(number)), NOW) for number in range(MAX_PER_OWNER + 5)]
    assert outcomes == [None] * MAX_PER_OWNER + [Refusal.NO_ROOM] * 5
    assert found(store, "others")
    assert store.dropped["owner_full"] == 5


def test_a_full_key_keeps_whom_it_has_unless_an_owner_comes_itself() -> None:
    store = ValueStore(OWN)
    for owner in range(MAX_OWNERS):
        assert store.put(value(owner), NOW, node_id(7)) is None
    late = value(1000)
    assert store.put(late, NOW, node_id(7)) is Refusal.NO_ROOM
    assert store.put(late, NOW, keys(1000).peer_id) is None
    assert late in found(store)
    assert len(found(store)) == MAX_OWNERS
    for owner in range(2000, 2000 + MAX_OWNERS - 1):
        assert store.put(value(owner), NOW, keys(owner).peer_id) is None
    assert late in found(store), "who came itself is not pushed out"
    assert store.put(value(3000), NOW, keys(3000).peer_id) is Refusal.NO_ROOM


def test_one_node_brings_so_many_values_of_others() -> None:
    store = ValueStore(OWN)
    for number in range(MAX_PER_NODE):
        assert store.put(value(number % 32, str(number // 32)), NOW, node_id(7)) is None
    assert store.put(value(99), NOW, node_id(7)) is Refusal.NO_ROOM
    assert store.put(value(99), NOW, node_id(8)) is None
    assert store.put(value(0, "0"), NOW, node_id(7)) is None, "what it brought it may bring again"


def test_when_room_is_short_the_farthest_keys_go_first() -> None:
    store = ValueStore(OWN, max_values=10)
    names = sorted((str(number) for number in range(30)), key=lambda name: distance(OWN, key(name)))
    outcomes = [store.put(value(1, name), NOW) for name in names[10:20]]
    assert outcomes == [None] * 10
    assert store.put(value(1, names[25]), NOW) is Refusal.TOO_FAR
    for name in names[:4]:
        assert store.put(value(1, name), NOW) is None
    assert {v.name for v in store} == {*names[:4], *names[10:16]}
    assert store.dropped["too_far"] == 5


def test_nothing_goes_for_a_value_that_is_refused_all_the_same() -> None:
    names = sorted((f"{number:02}" for number in range(30)), key=lambda name: distance(OWN, key(name)))
    near, far = value(1, names[0], data=bytes(440)), value(1, names[29], data=bytes(20))
    store = ValueStore(OWN, max_bytes=900)
    assert [store.put(near, NOW), store.put(far, NOW)] == [None, None]
    assert store.put(value(1, names[15], data=bytes(500)), NOW) is Refusal.TOO_FAR
    assert list(store) == [near, far]
    assert store.dropped == {"too_far": 1}


def test_nobody_is_replaced_for_an_owner_whose_value_is_too_large() -> None:
    store = ValueStore(OWN, max_bytes=MAX_OWNERS * size_of(value()))
    for owner in range(MAX_OWNERS):
        assert store.put(value(owner), NOW, node_id(7)) is None
    before = list(store)
    assert store.put(value(1000, data=bytes(500)), NOW, keys(1000).peer_id) is Refusal.TOO_FAR
    assert list(store) == before
    assert store.put(value(1000), NOW, keys(1000).peer_id) is None, "one of the same size takes a place"
    assert len(store) == MAX_OWNERS


def test_bytes_are_bounded_as_well() -> None:
    one = size_of(value(1, "00", data=bytes(500)))
    store = ValueStore(OWN, max_bytes=5 * one)
    for number in range(20):
        store.put(value(1, f"{number:02}", data=bytes(500)), NOW)
    assert len(store) == 5
    assert store.size == 5 * one
    for v in list(store):
        assert store.put(value(1, v.name, sequence=2), NOW) is None
    assert store.size < 5 * one
    store.expire(NOW + 3600)
    assert (len(store), store.size) == (0, 0)


def test_a_value_is_due_when_nobody_brought_it_for_an_hour() -> None:
    store = ValueStore(OWN)
    store.put(value(1, lifetime_s=86_400), NOW)
    store.put(value(2, lifetime_s=86_400), NOW + 100)
    assert store.due(NOW + 3599, 3600) == []
    assert store.due(NOW + 3600, 3600) == [value(1, lifetime_s=86_400)]
    store.put(value(1, lifetime_s=86_400), NOW + 3600)
    store.republished(value(2, lifetime_s=86_400), NOW + 3700)
    assert store.due(NOW + 3700, 3600) == []
