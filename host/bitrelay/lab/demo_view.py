"""Draws the demonstration: a live picture on a terminal, plain lines elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .demo import LEFT, RIGHT, DemoResult
from .demo_show import Picture, RelayFigures
from .gateway_demo import GatewayDemoResult

_LINE_EVERY_S = 2.0


class DemoView:
    """`with DemoView(console) as view:` and then view.show(picture) as often as there is news."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._phase = ""
        self._told_at = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the last picture standing; what is printed from now on comes below it."""
        if self._live:
            self._live.stop()
            self._live = None

    def show(self, picture: Picture) -> None:
        """Draw it, or tell what is new in it."""
        if self._live:
            self._live.update(draw(picture), refresh=True)
        elif picture.phase != self._phase or picture.seconds - self._told_at >= _LINE_EVERY_S:
            self._phase, self._told_at = picture.phase, picture.seconds
            self._console.print(in_words(picture), soft_wrap=True, highlight=False)


def draw(picture: Picture) -> RenderableType:
    """The chain with its links and counters, and how far the frames are."""
    chain = Table.grid(padding=(0, 0))
    for _ in range(2 * len(picture.nodes) - 1):
        chain.add_column(justify="center")
    relays = {relay.name: relay for relay in picture.relays}
    heads: list[Text] = []
    states: list[Text] = []
    counts: list[Text] = []
    for number, node in enumerate(picture.nodes):
        if number:
            heads.append(_line_between(picture, (picture.nodes[number - 1], node)))
            states.append(Text())
            counts.append(Text())
        relay = relays.get(node)
        heads.append(Text(node, style="bold cyan" if relay else "bold magenta"))
        states.append(Text(relay.state if relay else "phone", style="dim"))
        counts.append(Text("" if relay is None or relay.forwarded is None else f"{relay.forwarded} fwd"))
    for row in (heads, states, counts):
        chain.add_row(*row)
    ways = Table.grid(padding=(0, 1))
    for sender, receiver in ((LEFT, RIGHT), (RIGHT, LEFT)):
        arrived = picture.arrived.get(receiver, 0)
        ways.add_row(
            f"{sender} → {receiver}",
            ProgressBar(total=picture.frames, completed=arrived, width=30),
            f"{arrived} of {picture.frames} arrived, {picture.sent.get(sender, 0) - arrived} underway",
        )
    return Group(Text(_titled(f"{picture.phase} · {picture.seconds:.1f} s", picture), style="bold"), chain, ways)


def in_words(picture: Picture) -> str:
    """The picture as one line."""
    if picture.phase == "flashing":
        return f"flashing: {', '.join(f'{r.name} {r.state}' for r in picture.relays)} ({picture.seconds:.0f} s)"
    if picture.phase == "starting":
        up, of = len(picture.links), len(picture.nodes) - 1
        return f"{_titled(f'starting: {up} of {of} links up', picture)} ({picture.seconds:.0f} s)"
    ways = ", ".join(
        f"{sender} to {receiver} {picture.arrived.get(receiver, 0)} of {picture.frames}"
        for sender, receiver in ((LEFT, RIGHT), (RIGHT, LEFT))
    )
    return f"{picture.phase}: {ways} ({picture.seconds:.0f} s)"


def summary(result: DemoResult) -> str:
    """What happened, in a few lines for people."""
    lines, report = [_verdict(result)], result.report
    if report.p50_ms is not None and report.p95_ms is not None:
        rate = report.delivered / result.seconds if result.seconds else 0.0
        hops = f" over {result.hops} hop{'s' * (result.hops != 1)}" if result.hops else ""
        lines.append(
            f"Latency{hops}: median {report.p50_ms:.0f} ms, 95 % below {report.p95_ms:.0f} ms; "
            f"{rate:.0f} frames/s in {result.seconds:.1f} s."
        )
    if isinstance(result, GatewayDemoResult) and result.added_p50_ms is not None and result.added_p95_ms is not None:
        lines.append(
            f"Of it from relay to relay over the gateways: median {result.added_p50_ms:.0f} ms, "
            f"95 % below {result.added_p95_ms:.0f} ms."
        )
    counted = [_relay_line(relay) for relay in result.relays if relay.forwarded is not None]
    if counted:
        lines.append("Counted from the first frame on (bitrelay stats counts from the start of a board):")
        lines += counted
    return "\n".join(lines)


def _verdict(result: DemoResult) -> str:
    report = result.report
    if result.passed:
        lowered = f"a TTL lowered by {result.hops}" if result.hops else "a lower TTL"
        return (
            f"{report.delivered} of {report.sent} frames crossed {result.way} exactly once, "
            f"unaltered but for {lowered}."
        )
    faults = [f"{report.sent - report.delivered} of {report.sent} frames did not arrive"]
    faults += [f"{number} {what}" for number, what in (
        (report.duplicates, "arrived more than once"),
        (report.altered, "were altered"),
        (report.unexpected, "were never sent"),
    ) if number]  # fmt: skip
    if not report.ttl_ok:
        faults.append("some had a wrong TTL")
    return "FAILED: " + ", ".join(faults) + "."


def _line_between(picture: Picture, pair: tuple[str, str]) -> Text:
    linked = pair in picture.links
    if pair == picture.internet:
        return Text(" ≈≈≈ " if linked else "  ⋮  ", style="yellow" if linked else "dim")
    return Text("━━━" if linked else " ╌ ", style="green" if linked else "dim")


def _titled(title: str, picture: Picture) -> str:
    return f"{title}, {picture.note}" if picture.note else title


def _relay_line(relay: RelayFigures) -> str:
    dropped = "" if relay.dropped is None else f", {relay.dropped} dropped"
    return f"{relay.name}: {relay.forwarded} frames forwarded{dropped}."
