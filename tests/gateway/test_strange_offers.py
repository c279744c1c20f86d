"""What strangers say of meshes takes nothing from those of trusted gateways."""

import asyncio
from pathlib import Path

from bitrelay.gateway.exchange import GatewayView
from bitrelay.gateway.gateway import MOST_STRANGE, Gateway
from bitrelay.gateway.mesh_memory import load_meshes
from bitrelay.gateway.message import Hello, MeshOffer
from tests.gateway.sites import World, in_virtual_time, said

STRANGER = bytes(32)
TRUSTED = b"t" * 32


def says(gateway: Gateway, peer_id: bytes, *meshes: MeshOffer) -> None:
    view = GatewayView(peer_id, Hello("somebody", meshes), trusted=peer_id == TRUSTED)
    gateway._gateway_up(view)


def invented(number: int) -> list[MeshOffer]:
    return [MeshOffer(f"{number}-{each}", downlink=True) for each in range(16)]


@in_virtual_time
async def test_meshes_that_a_stranger_makes_up_do_not_displace_those_that_are_there(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        gateway = (await world.add("west", "west")).gateway
        says(gateway, TRUSTED, MeshOffer("east", downlink=True))
        says(gateway, b"u" * 32, MeshOffer("south", downlink=True))
        for number in range(200):
            says(gateway, STRANGER, *invented(number))
            assert {"east", "south"} <= gateway.bridge.offers.keys()
        gateway._gateway_down(TRUSTED, "gone")
        for number in range(200):
            says(gateway, STRANGER, *invented(number))
        assert "east" in gateway.bridge.offers


@in_virtual_time
async def test_what_is_for_meshes_that_a_stranger_made_up_does_not_wait_for_ever_more_of_them(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        gateway = (await world.add("west", "west")).gateway
        for number in range(40):
            says(gateway, STRANGER, *invented(number))
        gateway._gateway_down(STRANGER, "gone")
        world.mesh("west").say(said(1))
        await asyncio.sleep(1)
        assert sum(gateway.room.targets().values()) == MOST_STRANGE


@in_virtual_time
async def test_what_is_kept_over_a_restart_is_what_trusted_gateways_offered(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        gateway = (await world.add("west", "west")).gateway
        gateway._memory = tmp_path / "meshes.json"
        says(gateway, TRUSTED, MeshOffer("east", downlink=True))
        for number in range(4):
            says(gateway, bytes((number,)) * 32, *invented(number))
        await gateway._remember_meshes()
        assert list(load_meshes(tmp_path / "meshes.json")) == ["east"]


@in_virtual_time
async def test_a_stranger_has_no_say_in_what_a_mesh_is_that_a_trusted_gateway_joins(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        gateway = (await world.add("west", "west")).gateway
        says(gateway, STRANGER, MeshOffer("east", "9q8", downlink=True, subscribe=("*",)))
        offer = MeshOffer("east", "u33", downlink=True, subscribe=("north",))
        says(gateway, TRUSTED, offer)
        assert gateway.bridge.offers["east"] == offer
