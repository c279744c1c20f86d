"""One relay of a gateway: opened, opened again whenever it is there, and asked how full it is."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from ..errors import BitrelayError, DeviceLost, DeviceTimeout, TransportClosed
from ..transports.relay_port import RelayLoad, RelayPort
from .relay_pressure import pressure

_log = logging.getLogger(__name__)

LEAST_WAIT_S: Final = 0.5
MOST_WAIT_S: Final = 10.0
"""Between two tries to open a relay."""
ASK_S: Final = 1.0
SEND_TIMEOUT_S: Final = 3.0

_SETTLED_S: Final = 10.0  # a relay that was up for so long may be tried soon again
_MOST_SILENT: Final = 3  # questions in a row without an answer
_AHEAD: Final = 16  # more waits in the port, where the oldest goes


class RelayLink(ABC):
    """A way into a mesh that outlives its relay. on_change: called when it comes and goes; must not raise."""

    name: str
    """As the configuration has it."""
    on_change: Callable[[], None] = staticmethod(lambda: None)

    @property
    @abstractmethod
    def is_up(self) -> bool: ...

    @property
    @abstractmethod
    def trouble(self) -> str | None:
        """Why it is not up, in words."""

    @property
    @abstractmethod
    def pressure(self) -> float:
        """How full the relay is, 0 to 1, as it said last (see Bridge.relay_pressure)."""

    @property
    def missed(self) -> int:
        """Frames that the relay heard and that did not come to us, for they were too many."""
        return 0

    @abstractmethod
    async def send(self, frame: bytes) -> None:
        """Raises a BitrelayError if the relay does not take it."""

    @abstractmethod
    async def receive(self) -> bytes:
        """The next frame that the relay heard; waits while it is away. Raises TransportClosed after close()."""

    @abstractmethod
    async def close(self) -> None: ...


class PortLink(RelayLink):
    """A relay on a port, or in reach of Bluetooth. It is opened from start() on, again and again.

    opened: opens the relay's port, and closes it in the end; when it raises a BitrelayError, it is tried again.
    """

    def __init__(self, name: str, opened: Callable[[], AbstractAsyncContextManager[RelayPort]]) -> None:
        self.name = name
        self._opened = opened
        self._port: RelayPort | None = None
        self._trouble: str | None = None
        self._pressure = 0.0
        self._send_s = 0.0
        self._sends = 0
        self._missed = 0
        self._lost = asyncio.Event()
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._closed = False
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        if self._keeping is None and not self._closed:
            self._keeping = asyncio.get_running_loop().create_task(self._keep())

    @property
    def is_up(self) -> bool:
        return self._port is not None

    @property
    def trouble(self) -> str | None:
        return self._trouble

    @property
    def pressure(self) -> float:
        return self._pressure

    @property
    def missed(self) -> int:
        return self._missed + (self._port.dropped if self._port is not None else 0)

    async def send(self, frame: bytes) -> None:
        port = self._port
        if port is None:
            why = self._trouble or "it has not been opened yet"
            raise DeviceLost(f"the relay is not there ({why})", device=self.name)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await port.send(frame)
        except DeviceLost:
            self._lost.set()
            raise
        except TimeoutError as error:
            if isinstance(error, BitrelayError):
                raise
            raise DeviceTimeout("the relay does not take what is sent", device=self.name) from None
        finally:
            self._send_s += loop.time() - begun
            self._sends += 1

    async def receive(self) -> bytes:
        frame = None if self._closed and self._frames.empty() else await self._frames.get()
        if frame is None:
            raise TransportClosed("the gateway lets go of its relays", device=self.name)
        return frame

    async def close(self) -> None:
        """Let go of it. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(None)  # for who waits

    async def _keep(self) -> None:
        wait_s = LEAST_WAIT_S
        loop = asyncio.get_running_loop()
        while True:
            up_at = None
            try:
                async with self._opened() as port:
                    up_at = loop.time()
                    await self._serve(port)
            except BitrelayError as error:
                self._down(str(error))
            except Exception as error:
                # A fault of ours, or of a library's, with one relay must not end it for good.
                _log.exception("A relay failed, by a fault of bitrelay's own")
                self._down(f"{type(error).__name__}: {error}")
            finally:
                if self._port is not None:
                    self._down("it was let go of")
            if up_at is not None and loop.time() - up_at >= _SETTLED_S:
                wait_s = LEAST_WAIT_S
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, MOST_WAIT_S)

    async def _serve(self, port: RelayPort) -> None:
        # Until it goes.
        self._lost.clear()
        self._port, self._trouble = port, None
        self.on_change()
        work = [asyncio.ensure_future(each) for each in (self._read(port), self._ask(port), self._lost.wait())]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in work:
                each.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        for each in done:
            each.result()
        raise DeviceLost("the relay has gone", device=self.name)

    async def _read(self, port: RelayPort) -> None:
        while True:
            await self._frames.put(await port.receive())

    async def _ask(self, port: RelayPort) -> None:
        before: RelayLoad | None = None
        silent = 0
        while True:
            await asyncio.sleep(ASK_S)
            try:
                load = await port.load()
                silent = 0
            except DeviceTimeout:
                # It may be busy with other things. What has hung for good is opened anew.
                load = None
                silent += 1
                if silent == _MOST_SILENT:
                    raise
            mean_s = self._send_s / self._sends if self._sends else 0.0
            self._send_s, self._sends = 0.0, 0
            self._pressure = 1.0 if silent else pressure(before, load, mean_s)
            if before is not None and load is not None:
                self._missed += max(0, load.untold - before.untold)  # less: it has restarted
            before = load or before

    def _down(self, why: str) -> None:
        told_before, self._trouble = self._trouble, why
        was_up = self._port is not None
        if self._port is not None:
            self._missed += self._port.dropped
        self._port, self._pressure = None, 0.0
        if not self._closed and (was_up or told_before != why):
            self.on_change()
