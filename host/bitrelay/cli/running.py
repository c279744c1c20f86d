"""Runs what may take long, so that Ctrl-C and an end asked for by others let it clean up, once."""

import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from ..errors import ExitCode

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

Result = TypeVar("Result")


def run_until_told(
    work: Coroutine[Any, Any, Result], loop_factory: "Callable[[], AbstractEventLoop] | None" = None
) -> Result:
    """Run the work and return its result; SIGINT, SIGTERM and SIGHUP cancel it. Exits with INTERRUPTED if one did.

    loop_factory: makes the event loop to run it in, if it is not to be an ordinary one.
    An impatient second Ctrl-C changes nothing: it must not leave half of the work behind.
    """
    import asyncio

    async def main() -> Result:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, _once(task.cancel))
        return await work

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main())
    except asyncio.CancelledError:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


async def read_line() -> str:
    """A line that is typed on standard input, without its end; empty at the end of the input."""
    import asyncio

    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str] = loop.create_future()
    number = sys.stdin.fileno()

    def take() -> None:
        if not typed.done():
            typed.set_result(os.read(number, 4096).decode(errors="replace").rstrip("\r\n"))

    loop.add_reader(number, take)
    try:
        return await typed
    finally:
        loop.remove_reader(number)


def _once(action: Callable[[], object]) -> Callable[[], None]:
    done = False

    def act() -> None:
        nonlocal done
        if not done:
            done = True
            action()

    return act
