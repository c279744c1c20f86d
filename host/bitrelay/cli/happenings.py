"""What happens while a command runs, on its way to whoever reads it, who must not hold up the work."""

import sys
from typing import Final, Generic, TypeVar

from .output import Output

MOST_WAITING: Final = 1024
_LOOK_AGAIN_S: Final = 0.1

Told = TypeVar("Told")


class Happenings(Generic[Told]):
    """A bounded queue of what is to be told; what finds it full is counted, and the reader is told how many."""

    def __init__(self, out: Output) -> None:
        import asyncio

        self._out = out
        self._happened: asyncio.Queue[Told] = asyncio.Queue()
        self._missed = 0

    def tell(self, told: Told) -> None:
        """Something happened."""
        if self._happened.qsize() < MOST_WAITING:
            self._happened.put_nowait(told)
        else:
            self._missed += 1

    async def next(self) -> Told:
        """What happened next, when the output can be written to."""
        if self._missed and self._happened.empty():
            await until_read()
            missed, self._missed = self._missed, 0
            if self._out.as_json:
                self._out.record({"event": "missed", "count": missed})
            else:
                self._out.line(f"{missed} events were not told: nobody read them in time")
        told = await self._happened.get()
        await until_read()
        return told

    def rest(self) -> list[Told]:
        """What was not told."""
        return [self._happened.get_nowait() for _ in range(self._happened.qsize())]


async def until_read() -> None:
    """Wait until standard output can be written to: print would hold up everything while nobody reads."""
    import asyncio
    import select

    while sys.stdout is not None:
        try:
            if select.select([], [sys.stdout.fileno()], [], 0)[1]:
                return
        except (OSError, ValueError):
            return  # it is no file of the system's
        await asyncio.sleep(_LOOK_AGAIN_S)
