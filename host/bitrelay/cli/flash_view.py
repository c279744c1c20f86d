"""What is seen while boards are flashed: bars on a terminal, a line per stage elsewhere, nothing for programs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import TaskID

from .bars import bars_on
from .output import Output, printable

if TYPE_CHECKING:
    from ..boards.job import FlashEvent

_WORDS = {
    "connect": "connecting",
    "firmware": "getting MicroPython",
    "read": "reading its files",
    "build": "building its filesystem",
    "erase": "erasing the flash",
    "write": "writing",
    "verify": "comparing",
    "start": "waiting for the relay",
}


class FlashView:
    """Shows events as they come. Used with `with`; results are told by way of `result`, questions within `paused`."""

    def __init__(self, out: Output, several: bool) -> None:
        self._out = out
        self._several = several
        self._stages: dict[str, str] = {}
        self._bars: dict[str, TaskID] = {}
        # In JSON mode there are bars on a terminal's stderr only.
        stream = sys.stderr if out.as_json else sys.stdout
        self._progress = bars_on(stream, "{task.description}", "{task.fields[share]:>4}")

    def __enter__(self) -> "FlashView":
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, event: "FlashEvent") -> None:
        """Show what happens to a board."""
        where = f"{event.port}: " if self._several else ""
        if event.note:
            self._say(where + event.note)
            return
        words = _WORDS.get(event.stage, event.stage)
        if self._progress is not None:
            self._move(event.port, printable(where + words), event.share)
        elif self._stages.get(event.port) != event.stage:
            self._say(where + words)
        self._stages[event.port] = event.stage

    def result(self, port: str, tell: Callable[[], None]) -> None:
        """Tell how a board ended, above what is still going on."""
        if self._progress is not None and port in self._bars:
            self._progress.remove_task(self._bars.pop(port))
        with self.paused():
            tell()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Without bars, for what is printed or asked meanwhile."""
        if self._progress is None:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def _say(self, text: str) -> None:
        if self._out.as_json:
            if self._progress is not None:
                with self.paused():
                    self._out.note(text)
        else:
            with self.paused():
                self._out.line(text)

    def _move(self, port: str, description: str, share: float | None) -> None:
        assert self._progress is not None
        if port not in self._bars:
            self._bars[port] = self._progress.add_task(description, total=1.0, share="")
        self._progress.update(
            self._bars[port],
            description=description,
            total=1.0 if share is not None else None,
            completed=share or 0.0,
            share=f"{share:.0%}" if share is not None else "",
        )
