"""Bars of work that goes on, for terminals alone."""

from typing import TextIO

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .output import PipeConsole


def bars_on(stream: TextIO | None, before: str, behind: str) -> Progress | None:
    """Bars with a text on either side and the time they take, gone at the end; None if `stream` is no terminal."""
    if stream is None or not stream.isatty():
        return None
    return Progress(
        TextColumn(before),
        BarColumn(),
        TextColumn(behind),
        TimeElapsedColumn(),
        console=PipeConsole(file=stream),
        transient=True,
    )
