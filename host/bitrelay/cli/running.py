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
    work: Coroutine[Any, Any, Result],
    loop_factory: "Callable[[], AbstractEventLoop] | None" = None,
    *,
    as_service: bool = False,
) -> Result:
    """Run the work and return its result; SIGINT, SIGTERM and SIGHUP cancel it. Exits with INTERRUPTED if one did.

    loop_factory: makes the event loop to run it in, if it is not to be an ordinary one. as_service: to be ended by
    SIGTERM is how it ends well, with exit code 0.
    An impatient second Ctrl-C changes nothing: it must not leave half of the work behind.
    """
    try:
        return _run(work, loop_factory, as_service)
    finally:
        # An early Ctrl-C may come before it has begun.
        work.close()


def _run(
    work: Coroutine[Any, Any, Result], loop_factory: "Callable[[], AbstractEventLoop] | None", as_service: bool
) -> Result:
    import asyncio

    ended_by: list[signal.Signals] = []

    async def main() -> Result:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def end(number: signal.Signals) -> None:
            if not ended_by:
                task.cancel()
            ended_by.append(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end, number)
        return await work

    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(main())
    except asyncio.CancelledError:
        is_well = as_service and ended_by[:1] == [signal.SIGTERM]
        raise typer.Exit(ExitCode.OK if is_well else ExitCode.INTERRUPTED) from None


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
