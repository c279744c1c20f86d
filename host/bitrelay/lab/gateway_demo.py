"""The demonstration of gateways: two lines of relays that do not hear each other, bridged over loopback."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitrelay.errors import DeviceTimeout
from bitrelay.gateway.config import EngineKind
from shared_protocol.frame import MAX_TTL, TYPE

from .air_tap import AirTap
from .board import Board
from .broker import find_mosquitto
from .crossings import Crossings
from .demo import LEFT, RIGHT, DemoResult, is_complete, play, start_announcing
from .demo_show import Picture, RelayFigures, Show
from .gateway_fleet import GatewayFleet
from .gateway_plan import EAST, WEST, GatewayPlan, plan_gateways
from .lab import Lab
from .ledger import Report, rounded
from .phone import Phone
from .scenario import BoardSpec, Edge, PhoneSpec, Scenario
from .traffic import PROBE_TYPE, Flow, probe_of
from .waiting import alongside, together

# In a mesh of N relays a frame is lowered N - 1 times before the last hears it, once by the gateway, and N - 1 times
# after the first of the other mesh has sent it; nobody forwards a TTL of 1.
MAX_BOARDS = MAX_TTL // 2
RATE = 20.0
"""Frames a second, both ways together."""

_CROSS_S = 30.0
_PROBE_S = 1.0
# Longer than a second gateway waits before it carries what the first seems not to have carried.
_LATE_S = 2.0


@dataclass(frozen=True)
class GatewayDemoResult(DemoResult):
    """boards: relays in each mesh. gateways: those of both meshes. states: their folders. added_p50_ms, added_p95_ms:
    see Crossings."""

    gateways: tuple[GatewayPlan, ...]
    states: tuple[Path, ...]
    added_p50_ms: float | None
    added_p95_ms: float | None

    @property
    def way(self) -> str:
        return f"from one mesh of {super().way} to the other, over {len(self.gateways)} gateways,"

    @property
    def taken(self) -> frozenset[str]:
        return frozenset(gateway.relay for gateway in self.gateways)

    @property
    def hops(self) -> int | None:
        return hops(self.boards, len(self.gateways) // 2)

    def as_json(self) -> dict[str, object]:
        added = {"p50": rounded(self.added_p50_ms), "p95": rounded(self.added_p95_ms)}
        return super().as_json() | {"gateways": len(self.gateways), "added_latency_ms": added}


def hops(boards: int, per_mesh: int) -> int | None:
    """How often a frame's TTL is lowered on its way; None if it is not always the same way."""
    return 2 * boards - 1 if per_mesh == 1 else None


async def run_gateway_demo(
    boards: int,
    frames: int,
    *,
    per_mesh: int = 1,
    engine: EngineKind = EngineKind.LINKS,
    rate: float = RATE,
    micropython: Path | None = None,
    on_progress: Callable[[Picture], None] = lambda picture: None,
    while_up: Callable[[DemoResult, Lab], Coroutine[Any, Any, None]] | None = None,
) -> GatewayDemoResult:
    """Bridge two lines of `boards` relays (1 to 3), and send `frames` frames each way, `rate` a second in all.

    per_mesh: gateways of each mesh, 1 or 2, not more than boards. engine: what carries frames between them. The rest is
    as in demo.run_demo. Raises what goes wrong with gateways, too: DeviceError for one that ends, BrokenInstallation
    where there is no broker for MQTT.
    """
    if engine is EngineKind.MQTT:
        find_mosquitto()
    scenario = two_lines(boards, frames, rate, hops(boards, per_mesh))
    west, east = relay_names(boards)
    plans = plan_gateways(west, east, per_mesh)
    gates = [plan.relay for plan in plans]
    async with (
        Lab(scenario, micropython=micropython) as lab,
        GatewayFleet(plans, engine, lab.directory) as fleet,
    ):
        mesh_of = dict.fromkeys((LEFT, *west), WEST) | dict.fromkeys((RIGHT, *east), EAST)
        crossings = Crossings(lab.ledger, mesh_of, gates, asyncio.get_running_loop().time)
        lab.radio.tap = AirTap(crossings.on_value)
        show = _GatewayShow(scenario, frames, on_progress, (west[-1], east[0]), fleet, crossings, gates)
        try:
            report, seconds = await alongside(_run(show, lab, fleet), show.draw(lab), fleet.watch())
        finally:
            await show.close_consoles()
        show.draw_once(lab)
        result = GatewayDemoResult(
            boards,
            report,
            seconds,
            show.relays(lab),
            is_complete(report, frames),
            plans,
            tuple(run.state for run in fleet.runs),
            crossings.percentile_ms(50),
            crossings.percentile_ms(95),
        )
        if while_up:
            start_announcing(lab)
            await alongside(while_up(result, lab), fleet.watch())
    return result


def relay_names(boards: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The relays of both meshes, from west to east."""
    names = tuple(f"relay{number}" for number in range(1, 2 * boards + 1))
    return names[:boards], names[boards:]


def two_lines(boards: int, frames: int, rate: float, lowered: int | None) -> Scenario:
    """Two lines, each with a phone at its far end and nobody who hears the other line; traffic of all kinds both ways.

    rate: frames a second, both ways together. lowered: how often a frame's TTL is lowered on its way, if that is known.
    """
    west, east = relay_names(boards)
    lines = ((LEFT, *west), (*east, RIGHT))
    flow = Flow("", (), count=frames, rate=rate / 2, hops=lowered)
    return Scenario(
        title=f"two meshes of {boards} relays in a line",
        boards=tuple(BoardSpec(name) for name in (*west, *east)),
        # Silent while it is counted, so that what arrives is what was sent.
        phones=(PhoneSpec(LEFT, "ios", announce=False), PhoneSpec(RIGHT, "android", announce=False)),
        edges=tuple(Edge(a, b) for line in lines for a, b in zip(line, line[1:], strict=False)),
        traffic=(replace(flow, sender=LEFT, to=(RIGHT,)), replace(flow, sender=RIGHT, to=(LEFT,))),
    )


async def _run(show: "_GatewayShow", lab: Lab, fleet: GatewayFleet) -> tuple[Report, float]:
    show.phase = "starting"
    await fleet.prepare()
    await together(lab.ready(), fleet.start(lab))
    await fleet.whole()
    await _cross(lab)
    await show.open_consoles(lab)
    _, seconds = await play(show, lab)
    # What comes twice may come late.
    await asyncio.sleep(_LATE_S)
    return lab.ledger.report(), seconds


async def _cross(lab: Lab) -> None:
    # A link that is up and a gateway that is joined are promises: here each phone hears the other one.
    pairs = {(LEFT, RIGHT), (RIGHT, LEFT)}
    loop = asyncio.get_running_loop()
    end = loop.time() + _CROSS_S
    while pairs:
        await together(*(_probe(lab.phones[sender]) for sender, _ in pairs))
        await together(*(_heard_within(lab.phones[sender], lab.phones[receiver]) for sender, receiver in pairs))
        pairs = {pair for pair in pairs if not _has_heard(lab.phones[pair[1]], lab.phones[pair[0]])}
        if pairs and loop.time() > end:
            sender, receiver = min(pairs)
            raise DeviceTimeout(f"hears nothing of {sender} over the gateways within {_CROSS_S:g} s", device=receiver)
    for phone in lab.phones.values():
        phone.received.clear()


async def _probe(phone: Phone) -> None:
    await phone.send(probe_of(phone))


async def _heard_within(sender: Phone, receiver: Phone) -> None:
    try:
        await receiver.wait_until(lambda: _has_heard(receiver, sender), _PROBE_S, "")
    except DeviceTimeout:
        pass


def _has_heard(receiver: Phone, sender: Phone) -> bool:
    author = sender.identity.peer_id
    return any(each.frame[TYPE] == PROBE_TYPE and author in each.frame for each in receiver.received)


class _GatewayShow(Show):
    # The consoles of the gateways' relays are taken; what those relays said is heard on the air.
    def __init__(
        self,
        scenario: Scenario,
        frames: int,
        on_progress: Callable[[Picture], None],
        internet: tuple[str, str],
        fleet: GatewayFleet,
        crossings: Crossings,
        gates: list[str],
    ) -> None:
        free = [board.name for board in scenario.boards if board.name not in gates]
        super().__init__(scenario, frames, on_progress, free)
        self._internet = internet
        self._fleet = fleet
        self._crossings = crossings
        self._gates = gates

    def picture(self, lab: Lab) -> Picture:
        picture = super().picture(lab)
        of, linked = len(self._fleet.runs), self._fleet.linked()
        links = picture.links | ({self._internet} if linked == of else set())
        note = f"{linked} of {of} gateways linked" if self.phase == "starting" else ""
        return replace(picture, links=links, internet=self._internet, note=note)

    def figures(self, board: Board) -> RelayFigures:
        figures = super().figures(board)
        if board.name not in self._gates or self.phase == "starting":
            return figures
        return replace(figures, forwarded=self._crossings.said(board.name))
