"""What strangers say of meshes changes nothing of those that trusted gateways join."""

from pathlib import Path

from bitrelay.gateway.exchange import GatewayView
from bitrelay.gateway.message import MOST_SUBSCRIPTIONS, Hello, MeshOffer
from tests.gateway.sites import World, in_virtual_time


@in_virtual_time
async def test_a_stranger_has_no_say_in_a_mesh_that_a_trusted_gateway_joins(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        gateway = (await world.add("west", "west")).gateway
        junk = tuple(f"junk {number}" for number in range(MOST_SUBSCRIPTIONS))
        strange = MeshOffer("east", "9q8", downlink=True, subscribe=junk)
        gateway._gateway_up(GatewayView(bytes(32), Hello("stranger", (strange,)), trusted=False))
        assert gateway.bridge.offers["east"] == strange
        real = MeshOffer("east", "u33", downlink=True, subscribe=("west",))
        gateway._gateway_up(GatewayView(b"t" * 32, Hello("friend", (real,)), trusted=True))
        assert gateway.bridge.offers["east"] == real
