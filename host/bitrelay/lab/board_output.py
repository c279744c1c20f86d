"""What a virtual board printed, and waiting for it."""

import asyncio
import re
from collections.abc import Callable

from bitrelay.errors import DeviceError, DeviceTimeout

from .waiting import News

_MOST_KEPT = 1 << 16
_TAIL = 600


class BoardOutput:
    """The last 64 KiB that the board called `name` printed; total is the number of bytes in its life."""

    def __init__(self, name: str) -> None:
        self.total = 0
        self._name = name
        self._kept = bytearray()
        self._news = News()

    def add(self, data: bytes) -> None:
        """It prints something."""
        self.total += len(data)
        self._kept += data
        del self._kept[:-_MOST_KEPT]
        self._news.tell()

    def kept(self) -> bytes:
        """What is kept."""
        return bytes(self._kept)

    def tail(self) -> str:
        """Its end, for an error message."""
        return self._kept[-_TAIL:].decode("utf-8", "replace").strip()

    async def wait_for(self, pattern: str, timeout: float, start: int, failure: Callable[[], str]) -> re.Match[bytes]:
        """Wait until what was printed from byte `start` of its life on matches a regular expression.

        Raises DeviceTimeout, or DeviceError as soon as failure() says why there will be no more.
        """
        expression = re.compile(pattern.encode())
        try:
            async with asyncio.timeout(timeout):
                while True:
                    gone = self.total - len(self._kept)
                    found = expression.search(self.kept(), max(0, start - gone))
                    if found:
                        return found
                    if why := failure():
                        raise DeviceError(f"{why}; it printed {self.tail()!r}", device=self._name)
                    await self._news.wait()
        except TimeoutError:
            raise DeviceTimeout(
                f"did not print {pattern!r} within {timeout:g} s; its last output was {self.tail()!r}",
                device=self._name,
            ) from None
