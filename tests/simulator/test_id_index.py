"""The index agrees with looking at all ids."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.dht.node_id import distance
from bitrelay.simulator.id_index import IdIndex


@given(st.integers(0, 2**32), st.integers(0, 200), st.integers(1, 30))
def test_the_nearest_are_those_of_all(seed: int, size: int, count: int) -> None:
    random = Random(seed)
    ids = [random.randbytes(32) for _ in range(size)]
    ids += [ids[0][:31] + bytes([ids[0][31] ^ bit]) for bit in range(1, 9)] if ids else []
    index = IdIndex()
    for node_id in ids:
        index.add(node_id)
    target = random.choice([*ids, random.randbytes(32)])
    assert index.nearest(target, count) == sorted(ids, key=lambda node_id: distance(node_id, target))[:count]
    for node_id in ids[: size // 2]:
        index.remove(node_id)
    rest = ids[size // 2 :]
    assert len(index) == len(rest)
    assert index.nearest(target, count) == sorted(rest, key=lambda node_id: distance(node_id, target))[:count]


def test_what_is_not_there_cannot_be_removed() -> None:
    index = IdIndex()
    index.add(bytes(32))
    with pytest.raises(ValueError, match="not in the index"):
        index.remove(b"\1" * 32)
