"""`bitrelay bench`: measurements."""

from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CheckFailed
from .options import JsonFlag
from .output import Output, duration, reporting
from .running import run_until_told

if TYPE_CHECKING:
    from ..bench.dht_claim import ClaimFigures
    from ..bench.dht_contest import Gets
    from ..bench.gateway_pairs import PairFigures

app = typer.Typer(help="Measure what bitrelay does, beside others where there are any.", no_args_is_help=True)


@app.callback()
def _bench() -> None:
    pass


@app.command("dht")
def dht(
    nodes: Annotated[
        int | None,
        typer.Option("--nodes", min=2, max=1000, help="How many; 100, or 200 with --claim.", show_default=False),
    ] = None,
    lookups: Annotated[int, typer.Option("--lookups", min=1, max=1_000_000, help="How many of each kind.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of ids, values, and who dies.")] = 1,
    claim: Annotated[
        bool, typer.Option("--claim", help="Try instead what must hold: every node finds every value; 30 % die.")
    ] = False,
    flood: Annotated[
        bool, typer.Option("--flood", help="Measure instead how a known peer is served under 1,000 questions a second.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Measure the DHT beside `kademlia`, on real sockets of this computer: lookups a second, datagrams, 20 % deaths.

    With --claim it ends with exit code 1 if a node missed a value, or more than 1 % of lookups failed after the deaths.
    """
    with reporting(json) as out:
        if flood:
            _flood(out)
        elif claim:
            _claim(out, nodes or 200, lookups, seed)
        else:
            _contest(out, nodes or 100, lookups, seed)


def _contest(out: Output, nodes: int, lookups: int, seed: int) -> None:
    from dataclasses import asdict

    from ..bench.dht_contest import Contest, run_contest

    figures = run_until_told(run_contest(Contest(nodes, nodes, lookups, seed=seed), out.remark))
    if out.as_json:
        for one in figures:
            out.record({"nodes": nodes, "lookups": lookups} | asdict(one))
        return
    columns = ("", "found", "lookups/s", "datagrams each", "median", "95 %", "processor each")
    out.table((f"{nodes} nodes", *columns[1:]), [_row(one.name, one.before) for one in figures])
    out.line("")
    out.table(("20 % of them dead", *columns[1:]), [_row(one.name, one.after) for one in figures])


def _claim(out: Output, nodes: int, lookups: int, seed: int) -> None:
    from dataclasses import asdict

    from ..bench.dht_claim import Claim, run_claim

    figures = run_until_told(run_claim(Claim(nodes, lookups=lookups, seed=seed), out.remark))
    if out.as_json:
        out.record(asdict(figures) | {"holds": figures.holds})
    else:
        _tell_claim(out, figures)
    if not figures.holds:
        raise CheckFailed("the DHT did not find what it must find")


def _flood(out: Output) -> None:
    from dataclasses import asdict

    from ..bench.dht_flood import run_flood

    figures = run_until_told(run_flood(tell=out.remark))
    if out.as_json:
        for one in figures:
            out.record(asdict(one))
        return
    columns = ("flood", "sent/s", "dropped", "known peer asked", "lost", "median", "95 %", "memory grown")
    rows = [
        (
            one.what,
            f"{one.flooded:,.0f}",
            f"{one.dropped:,}",
            str(one.asked),
            str(one.lost),
            f"{one.median_ms:.2f} ms",
            f"{one.p95_ms:.2f} ms",
            f"{one.grown_kib:,} KiB",
        )
        for one in figures
    ]
    out.table(columns, rows)


def _row(name: str, gets: "Gets") -> tuple[str, ...]:
    return (
        name,
        f"{gets.success:.1%}",
        f"{gets.per_second:,.0f}",
        f"{gets.messages:.2f}",
        f"{gets.median_ms:.0f} ms",
        f"{gets.p95_ms:.0f} ms",
        f"{gets.cpu_ms:.2f} ms",
    )


def _tell_claim(out: Output, figures: "ClaimFigures") -> None:
    rows = [
        ("nodes", f"{figures.nodes}, joined in {figures.joined_s:.0f} s"),
        ("every node gets every value", f"{figures.found:.3%} of {figures.pairs:,} gets"),
        ("die", str(figures.died)),
        ("gets right after", f"{figures.after[0]:.2%}"),
        ("after one refresh, after two", ", ".join(f"{rate:.2%}" for rate in figures.after[1:])),
        ("took", duration(figures.seconds)),
    ]
    out.table(("", ""), rows)


@app.command("gateway")
def gateway(
    frames: Annotated[int, typer.Option("--frames", min=10, max=10_000_000, help="How many.")] = 10_000,
    pairs: Annotated[
        bool,
        typer.Option("--pairs", help="Try instead what must hold: two gateways on each of two meshes, all once."),
    ] = False,
    per_mesh: Annotated[int, typer.Option("--per-mesh", min=1, max=4, help="With --pairs: gateways of a mesh.")] = 2,
    rate: Annotated[float, typer.Option("--rate", min=1, max=10_000, help="With --pairs: frames a second.")] = 100.0,
    kill: Annotated[
        bool, typer.Option("--kill", help="With --pairs: one gateway of each mesh ends without a word in the middle.")
    ] = False,
    engine: Annotated[
        str, typer.Option("--engine", help="With --pairs: links or mqtt (starts a Mosquitto).")
    ] = "links",
    json: JsonFlag = False,
) -> None:
    """Measure how many frames a second one gateway carries between two meshes in memory, store and ledger on disk.

    With --pairs it ends with exit code 1 if a frame came twice, went back, or was lost without a gateway being killed.
    """
    with reporting(json) as out:
        if engine not in ("links", "mqtt"):
            raise typer.BadParameter("the engine is links or mqtt")
        if pairs:
            _pairs(out, frames, per_mesh, rate, kill, engine == "mqtt")
        else:
            _rate(out, frames)


def _rate(out: Output, frames: int) -> None:
    from dataclasses import asdict

    from ..bench.gateway_rate import run_rate

    figures = run_until_told(run_rate(frames, out.remark))
    if out.as_json:
        out.record(asdict(figures))
    else:
        early, half, late = figures.resident_kib
        rows = [
            ("frames", f"{figures.frames:,} in {figures.seconds:.1f} s: {figures.per_s:,.0f} a second"),
            ("processor", f"{figures.cpu_us:.0f} us a frame, making and hearing them included"),
            ("memory", f"{early:,} KiB after a tenth, {half:,} after half, {late:,} in the end"),
            ("missing, twice", f"{figures.missing}, {figures.repeated}"),
            ("in the ledger", f"{figures.recorded:,}"),
        ]
        out.table(("", ""), rows)
    if figures.missing or figures.repeated or figures.recorded != figures.frames:
        raise CheckFailed("frames were lost, came twice, or are not in the ledger")


def _pairs(out: Output, frames: int, per_mesh: int, rate: float, kill: bool, with_broker: bool) -> None:
    from dataclasses import asdict

    from ..bench.gateway_pairs import run_pairs, with_mosquitto

    def work() -> "Coroutine[Any, Any, PairFigures]":
        run = partial(run_pairs, frames, per_mesh=per_mesh, per_s=rate, kill=kill, tell=out.remark)
        return with_mosquitto(run) if with_broker else run()

    figures = run_until_told(work())
    if out.as_json:
        out.record(asdict(figures) | {"holds": figures.holds})
    else:
        _tell_pairs(out, figures)
    if not figures.holds:
        raise CheckFailed("not every frame crossed once")


def _tell_pairs(out: Output, figures: "PairFigures") -> None:
    p50, p95, longest = figures.delay_ms
    rows = [
        ("frames", f"{figures.sent:,} at {figures.per_s:,.0f} a second"),
        ("missing, twice, went back", f"{figures.missing}, {figures.repeated}, {figures.circulated}"),
        ("gateways killed", str(figures.killed)),
        ("delay", f"{p50:.1f} ms, 95 % within {p95:.1f} ms, all within {longest:.1f} ms"),
        ("brought by", ", ".join(f"{name} {count:,}" for name, count in sorted(figures.shares.items()))),
        ("carried by another than elected", str(figures.taken_over)),
        ("dropped", ", ".join(f"{reason} {count:,}" for reason, count in sorted(figures.drops.items())) or "none"),
    ]
    out.table(("", ""), rows)
