"""A relay that fails and comes back, and a phone on the move."""

import asyncio

import pytest
from relays import counters, everybody_linked, open_console, quiet_counters

from bitrelay.lab.demo import LEFT, RIGHT, chain
from bitrelay.lab.frame_maker import Kind
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from bitrelay.lab.traffic import Flow, run_flow

BACK_S = 15.0


@pytest.mark.requirement("OPS-06")
async def test_traffic_flows_again_when_the_middle_relay_was_killed_and_comes_back() -> None:
    async with Lab(chain(3, 1)) as lab:
        await everybody_linked(lab)
        boots = {name: lab.boards[name].boots for name in ("relay1", "relay3")}
        await lab.boards["relay2"].kill()
        await asyncio.sleep(0)
        await lab.boards["relay2"].start()
        loop = asyncio.get_running_loop()
        start = loop.time()
        await lab.ready(timeout=BACK_S)
        took = loop.time() - start
        both = (
            Flow(LEFT, (RIGHT,), count=20, hops=3),
            Flow(RIGHT, (LEFT,), count=20, hops=3),
        )
        await asyncio.gather(*(run_flow(flow, lab.phones, lab.ledger) for flow in both))
        report = lab.ledger.report()
        assert report.is_perfect, (report, lab.ledger.missing())
        assert {name: lab.boards[name].boots for name in boots} == boots
        print(f"back after {took:.1f} s")


async def test_a_phone_that_walks_from_one_end_to_the_other_is_served() -> None:
    # Relays 60 m apart hear each other (-88 dBm) and not the next but one; a phone hears the nearest one or two.
    apart = 60.0
    scenario = Scenario(
        boards=tuple(BoardSpec(f"relay{i}", position=(apart * i, 0.0)) for i in range(3)),
        phones=(
            PhoneSpec("walker", position=(0.0, 5.0), announce=False),
            PhoneSpec("home", position=(-5.0, 0.0), announce=False),
        ),
    )
    async with Lab(scenario) as lab:
        await everybody_linked(lab)
        walker = lab.phones["walker"]
        for step in range(1, 9):
            lab.radio.move("walker", apart * 2 * step / 8, 5.0)
            await lab.ready(timeout=30)
            there = Flow("home", ("walker",), kinds=(Kind.PUBLIC,), count=5)
            back = Flow("walker", ("home",), kinds=(Kind.PUBLIC,), count=5)
            await asyncio.gather(*(run_flow(flow, lab.phones, lab.ledger, seed=step) for flow in (there, back)))
        report = lab.ledger.report()
        assert report.delivered == report.sent == 80, (report, lab.ledger.missing())
        assert not report.altered and not report.unexpected
        near = {name for link in lab.links() for name in (link.a, link.b) if "walker" in (link.a, link.b)}
        assert "relay2" in near and walker.open_links


async def test_a_neighbor_that_hangs_does_not_stop_the_relay() -> None:
    # Its controller keeps the link alive, and takes and takes until no buffer is left for anybody else.
    scenario = Scenario(
        boards=(BoardSpec("hub"), BoardSpec("hangs")),
        phones=(PhoneSpec("alice", announce=False), PhoneSpec("bob", announce=False)),
        edges=(Edge("alice", "hub"), Edge("bob", "hub"), Edge("hub", "hangs")),
    )
    async with Lab(scenario) as lab:
        await everybody_linked(lab)
        lab.boards["hangs"].freeze()
        flow = Flow("alice", ("bob",), kinds=(Kind.PUBLIC,), count=40, rate=20)
        await run_flow(flow, lab.phones, lab.ledger)
        again = Flow("bob", ("alice",), kinds=(Kind.PUBLIC,), count=20, window=4)
        # The last of the first flow may be on their way still.
        async with await open_console(lab.boards["hub"]) as console:
            await quiet_counters(console)
        before = lab.ledger.report()
        await run_flow(again, lab.phones, lab.ledger)
        after = lab.ledger.report()
        assert after.delivered - before.delivered == 20, (before, after)
        async with await open_console(lab.boards["hub"]) as console:
            assert (await counters(console))["links_stalled"] == 1
        assert len(lab.phones["alice"].open_links) == len(lab.phones["bob"].open_links) == 1
