"""What a demonstration shows while it runs: a picture of the lab, with figures that its relays give themselves."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass

from bitrelay.console import Console
from bitrelay.counters import NAMES
from bitrelay.errors import BitrelayError
from shared_protocol import console as messages

from .board import Board
from .flashing import flash_lab
from .lab import Lab
from .ledger import Ledger
from .scenario import Scenario
from .waiting import together

_PICTURE_EVERY_S = 0.1
_STATS_EVERY_S = 0.5
# Longer than a frame is on its way over one relay.
_QUIET_S = 0.3
_SETTLE_S = 3.0


@dataclass(frozen=True)
class RelayFigures:
    """What one relay did since the frames began to flow; None for what is not known, or not yet."""

    name: str
    state: str
    forwarded: int | None = None
    dropped: int | None = None


@dataclass(frozen=True)
class Picture:
    """One moment of the demonstration. nodes are in their order from left to right.

    links holds the pairs of neighbors that are linked; arrived is counted per phone; frames is what each phone sends.
    internet: the neighbors that only gateways can link. note: what is being waited for, if there is more to say.
    """

    phase: str
    nodes: tuple[str, ...]
    relays: tuple[RelayFigures, ...]
    links: frozenset[tuple[str, str]]
    sent: dict[str, int]
    arrived: dict[str, int]
    frames: int
    seconds: float
    internet: tuple[str, str] | None = None
    note: str = ""


class Show:
    """Follows a lab of a line of boards between two phones, each of which sends `frames` frames.

    asked: the boards that are asked for their counters, over their consoles; None for all of them. phase: what is
    going on, to be set by whoever runs it.
    """

    def __init__(
        self,
        scenario: Scenario,
        frames: int,
        on_progress: Callable[[Picture], None],
        asked: Collection[str] | None = None,
    ) -> None:
        self.scenario = scenario
        self.phase = ""
        self._stages: dict[str, str] = {}
        self._frames = frames
        self._on_progress = on_progress
        self._asked = frozenset(asked if asked is not None else (board.name for board in scenario.boards))
        self._consoles: dict[str, Console] = {}
        self._before: dict[str, list[int]] = {}
        self._now: dict[str, list[int]] = {}
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()

    async def flash(self, lab: Lab) -> None:
        """Flash the lab's blank boards."""
        self.phase = "flashing"
        await flash_lab(lab, self._stages.__setitem__)

    async def draw(self, lab: Lab) -> None:
        """Give a picture ten times a second, for ever."""
        while True:
            self.draw_once(lab)
            await asyncio.sleep(_PICTURE_EVERY_S)

    def draw_once(self, lab: Lab) -> None:
        """Give a picture now."""
        self._on_progress(self.picture(lab))

    # The relays are asked themselves, over their consoles, as `bitrelay stats` does; the picture can do without.

    async def open_consoles(self, lab: Lab) -> None:
        """Begin to count. What was underway before the first frame, probes of the lab, is not part of it."""

        async def open_console(board: Board) -> None:
            try:
                self._consoles[board.name] = await Console.open(board.port)
            except BitrelayError:
                return
            await self._settle(board.name)

        await together(*(open_console(board) for board in lab.boards.values() if board.name in self._asked))

    async def watch(self) -> None:
        """Ask for the counters again and again, for ever."""
        await together(*(self._watch(name) for name in self._consoles))

    async def ask_all(self) -> None:
        """Ask for the counters once."""
        await together(*(self._ask(name) for name in self._consoles))

    async def close_consoles(self) -> None:
        """Leave the consoles to others."""
        for console in self._consoles.values():
            await console.close()

    def picture(self, lab: Lab) -> Picture:
        """This moment."""
        ledger: Ledger = lab.ledger
        nodes = (self.scenario.phones[0].name, *lab.boards, self.scenario.phones[-1].name)
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
        """What is known of each relay."""
        return tuple(self.figures(board) for board in lab.boards.values())

    def figures(self, board: Board) -> RelayFigures:
        """What is known of one."""
        if board.name not in self._before:
            return RelayFigures(board.name, self._stages.get(board.name) or str(board.state))
        pairs = zip(self._now[board.name], self._before[board.name], strict=True)
        did = dict(zip(NAMES, (now - before for now, before in pairs), strict=False))
        dropped = sum(number for name, number in did.items() if name.startswith("drop_"))
        return RelayFigures(board.name, str(board.state), did["forwarded"], dropped)

    async def _settle(self, name: str) -> None:
        end = self._loop.time() + _SETTLE_S
        while True:
            await self._ask(name)
            if name not in self._now:
                return
            before, self._before[name] = self._before.get(name), self._now[name]
            if self._loop.time() > end or (before and _traffic(before) == _traffic(self._now[name])):
                return
            await asyncio.sleep(_QUIET_S)

    async def _watch(self, name: str) -> None:
        while True:
            await self._ask(name)
            await asyncio.sleep(_STATS_EVERY_S)

    async def _ask(self, name: str) -> None:
        try:
            self._now[name] = (await self._consoles[name].request(messages.STATS))["counters"]
        except BitrelayError:
            pass


def _traffic(counts: list[int]) -> list[int]:
    # Of a relay's counters those that only frames from the air move.
    return [counts[NAMES.index(name)] for name in ("rx_frames", "forwarded", "tx_frames")]
