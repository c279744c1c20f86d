"""`bitrelay identity sybil-trial`: what the Sybil detector finds, and how often it is wrong."""

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CheckFailed
from .options import JsonFlag
from .output import Output, PipeConsole, duration, reporting

if TYPE_CHECKING:
    from ..defense.sybil_trial import HonestResult, Trial


def sybil_trial(
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same traffic and result.")] = 2,
    runs: Annotated[int, typer.Option("--runs", min=1, max=10_000, help="How often each attack is tried.")] = 20,
    days: Annotated[int, typer.Option("--days", min=1, max=10_000, help="Honest days of each kind.")] = 20,
    json: JsonFlag = False,
) -> None:
    """Try the Sybil detector on made-up attacks and honest days: some minutes. Touches no network and no file.

    Ends with exit code 1 if there are more false alarms than its budget explains.
    """
    with reporting(json) as out:
        trial = _run(seed, runs, days)
        if json:
            from dataclasses import asdict

            told = {"honest_days": trial.honest_days, "false_alarms": trial.false_alarms}
            out.record(asdict(trial) | told | {"within_budget": trial.within_budget})
        else:
            _tell(out, trial)
        if not trial.within_budget:
            raise CheckFailed(
                f"{trial.false_alarms} false alarms on {trial.honest_days} honest days, "
                f"where {trial.budget_per_day:g} a day are allowed"
            )


def _run(seed: int, runs: int, days: int) -> "Trial":
    import sys

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from ..defense.sybil_trial import run_trial, steps

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    shown = sys.stderr is not None and sys.stderr.isatty()
    console = PipeConsole(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        bar = progress.add_task("", total=steps(runs, days))
        return run_trial(seed, runs, days, tell=lambda what: progress.update(bar, advance=1, description=what))


def _tell(out: Output, trial: "Trial") -> None:
    columns = ("days", "alarms", "a day", "why")
    out.table(("honest traffic", *columns), [_honest_row(result) for result in trial.honest])
    out.line(
        f"In all {trial.false_alarms} alarms on {trial.honest_days} days; the budget is {trial.budget_per_day:g} a day."
    )
    out.line("")
    out.table(("honest, but one owner's", *columns), [_honest_row(result) for result in trial.one_owner])
    out.line("")
    rows = [
        (
            result.name,
            str(result.size),
            f"{result.detected:.0%}",
            f"{result.interval[0]:.0%} to {result.interval[1]:.0%}",
            "" if result.median_delay_s is None else duration(result.median_delay_s),
            f"{result.named:.0%}",
            f"{result.wronged:.1f}",
            ", ".join(result.reasons),
        )
        for result in trial.attacks
    ]
    out.table(("attack", "size", "detected", "95 %", "after", "ids named", "honest named", "why"), rows)


def _honest_row(result: "HonestResult") -> tuple[str, ...]:
    why = ", ".join(f"{reason}: {count}" for reason, count in result.reasons.items())
    return result.name, str(result.days), str(result.alarms), f"{result.per_day:.2f}", why
