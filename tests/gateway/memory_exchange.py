"""Gateways joined in memory: what one sends the other gets, unless one of them is gone."""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence

from bitrelay.errors import NotConnected, TransportClosed, Unreachable
from bitrelay.gateway.election import elected
from bitrelay.gateway.exchange import (
    Exchange,
    ExchangeEvent,
    GatewayDown,
    GatewayUp,
    GatewayView,
    MessageCame,
)
from bitrelay.gateway.message import FrameMessage, Hello, Message, decode, encode
from bitrelay.transports.fair_queue import Traffic


class Hub:
    """All of them. delay_s: of every message. cut(): nobody reaches anybody any more, until mend()."""

    def __init__(self, delay_s: float = 0.005) -> None:
        self.delay_s = delay_s
        self.exchanges: dict[bytes, MemoryExchange] = {}
        self.is_cut = False
        self.sent = 0
        self._posted: deque[tuple[MemoryExchange, bytes, bytes]] = deque()

    def post(self, to: "MemoryExchange", sender: bytes, data: bytes) -> None:
        # Timers of one moment fire in any order: what comes first is told here.
        self._posted.append((to, sender, data))
        asyncio.get_running_loop().call_later(self.delay_s, self._deliver)

    def _deliver(self) -> None:
        to, sender, data = self._posted.popleft()
        to.get(sender, data)

    def cut(self) -> None:
        self.is_cut = True
        for each in self.exchanges.values():
            for other in self.exchanges:
                each.lose(other)

    def mend(self) -> None:
        self.is_cut = False
        for each in self.exchanges.values():
            for other in self.exchanges.values():
                each.meet(other)


class MemoryExchange(Exchange):
    """One gateway's. trust: None for everybody. silent: it takes what it is sent and says nothing any more, as a
    machine that was switched off."""

    def __init__(self, hub: Hub, own: bytes, *, trust: Collection[bytes] | None = None) -> None:
        self.own = own
        self.hello: Hello | None = None
        self.silent = False
        self._hub = hub
        self._trust = trust
        self._views: dict[bytes, GatewayView] = {}
        self._events: asyncio.Queue[ExchangeEvent | None] = asyncio.Queue()

    async def start(self, hello: Hello) -> None:
        self.hello = hello
        self._hub.exchanges[self.own] = self
        if not self._hub.is_cut:
            for other in list(self._hub.exchanges.values()):
                self.meet(other)
                other.meet(self)

    def update(self, hello: Hello) -> None:
        self.hello = hello
        for other in self._hub.exchanges.values():
            if self.own in other._views:
                other.meet(self)

    def gateways(self) -> Sequence[GatewayView]:
        return tuple(self._views.values())

    async def send(self, gateway: bytes, message: Message, traffic: Traffic) -> None:
        if gateway not in self._views:
            raise NotConnected("it is not there", device=gateway.hex())
        if self.silent:
            return
        self._hub.sent += 1
        other = self._hub.exchanges.get(gateway)
        if other is not None:
            self._hub.post(other, self.own, encode(message))

    async def send_to_mesh(
        self, message: FrameMessage, author: bytes, traffic: Traffic, avoid: Collection[bytes] = ()
    ) -> bytes | None:
        able = [
            peer
            for peer, view in self._views.items()
            if peer not in avoid and (mesh := view.hello.mesh(message.target)) is not None and mesh.downlink
        ]
        chosen = elected(author, able)
        if chosen is None:
            raise Unreachable("no gateway joins this mesh")
        await self.send(chosen, message, traffic)
        return chosen

    async def next_event(self) -> ExchangeEvent:
        event = await self._events.get()
        if event is None:
            raise TransportClosed("it was stopped")
        return event

    async def stop(self) -> None:
        if self._hub.exchanges.pop(self.own, None) is not None:
            for other in self._hub.exchanges.values():
                other.lose(self.own)
            self._events.put_nowait(None)

    def meet(self, other: "MemoryExchange") -> None:
        if other is self or other.hello is None:
            return
        trusted = self._trust is None or other.own in self._trust
        self._views[other.own] = GatewayView(other.own, other.hello, trusted)
        self._events.put_nowait(GatewayUp(self._views[other.own]))

    def lose(self, gateway: bytes) -> None:
        if self._views.pop(gateway, None) is not None:
            self._events.put_nowait(GatewayDown(gateway, "it has gone"))

    def get(self, sender: bytes, data: bytes) -> None:
        message = decode(data)
        assert message is not None
        if not self.silent and sender in self._views:
            self._events.put_nowait(MessageCame(sender, message))
