"""What a node knew comes back, as far as it is still so."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.dht.snapshot import Restored, restore, snapshot
from bitrelay.dht.values import Kind, sign

from .small_network import SmallNetwork, contact, in_virtual_time, keys

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def test_a_restarted_node_finds_its_way_back_without_bootstrap_and_forgets_the_dead() -> None:
    async def test() -> None:
        network = SmallNetwork()
        await network.grow(30)
        old = network.nodes[0]
        mine = sign(keys(1), Kind.GATEWAY, "mesh", b"", now=network.now(), lifetime_s=600)
        await old.put(mine)
        data = json.loads(json.dumps(snapshot(old)))
        await old.stop()
        dead = [network.nodes[4], network.nodes[5]]
        for node in dead:
            network.kill(node)
        new = network.make(old.network.contact)
        restored = restore(new, data)
        assert restored == Restored(len(data["nodes"]), len(data["values"]) + 1, 0)
        assert len(new.table) == 0, "nobody is believed before it answers"
        assert list(new.own.values()) == [mine]
        assert list(new.store) == list(old.store)
        await new.join()
        assert len(new.table) == 27
        assert not any(new.table.get(node.node_id) for node in dead)
        await network.stop()

    in_virtual_time(test)


NODE = ["ab" * 32, "udp://8.8.8.8:8766"]


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        ["ab" * 32],
        ["ab" * 31, "udp://8.8.8.8:8766"],
        ["zz" * 32, "udp://8.8.8.8:8766"],
        ["ab" * 32, "tcp://8.8.8.8:8766"],
        ["ab" * 32, "udp://relay.example:8766"],
        ["ab" * 32, "udp://8.8.8.8:0"],
        ["ab" * 32, 7],
        ["ab" * 32, *["udp://8.8.8.8:8766"] * 5],
    ],
)
def test_what_is_no_node_is_dropped_and_counted(entry: Any) -> None:
    async def test() -> None:
        node = SmallNetwork().make(contact(0))
        assert restore(node, {"nodes": [NODE, entry]}) == Restored(1, 0, 1)

    in_virtual_time(test)


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("wrong", [None, True, -1, "x", [], 1.5])
def test_an_altered_value_is_dropped_and_counted(place: int, wrong: Any) -> None:
    async def test() -> None:
        network = SmallNetwork()
        node = network.make(contact(0))
        await node.put(sign(keys(1), Kind.GATEWAY, "mesh", b"", now=network.now(), lifetime_s=600))
        data = snapshot(node)
        data["own"][0][place] = data["values"][0][place] = wrong
        assert restore(network.make(contact(1)), data) == Restored(0, 0, 2)

    in_virtual_time(test)


@given(JSON, JSON)
def test_whatever_is_restored_raises_nothing(whole: Any, part: Any) -> None:
    async def test() -> None:
        node = SmallNetwork().make(contact(0))
        restore(node, whole)
        restore(node, {"nodes": part, "values": part, "own": [part]})
        assert len(node.store) == len(node.own) == 0

    in_virtual_time(test)
