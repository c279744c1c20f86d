"""The apps' ping: 9 bytes that come back, and say how many hops away somebody is (bitchat protocol, section 3.5)."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass

from shared_protocol.frame import MAX_TTL, TYPE_PING, TYPE_PONG

_NONCE = 8
_SIZE = _NONCE + 1

# iOS answers so many within so many seconds, on each link.
_MOST = 5
_WINDOW_S = 10.0


@dataclass(frozen=True)
class PingAnswer:
    """hops is 1 for a direct peer; seconds there and back."""

    hops: int
    seconds: float


class PingLimit:
    """Says whether a ping is answered. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._answered: dict[Hashable, deque[float]] = {}

    def allows(self, link: Hashable, now: float) -> bool:
        """Whether a ping that came on this link now is answered; it then counts."""
        times = self._answered.setdefault(link, deque())
        while times and now - times[0] >= _WINDOW_S:
            times.popleft()
        if len(times) >= _MOST:
            return False
        times.append(now)
        return True


class Pinger:
    """Pings and answers. send(type, recipient, payload) sends a frame; answers says whether this app answers at all."""

    def __init__(self, rng: random.Random, answers: bool, send: Callable[[int, bytes, bytes], Awaitable[int]]) -> None:
        self._random = rng
        self._answers = answers
        self._send = send
        self._limit = PingLimit()
        self._waiting: dict[bytes, asyncio.Future[tuple[int, float]]] = {}

    async def ping(self, peer_id: bytes) -> PingAnswer:
        """Ping a peer and wait for its answer, however long it takes."""
        nonce = self._random.randbytes(_NONCE)
        answer: asyncio.Future[tuple[int, float]] = asyncio.get_running_loop().create_future()
        self._waiting[nonce] = answer
        start = time.monotonic()
        try:
            await self._send(TYPE_PING, peer_id, nonce + bytes((MAX_TTL,)))
            hops, at = await answer
        finally:
            del self._waiting[nonce]
        return PingAnswer(hops, at - start)

    async def hear(self, kind: int, ttl: int, sender: bytes, payload: bytes, link: Hashable, now: float) -> None:
        """A frame for this phone, sent by `sender`, came with this TTL. Extra bytes in a ping are tolerated."""
        if len(payload) < _SIZE:
            return
        nonce, origin_ttl = payload[:_NONCE], payload[_NONCE]
        if kind == TYPE_PONG:
            waiting = self._waiting.get(nonce)
            if waiting and not waiting.done():
                waiting.set_result((origin_ttl - ttl + 1, now))
        elif kind == TYPE_PING and self._answers and self._limit.allows(link, now):
            await self._send(TYPE_PONG, sender, nonce + bytes((MAX_TTL,)))
