"""What is seen while an identity is mined: a bar on a terminal, nothing elsewhere."""

import math
import sys
from types import TracebackType
from typing import TYPE_CHECKING

from .bars import bars_on
from .output import duration

if TYPE_CHECKING:
    from ..identity.mining import MiningProgress


class MiningView:
    """Shows how a search goes on. Used with `with`.

    The bar is how likely it was to have found a solution by now: nobody knows how far it is.
    """

    def __init__(self) -> None:
        # Results alone go to stdout.
        self._progress = bars_on(sys.stderr, "mining {task.fields[bits]}", "{task.fields[state]}")
        if self._progress is not None:
            self._bar = self._progress.add_task("", total=1.0, bits="", state="starting")

    def __enter__(self) -> "MiningView":
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away. Harmless when repeated."""
        if self._progress is not None:
            self._progress.stop()

    def show(self, progress: "MiningProgress") -> None:
        """Show how far it is."""
        if self._progress is None:
            return
        state = f"{progress.rate / 1e6:.2f} MH/s"
        if not math.isinf(progress.expected_s):
            state += f", {duration(math.ceil(progress.expected_s))} on average"
        self._progress.update(
            self._bar, completed=progress.chance, bits=f"{progress.difficulty} bits", state=state
        )  # fmt: skip
