"""One connection with a peer, from when both ends have agreed to keep it until it has ended."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import BitrelayError, DeviceLost, MessageRefused, NoSession
from .address import Address
from .channel import Channel, Kind
from .event_queue import EventQueue
from .pipe import CLOSE_S, Admission, DatagramPipe
from .transport import Connected, DataReceived, Disconnected, Ended, Statistics

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """When a connection counts as lost. idle_s: nothing was heard, though we listened; alive_s: we say something at
    least so often; stalled_s: the medium took nothing of what we had to say, or a message that has begun to come has
    not come to its end. goodbye_s: for what is said last.
    """

    alive_s: float = 10.0
    idle_s: float = 30.0
    stalled_s: float = 300.0
    goodbye_s: float = CLOSE_S


class Link:
    """Reads what comes into the events, says that we are alive, and ends once.

    on_end: called as soon as it is of no more use, which is before its Disconnected is among the events.
    """

    def __init__(
        self,
        channel: Channel,
        address: Address,
        admission: Admission,
        events: EventQueue,
        statistics: Statistics,
        patience: Patience,
        on_end: Callable[["Link"], None],
    ) -> None:
        self.channel = channel
        self.address = address
        self.told = asyncio.Event()
        """Its Disconnected, if there is to be one, is among the events."""
        self._admission = admission
        self._events = events
        self._statistics = statistics
        self._patience = patience
        self._on_end = on_end
        self._ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._connected_told = False
        self._said = False

    @property
    def peer_id(self) -> bytes:
        return self.channel.peer_id

    @property
    def up(self) -> bool:
        return not self._ended.done()

    async def send(self, data: bytes) -> None:
        """Raises DeviceLost."""
        await self.channel.send(Kind.DATA, data)
        self._said = True
        self._statistics.packets_sent += 1
        self._statistics.bytes_sent += len(data)

    def send_datagram(self, data: bytes) -> None:
        """Raises NoSession when no numbers are left."""
        self.channel.put_datagram(data)
        self._statistics.packets_sent += 1
        self._statistics.bytes_sent += len(data)

    def end(self, reason: Ended) -> None:
        """End it; the first reason counts."""
        if not self._ended.done():
            self._ended.set_result(reason)
            self._on_end(self)

    async def run(self, after: "Link | None") -> None:
        """Its whole life. after: an earlier connection with the same peer, whose end is told first."""
        work = [asyncio.create_task(self._read(after)), asyncio.create_task(self._say_alive())]
        reason = Ended.CLOSED
        try:
            reason = await asyncio.shield(self._ended)
        finally:
            self.end(reason)
            for task in work:
                task.cancel()
            for fault in await asyncio.gather(*work, return_exceptions=True):
                if isinstance(fault, Exception):
                    _log.error("A connection has ended by a fault of bitrelay's own", exc_info=fault)
            if self._connected_told:
                self._events.tell(Disconnected(self.peer_id, reason))
            self.told.set()
            try:
                await self._hang_up(reason)
            finally:
                self.channel.pipe.abort()
                self.channel.forget()
                self._admission.release()

    async def _hang_up(self, reason: Ended) -> None:
        # Where the end is the peer's doing, or it has another connection with us, nobody listens to a goodbye.
        if reason not in (Ended.LOCAL, Ended.CLOSED, Ended.REMOTE):
            return
        try:
            async with asyncio.timeout(self._patience.goodbye_s):
                if reason is not Ended.REMOTE:
                    await self.channel.send(Kind.BYE)
                await self.channel.pipe.close()
        except (BitrelayError, TimeoutError):
            pass

    async def _read(self, after: "Link | None") -> None:
        reason = Ended.MISBEHAVED
        try:
            if after is not None:
                await after.told.wait()
            await self._events.put(Connected(self.peer_id, self.address, not self.channel.initiator))
            self._connected_told = True
            if isinstance(self.channel.pipe, DatagramPipe):
                self.channel.pipe.on_datagram = self._on_datagram
            reason = await self._take_messages()
        except (DeviceLost, TimeoutError):
            reason = Ended.LOST
        except MessageRefused:
            pass
        finally:
            if reason is not Ended.REMOTE and self.up:
                self._statistics.error_count += 1
            self.end(reason)

    async def _take_messages(self) -> Ended:
        while True:
            kind, data = await self._hear()
            if kind == Kind.DATA:
                await self._take(data)
            elif kind == Kind.BYE:
                return Ended.REMOTE
            elif kind != Kind.ALIVE:
                return Ended.MISBEHAVED

    async def _hear(self) -> tuple[int, bytes]:
        # The next message. Raises TimeoutError when the peer has been silent for too long, only while we listen: what
        # waits for our reader is no fault of the peer's.
        loop = asyncio.get_running_loop()
        began, idle_s = loop.time(), self._patience.idle_s
        last = began + idle_s + self._patience.stalled_s
        timer: asyncio.TimerHandle

        def look() -> None:
            nonlocal timer
            due = min(max(began, self.channel.pipe.heard_at) + idle_s, last)
            if due <= loop.time():
                deadline.reschedule(due)
            else:
                timer = loop.call_at(due, look)

        async with asyncio.timeout(None) as deadline:
            timer = loop.call_at(began + idle_s, look)
            try:
                return await self.channel.receive()
            finally:
                timer.cancel()

    async def _take(self, data: bytes) -> None:
        self._statistics.packets_received += 1
        self._statistics.bytes_received += len(data)
        await self._events.put(DataReceived(self.peer_id, data))

    def _on_datagram(self, datagram: bytes) -> None:
        try:
            data = self.channel.open_datagram(datagram)
        except (MessageRefused, NoSession):
            self._statistics.error_count += 1
            return
        if self._events.offer(DataReceived(self.peer_id, data)):
            self._statistics.packets_received += 1
            self._statistics.bytes_received += len(data)

    async def _say_alive(self) -> None:
        while True:
            await asyncio.sleep(self._patience.alive_s)
            if self._said:
                self._said = False
                continue
            try:
                async with asyncio.timeout(self._patience.stalled_s):
                    await self.channel.send(Kind.ALIVE)
            except TimeoutError:
                self._statistics.error_count += 1
                self.end(Ended.TOO_SLOW)
                return
            except DeviceLost:
                # The reader says so when it has read what came before.
                return
