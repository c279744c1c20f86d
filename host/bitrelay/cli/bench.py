"""`bitrelay bench`: measurements."""

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CheckFailed
from .options import JsonFlag
from .output import Output, duration, reporting
from .running import run_until_told

if TYPE_CHECKING:
    from ..bench.dht_claim import ClaimFigures
    from ..bench.dht_contest import Gets

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
