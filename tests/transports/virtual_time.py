"""An event loop whose clock jumps: what would wait an hour is over at once, and always in the same order."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from bitrelay.simulator.virtual_time import VirtualTimeLoop

_MOST_S = 100_000.0


class BoundedLoop(VirtualTimeLoop):
    """The simulator's loop, for tests: what would go on for ever fails."""

    def _jump(self, timeout: float | None) -> None:
        super()._jump(timeout)
        assert self._now < _MOST_S, "the test waits for ever"


def virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in such a loop."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=BoundedLoop) as runner:
            runner.run(test(*arguments, **named))

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


async def later(seconds: float) -> None:
    """So much later, in the loop's own time."""
    await asyncio.sleep(seconds)
