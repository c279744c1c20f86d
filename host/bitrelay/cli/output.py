"""How commands speak: JSON lines for programs, tables for people, one line on stderr when something failed."""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

from ..errors import BitrelayError, ExitCode, OutputClosed

Values = dict[str, Any]


class PipeConsole(Console):
    """rich's console for output that may be a pipe: raises BrokenPipeError when the reader has gone, as print does.

    rich itself ends the process with status 1, which here says that a check failed.
    """

    def on_broken_pipe(self) -> None:
        """Let the error that is being handled go on to `reporting`, which knows its exit code."""
        raise


class Output:
    """Where a command's results go: as JSON if as_json, else as text. Raises OutputClosed when the reader has gone."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def record(self, values: Any) -> None:
        """Write one JSON document on one line."""
        self._write(json.dumps(plain(values)))

    def line(self, text: str) -> None:
        """Write one line of text; control characters, which may come from strangers over the air, are shown escaped."""
        self._write(printable(text))

    def note(self, text: str) -> None:
        """Write one line beside the results, to stderr."""
        if sys.stderr is not None:
            print(printable(f"bitrelay: {text}"), file=sys.stderr)

    def remark(self, text: str) -> None:
        """Write a note that only somebody who looks on wants: nothing unless stderr is a terminal."""
        if sys.stderr is not None and sys.stderr.isatty():
            self.note(text)

    def failure(self, told: str, code: ExitCode, values: Values) -> None:
        """Write a note of what failed and, if as_json, an object with the keys that every failure has.

        values: `error`, and of `device`, `hint` and others what is known.
        """
        self.note(told)
        if self.as_json:
            self.record({"error": None, "device": None, "hint": None, "exit_code": int(code)} | values)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
        """Write a table with a heading for each column; columns may be empty strings for a list of names and values."""
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False, show_header=any(columns))
        for row in rows:
            table.add_row(*[Text(printable(cell)) for cell in row])
        # A pipe has no width: what is cut there is lost.
        console = PipeConsole(width=None if sys.stdout is not None and sys.stdout.isatty() else 200)
        with console.capture() as capture:
            console.print(table)
        self._write("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))

    def _write(self, text: str) -> None:
        if sys.stdout is None:  # started with its output closed
            return
        try:
            print(text, flush=True)
        except BrokenPipeError:
            raise OutputClosed("the reader of the output has gone") from None


@contextmanager
def reporting(as_json: bool) -> Iterator[Output]:
    """Run a command's body; what it raises becomes a line on stderr (if as_json, on stdout too) and an exit code."""
    out = Output(as_json)
    try:
        yield out
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except OutputClosed as error:
        _drop_stdout()
        raise typer.Exit(error.exit_code) from None
    except BitrelayError as error:
        _fail(out, error.what, error.device, error.hint, error.exit_code)
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        _drop_stdout()
        raise typer.Exit(ExitCode.OUTPUT_CLOSED) from None
    except OSError as error:
        what = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        _fail(out, what, None, None, ExitCode.IO_ERROR)
        raise typer.Exit(ExitCode.IO_ERROR) from None
    except Exception as error:
        if os.environ.get("BITRELAY_TRACEBACK"):
            raise
        what = f"a fault in bitrelay: {type(error).__name__}: {error}".rstrip(".")
        _fail(out, what, None, "Run it again with BITRELAY_TRACEBACK=1 and report what it prints", ExitCode.INTERNAL)
        raise typer.Exit(ExitCode.INTERNAL) from None


def plain(value: Any) -> Any:
    """The value as JSON can carry it: bytes as lowercase hex."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def printable(text: str) -> str:
    """The text with everything a terminal would act on escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 5 s, 2 h 4 min, 3 d 1 h."""
    whole = int(seconds)
    for size, unit, below, below_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {below_unit}"
    return f"{whole} s"


def utc(time_ms: int) -> str | None:
    """Unix milliseconds as a date and time; None for what no clock of today shows (0, or from 2109 on)."""
    if not 0 < time_ms < 1 << 42:
        return None
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time_ms / 1000))


def _fail(out: Output, what: str, device: str | None, hint: str | None, code: ExitCode) -> None:
    where = f"{device}: " if device else ""
    then = f". {hint}" if hint else ""
    try:
        out.failure(f"{where}{what}{then}", code, {"error": what, "device": device, "hint": hint})
    except OSError:
        pass  # the output is what failed


def _drop_stdout() -> None:
    # Else the interpreter tries to flush into the closed pipe once more as it ends, and complains.
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
