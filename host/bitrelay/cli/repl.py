"""`bitrelay repl`: MicroPython's prompt on a relay, in mpremote's terminal."""

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer

from ..errors import DeviceError, ExitCode
from ..ports import choose_port
from .options import PortOption
from .output import reporting

Handler = Callable[[int, FrameType | None], None] | signal.Handlers

_ENDS = {signal.SIGHUP: ExitCode.HUNG_UP, signal.SIGTERM: ExitCode.TERMINATED}


def repl(
    port: PortOption = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Leave the relay's program stopped when the prompt is left.")
    ] = False,
) -> None:
    """Stop the relay's program and show MicroPython's prompt; Ctrl-] leaves it and starts the program again."""
    import asyncio

    with reporting(as_json=False) as out:
        if sys.stdin is None or not sys.stdin.isatty():
            raise typer.BadParameter(
                "a prompt needs a terminal; for programs there is `mpremote connect PORT exec CODE`"
            )
        from ..relay_prompt import bring_back, get_prompt

        chosen = choose_port(port)
        try:
            asyncio.run(get_prompt(chosen))
        except KeyboardInterrupt:
            # It may be stopped by now, and nobody else starts it again.
            asyncio.run(bring_back(chosen))
            raise
        then = "leaves it stopped" if stay else "starts it again"
        out.note(f"the relay's program is stopped; Ctrl-] {then}")
        status, ended_by = _show_terminal(chosen)
        if not stay:
            asyncio.run(bring_back(chosen))
        if ended_by is not None:
            raise typer.Exit(_ENDS[ended_by])
        if status:
            raise DeviceError(f"mpremote ended with status {status}", device=chosen)
        out.note(
            "the relay's program stays stopped; Ctrl-D at its prompt starts it" if stay else "the relay runs again"
        )


def _show_terminal(port: str) -> tuple[int, signal.Signals | None]:
    """Run mpremote's terminal until it ends; its status, and the signal that ended it by way of us."""
    import subprocess

    ended_by = None
    process: subprocess.Popen[bytes] | None = None

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ended_by
        ended_by = signal.Signals(number)
        if process is not None:
            process.terminate()

    # Ctrl-C is for the board. mpremote inherits that, so that one before it has the terminal does not end it.
    with _terminal_put_back(), _handling({signal.SIGINT: signal.SIG_IGN, **dict.fromkeys(_ENDS, end)}):
        # -P: a file of the user's called serial.py must not be taken for pyserial.
        process = subprocess.Popen([sys.executable, "-P", "-m", "bitrelay.mpremote_terminal", port])
        if ended_by is not None:
            process.terminate()
        return process.wait(), ended_by


@contextmanager
def _handling(handlers: Mapping[signal.Signals, Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _terminal_put_back() -> Iterator[None]:
    # mpremote does so itself, unless something kills it.
    import termios

    before = termios.tcgetattr(sys.stdin.fileno())
    try:
        yield
    finally:
        try:
            termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, before)
        except termios.error:
            pass  # the terminal was closed
