"""`bitrelay gateway ledger`: what a gateway has relayed, summed up, exported, checked and pruned."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BadData
from .options import JsonFlag
from .output import Output, reporting, utc

if TYPE_CHECKING:
    from ..mesh.ledger_report import Report, Sum
    from ..mesh.ledger_verify import Verdict

app = typer.Typer(
    help="The proof-of-relay ledger of a gateway: what it relayed. It counts; it moves no value.", no_args_is_help=True
)

StateOption = Annotated[
    Path | None,
    typer.Option("--state", help="The folder of the gateway. Without it this computer's own.", show_default=False),
]

_KEEP_S = 3600
_LONGEST_S = 1_000_000_000


@app.command("show")
def show(
    last: Annotated[int, typer.Option("--last", min=0, max=1000, help="How many of the newest entries to show.")] = 10,
    state: StateOption = None,
    json: JsonFlag = False,
) -> None:
    """Show what was relayed: sums by mesh and hops, and the newest entries. Checks nothing: see `verify`."""
    with reporting(json) as out:
        from ..mesh.ledger_report import report

        found = report(_ledger(state), last)
        if json:
            from dataclasses import asdict

            out.record(asdict(found))
        else:
            _tell(out, found)


@app.command("export")
def export_(state: StateOption = None, json: JsonFlag = False) -> None:
    """Print all entries and the relayer's seals, a JSON object a line, with --json or without: `verify` takes them."""
    with reporting(json) as out:
        from ..mesh.ledger_export import export

        for record in export(_ledger(state)):
            out.record(record)


@app.command("verify")
def verify(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="An export, or a ledger; without it the gateway's.", show_default=False),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="EARLIER", help="An earlier export that it must go on from.", show_default=False
        ),
    ] = None,
    state: StateOption = None,
    json: JsonFlag = False,
) -> None:
    """Check that a ledger is as its relayer signed it, while the gateway runs or not. Ends with exit code 1 if not.

    That the newest blocks were taken away can be told only --against an earlier export.
    """
    with reporting(json) as out:
        from ..mesh.ledger_verify import verify_file

        earlier = None if against is None else verify_file(against)
        if earlier is not None and earlier.broken is not None:
            raise BadData(f"{against} is broken itself: {earlier.broken.what}")
        verdict = verify_file(_ledger(state) if file is None else file, earlier)
        if json:
            out.record(_verdict(verdict))
        elif verdict.broken is None:
            out.line(_told(verdict))
        if verdict.broken is not None:
            raise verdict.broken
        if earlier is not None and not verdict.compared:
            out.note(f"the entries of {against} have been pruned: whether this one goes on from them cannot be told")


@app.command("prune")
def prune(
    keep: Annotated[
        int, typer.Option("--keep", min=0, max=_LONGEST_S, help="Seconds for which entries are kept.")
    ] = _KEEP_S,
    state: StateOption = None,
    json: JsonFlag = False,
) -> None:
    """Let go of entries older than an hour, or --keep, in whole blocks. The chain goes on from the last of them."""
    with reporting(json) as out:
        from time import time

        from ..mesh.relay_ledger import prune as let_go

        pruned = let_go(_ledger(state), keep, time)
        if json:
            out.record({"pruned": pruned})
        else:
            out.line(f"{pruned} entries are gone.")


def _ledger(state: Path | None) -> Path:
    from ..identity.private_file import data_home

    path = (data_home() / "gateway" if state is None else state) / "ledger.sqlite"
    if not path.exists():
        raise BadData(f"there is no ledger {path}", hint="`bitrelay gateway run` begins it; --state says where it is")
    return path


def _tell(out: Output, found: "Report") -> None:
    period = f"{utc(found.since_ms)} to {utc(found.until_ms)}" if found.entries else "none yet"
    out.table(
        ("", ""),
        [
            ("relayer", found.relayer.hex()),
            ("begun", utc(found.begun_ms) or "unknown"),
            ("entries", f"{found.entries}, numbers {found.pruned + 1} to {found.last}" if found.entries else "0"),
            ("from", period),
            ("fees", str(found.fees)),
            ("claimed", f"up to number {found.claimed}" if found.claimed else "none"),
        ],
    )
    if not found.entries:
        return
    for title, sums in (("to mesh", found.by_target), ("from mesh", found.by_origin), ("hops", found.by_hops)):
        out.line("")
        out.table((title, "entries", "fees"), [_sum_row(each) for each in sums])
    if found.newest:
        out.line("")
        out.table(
            ("number", "time", "from mesh", "to mesh", "author", "recipient", "hops", "fee", "packet"),
            [_entry_row(entry) for entry in found.newest],
        )


def _sum_row(each: "Sum") -> tuple[str, str, str]:
    return each.of, str(each.entries), str(each.fees)


def _entry_row(entry: dict[str, Any]) -> tuple[str, ...]:
    recipient = entry["destination"]
    return (
        str(entry["number"]),
        utc(entry["time_ms"]) or "",
        entry["origin"],
        entry["target"],
        entry["source"].hex(),
        recipient.hex() if any(recipient) else "everybody",
        str(entry["hops"]),
        str(entry["fee"]),
        entry["packet_hash"].hex()[:16],
    )


def _verdict(verdict: "Verdict") -> dict[str, Any]:
    broken = verdict.broken
    return {
        "intact": broken is None,
        "why": broken.what if broken else None,
        "broken_at": broken.number if broken else None,
        "relayer": verdict.relayer,
        "begun_ms": verdict.begun_ms,
        "pruned": verdict.pruned,
        "last": verdict.last,
        "entries": verdict.entries,
        "fees": verdict.fees,
        "claimed": verdict.claimed,
        "compared": verdict.compared,
    }


def _told(verdict: "Verdict") -> str:
    relayer = verdict.relayer.hex() if verdict.relayer else ""
    if not verdict.entries:
        return f"In order, and without entries. Relayer {relayer}."
    numbers = f"{verdict.pruned + 1} to {verdict.last}"
    return f"{verdict.entries} entries, {numbers}, are as {relayer} signed them; their fees are {verdict.fees}."
