"""The command line: `bitrelay COMMAND`. Modules here import nothing heavy at their top, so that --help is quick."""

import os
import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import EXIT_MEANING, ExitCode
from . import (
    backup,
    bench,
    config,
    decode,
    devices,
    flash,
    gateway,
    identity,
    lab,
    nat,
    node,
    relay,
    repl,
    simulate,
    stream,
    sybil,
)

_EPILOG = "Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in EXIT_MEANING.items()) + "."

app = typer.Typer(
    name="bitrelay",
    help="Bluetooth mesh relays on ESP32 boards: flash them, watch them, set them up, and try them without hardware.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("flash")(flash.flash)
app.command("devices")(devices.devices)
app.command("info")(relay.info)
app.command("stats")(relay.stats)
app.command("links")(relay.links)
app.command("listen")(stream.listen)
app.command("send")(relay.send)
app.command("log")(stream.log)
app.command("restart")(relay.restart)
app.command("decode", context_settings={"ignore_unknown_options": True})(decode.decode)
app.add_typer(config.app, name="config")
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("repl")(repl.repl)
identity.app.command("sybil-trial")(sybil.sybil_trial)
app.add_typer(identity.app, name="identity")
app.add_typer(lab.app, name="lab")
node.app.command("nat")(nat.nat)
app.add_typer(node.app, name="node")
app.add_typer(gateway.app, name="gateway")
app.add_typer(bench.app, name="bench")
app.add_typer(simulate.app, name="simulate")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bitrelay {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _tell_usage_error(error: BaseException | None) -> None:
    # The same keys as every failure: who asked for JSON need not read stderr.
    import json

    told = error.format_message() if error is not None and hasattr(error, "format_message") else "wrong usage"
    print(json.dumps({"error": told, "device": None, "hint": "See --help", "exit_code": int(ExitCode.USAGE)}))


def run() -> int:
    """Run the command line of this process; the exit code. Prints one line and no traceback, whatever happens.

    BITRELAY_TRACEBACK=1 in the environment lets a traceback through.
    """
    for stream_ in (sys.stdout, sys.stderr):
        # A name with an emoji must not end the program on a terminal that has none.
        if hasattr(stream_, "reconfigure"):
            stream_.reconfigure(errors="backslashreplace")
    try:
        app()
    except SystemExit as end:
        # What rich and typer make of a closed pipe while they print a help text is status 1.
        if isinstance(end.__context__, BrokenPipeError):
            return ExitCode.OUTPUT_CLOSED
        if isinstance(end.__context__, typer.Abort):  # Ctrl-C at a question
            return ExitCode.INTERRUPTED
        if end.code == ExitCode.USAGE and "--json" in sys.argv:
            _tell_usage_error(end.__context__)
        return end.code if isinstance(end.code, int) else ExitCode.OK
    except Exception as error:
        if os.environ.get("BITRELAY_TRACEBACK"):
            raise
        print(f"bitrelay: a fault in bitrelay: {type(error).__name__}: {error}", file=sys.stderr)
        return ExitCode.INTERNAL
    return ExitCode.OK
