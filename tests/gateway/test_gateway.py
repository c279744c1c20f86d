"""Gateways, meshes and what joins them, in memory: what crosses, once, and what happens when something goes away."""

import asyncio
from pathlib import Path

import pytest

from bitrelay.errors import DiskFull
from bitrelay.gateway.bridge import Drop
from bitrelay.gateway.bridge_frame import parse_frame
from bitrelay.gateway.config import DownlinkConfig
from bitrelay.gateway.message import FrameMessage
from bitrelay.gateway.told import GatewayLost, MeshReachable, MeshUnreachable, RelayLost, Throttled, Trouble
from bitrelay.mesh.relay_ledger import RelayLedger
from bitrelay.transports.fair_queue import Traffic
from shared_protocol.frame import TTL
from tests.gateway.sites import World, author, in_virtual_time, said


def key_of(value: bytes) -> bytes:
    frame = parse_frame(value)
    assert frame is not None
    return frame.key


async def say_all(world: World, mesh: str, values: list[bytes], per_s: float = 100.0) -> None:
    for value in values:
        world.meshes[mesh].say(value)
        await asyncio.sleep(1 / per_s)


@in_virtual_time
async def test_frames_cross_once_unaltered_but_for_a_lower_ttl(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        await world.add("e", "east")
        brought: list[bytes] = []
        world.meshes["east"].on_brought = lambda value, by: brought.append(value)
        value = said(1)
        world.meshes["west"].say(value)
        world.meshes["west"].say(value)
        await asyncio.sleep(2)
        assert brought == [value[:TTL] + bytes((6,)) + value[TTL + 1 :]]
        assert not world.meshes["west"].brought


@in_virtual_time
async def test_two_gateways_on_each_mesh_bring_everything_once(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for name, mesh in (("w1", "west"), ("w2", "west"), ("e1", "east"), ("e2", "east")):
            await world.add(name, mesh)
        values = {mesh: [said(n, by) for n in range(50) for by in range(4 * at, 4 * at + 4)]
                  for at, mesh in enumerate(("west", "east"))}  # fmt: skip
        await asyncio.gather(*(say_all(world, mesh, each) for mesh, each in values.items()))
        await asyncio.sleep(10)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values["west"]), 1)
        assert world.meshes["west"].counts == dict.fromkeys(map(key_of, values["east"]), 1)
        shares = [site.gateway.numbers.frames["down", Traffic.INTERACTIVE] for site in world.sites.values()]
        assert min(shares) > 0


@pytest.mark.parametrize("silently", [False, True])
@in_virtual_time
async def test_a_gateway_that_vanishes_is_replaced(tmp_path: Path, silently: bool) -> None:
    async with World(tmp_path) as world:
        for name, mesh in (("w1", "west"), ("w2", "west"), ("e1", "east"), ("e2", "east")):
            await world.add(name, mesh)
        values = [said(n, by) for n in range(100) for by in range(4)]
        await say_all(world, "west", values[:200])
        for name in ("w1", "e1"):
            site = world.sites[name]
            site.links[0].unplug()
            if silently:
                site.exchange.silent = True
            else:
                await site.exchange.stop()
        await say_all(world, "west", values[200:])
        await asyncio.sleep(30)
        counts = world.meshes["east"].counts
        assert max(counts.values()) == 1
        assert not [value for value in values if key_of(value) not in counts]
        if not silently:
            assert {told.peer_id for told in world.sites["w2"].told_of(GatewayLost)} == {
                world.sites["w1"].gateway.own, world.sites["e1"].gateway.own
            }  # fmt: skip


@in_virtual_time
async def test_what_the_internet_brings_does_not_go_back(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for name, mesh in (("w1", "west"), ("w2", "west"), ("e1", "east"), ("s1", "south")):
            await world.add(name, mesh)
        await say_all(world, "east", [said(n, n) for n in range(40)])
        await asyncio.sleep(10)
        assert (world.meshes["west"].brought, world.meshes["south"].brought, world.meshes["east"].brought) == (
            40,
            40,
            0,
        )
        sibling = world.sites["w2"].gateway.bridge, world.sites["w1"].gateway.bridge
        assert sum(bridge.drops["up", Traffic.INTERACTIVE, Drop.FROM_INTERNET] for bridge in sibling) == 40


@in_virtual_time
async def test_a_directed_frame_goes_only_where_its_recipient_is(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for name, mesh in (("w", "west"), ("e", "east"), ("s", "south")):
            await world.add(name, mesh)
        world.meshes["east"].say(said(1, by=7))
        await asyncio.sleep(1)
        before = world.meshes["south"].brought
        world.meshes["west"].say(said(2, by=1, to=author(7)))
        world.meshes["east"].say(said(3, by=8, to=author(7)))
        await asyncio.sleep(2)
        assert world.meshes["south"].brought == before
        assert world.meshes["west"].brought == 1
        assert world.meshes["east"].brought == 1


@in_virtual_time
async def test_ten_minutes_without_internet(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        west = await world.add("w", "west")
        await world.add("e", "east")
        world.meshes["west"].say(said(0))
        await asyncio.sleep(1)
        world.hub.cut()
        values = []
        for number in range(1, 601):
            values.append(said(number, number % 3))
            world.meshes["west"].say(values[-1])
            await asyncio.sleep(1)
        assert west.told_of(MeshUnreachable)
        brought: list[bytes] = []
        world.meshes["east"].on_brought = lambda value, by: brought.append(value)
        world.hub.mend()
        await asyncio.sleep(5)
        late = [said(700 + n, n % 3) for n in range(9)]
        await say_all(world, "west", late)
        await asyncio.sleep(10)
        arrived = [key_of(value) for value in brought]
        sent = [key_of(value) for value in values + late]
        assert len(set(arrived)) == len(arrived)
        assert arrived == sent[-len(arrived) :]  # the newest ones, in their order
        assert 100 <= len(arrived) - len(late) <= 110
        assert west.gateway.room.expired == 600 - (len(arrived) - len(late))
        assert west.told_of(MeshReachable)


@in_virtual_time
async def test_a_gateway_without_its_relay_leaves_it_to_another(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        for name in ("e1", "e2"):
            await world.add(name, "east")
        world.sites["e1"].links[0].unplug()
        values = [said(n, n) for n in range(30)]
        await say_all(world, "west", values)
        await asyncio.sleep(5)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)
        assert world.sites["e1"].told_of(RelayLost)


@in_virtual_time
async def test_a_flood_of_a_hostile_gateway_is_held_to_the_budget_and_named(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        victim = await world.add("v", "village", downlink=DownlinkConfig(enabled=True))
        hostile = await world.add("h", "hostile")
        for number in range(10_000):
            message = FrameMessage("hostile", "village", said(number, number))
            await hostile.exchange.send(victim.gateway.own, message, Traffic.INTERACTIVE)
            await asyncio.sleep(0.001)
        await asyncio.sleep(50)
        assert 0 < world.meshes["village"].brought <= 33
        assert {told.peer_id for told in victim.told_of(Throttled)} == {hostile.gateway.own}
        assert victim.gateway.numbers.peers[hostile.gateway.own].refused > 9_000


@pytest.mark.requirement("GWY-13")
@in_virtual_time
async def test_what_an_interface_may_carry_is_limited(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        west = await world.add("w", "west", mbps=0.002)  # 250 bytes a second, and as many at once
        await world.add("e", "east", mbps=0.002)
        values = [said(n, n) for n in range(40)]
        await say_all(world, "west", values)
        await asyncio.sleep(2)
        size = len(values[0])
        assert 1 <= world.meshes["east"].brought <= 350 // size
        assert west.gateway.bridge.drops["up", Traffic.INTERACTIVE, Drop.BANDWIDTH] >= 40 - 350 // size


@pytest.mark.requirement("MSH-42")
@in_virtual_time
async def test_a_ledger_that_fails_is_told_of_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise DiskFull("no room for the ledger")

    async with World(tmp_path) as world:
        await world.add("w", "west")
        east = await world.add("e", "east")
        monkeypatch.setattr(RelayLedger, "append", full)
        values = [said(n, n) for n in range(20)]
        await say_all(world, "west", values)
        await asyncio.sleep(2)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)
        assert east.gateway.numbers.events["not in the ledger"] == 20
        assert isinstance(east.told_of(Trouble)[0].error, DiskFull)
        assert not world.sites["w"].gateway.underway()["awaiting receipts"]


@in_virtual_time
async def test_what_waited_at_a_gateway_that_is_killed_and_comes_back_is_sent_again(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        killed = await world.add("e", "east", downlink=DownlinkConfig(enabled=True))
        values = [said(n, n) for n in range(20)]
        await say_all(world, "west", values)
        await asyncio.sleep(1)
        assert world.meshes["east"].brought == 3  # the others wait there
        killed.links[0].unplug()
        killed.exchange.silent = True
        # Its connection takes the place of the old one: nobody is told that it was gone.
        await world.add("e", "east")
        await asyncio.sleep(5)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)
        await killed.gateway.feed.stop()
