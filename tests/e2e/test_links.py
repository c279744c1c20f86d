"""Links at a relay's limit, and links that die."""

import asyncio
from collections.abc import Mapping
from typing import Any

from relays import DEADLINE_S, counters, open_console, wait_links, wait_until

from bitrelay.lab.frame_maker import Kind
from bitrelay.lab.lab import Lab
from bitrelay.lab.scenario import BoardSpec, Edge, PhoneSpec, Scenario
from bitrelay.lab.traffic import Flow, run_flow

FIRST = ("p1", "p2", "p3", "p4")
FIFTH = "p5"

# They announce themselves: of phones that nobody has verified a relay as busy as this one takes less.
CROWD = Scenario(
    boards=(BoardSpec("hub", settings=(("dial_max", 0),)),),
    phones=tuple(PhoneSpec(name) for name in (*FIRST, FIFTH)),
    edges=tuple(Edge(name, "hub") for name in (*FIRST, FIFTH)),
)


async def test_a_fifth_link_is_refused_and_a_dead_link_makes_room() -> None:
    async with Lab(CROWD) as lab:
        hub = lab.boards["hub"]
        late = lab.phones[FIFTH]
        await late.stop()
        for name in FIRST:
            await lab.phones[name].wait_links(1, DEADLINE_S)
        await lab.ready()
        async with await open_console(hub) as console:
            await wait_links(console, len(FIRST), _is_verified)
            await late.start()
            # Traffic among the four while the fifth tries.
            flows = [
                Flow(name, tuple(other for other in FIRST if other != name), kinds=(Kind.PUBLIC,), count=20, window=3)
                for name in FIRST
            ]
            await asyncio.gather(*(run_flow(flow, lab.phones, lab.ledger) for flow in flows))
            report = lab.ledger.report()
            # As text: pytest would shorten a dict.
            assert report.is_perfect, f"{report} {await counters(console)}"
            assert not late.links
            assert (await counters(console))["links_down"] == 0

            await lab.phones["p1"].stop()
            await late.wait_links(1, 15)
            assert [len(lab.phones[name].open_links) for name in FIRST[1:]] == [1, 1, 1]
            await wait_links(console, len(FIRST), _is_verified)
            flow = Flow(FIFTH, ("p2", "p3", "p4"), kinds=(Kind.PUBLIC,), count=20, window=3)
            await run_flow(flow, lab.phones, lab.ledger)
            report = lab.ledger.report()
            assert report.is_perfect, (report, lab.ledger.missing())


async def test_a_jammed_link_dies_by_supervision_timeout_and_is_dialled_again() -> None:
    pair = Scenario(
        boards=(BoardSpec("west"), BoardSpec("east")),
        edges=(Edge("west", "east"),),
    )
    async with Lab(pair) as lab:
        await lab.ready()
        lab.radio.jam("west", "east")
        await wait_until(lambda: not lab.links(), what="the jammed link did not die")
        lab.radio.jam("west", "east", on=False)
        await lab.ready(timeout=15)
        async with await open_console(lab.boards["east"]) as console:
            n = await counters(console)
            assert n["links_down"] >= 1 and n["links_up"] >= 2


def _is_verified(link: Mapping[str, Any]) -> bool:
    return link["state"] == "ready" and "owner" in link
