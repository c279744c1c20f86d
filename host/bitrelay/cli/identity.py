"""`bitrelay identity`: this computer's own identity."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import JsonFlag
from .output import Output, duration, reporting, utc
from .passphrase import PassphraseOption, passphrase_source
from .running import run_until_told

if TYPE_CHECKING:
    from ..identity.generate import IdentityGenerated
    from ..identity.local import LocalIdentity
    from ..identity.mining import SolutionFound
    from ..identity.pending import PendingMining
    from ..identity.refresh import Refreshed
    from .mining_view import MiningView

app = typer.Typer(
    help="This computer's identity: two key pairs, and a proof that making them cost work.", no_args_is_help=True
)

ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Put it in place of the identity there is, which is kept beside it.")
]

WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, max=1024, help="Processes to mine with; without it one per core.", show_default=False
    ),
]

_LOWEST, _LOWEST_IN_DEVELOPMENT, _HIGHEST = 16, 8, 24


@app.command("show")
def show(json: JsonFlag = False) -> None:
    """Show the identity: ids, proof of work, score, and how long it holds. Nothing secret."""
    with reporting(json) as out:
        from ..identity.local import identity_path, load_identity

        path = identity_path()
        _tell(out, load_identity(path), {"file": str(path)})


@app.command("new")
def new(
    difficulty: Annotated[
        int | None,
        typer.Option(
            "--difficulty", min=_LOWEST_IN_DEVELOPMENT, max=_HIGHEST,
            help="Zero bits to mine, 16 to 24: each doubles the work. Without it 16, or 8 with --development.",
            show_default=False,
        ),
    ] = None,
    development: Annotated[
        bool, typer.Option("--development", help="Allow a difficulty of 8 to 15, which nobody else accepts.")
    ] = False,
    replace: ReplaceOption = False,
    workers: WorkersOption = None,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Make an identity, on all cores. Ctrl-C stops it; the same command goes on where it was."""
    with reporting(json) as out:
        lowest = _LOWEST_IN_DEVELOPMENT if development else _LOWEST
        bits = lowest if difficulty is None else difficulty
        if bits < lowest:
            raise typer.BadParameter("a difficulty below 16 goes with --development")
        from ..identity.local import identity_path

        path = identity_path()
        again = "new" + (f" --difficulty {difficulty}" if difficulty is not None else "")
        again += (" --development" if development else "") + (" --replace" if replace else "")
        generated, found = run_until_told(_generate(out, path, bits, replace, workers, again))
        kept = str(generated.kept) if generated.kept else None
        _tell(out, generated.local, {"file": str(path)} | _effort(found) | {"kept": kept})
        if generated.kept:
            out.note(f"the identity there was is now {generated.kept}")


@app.command("refresh")
def refresh(
    force: Annotated[bool, typer.Option("--force", help="Refresh it though it is not due.")] = False,
    workers: WorkersOption = None,
    json: JsonFlag = False,
) -> None:
    """Prove work anew for the identity, as hard as before; keys and ids stay. Due after a day, needed within a week.

    Ctrl-C stops it; the same command goes on where it was.
    """
    with reporting(json) as out:
        import time

        from ..errors import BadData
        from ..identity.local import identity_path, load_identity

        path = identity_path()
        proof = load_identity(path).proof
        if not force and not proof.needs_refresh(int(time.time())):
            due = utc((proof.refresh_at + 1) * 1000)
            raise BadData(f"the identity is not due for a refresh until {due}", hint="--force refreshes it now")
        refreshed = run_until_told(_refresh(out, path, workers, "refresh --force" if force else "refresh"))
        _tell(out, refreshed.local, {"file": str(path)} | _effort(refreshed.found))


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    passphrase_file: PassphraseOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    json: JsonFlag = False,
) -> None:
    """Save the identity for another computer, sealed with a passphrase."""
    with reporting(json) as out:
        from ..identity.local import identity_path, load_identity
        from ..whole_file import demand_absent

        if not force:
            demand_absent(file)
        local = load_identity(identity_path())
        passphrase = passphrase_source(passphrase_file, twice=True)()
        from ..identity.export import export_identity

        export_identity(file, local, passphrase, replace=force)
        if json:
            out.record({"file": str(file), "peer_id": local.proof.peer_id, "on_air_id": local.proof.on_air_id})
        else:
            out.line(f"Saved the identity {local.proof.on_air_id.hex()} in {file}. Without the passphrase it is lost.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `bitrelay identity export` wrote.")],
    passphrase_file: PassphraseOption = None,
    replace: ReplaceOption = False,
    json: JsonFlag = False,
) -> None:
    """Make the identity in a file that of this computer. A file that is not in order changes nothing."""
    with reporting(json) as out:
        from ..identity.export import import_identity
        from ..identity.local import demand_none, identity_path, save_identity

        path = identity_path()
        if not replace:
            demand_none(path)
        local = import_identity(file, passphrase_source(passphrase_file))
        kept = save_identity(path, local, replace=replace)
        _tell(out, local, {"file": str(path), "kept": str(kept) if kept else None})
        if kept:
            out.note(f"the identity there was is now {kept}")


@app.command("bench")
def bench(
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=60, help="How long each measurement takes.")
    ] = 1.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=100, help="How often each is repeated.")] = 3,
    json: JsonFlag = False,
) -> None:
    """Measure mining and checking beside a bare loop of hashes."""
    with reporting(json) as out:
        from dataclasses import asdict

        from ..identity.mining_bench import measure

        out.remark(f"measuring for about {4 * seconds * rounds:.0f} s")
        figures = run_until_told(measure(seconds, rounds))
        if json:
            out.record(asdict(figures))
            return
        out.table(
            ("", ""),
            [
                (f"bare loops on {figures.cores} cores", f"{figures.bare_rate:,.0f} hashes/s"),
                (
                    f"mining on {figures.cores} cores",
                    f"{figures.mining_rate:,.0f} hashes/s, {figures.mining_share:.0%}",
                ),
                ("bare loop on one core", f"{figures.bare_core_rate:,.0f} hashes/s"),
                ("checking on one core", f"{figures.check_rate:,.0f} proofs/s, {figures.check_share:.0%}"),
                ("stopped within", f"{figures.cancel_s * 1000:.1f} ms"),
            ],
        )


async def _generate(
    out: Output, path: Path, difficulty: int, replace: bool, workers: int | None, again: str
) -> "tuple[IdentityGenerated, SolutionFound]":
    from ..identity.generate import generate
    from ..identity.mining import SolutionFound

    found: list[SolutionFound] = []
    with _watched(out, again) as view:
        generated = await generate(
            path,
            difficulty,
            replace_old=replace,
            workers=workers,
            on_resume=lambda pending: _note_resumed(out, pending),
            on_drop=lambda pending: out.note(
                f"dropped unfinished work for {pending.challenge.difficulty} bits, {pending.next_nonce:,} nonces"
            ),
            on_progress=view.show,
            on_event=lambda event: found.append(event) if isinstance(event, SolutionFound) else None,
        )
    return generated, found[0]


async def _refresh(out: Output, path: Path, workers: int | None, again: str) -> "Refreshed":
    from ..identity.refresh import refresh

    with _watched(out, again) as view:
        return await refresh(
            path, workers=workers, on_resume=lambda pending: _note_resumed(out, pending), on_progress=view.show
        )


@contextmanager
def _watched(out: Output, again: str) -> "Iterator[MiningView]":
    # What is seen of a search; if it is stopped, with which command it goes on.
    import asyncio

    from .mining_view import MiningView

    with MiningView() as view:
        try:
            yield view
        except asyncio.CancelledError:
            view.close()
            out.note(f"stopped; `bitrelay identity {again}` goes on where this one was")
            raise


def _note_resumed(out: Output, pending: "PendingMining") -> None:
    out.note(f"going on at nonce {pending.next_nonce:,}")


def _effort(found: "SolutionFound") -> dict[str, Any]:
    return {"solve_time_s": round(found.solve_time_s, 3), "tried": found.tried}


def _tell(out: Output, local: "LocalIdentity", more: dict[str, Any]) -> None:
    import time

    proof = local.proof
    now = int(time.time())
    score = proof.score(now)
    if out.as_json:
        out.record(
            {
                "peer_id": proof.peer_id,
                "on_air_id": proof.on_air_id,
                "signing_key": proof.public_key,
                "noise_key": proof.noise_key,
                "difficulty": proof.difficulty,
                "development": local.for_development,
                "score": round(score, 6),
                "created_at": proof.created_at,
                "age_s": now - proof.created_at,
                "refresh_count": proof.refresh_count,
                "refresh_at": proof.refresh_at,
                "needs_refresh": proof.needs_refresh(now),
                "expires_at": proof.expires_at,
                "expired": proof.expired(now),
            }
            | more
        )
        return
    work = f"{proof.difficulty} bits" + (", for development alone" if local.for_development else "")
    left = proof.expires_at - now
    due = ", is due again: `bitrelay identity refresh`" if proof.needs_refresh(now) else ""
    rows = [
        ("PeerId", proof.peer_id.hex()),
        ("on-air id", proof.on_air_id.hex()),
        ("proof of work", work),
        ("score", f"{score:.3f}"),
        ("proof made", f"{utc(proof.created_at * 1000)}, {duration(max(0, now - proof.created_at))} ago"),
        ("refreshed", f"{proof.refresh_count} time{'s' * (proof.refresh_count != 1)}" + due),
        ("holds", f"until {utc(proof.expires_at * 1000)}, " + (f"{duration(left)} more" if left >= 0 else "expired")),
        ("file", more["file"]),
    ]
    if "tried" in more:
        rows.append(("mined", f"{more['tried']:,} hashes in {more['solve_time_s']:.1f} s"))
    out.table(("", ""), rows)
