"""The demonstration: a line of virtual relays with a phone at each end, and real frames both ways."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from shared_protocol.frame import MAX_TTL

from .demo_show import Picture, RelayFigures, Show
from .lab import Lab
from .ledger import Report, rounded
from .scenario import BoardSpec, Edge, PhoneSpec, Scenario
from .traffic import Flow
from .waiting import alongside

# Every relay lowers the TTL of 7 by one, and nobody forwards a frame whose TTL is 1.
MAX_BOARDS = MAX_TTL - 1
LEFT, RIGHT = "alice", "bob"


@dataclass(frozen=True)
class DemoResult:
    """What came of it. boards: relays in the line. seconds: from the first frame to the last."""

    boards: int
    report: Report
    seconds: float
    relays: tuple[RelayFigures, ...]
    passed: bool

    @property
    def way(self) -> str:
        """What lies between the phones, in words."""
        return f"{self.boards} relay{'s' * (self.boards != 1)}"

    @property
    def hops(self) -> int | None:
        """By how much the TTL of a frame is lowered on the way, if that is always the same."""
        return self.boards

    @property
    def taken(self) -> frozenset[str]:
        """Relays whose consoles somebody else has."""
        return frozenset()

    def as_json(self) -> dict[str, object]:
        """The contract for scripts: these names stay."""
        delivered = self.report.delivered
        return {
            "boards": self.boards,
            **self.report.as_json(),
            "seconds": rounded(self.seconds),
            "frames_per_s": rounded(delivered / self.seconds) if self.seconds else None,
            "relays": [
                {"name": relay.name, "forwarded": relay.forwarded, "dropped": relay.dropped} for relay in self.relays
            ],
            "passed": self.passed,
        }


async def run_demo(
    boards: int,
    frames: int,
    *,
    rate: float | None = None,
    micropython: Path | None = None,
    on_progress: Callable[[Picture], None] = lambda picture: None,
    while_up: Callable[[DemoResult, Lab], Awaitable[None]] | None = None,
) -> DemoResult:
    """Flash `boards` blank boards (1 to 6) and send `frames` frames each way over them.

    rate: frames a second, both ways together; None for as fast as they are carried. on_progress gets a picture ten
    times a second, and what it raises ends the demonstration; while_up is awaited with the result before the lab is
    taken down; the phones announce themselves from then on.
    """
    show = Show(chain(boards, frames, rate), frames, on_progress)
    async with Lab(show.scenario, micropython=micropython, blank=True) as lab:
        try:
            report, seconds = await alongside(_run(show, lab), show.draw(lab))
        finally:
            await show.close_consoles()
        show.draw_once(lab)
        result = DemoResult(boards, report, seconds, show.relays(lab), is_complete(report, frames))
        if while_up:
            start_announcing(lab)
            await while_up(result, lab)
    return result


async def _run(show: Show, lab: Lab) -> tuple[Report, float]:
    await show.flash(lab)
    show.phase = "starting"
    await lab.ready()
    await show.open_consoles(lab)
    return await play(show, lab)


async def play(show: Show, lab: Lab) -> tuple[Report, float]:
    """Play the traffic to its end; returns its account, and how many seconds it took."""
    loop = asyncio.get_running_loop()
    show.phase = "sending"
    start = loop.time()
    report = await alongside(lab.play(), show.watch())
    seconds = loop.time() - start
    show.phase = "done"
    await show.ask_all()
    return report, seconds


def is_complete(report: Report, frames: int) -> bool:
    """Whether all that both phones were to send arrived as it had to."""
    return report.is_perfect and report.sent == 2 * frames


def start_announcing(lab: Lab) -> None:
    """Let the phones, silent while frames were counted, announce themselves."""
    for phone in lab.phones.values():
        phone.start_announcing()


def chain(boards: int, frames: int, rate: float | None = None) -> Scenario:
    """A line in which each node hears only its neighbors, with traffic of all kinds both ways.

    rate: frames a second, both ways together; None for as fast as they are carried.
    """
    each_way = None if rate is None else rate / 2
    names = [LEFT, *(f"relay{number}" for number in range(1, boards + 1)), RIGHT]
    return Scenario(
        title=f"{boards} relays in a line",
        boards=tuple(BoardSpec(name) for name in names[1:-1]),
        # Silent while it is counted, so that what arrives is what was sent.
        phones=(PhoneSpec(LEFT, "ios", announce=False), PhoneSpec(RIGHT, "android", announce=False)),
        edges=tuple(Edge(a, b) for a, b in zip(names, names[1:], strict=False)),
        traffic=(
            Flow(LEFT, (RIGHT,), count=frames, rate=each_way, hops=boards),
            Flow(RIGHT, (LEFT,), count=frames, rate=each_way, hops=boards),
        ),
    )
