"""What a gateway does when something of its own, or somebody it is linked with, does not do as it should."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrelay.errors import DiskFull
from bitrelay.gateway import uplink
from bitrelay.gateway.bridge import Drop
from bitrelay.gateway.bridge_frame import parse_frame
from bitrelay.gateway.config import DownlinkConfig, StoreConfig
from bitrelay.gateway.mesh_feed import MOST_RECEIPTS
from bitrelay.gateway.message import FrameMessage, Hello, MeshOffer, Outcome, Receipt
from bitrelay.gateway.told import Trouble
from bitrelay.transports.fair_queue import Traffic
from tests.gateway.sites import WIDE, World, in_virtual_time, said


def key_of(value: bytes) -> bytes:
    frame = parse_frame(value)
    assert frame is not None
    return frame.key


def full(*_: Any) -> Any:
    raise DiskFull("cannot write: no space left")


@in_virtual_time
async def test_two_gateways_that_join_the_same_two_meshes_bring_everything_once(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for name in ("g1", "g2"):
            await world.add(name, "west", "east")
        values = [said(n, by) for n in range(10) for by in range(8)]
        for value in values:
            world.meshes["west"].say(value)
            await asyncio.sleep(0.01)
        await asyncio.sleep(10)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)
        assert not world.meshes["west"].brought
        shares = [site.gateway.numbers.frames["down", Traffic.INTERACTIVE] for site in world.sites.values()]
        assert min(shares) > 0


@in_virtual_time
async def test_of_two_gateways_of_two_meshes_one_carries_what_the_other_does_not(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        for name in ("g1", "g2"):
            await world.add(name, "west", "east")
        world.sites["g1"].links[1].unplug()
        values = [said(n, by) for n in range(5) for by in range(8)]
        for value in values:
            world.meshes["west"].say(value)
            await asyncio.sleep(0.01)
        await asyncio.sleep(10)
        world.sites["g1"].links[1].plug_in()
        await asyncio.sleep(10)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)


@in_virtual_time
async def test_what_was_carried_before_it_was_heard_here_is_not_carried_again(tmp_path: Path) -> None:
    async with World(tmp_path, radio_s=0.0) as world:
        west = [await world.add(name, "west") for name in ("w1", "w2")]
        east = await world.add("e", "east")
        for number in range(40):
            value = said(number, number)
            # Through the mesh it takes longer than over the internet.
            near, far = west if number % 2 else west[::-1]
            near.links[0].hear(value)
            asyncio.get_running_loop().call_later(0.2, far.links[0].hear, value)
            await asyncio.sleep(0.5)
        await asyncio.sleep(10)
        assert world.meshes["east"].brought == 40
        came = sum(peer.frames_down for peer in east.gateway.numbers.peers.values())
        # Who is elected and hears it late has not been told, unless the other one took over: nobody but that one sends.
        assert came == 40


@in_virtual_time
async def test_a_full_disk_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path) as world:
        west = await world.add("w", "west")
        await world.add("e", "east")
        world.hub.cut()
        await asyncio.sleep(0.1)
        world.meshes["west"].say(said(1))
        await asyncio.sleep(1)
        store = west.gateway.room._store
        for name in ("expire", "put_all", "done"):
            monkeypatch.setattr(store, name, full)
        for number in range(2, 12):
            world.meshes["west"].say(said(number))
            await asyncio.sleep(1)
        before = len(west.told_of(Trouble))
        assert 1 <= before <= 3
        assert west.gateway.bridge.drops["up", Traffic.INTERACTIVE, Drop.STORE_FULL] == 10
        uptime = west.exchange.hello
        world.hub.mend()
        await asyncio.sleep(5)
        late = [said(100 + n) for n in range(5)]
        for value in late:
            world.meshes["west"].say(value)
            await asyncio.sleep(1)
        await asyncio.sleep(10)
        # It still looks after itself, and what need not wait crosses.
        assert west.exchange.hello != uptime
        counts = world.meshes["east"].counts
        assert [counts[key_of(value)] for value in late] == [1] * 5


@in_virtual_time
async def test_many_subscriptions_of_others_end_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        west = await world.add("w", "west")
        west.gateway._memory = tmp_path / "meshes.json"
        hostile = await world.add("h", "south")
        offers = tuple(MeshOffer("east", "", True, True, tuple(f"{n}-{m}" for n in range(32))) for m in range(16))
        hostile.exchange.update(Hello("h", offers))
        hostile.gateway._tasks[1].cancel()
        await asyncio.sleep(30)
        assert not [task for task in west.gateway._tasks if task.done()]


@in_virtual_time
async def test_names_that_nobody_needs_do_not_push_out_those_that_are_reached(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        west = await world.add("w", "west")
        await world.add("e", "east")
        hostile = await world.add("h", "south")
        hostile.gateway._tasks[1].cancel()
        for number in range(0, 1100, 16):
            offers = tuple(MeshOffer(f"mesh {number + each}", "", True) for each in range(16))
            hostile.exchange.update(Hello("h", offers))
            await asyncio.sleep(0.02)
            assert "east" in west.gateway.bridge.offers
        assert len(west.gateway.bridge.offers) <= 1024


@in_virtual_time
async def test_meshes_of_strangers_are_not_remembered(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        west = await world.add("w", "west", trust=frozenset())
        stranger = await world.add("s", "south")
        assert "south" in west.gateway.bridge.offers
        await stranger.gateway.stop()
        await asyncio.sleep(0.1)
        world.meshes["west"].say(said(1))
        await asyncio.sleep(1)
        assert not west.gateway.bridge.offers
        assert not west.gateway.room.targets()
        assert not west.gateway.uplink._queues


@in_virtual_time
async def test_meshes_that_strangers_made_up_take_no_place_in_the_store(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        north = await world.add("n", "north")
        trust = frozenset((north.gateway.own,))
        west = await world.add("w", "west", trust=trust, store=StoreConfig(frames=50))
        await north.gateway.stop()
        stranger = await world.add("s", "south")
        stranger.exchange.update(Hello("s", tuple(MeshOffer(f"mesh {n}", "", True) for n in range(16))))
        stranger.exchange.silent = True
        for number in range(40):
            world.meshes["west"].say(said(number, number))
            await asyncio.sleep(0.5)
        await asyncio.sleep(20)
        assert west.gateway.room.targets() == {"north": 40}


@in_virtual_time
async def test_a_gateway_that_promises_and_does_not_say_the_last_word_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uplink, "MOST_AWAITING", 64)
    async with World(tmp_path) as world:
        await world.add("w", "west")
        await world.add("e", "east")
        hostile = await world.add("h", "south")

        def promise(gateway: bytes, message: Any) -> None:
            receipt = Receipt("south", key_of(message.value), Outcome.QUEUED)
            asyncio.ensure_future(hostile.exchange.send(gateway, receipt, Traffic.INTERACTIVE))

        monkeypatch.setattr(hostile.gateway, "_frame_came", promise)
        values = [said(n, n) for n in range(200)]
        for value in values:
            world.meshes["west"].say(value)
            await asyncio.sleep(0.05)
        await asyncio.sleep(5)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)


@in_virtual_time
async def test_one_last_word_that_is_lost_does_not_hold_up_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        east = await world.add("e", "east")
        world.hub.cut()
        values = [said(n) for n in range(100)]
        for value in values:
            world.meshes["west"].say(value)
            await asyncio.sleep(0.01)
        answer = east.gateway.feed.answer

        def lossy(gateway: bytes, mesh: str, key: bytes, outcome: Outcome) -> None:
            if key != key_of(values[3]) or outcome is not Outcome.SENT:
                answer(gateway, mesh, key, outcome)

        monkeypatch.setattr(east.gateway.feed, "answer", lossy)
        world.hub.mend()
        brought: list[bytes] = []
        world.meshes["east"].on_brought = lambda value, by: brought.append(key_of(value))
        await asyncio.sleep(10)
        assert brought == list(map(key_of, values))


@in_virtual_time
async def test_a_cut_that_nobody_tells_of_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        east = await world.add("e", "east")
        brought: list[bytes] = []
        world.meshes["east"].on_brought = lambda value, by: brought.append(key_of(value))
        values = []
        deliver = east.exchange.get
        monkeypatch.setattr(east.exchange, "get", lambda sender, data: None)
        for number in range(200):
            values.append(said(number))
            world.meshes["west"].say(values[-1])
            await asyncio.sleep(0.1)
            if number == 100:
                world.hub.cut()
        monkeypatch.setattr(east.exchange, "get", deliver)
        world.hub.mend()
        await asyncio.sleep(30)
        assert brought == list(map(key_of, values))


@pytest.mark.parametrize("hangs", [False, True])
@in_virtual_time
async def test_what_is_under_way_at_the_end_is_stored_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    async with World(tmp_path) as world:
        west = await world.add("w", "west")
        east = await world.add("e", "east")
        if hangs:

            async def hang(*_: Any) -> bytes:
                await asyncio.sleep(1000)
                return b""

            monkeypatch.setattr(west.exchange, "send_to_mesh", hang)
        else:
            east.exchange.silent = True
        values = [said(n) for n in range(400)]
        for value in values:
            world.meshes["west"].say(value)
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.1)
        await west.gateway.stop()
        await east.gateway.stop()
        del world.sites["w"], world.sites["e"]
        await world.add("w", "west")
        brought: list[bytes] = []
        world.mesh("east").on_brought = lambda value, by: brought.append(key_of(value))
        await world.add("e", "east")
        await asyncio.sleep(10)
        assert brought == list(map(key_of, values))


@in_virtual_time
async def test_a_gateway_that_sends_nothing_up_and_another_bring_everything_once(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        await world.add("s", "south")
        first = await world.add("e1", "east")
        await world.add("e2", "east", uplink=False)
        values = [said(n, n) for n in range(20)]
        answer = first.gateway.feed.answer
        first.gateway.feed.answer = lambda *what: None  # type: ignore[method-assign]
        for value in values:
            world.meshes["west"].say(value)
            await asyncio.sleep(0.1)
        await asyncio.sleep(20)
        first.gateway.feed.answer = answer  # type: ignore[method-assign]
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)
        # What the one brings the other does not take for the mesh's own.
        assert not first.gateway.numbers.frames["up", Traffic.INTERACTIVE]


@in_virtual_time
async def test_who_does_not_take_receipts_holds_up_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path) as world:
        west = await world.add("w", "west")
        east = await world.add("e", "east")
        hostile = await world.add("h", "south")
        send = east.exchange.send

        async def stuck(gateway: bytes, *rest: Any) -> None:
            if gateway == hostile.gateway.own:
                await asyncio.sleep(100)
            await send(gateway, *rest)

        monkeypatch.setattr(east.exchange, "send", stuck)
        for number in range(40):
            message = FrameMessage("south", "east", said(number, by=99))
            await hostile.exchange.send(east.gateway.own, message, Traffic.INTERACTIVE)
            world.meshes["west"].say(said(number))
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        assert not west.gateway.numbers.events["receipts late"]
        assert west.gateway.underway()["awaiting receipts"] == 0
        for _ in range(5000):
            message = FrameMessage("south", "nowhere", said(1, by=99))
            await hostile.exchange.send(east.gateway.own, message, Traffic.INTERACTIVE)
        await asyncio.sleep(10)
        assert len(east.gateway.feed._receipts[hostile.gateway.own]) <= MOST_RECEIPTS
        assert east.gateway.numbers.events["receipts dropped"]
        await hostile.gateway.stop()
        await asyncio.sleep(10)
        assert not east.gateway.feed._receipts


@in_virtual_time
async def test_a_new_budget_counts_at_once(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        slow = DownlinkConfig(enabled=True, frames_per_minute=1, author_per_minute=1000, gateway_per_minute=1000)
        east = await world.add("e", "east", downlink=slow)
        for number in range(10):
            world.meshes["west"].say(said(number))
        await asyncio.sleep(1)
        assert world.meshes["east"].brought == 1
        config = east.gateway.config
        east.gateway.configure(replace(config, meshes=(replace(config.meshes[0], downlink=WIDE),)))
        await asyncio.sleep(1)
        assert world.meshes["east"].brought == 10


@in_virtual_time
async def test_a_fault_of_ours_ends_nothing_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("nobody thought of that")

    async with World(tmp_path) as world:
        await world.add("w", "west")
        east = await world.add("e", "east")
        values = [said(n, n) for n in range(5)]
        with monkeypatch.context() as patch:
            for owner, name in (
                (east.links[0], "send"),
                (east.gateway.uplink, "tick"),
                (east.gateway.bridge, "forget"),
                (east.gateway.bridge, "heard"),
            ):
                patch.setattr(owner, name, fail)
            world.meshes["west"].say(values[0])
            world.meshes["east"].say(said(100, 50))
            await asyncio.sleep(3)
            patch.setattr(east.gateway, "_message_came", fail)
            world.meshes["west"].say(said(100))
            await asyncio.sleep(0.5)
        await asyncio.sleep(2)
        for value in values[1:]:
            world.meshes["west"].say(value)
        world.meshes["east"].say(back := said(101, 50))
        await asyncio.sleep(5)
        counts = world.meshes["east"].counts
        assert [counts[key_of(value)] for value in values] == [1] * 5
        assert world.meshes["west"].counts[key_of(back)] == 1
        assert east.gateway.numbers.events["faults"] >= 5
        assert not [task for task in east.gateway._tasks if task.done()]


@in_virtual_time
async def test_a_mesh_that_only_one_of_two_gateways_reaches_gets_everything(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        first = await world.add("w1", "west")
        second = await world.add("w2", "west")
        await world.add("e", "east")
        south = await world.add("s", "south")
        first.exchange.lose(south.gateway.own)
        south.exchange.lose(first.gateway.own)
        await asyncio.sleep(0.1)
        values = [said(n, n % 8) for n in range(40)]
        for value in values:
            world.meshes["west"].say(value)
            await asyncio.sleep(0.1)
        await asyncio.sleep(10)
        for mesh in ("east", "south"):
            assert world.meshes[mesh].counts == dict.fromkeys(map(key_of, values), 1)
        assert not second.gateway.bridge.drops["up", Traffic.INTERACTIVE, Drop.EXPIRED]


@in_virtual_time
async def test_a_gateway_of_two_meshes_takes_from_another_what_its_own_relay_did_not_hear(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        both = await world.add("x", "west", "east")
        await world.add("w", "west")
        values = [said(n, n) for n in range(30)]
        for number, value in enumerate(values):
            if number == 15:
                both.links[0].unplug()
            world.meshes["west"].say(value)
            await asyncio.sleep(0.1)
        await asyncio.sleep(10)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)
        assert not world.meshes["west"].brought


@in_virtual_time
async def test_what_is_refused_uses_up_nothing_of_what_the_mesh_may_carry(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        budget = DownlinkConfig(enabled=True, frames_per_minute=600, gateway_per_minute=120, author_per_minute=600)
        east = await world.add("e", "east", downlink=budget)
        hostile = await world.add("h", "south")
        east.gateway.configure(replace(east.gateway.config, local_mbps=0.02))  # a dozen frames a second
        values = []
        for number in range(800):
            message = FrameMessage("south", "east", said(number, 1000 + number))
            await hostile.exchange.send(east.gateway.own, message, Traffic.INTERACTIVE)
            if number % 50 == 49:
                values.append(said(number))
                world.meshes["west"].say(values[-1])
            await asyncio.sleep(0.01)
        await asyncio.sleep(30)
        counts = world.meshes["east"].counts
        assert [counts[key_of(value)] for value in values] == [1] * len(values)


@in_virtual_time
async def test_what_waits_at_a_gateway_whose_relay_goes_is_brought_by_another(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        slow = DownlinkConfig(enabled=True, frames_per_minute=60, author_per_minute=1000, gateway_per_minute=1000)
        gateways = [await world.add(name, "east", downlink=slow) for name in ("e1", "e2")]
        values = [said(n) for n in range(30)]
        for value in values:
            world.meshes["west"].say(value)
        await asyncio.sleep(2)
        busy = max(gateways, key=lambda site: sum(site.gateway.bridge.waiting("east").values()))
        assert sum(busy.gateway.bridge.waiting("east").values()) > 20
        busy.links[0].unplug()
        await asyncio.sleep(40)
        counts = world.meshes["east"].counts
        assert max(counts.values()) == 1
        assert len(counts) == 30
        assert not sum(busy.gateway.bridge.waiting("east").values())


@in_virtual_time
async def test_what_waits_for_the_only_relay_is_brought_when_it_is_back(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        slow = DownlinkConfig(enabled=True, frames_per_minute=60, author_per_minute=1000, gateway_per_minute=1000)
        east = await world.add("e", "east", downlink=slow)
        brought: list[bytes] = []
        world.meshes["east"].on_brought = lambda value, by: brought.append(key_of(value))
        values = [said(n) for n in range(30)]
        for value in values:
            world.meshes["west"].say(value)
        await asyncio.sleep(2)
        east.links[0].unplug()
        await asyncio.sleep(10)
        east.links[0].plug_in()
        await asyncio.sleep(40)
        assert brought == list(map(key_of, values))


@in_virtual_time
async def test_a_gateway_that_is_stopped_ends_what_it_told_the_others_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with World(tmp_path) as world:
        await world.add("w", "west")
        gateways = [await world.add(name, "east") for name in ("e1", "e2")]
        for site in gateways:
            send = site.links[0].send

            async def slow(frame: bytes, send: Any = send) -> None:
                await asyncio.sleep(0.05)
                await send(frame)

            monkeypatch.setattr(site.links[0], "send", slow)
        values = [said(n) for n in range(40)]
        for value in values:
            world.meshes["west"].say(value)
        await asyncio.sleep(0.6)
        busy = max(gateways, key=lambda site: sum(site.gateway.bridge.waiting("east").values()))
        assert sum(busy.gateway.bridge.waiting("east").values()) > 10
        await busy.gateway.stop()
        await asyncio.sleep(20)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)


@in_virtual_time
async def test_what_is_heard_before_the_word_that_it_was_brought_does_not_go_back(tmp_path: Path) -> None:
    # The radio is faster than the internet, and hardly anybody hears everything.
    async with World(tmp_path, radio_s=0.0, delay_s=0.04) as world:
        x1 = await world.add("x1", "west", "east")
        await world.add("x2", "west", "east")
        values = [said(n, n) for n in range(20)]
        for value in values:
            x1.links[0].hear(value)
            await asyncio.sleep(0.3)
        await asyncio.sleep(5)
        assert world.meshes["east"].counts == dict.fromkeys(map(key_of, values), 1)
        assert not world.meshes["west"].brought
