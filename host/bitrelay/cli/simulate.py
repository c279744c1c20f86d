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
    paths: Annotated[
        str, typer.Option("--paths", help="Disjoint paths of each lookup, 1 to 8; or several, as 1,4,8, to compare.")
    ] = "1",
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
    span: Annotated[
        float, typer.Option("--span", min=0, max=86_400, help="Virtual seconds in which the lookups begin.")
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

        several = several_paths(paths)
        plan = Plan(nodes, lookups, adversaries, several, churn, seed, settle, span, Conditions(loss=loss))
        with _progress() as tell:
            figures, cost = run_until_told(study(plan, tell), VirtualTimeLoop)
        if json:
            asked = {"adversaries": adversaries, "churn": churn, "loss": loss, "seed": seed}
            for found in figures:
                out.record({"nodes": nodes, "lookups": lookups} | asked | asdict(found) | asdict(cost))
        else:
            _tell(out, plan, figures, cost)


def several_paths(text: str) -> tuple[int, ...]:
    """The numbers in an option such as 1,4,8. Raises typer.BadParameter."""
    try:
        several = tuple(int(number) for number in text.split(","))
    except ValueError:
        several = ()
    if not several or not all(1 <= number <= 8 for number in several):
        raise typer.BadParameter("1 to 8, or several with commas between", param_hint="--paths")
    return several


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


def _tell(out: Output, plan: "Plan", figures: "list[Figures]", cost: "Cost") -> None:
    rows = [
        ("paths", [str(found.paths) for found in figures]),
        ("lookups that found the nearest honest node", [f"{found.success:.2%}" for found in figures]),
        ("at 95 % at least", [f"{found.success_low:.2%}" for found in figures]),
        ("if any adversary spoiled a path", [f"{found.floor:.2%}" for found in figures]),
        ("gets that found the value", [f"{found.value_success:.2%}" for found in figures]),
        ("hops on average", [f"{found.hops_mean:.2f}" for found in figures]),
        ("hops in 95 % at most", [str(found.hops_p95) for found in figures]),
        ("questions of a lookup", [f"{found.messages_mean:.1f}" for found in figures]),
        ("of these in vain", [f"{found.failures_mean:.1f}" for found in figures]),
        ("time of a lookup", [f"{found.seconds_mean:.2f} s" for found in figures]),
    ]
    out.table(
        ("", *[""] * len(figures)),
        [(name, *values) for name, values in rows if plan.adversaries or "spoil" not in name],
    )
    last = figures[-1]
    out.line(f"Kademlia stays below {last.hops_most:.2f} hops. A table has {last.known_mean:.0f} nodes.")
    out.line(f"{last.died} nodes died in {duration(last.virtual_seconds)} of virtual time, and were replaced.")
    out.line(
        f"It took {duration(cost.seconds)} here, {duration(cost.build_seconds)} of them to build; "
        f"{cost.memory_per_node / 1024:.0f} KiB a node, {cost.cpu_per_lookup * 1000:.1f} ms of processor time a lookup."
    )
