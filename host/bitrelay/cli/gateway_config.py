"""`bitrelay gateway init`, `check` and `fleet-key`: from nothing to a file that a gateway runs with."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from ..errors import BadData, NoDevice
from ..ports import HOW_TO_GET_ONE, list_devices
from .options import JsonFlag
from .output import printable, reporting
from .running import run_until_told

if TYPE_CHECKING:
    from ..gateway.check import Finding

DEFAULT_FILE: Final = Path("gateway.toml")

_MESH: Final = "What is the mesh called? Relays in reach of one another are one mesh"
_RELAY: Final = "Which relay is its way in? A number or name from the list, a port, or ble://ADDRESS"
_OTHERS: Final = (
    "Where is another gateway? tcp://HOST:PORT; or the name of its mesh, to look for it in the DHT; "
    "or none: it will come to this one"
)
_FIRST: Final = "Which node does the DHT begin with? udp://HOST:PORT, or none: look in the local network"

Value = TypeVar("Value")


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A gateway's configuration.")] = DEFAULT_FILE,
    json: JsonFlag = False,
) -> None:
    """Look for all that would keep a gateway from running: mistakes in the file, relays, ports, keys. Starts nothing.

    Ends with the exit code of the first that is found. Notes are about what is right and may not be meant.
    """
    with reporting(json) as out:
        from ..gateway.check import check as look

        findings = run_until_told(look(file))
        wrong = [finding for finding in findings if finding.exit_code is not None]
        if not json:
            for finding in findings:
                out.line(str(finding))
        if not wrong:
            if json:
                out.record({"file": str(file), "ok": True, "findings": [_as_json(each) for each in findings]})
            else:
                out.line(f"{file} is in order.")
            return
        code = wrong[0].exit_code
        assert code is not None
        told = f"{len(wrong)} thing{'s' * (len(wrong) != 1)} to mend in {file}"
        values = {"file": str(file), "ok": False, "findings": [_as_json(each) for each in findings]}
        out.failure(told, code, {"error": told, "hint": wrong[0].hint} | values)
        raise typer.Exit(code)


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")] = DEFAULT_FILE,
    mesh: Annotated[
        str | None, typer.Option("--mesh", metavar="NAME", help="What the mesh is called.", show_default=False)
    ] = None,
    relay: Annotated[
        str | None,
        typer.Option(
            "--relay", metavar="RELAY", help="A way into it: a name or port that `bitrelay devices` shows, or ble://...",
            show_default=False,
        ),
    ] = None,
    peer: Annotated[
        str | None,
        typer.Option(
            "--peer", metavar="ADDR|MESH",
            help="Where another gateway is: tcp://HOST:PORT; or its mesh, to find it in the DHT; none: it comes here.",
            show_default=False,
        ),
    ] = None,
    bootstrap: Annotated[
        str | None,
        typer.Option(
            "--bootstrap", metavar="ADDR", help="A first node of the DHT, udp://HOST:PORT, or none.",
            show_default=False,
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: a mesh named mesh, the only relay, none, where not given.")
    ] = False,
    json: JsonFlag = False,
) -> None:  # fmt: skip
    """Write a configuration with every key in it, after three questions: which mesh, which relay, who else."""
    with reporting(json) as out:
        from ..gateway.config_init import Answers, first_node, own_name, render, where_others_are
        from ..gateway.config_rules import mesh as mesh_name
        from ..whole_file import write_whole

        if os.path.lexists(file):
            raise BadData(f"{file} exists already, and is left as it is", hint="Give another name, or move it away")
        nobody = yes or json or not _somebody_is_there()
        if not yes and None in (mesh, relay, peer) and nobody:
            raise typer.BadParameter("there is nobody to ask: give --mesh, --relay and --peer, or --yes")
        chosen_mesh = _answer(_MESH, mesh_name, mesh, "mesh", yes)
        chosen_relay = _relay(relay, yes)
        where = _answer(_OTHERS, where_others_are, peer, "none", yes)
        if where.mesh is not None:
            where = replace(where, bootstrap=_answer(_FIRST, first_node, bootstrap, "none", nobody))
        elif bootstrap is not None:
            raise typer.BadParameter("--bootstrap goes with the name of a mesh as --peer")
        answers = Answers(own_name(), chosen_mesh, chosen_relay, where)
        write_whole(file, render(answers).encode())
        if json:
            out.record({"file": str(file), "name": answers.name, "mesh": chosen_mesh, "relay": chosen_relay})
            return
        out.line(f"Wrote {file}, with every key in it. Then:")
        for step in answers.next_steps(str(file)):
            out.line(f"  {step}")


def fleet_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    json: JsonFlag = False,
) -> None:
    """Write a new key for a fleet over a broker: 32 random bytes, in a file that its owner alone can read.

    All gateways of the fleet need the same one.
    """
    with reporting(json) as out:
        import secrets

        from ..gateway.config_rules import KEY_SIZE
        from ..whole_file import write_whole

        if os.path.lexists(file):
            raise BadData(f"{file} exists already, and is left as it is", hint="Give another name, or move it away")
        write_whole(file, secrets.token_hex(KEY_SIZE).encode() + b"\n", private=True)
        if json:
            out.record({"file": str(file)})
        else:
            out.line(f"Wrote {file}. Copy it to every gateway of the fleet over a way that nobody else sees.")


def _somebody_is_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _answer(question: str, read: Callable[[Any], Value], given: str | None, usual: str, yes: bool) -> Value:
    if given is not None or yes:
        try:
            return read(usual if given is None else given)
        except ValueError as error:
            raise typer.BadParameter(_said(error)) from None
    while True:
        typed = typer.prompt(question, default=usual or None, err=True)
        try:
            return read(typed.strip())
        except ValueError as error:
            typer.echo(printable(_said(error)), err=True)


def _relay(given: str | None, yes: bool) -> str:
    from ..gateway.config_rules import relay as relay_address
    from ..toml_source import BadValue

    def read(typed: str) -> str:
        if given is None and typed.isdecimal():
            if not 0 < int(typed) <= len(found):
                raise BadValue(f"there is no number {typed} in the list", "Give one that is, or a name")
            return found[int(typed) - 1]
        relay_address(typed)
        return typed

    # A virtual board's port changes with its lab, its name does not.
    devices = [] if given is not None else list_devices()
    found = [device.name if device.kind == "virtual" else device.port for device in devices]
    if given is None and yes and len(found) != 1:
        some = f"{len(found)} relays found: {', '.join(found)}" if found else "no relay found"
        raise NoDevice(some, hint="Choose one with --relay")
    if given is None and not yes:
        for number, (name, device) in enumerate(zip(found, devices, strict=True), 1):
            typer.echo(printable(f"  {number}  {name}  {device.description}"), err=True)
        if not found:
            typer.echo(f"  No relay found. {HOW_TO_GET_ONE}; or say where it will be.", err=True)
    return _answer(_RELAY, read, given, found[0] if len(found) == 1 else "", yes)


def _said(error: ValueError) -> str:
    from ..toml_source import BadValue

    hint = getattr(error, "hint", None)
    what = str(error) if isinstance(error, BadValue) else f"it must be {error}"
    return f"{what}. {hint}" if hint else what


def _as_json(finding: "Finding") -> dict[str, Any]:
    return {
        "about": finding.about.value,
        "kind": "note" if finding.exit_code is None else "error",
        "line": finding.line,
        "what": finding.what,
        "hint": finding.hint,
        "exit_code": None if finding.exit_code is None else int(finding.exit_code),
    }
