"""`bitrelay flash`: makes a relay out of a board."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadData, NoDevice
from .options import JsonFlag
from .output import Output, reporting
from .passphrase import PassphraseOption, passphrase_source
from .running import run_until_told

if TYPE_CHECKING:
    from ..boards.fleet import Outcome
    from ..boards.job import FlashOptions, FlashResult, Target
    from ..boards.plan import Wishes
    from .flash_view import FlashView


def flash(
    port: Annotated[
        list[str] | None,
        typer.Option(
            "--port",
            "-p",
            help="Serial device, rfc2217://HOST:PORT or name of a virtual board, also several times; "
            "without it, the only board there is.",
            show_default=False,
        ),
    ] = None,
    all_boards: Annotated[bool, typer.Option("--all", help="Every board there is, all at once.")] = False,
    board: Annotated[
        str | None,
        typer.Option("--board", help="What kind of board it is, a name or file.toml; without it, what its chip tells."),
    ] = None,
    firmware: Annotated[
        Path | None,
        typer.Option("--firmware", help="This MicroPython, a .bin file, instead of the one from micropython.org."),
    ] = None,
    erase: Annotated[bool, typer.Option("--erase", help="Erase everything: no settings, identity or file stays.")] = (
        False
    ),
    name: Annotated[str | None, typer.Option("--name", help="How the relay is called.")] = None,
    settings: Annotated[
        Path | None,
        typer.Option("--settings", help="Its settings, a file of `config export` or `backup`."),
    ] = None,
    restore: Annotated[
        Path | None, typer.Option("--restore", help="The settings of this backup; with --identity its identity, too.")
    ] = None,
    identity: Annotated[bool, typer.Option("--identity", help="Also the identity in the backup of --restore.")] = False,
    passphrase_file: PassphraseOption = None,
    baud: Annotated[
        int | None,
        typer.Option(
            "--baud",
            min=9600,
            max=3_000_000,
            help="Highest rate to write at. Default: 921600; lower ones are tried when it fails.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write, and say what that would be.")] = (
        False
    ),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: replace whatever is on the board.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make a relay out of a board, or update one: MicroPython, our program, and the settings and identity it has.

    Succeeds only if the board starts and says itself that it runs what was written.
    """
    with reporting(json) as out:
        ports = port or []
        if all_boards and ports:
            raise typer.BadParameter("--all is every board there is; leave --port out")
        if identity and restore is None:
            raise typer.BadParameter("--identity goes with --restore")
        if restore is not None and settings is not None:
            raise typer.BadParameter("give one of --settings and --restore")
        if passphrase_file is not None and not identity:
            raise typer.BadParameter("--passphrase-file goes with --identity")
        if (all_boards or len(ports) > 1) and (name is not None or identity):
            raise typer.BadParameter("a name and an identity are for one board")
        wishes = _wishes(name, settings, restore, passphrase_source(passphrase_file) if identity else None)
        found = _targets(ports, all_boards, out)
        _flash(
            out, found, _options(board, firmware, wishes, erase, baud, dry_run, not json and not all_boards), yes=yes
        )


def _flash(out: Output, found: "list[Target]", options: "FlashOptions", *, yes: bool) -> None:
    from dataclasses import replace

    from ..boards.fleet import FlashFailure, flash_all
    from .flash_view import FlashView

    several = len(found) > 1
    with FlashView(out, several) as view:
        if options.hands and not yes and not several:
            options = replace(options, confirm=_asker(view))

        def tell(outcome: "Outcome") -> None:
            if not isinstance(outcome, FlashFailure):
                view.result(outcome.port, lambda: _show(out, outcome, several, options.dry_run))
            elif several:
                error = outcome.error
                text = str(error)
                values = {"error": error.what, "device": error.device, "hint": error.hint}
                view.result(outcome.port, lambda: out.failure(text, error.exit_code, values))

        outcomes = run_until_told(flash_all(found, options, view.show, tell))
    failed = [outcome.error for outcome in outcomes if isinstance(outcome, FlashFailure)]
    if failed and not several:
        raise failed[0]
    if failed:
        out.note(f"{len(failed)} of {len(found)} boards failed")
        raise typer.Exit(failed[0].exit_code)


def _options(
    board: str | None,
    firmware: Path | None,
    wishes: "Wishes",
    erase: bool,
    baud: int | None,
    dry_run: bool,
    people: bool,
) -> "FlashOptions":
    from ..boards.catalog import named_board
    from ..boards.job import FlashOptions

    if board is not None:
        named_board(board)  # a name that is wrong is told before any board is touched
    if firmware is not None and not firmware.exists():
        raise BadData(f"{firmware}: no such file")
    hands = people and _is_terminal()
    return FlashOptions(board, firmware, wishes, erase, baud, dry_run, hands)


def _wishes(
    name: str | None, settings: Path | None, restore: Path | None, passphrase: Callable[[], str] | None
) -> "Wishes":
    from ..boards.plan import Wishes

    if name is not None:
        from ..known_settings import find_setting

        find_setting("name").parse(name)
    if restore is not None:
        from ..backup import read_backup

        contents = read_backup(restore, passphrase)
        if passphrase is not None and contents.identity is None:
            raise BadData(f"{restore}: the backup has no identity", hint="Run it without --identity")
        return Wishes(name, contents.settings, contents.identity)
    return Wishes(name, _settings(settings) if settings is not None else None)


def _settings(file: Path) -> bytes:
    # A backup is JSON; its settings are taken as they are.
    from ..backup import read_backup
    from ..settings_file import load_settings_file, to_board_file

    try:
        with file.open("rb") as opened:
            is_backup = opened.read(64).lstrip().startswith(b"{")
    except OSError as error:
        raise BadData(f"{file}: {error.strerror}") from None
    return read_backup(file).settings if is_backup else to_board_file(load_settings_file(file))


def _targets(ports: list[str], all_boards: bool, out: Output) -> "list[Target]":
    from ..boards.targets import demand_access, named_target, no_board, targets, which_board

    if ports:
        named = [named_target(port) for port in ports]
        if len({target.url for target in named}) < len(named):
            raise typer.BadParameter("the same board twice")
        return named
    found = targets()
    if not found:
        raise no_board()
    if len(found) > 1 and not all_boards:
        if out.as_json or not _is_terminal():
            raise which_board(found)
        found = [_chosen(found, out)]
    if not all_boards:
        demand_access(found[0])
    return found


def _chosen(found: "list[Target]", out: Output) -> "Target":
    for number, target in enumerate(found, 1):
        out.line(f"  {number}  {target.port}  {target.what}")
    choice: int = typer.prompt("Which one", type=int)
    if not 1 <= choice <= len(found):
        raise NoDevice(f"there is no board number {choice}", hint=f"Choose from 1 to {len(found)}, or take --all")
    return found[choice - 1]


def _asker(view: "FlashView") -> Callable[[str], Awaitable[bool]]:
    async def ask(question: str) -> bool:
        from .running import read_line

        with view.paused():
            print(f"{question} [y/N] ", end="", flush=True)
            return (await read_line()).strip().lower() in ("y", "yes")

    return ask


def _is_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def _show(out: Output, result: "FlashResult", several: bool, dry_run: bool) -> None:
    if out.as_json:
        out.record(result.as_json())
        return
    if dry_run:
        out.line(f"{result.port}: nothing was written.")
        return
    out.line(
        f"{result.port}: relay {result.identity} runs bitrelay {result.version} (program {result.build}) "
        f"on MicroPython {result.firmware}, {result.chip}, after {result.seconds:.1f} s."
    )
    if not several:
        out.line(f"Next: bitrelay info -p {result.port}    bitrelay config get -p {result.port}")
