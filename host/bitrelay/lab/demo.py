"""The demonstration: a line of virtual relays with a phone at each end, and real frames both ways."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bitrelay.console import Console
from bitrelay.counters import NAMES
from bitrelay.errors import BitrelayError
from shared_protocol import console as messages
from shared_protocol.frame import MAX_TTL

from .board import Board
from .flashing import flash_lab
from .lab import Lab
from .ledger import Ledger, Report, rounded
from .scenario import BoardSpec, Edge, PhoneSpec, Scenario
from .traffic import Flow
from .waiting import alongside, together

# Every relay lowers the TTL of 7 by one, and nobody forwards a frame whose TTL is 1.
MAX_BOARDS = MAX_TTL - 1
LEFT, RIGHT = "alice", "bob"

_PICTURE_EVERY_S = 0.1
_STATS_EVERY_S = 0.5
# Longer than a frame is on its way over one relay.
_QUIET_S = 0.3
_SETTLE_S = 3.0


@dataclass(frozen=True)
class RelayFigures:
    """What one relay says it did since the frames began to flow; None for what it has not said yet."""

    name: str
    state: str
    forwarded: int | None = None
    dropped: int | None = None


@dataclass(frozen=True)
class Picture:
    """One moment of the demonstration. nodes are in their order from left to right.

    links holds the pairs of neighbors that are linked; arrived is counted per phone; frames is what each phone sends.
    """

    phase: str
    nodes: tuple[str, ...]
    relays: tuple[RelayFigures, ...]
    links: frozenset[tuple[str, str]]
    sent: dict[str, int]
    arrived: dict[str, int]
    frames: int
    seconds: float


@dataclass(frozen=True)
class DemoResult:
    """What came of it; counts as in ledger.Report, times in the units of their names."""

    boards: int
    sent: int
    delivered: int
    duplicates: int
    altered: int
    unexpected: int
    ttl_ok: bool
    p50_ms: float | None
    p95_ms: float | None
    seconds: float
    relays: tuple[RelayFigures, ...]
    passed: bool

    def as_json(self) -> dict[str, object]:
        """The contract for scripts: these names stay."""
        return {
            "boards": self.boards,
            "sent": self.sent,
            "delivered": self.delivered,
            "duplicates": self.duplicates,
            "altered": self.altered,
            "unexpected": self.unexpected,
            "ttl_ok": self.ttl_ok,
            "latency_ms": {"p50": rounded(self.p50_ms), "p95": rounded(self.p95_ms)},
            "seconds": rounded(self.seconds),
            "frames_per_s": rounded(self.delivered / self.seconds) if self.seconds else None,
            "relays": [
                {"name": relay.name, "forwarded": relay.forwarded, "dropped": relay.dropped} for relay in self.relays
            ],
            "passed": self.passed,
        }


async def run_demo(
    boards: int,
    frames: int,
    *,
    micropython: Path | None = None,
    on_progress: Callable[[Picture], None] = lambda picture: None,
    while_up: Callable[[DemoResult, Lab], Awaitable[None]] | None = None,
) -> DemoResult:
    """Flash `boards` blank boards (1 to 6) and send `frames` frames each way over them, as fast as they are carried.

    on_progress gets a picture ten times a second, and what it raises ends the demonstration; while_up is awaited with
    the result before the lab is taken down; the phones announce themselves from then on.
    """
    show = _Show(chain(boards, frames), frames, on_progress)
    async with Lab(show.scenario, micropython=micropython, blank=True) as lab:
        try:
            report, seconds = await alongside(show.run(lab), show.draw(lab))
        finally:
            await show.close_consoles()
        on_progress(show.picture(lab))
        result = DemoResult(
            boards,
            report.sent,
            report.delivered,
            report.duplicates,
            report.altered,
            report.unexpected,
            report.ttl_ok,
            report.p50_ms,
            report.p95_ms,
            seconds,
            show.relays(lab),
            report.is_perfect and report.sent == 2 * frames,
        )
        if while_up:
            for phone in lab.phones.values():
                phone.start_announcing()
            await while_up(result, lab)
    return result


def _traffic(counts: list[int]) -> list[int]:
    # Of a relay's counters those that only frames from the air move.
    return [counts[NAMES.index(name)] for name in ("rx_frames", "forwarded", "tx_frames")]


def chain(boards: int, frames: int) -> Scenario:
    """A line in which each node hears only its neighbors, with traffic of all kinds both ways."""
    names = [LEFT, *(f"relay{number}" for number in range(1, boards + 1)), RIGHT]
    return Scenario(
        title=f"{boards} relays in a line",
        boards=tuple(BoardSpec(name) for name in names[1:-1]),
        # Silent while it is counted, so that what arrives is what was sent.
        phones=(PhoneSpec(LEFT, "ios", announce=False), PhoneSpec(RIGHT, "android", announce=False)),
        edges=tuple(Edge(a, b) for a, b in zip(names, names[1:], strict=False)),
        traffic=(
            Flow(LEFT, (RIGHT,), count=frames, hops=boards),
            Flow(RIGHT, (LEFT,), count=frames, hops=boards),
        ),
    )


class _Show:
    # What is shown while the demonstration runs.
    def __init__(self, scenario: Scenario, frames: int, on_progress: Callable[[Picture], None]) -> None:
        self.scenario = scenario
        self.phase = "flashing"
        self._stages: dict[str, str] = {}
        self._frames = frames
        self._on_progress = on_progress
        self._consoles: dict[str, Console] = {}
        self._before: dict[str, list[int]] = {}
        self._now: dict[str, list[int]] = {}
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()

    async def run(self, lab: Lab) -> tuple[Report, float]:
        await flash_lab(lab, self._stages.__setitem__)
        self.phase = "starting"
        await lab.ready()
        await self.open_consoles(lab)
        self.phase = "sending"
        start = self._loop.time()
        report = await alongside(lab.play(), *(self.watch(name) for name in lab.boards))
        seconds = self._loop.time() - start
        self.phase = "done"
        await together(*(self.ask(name) for name in lab.boards))
        return report, seconds

    async def draw(self, lab: Lab) -> None:
        while True:
            self._on_progress(self.picture(lab))
            await asyncio.sleep(_PICTURE_EVERY_S)

    # The relays are asked themselves, over their consoles, as `bitrelay stats` does; the picture can do without.

    async def open_consoles(self, lab: Lab) -> None:
        async def open_console(board: Board) -> None:
            try:
                self._consoles[board.name] = await Console.open(board.port)
            except BitrelayError:
                return
            await self._settle(board.name)

        await together(*(open_console(board) for board in lab.boards.values()))

    async def _settle(self, name: str) -> None:
        # What was underway before the first frame, probes of the lab, is not part of what is shown.
        end = self._loop.time() + _SETTLE_S
        while True:
            await self.ask(name)
            if name not in self._now:
                return
            before, self._before[name] = self._before.get(name), self._now[name]
            if self._loop.time() > end or (before and _traffic(before) == _traffic(self._now[name])):
                return
            await asyncio.sleep(_QUIET_S)

    async def watch(self, name: str) -> None:
        while True:
            await self.ask(name)
            await asyncio.sleep(_STATS_EVERY_S)

    async def ask(self, name: str) -> None:
        if name in self._consoles:
            try:
                self._now[name] = (await self._consoles[name].request(messages.STATS))["counters"]
            except BitrelayError:
                pass

    async def close_consoles(self) -> None:
        for console in self._consoles.values():
            await console.close()

    def picture(self, lab: Lab) -> Picture:
        ledger: Ledger = lab.ledger
        nodes = (LEFT, *lab.boards, RIGHT)
        linked = {frozenset((link.a, link.b)) for link in lab.links() if link.ready}
        return Picture(
            self.phase,
            nodes,
            self.relays(lab),
            frozenset((a, b) for a, b in zip(nodes, nodes[1:], strict=False) if frozenset((a, b)) in linked),
            dict(ledger.by_sender),
            dict(ledger.by_receiver),
            self._frames,
            self._loop.time() - self._start,
        )

    def relays(self, lab: Lab) -> tuple[RelayFigures, ...]:
        return tuple(self._figures(board) for board in lab.boards.values())

    def _figures(self, board: Board) -> RelayFigures:
        if board.name not in self._before:
            return RelayFigures(board.name, self._stages.get(board.name) or str(board.state))
        pairs = zip(self._now[board.name], self._before[board.name], strict=True)
        did = dict(zip(NAMES, (now - before for now, before in pairs), strict=False))
        dropped = sum(number for name, number in did.items() if name.startswith("drop_"))
        return RelayFigures(board.name, str(board.state), did["forwarded"], dropped)
