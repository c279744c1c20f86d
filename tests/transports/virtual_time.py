"""An event loop whose clock jumps: what would wait an hour is over at once, and always in the same order."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

_MOST_S = 100_000.0


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jump(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds
        assert self._now < _MOST_S, "the test waits for ever"


class _Jump(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits for nothing: when nothing is ready, it is later."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "the test waits for what nobody will do"
            self._loop.jump(max(timeout, 0))
        return ready


def virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in such a loop."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*arguments, **named))

    return run


def now() -> float:
    return asyncio.get_running_loop().time()


async def later(seconds: float) -> None:
    """So much later, in the loop's own time."""
    await asyncio.sleep(seconds)
