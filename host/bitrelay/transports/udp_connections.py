"""The pipes of one UDP socket, by address and connection id (what goes over it is in `udp_wire`)."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable

from ..errors import DeviceLost, LimitReached, MessageFault, MessageRefused, Unreachable
from .address import Address, Udp
from .arq import Arq, ArqSettings, ArqState
from .pipe import CLOSE_S, Admission, Arrivals, DatagramPipe
from .udp_wire import (
    ACCEPT,
    CONNECT,
    COOKIE,
    COOKIE_SIZE,
    DATAGRAM,
    HEADER_SIZE,
    ID_SIZE,
    MAX_BODY,
    OPEN,
    RESET,
    SEGMENT,
    Cookies,
    Place,
    header,
    opening,
)


class UdpPipe(DatagramPipe):
    """A pipe over an endpoint's socket, to one place."""

    max_datagram = MAX_BODY

    def __init__(
        self,
        remote: Address,
        endpoint: "UdpConnections",
        place: Place,
        connection: bytes,
        settings: ArqSettings,
        admission: Admission | None = None,
    ) -> None:
        super().__init__(remote)
        self.place = place
        self.connection = connection
        self.admission = admission
        self.opened: asyncio.Future[None] | None = None
        """Of one that we dial: there when the listener has accepted; fails if it refuses."""
        self.cookie: bytes | None = None
        self._loop = asyncio.get_running_loop()
        self.arq = Arq(self._loop.time(), settings, header(SEGMENT, connection))
        self._endpoint = endpoint
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._pumping: asyncio.Handle | None = None
        self._closing = False
        self._gone = False

    @property
    def heard_at(self) -> float:
        return self.arq.heard_at

    async def room(self) -> None:
        while not self.arq.has_room and not self._dead:
            await self._change()
        if self._dead or self._closing:
            raise self._lost()

    def put(self, message: bytes) -> None:
        if not self._dead and not self._closing:
            self.arq.put(message)
            self._pump_soon()

    async def receive(self, limit: int) -> bytes:
        while (message := self.arq.receive()) is None:
            if self._dead or self.arq.state is not ArqState.OPEN:
                if self.arq.state is ArqState.BROKEN:
                    raise MessageRefused(MessageFault.TOO_LONG)
                raise self._lost()
            await self._change()
        self._pump_soon()
        if len(message) > limit:
            raise MessageRefused(MessageFault.TOO_LONG)
        return message

    def put_datagram(self, datagram: bytes) -> None:
        if not self._dead:
            self._endpoint.send(header(DATAGRAM, self.connection) + datagram, self.place)

    async def close(self) -> None:
        self._closing = True
        try:
            async with asyncio.timeout(CLOSE_S):
                if not self._dead:
                    self.arq.finish()
                    self._pump_soon()
                while not self.arq.flushed and not self._dead:
                    await self._change()
        except TimeoutError:
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        if not self._gone and not (self.arq.flushed and self.arq.state is ArqState.ENDED):
            self._endpoint.send(header(RESET, self.connection), self.place)
        self._endpoint.forget(self)
        self.vanish()

    def vanish(self) -> None:
        """It is of no more use; the far end has said so, or hears of it otherwise. What came can still be received."""
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
        if self._pumping is not None:
            self._pumping.cancel()
        self._changed.set()

    def pump(self) -> None:
        """Send what is to be sent now, wake who waits, and look again when it is time."""
        self._pumping = None
        if self._gone:
            return
        now = self._loop.time()
        for datagram in self.arq.poll(now):
            self._endpoint.send(datagram, self.place)
        self._changed.set()
        deadline = self.arq.deadline()
        if self._timer is not None and (deadline is None or not now < self._timer.when() <= deadline):
            self._timer.cancel()
            self._timer = None
        if deadline is not None and self._timer is None:
            self._timer = self._loop.call_at(deadline, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.pump()

    def _pump_soon(self) -> None:
        if self._pumping is None and not self._gone:
            self._pumping = self._loop.call_soon(self.pump)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    @property
    def _dead(self) -> bool:
        return self._gone or self.arq.state in (ArqState.LOST, ArqState.BROKEN)

    def _lost(self) -> DeviceLost:
        return DeviceLost("the connection broke", device=str(self.remote))


class UdpConnections:
    """The connections of one socket, by address and id.

    At most `most`: a dialler beyond that gets no answer. dropped: datagrams that were not taken, by reason.
    """

    def __init__(
        self,
        settings: ArqSettings,
        dropped: Counter[str],
        arrivals: Arrivals | None,
        most: int = 4096,
        *,
        address_of: Callable[[Place], Address] = lambda place: Udp(place[0], place[1]),
        cookies: Cookies | None = None,
    ) -> None:
        """arrivals: who takes what is dialled to it; None where nothing is. address_of: who is at a place."""
        self.pipes: dict[tuple[Place, bytes], UdpPipe] = {}
        self.dropped = dropped
        self.send: Callable[[bytes, Place], None] = _nowhere
        """Set to the socket's."""
        self._settings = settings
        self.arrivals = arrivals
        self._most = most
        self._address_of = address_of
        self._cookies = cookies or Cookies()
        self._to_pump: dict[UdpPipe, None] = {}
        self._loop = asyncio.get_running_loop()

    async def open(self, address: Address, place: Place) -> UdpPipe:
        """Dial, until the caller's deadline. Raises Unreachable."""
        connection = os.urandom(ID_SIZE)
        pipe = UdpPipe(address, self, place, connection, self._settings)
        pipe.opened = self._loop.create_future()
        self.pipes[(place, connection)] = pipe
        try:
            await self._dial(pipe, pipe.opened)
        except BaseException:
            pipe.abort()
            raise
        return pipe

    async def _dial(self, pipe: UdpPipe, opened: "asyncio.Future[None]") -> None:
        wait = self._settings.initial_timeout_s / 4
        while not opened.done():
            if pipe.cookie is None:
                self.send(opening(pipe.connection), pipe.place)
            else:
                self.send(header(CONNECT, pipe.connection) + pipe.cookie, pipe.place)
            await asyncio.wait((opened,), timeout=wait)
            wait = min(wait * 2, 4 * self._settings.initial_timeout_s)
        opened.result()

    def forget(self, pipe: UdpPipe) -> None:
        self.pipes.pop((pipe.place, pipe.connection), None)

    def on_batch_end(self) -> None:
        """All datagrams that were there have been taken."""
        pipes, self._to_pump = self._to_pump, {}
        for pipe in pipes:
            pipe.pump()

    def on_datagram(self, data: bytes, place: Place) -> None:
        """A datagram came. Raises for no bytes whatever."""
        if not HEADER_SIZE <= len(data) <= HEADER_SIZE + MAX_BODY:
            self.dropped["malformed"] += 1
            return
        kind, connection = data[0], data[1:HEADER_SIZE]
        pipe = self.pipes.get((place, connection))
        if kind == SEGMENT:
            if pipe is None:
                self.dropped["no connection"] += 1
                self.send(header(RESET, connection), place)
            elif self._accepted(pipe):
                pipe.arq.on_datagram(data[HEADER_SIZE:], self._loop.time())
                self._to_pump[pipe] = None
        elif kind == DATAGRAM and pipe is not None:
            if pipe.on_datagram is not None:
                pipe.on_datagram(data[HEADER_SIZE:])
        elif kind == RESET and pipe is not None:
            self._on_reset(pipe)
        elif kind == COOKIE and pipe is not None and len(data) == HEADER_SIZE + COOKIE_SIZE:
            self._on_cookie(pipe, data[HEADER_SIZE:])
        elif kind == ACCEPT and pipe is not None:
            self._accepted(pipe)
        elif kind == OPEN and self.arrivals is not None and len(data) >= HEADER_SIZE + COOKIE_SIZE:
            cookie = self._cookies.make(place, connection, self._loop.time())
            self.send(header(COOKIE, connection) + cookie, place)
        elif kind == CONNECT and self.arrivals is not None and len(data) == HEADER_SIZE + COOKIE_SIZE:
            self._on_connect(place, connection, data[HEADER_SIZE:], pipe)
        else:
            self.dropped["malformed"] += 1

    def _accepted(self, pipe: UdpPipe) -> bool:
        # Whether it is open: whoever sends on it has accepted it, even if that datagram was lost.
        if pipe.opened is None or pipe.opened.done():
            return True
        if pipe.cookie is None:
            return False
        pipe.opened.set_result(None)
        return True

    def _on_cookie(self, pipe: UdpPipe, cookie: bytes) -> None:
        if pipe.opened is not None and not pipe.opened.done() and pipe.cookie is None:
            pipe.cookie = cookie
            self.send(header(CONNECT, pipe.connection) + cookie, pipe.place)

    def _on_reset(self, pipe: UdpPipe) -> None:
        if pipe.opened is not None and not pipe.opened.done():
            pipe.opened.set_exception(Unreachable("the connection was refused", device=str(pipe.remote)))
        self.forget(pipe)
        pipe.vanish()

    def _on_connect(self, place: Place, connection: bytes, cookie: bytes, pipe: UdpPipe | None) -> None:
        assert self.arrivals is not None
        if not self._cookies.holds(cookie, place, connection, self._loop.time()):
            self.dropped["wrong cookie"] += 1
            return
        if pipe is None:
            if len(self.pipes) >= self._most:
                self.dropped["full"] += 1
                return
            remote = self._address_of(place)
            try:
                admission = self.arrivals.admit(remote)
            except LimitReached:
                self.dropped["refused"] += 1
                return
            pipe = UdpPipe(remote, self, place, connection, self._settings, admission)
            self.pipes[(place, connection)] = pipe
            self.arrivals.arrived(pipe, admission)
        elif pipe.admission is None:
            # One of ours that the far end pretends to have dialled.
            self.dropped["malformed"] += 1
            return
        self.send(header(ACCEPT, connection), place)


def _nowhere(datagram: bytes, place: Place) -> None:
    pass
