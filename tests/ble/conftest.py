"""Nodes on a virtual radio, and a computer among them whose Bluetooth is bleak's."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bitrelay.ble.adapter import Adapter
from bitrelay.lab.bleak_adapter import adapter_of
from bitrelay.lab.radio import Radio

if TYPE_CHECKING:
    from virtual_node import VirtualNode

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
async def radio() -> AsyncIterator[Radio]:
    radio = Radio(seed=1, exponent=2.0, air_speed=10.0)
    yield radio
    radio.close()


@pytest.fixture
async def adapter(radio: Radio) -> AsyncIterator[Adapter]:
    """The computer: node "computer", at the origin until it is moved."""
    controller = radio.add("computer", "F0:F1:F2:F3:F5:01", max_links=8)
    async with adapter_of(controller) as virtual:
        yield Adapter("lab", virtual.scanner, virtual.client)


@pytest.fixture
async def make_node(radio: Radio) -> "AsyncIterator[Callable[..., Awaitable[VirtualNode]]]":
    """Puts a BitCraps node on the air."""
    from virtual_node import VirtualNode

    nodes: list[VirtualNode] = []

    async def make(name: str, **options: Any) -> VirtualNode:
        node = VirtualNode(name, radio, len(nodes) + 1, **options)
        nodes.append(node)
        await node.start()
        return node

    yield make
    for node in nodes:
        node.controller.power_off()
