"""`bitrelay simulate`: networks of many nodes in this process, in virtual time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .options import JsonFlag
from .output import Output, PipeConsole, duration, reporting
from .running import run_until_told

if TYPE_CHECKING:
    from ..simulator.dht_population import Telling
    from ..simulator.dht_study import Cost, Figures, Plan

app = typer.Typer(help="Run networks of many nodes in this process, in virtual time.", no_args_is_help=True)


@app.callback()
def _simulate() -> None:
    pass


@app.command("dht")
def dht(
    nodes: Annotated[int, typer.Option("--nodes", min=2, max=100_000, help="How many nodes.")] = 1000,
    lookups: Annotated[int, typer.Option("--lookups", min=1, max=1_000_000, help="How many lookups.")] = 1000,
    adversaries: Annotated[
        float, typer.Option("--adversaries", min=0, max=0.9, help="Part of the nodes that answer with one another.")
    ] = 0.0,
    paths: Annotated[int, typer.Option("--paths", min=1, max=8, help="Disjoint paths of each lookup.")] = 1,
    churn: Annotated[
        float,
        typer.Option(
            "--churn",
            min=0,
            max=60,
            help="Sessions per node and hour: 1.0 is a median session of one hour (exponential). "
            "Who dies is replaced by a new node.",
        ),
    ] = 0.0,
    loss: Annotated[float, typer.Option("--loss", min=0, max=0.5, help="Part of the datagrams that is lost.")] = 0.0,
    settle: Annotated[
        float, typer.Option("--settle", min=0, max=86_400, help="Virtual seconds before the first lookup.")
    ] = 900.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same figures.")] = 1,
    json: JsonFlag = False,
) -> None:
    """Let that many DHT nodes join and look up, and tell how well it went. Touches no network and no file."""
    with reporting(json) as out:
        from dataclasses import asdict

        from ..simulator.dht_network import Conditions
        from ..simulator.dht_study import Plan, study
        from ..simulator.virtual_time import VirtualTimeLoop

        plan = Plan(nodes, lookups, adversaries, paths, churn, seed, settle, conditions=Conditions(loss=loss))
        with _progress() as tell:
            figures, cost = run_until_told(study(plan, tell), VirtualTimeLoop)
        if json:
            asked = {"adversaries": adversaries, "paths": paths, "churn": churn, "loss": loss, "seed": seed}
            out.record({"nodes": nodes, "lookups": lookups} | asked | asdict(figures) | asdict(cost))
        else:
            _tell(out, plan, figures, cost)


@contextmanager
def _progress() -> "Iterator[Telling]":
    import sys

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    shown = sys.stderr is not None and sys.stderr.isatty()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    console = PipeConsole(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        bars: dict[str, object] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done + 1)  # type: ignore[arg-type]

        yield tell


def _tell(out: Output, plan: "Plan", figures: "Figures", cost: "Cost") -> None:
    interval = f"at least {figures.success_low:.2%} at 95 %"
    rows = [
        ("lookups that found the nearest honest node", f"{figures.success:.2%} ({interval})"),
        ("gets that found the value", f"{figures.value_success:.2%}"),
        ("hops", f"{figures.hops_mean:.2f} on average, {figures.hops_p95} in 95 % (bound {figures.hops_most:.2f})"),
        ("questions of a lookup", f"{figures.messages_mean:.1f}, {figures.failures_mean:.1f} of them in vain"),
        ("time of a lookup", f"{figures.seconds_mean:.2f} s"),
        ("nodes in a table", f"{figures.known_mean:.0f}"),
        ("nodes that died and were replaced", str(figures.died)),
        ("virtual time", duration(figures.virtual_seconds)),
        ("took here", f"{duration(cost.seconds)}, of which {duration(cost.build_seconds)} to build"),
        ("memory", f"{cost.memory_per_node / 1024:.0f} KiB a node"),
        ("processor time of a lookup", f"{cost.cpu_per_lookup * 1000:.1f} ms"),
    ]
    if plan.adversaries:
        rows.insert(1, ("where any adversary spoils a path", f"{figures.floor:.2%}"))
    out.table(("", ""), rows)
