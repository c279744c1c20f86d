"""All traffic with one peer, over whatever transports it is connected: queue, window, failover, answers.

Two tasks: one sends messages, over the transport that the policy selects and over the next when that fails or does not
answer in time (rows CRD-10, EXE-03); the other sends what the peer asks for (`answers`).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ..errors import BadData, BitrelayError, DeviceTimeout, LimitReached, NotConnected
from ..watched_task import watched
from .adaptive_timeout import TimeoutRange
from .answers import Answers
from .control_frame import DATA_OVERHEAD, Ack, ControlFrame, Data, Ping, Pong, Reset, encode
from .delivery import Outgoing, ReceiveWindow, SendWindow
from .fair_queue import Drop, FairQueue, Traffic
from .link_state import LinkState
from .selector import Policy, TransportType, order

_FAILED: Final = "A channel has failed"

MAX_MESSAGE: Final = 128 * 1024
"""Bytes; and what the transports take, less the header."""
# A transport that is stuck must not keep answers from going over the others for longer.
_MOST_ANSWER_S = 2.0
_LOAD_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """timeouts: for an acknowledgement; linger_s: how long messages wait for a transport when none works."""

    policy: Policy = Policy.FASTEST_FIRST
    timeouts: TimeoutRange = TimeoutRange()
    linger_s: float = 30.0
    retry_s: float = 1.0
    """When no transport took a message, it is tried again after so long."""


class Carrier(Protocol):
    """What a channel sends over: `ConnectionManager.send`, and the longest frame that a transport takes."""

    async def send(self, peer: bytes, name: str, data: bytes, *, timeout: float) -> None: ...

    def max_message(self, name: str) -> int: ...


class PeerChannel:
    """The messages to and from one peer.

    epoch: as `SendWindow` has it. deliver: called with each message that came, once and in order. suspected: called
    with the name of a transport that did not answer in time. given_up: called with how many messages were given up that
    nobody waits for. counts: what happened, by name, of all channels together.
    """

    def __init__(
        self,
        peer: bytes,
        carrier: Carrier,
        config: ChannelConfig,
        *,
        epoch: int,
        rng: random.Random,
        counts: Counter[str],
        deliver: Callable[[bytes], None],
        suspected: Callable[[str], None],
        given_up: Callable[[int], None],
    ) -> None:
        self.peer = peer
        self.links: dict[str, LinkState] = {}
        self.queue: FairQueue[Outgoing] = FairQueue(rng)
        self._carrier = carrier
        self._config = config
        self._random = rng
        self._counts = counts
        self._suspected = suspected
        self._given_up = given_up
        self._window = SendWindow(epoch)
        self._receive = ReceiveWindow(deliver, counts)
        self._stuck_since: float | None = None
        self._places = {each: asyncio.Lock() for each in Traffic}
        self._wake = asyncio.Event()
        self._popped = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._losses = 0
        self._answers = Answers(self._send_answer, lambda: list(self.links), self._receive.ack, counts)
        self._tasks = [watched(self._send_messages(), _FAILED), watched(self._answers.run(), _FAILED)]

    @property
    def epoch(self) -> int:
        return self._window.epoch

    async def send(self, message: bytes, traffic: Traffic, *, until_acknowledged: bool, timeout: float) -> None:
        """Send one message; see `TransportCoordinator.send`."""
        if not self.links:
            raise NotConnected("it is connected over no transport", device=self.peer.hex())
        most = min(MAX_MESSAGE, max(self._carrier.max_message(name) for name in self.links) - DATA_OVERHEAD)
        if len(message) > most:
            raise BadData(f"a message of {len(message)} bytes is too long, {most} are the most")
        outgoing = Outgoing(message, traffic, asyncio.get_running_loop().create_future(), until_acknowledged)
        try:
            async with asyncio.timeout(timeout):
                await self._enqueue(outgoing)
                await outgoing.waiter
        except TimeoutError:
            raise DeviceTimeout("the message was not taken in time", device=self.peer.hex()) from None
        finally:
            if not outgoing.waiter.done() or outgoing.waiter.cancelled():
                self.queue.remove(outgoing, traffic)
                self._popped.set()
                self._settle()

    async def flush(self, timeout: float) -> None:
        """Wait until everything is acknowledged. Raises DeviceTimeout, NotConnected if something was given up."""
        losses = self._losses
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            raise DeviceTimeout("not everything was acknowledged in time", device=self.peer.hex()) from None
        if self._losses != losses:
            raise NotConnected("messages to it were given up", device=self.peer.hex())

    def link_up(self, name: str, kind: TransportType) -> None:
        now = asyncio.get_running_loop().time()
        self.links[name] = LinkState(name, kind, self._config.timeouts, now)
        for link in self.links.values():
            # Else the newcomer would have to carry as much as the others did before it gives them a turn.
            link.sent_bytes = 0
        self._wake.set()

    def link_down(self, name: str) -> None:
        """What is under way over it goes over another."""
        link = self.links.pop(name, None)
        if link is None:
            return
        self._recall(name)
        for waiter in link.pings.values():
            if not waiter.done():
                waiter.set_exception(NotConnected("it went away", device=self.peer.hex()))
        self._wake.set()

    def take(self, name: str, frame: ControlFrame) -> None:
        """Take a frame that came over a transport."""
        link = self.links.get(name)
        if link is None:
            return
        now = asyncio.get_running_loop().time()
        link.heard(now)
        match frame:
            case Data():
                answer = self._receive.take(frame)
                if isinstance(answer, Reset):
                    self._answers.reply(name, answer)
                else:
                    self._answers.acknowledge(name)
            case Ack():
                self._acknowledged(frame, now)
            case Reset():
                self._window.reset(frame)
                self._wake.set()
            case Ping(token):
                self._answers.reply(name, Pong(token))
                # The peer may have missed that there is room again.
                self._answers.acknowledge(name)
            case Pong(token):
                waiter = link.pings.pop(token, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(None)

    def read(self, message: bytes) -> None:
        """The reader took a message."""
        if self._receive.read(len(message)):
            self._answers.acknowledge()

    async def check(self, name: str, timeout: float) -> bool:
        """Ping the peer over one transport, and measure; whether it answered. One check at a time counts."""
        link = self.links.get(name)
        if link is None or link.checking:
            return True
        loop = asyncio.get_running_loop()
        token, waiter, started = self._random.getrandbits(64), loop.create_future(), loop.time()
        link.pings[token] = waiter
        link.checking = True
        try:
            async with asyncio.timeout(timeout):
                await self._carrier.send(self.peer, name, encode(Ping(token)), timeout=timeout)
                await waiter
        except (BitrelayError, TimeoutError):
            # What brings messages is there, however busy it is.
            if link.heard_at < started and self.links.get(name) is link:
                link.misses += 1
                link.failed(loop.time(), late=False)
                self._recall(name)
            return link.misses == 0
        finally:
            link.pings.pop(token, None)
            link.checking = False
        link.answered((loop.time() - started) * 1000, loop.time())
        self._wake.set()
        return True

    async def close(self, error: BitrelayError) -> None:
        """End; whoever waits gets the error."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._give_up(error)

    async def _enqueue(self, outgoing: Outgoing) -> None:
        traffic, size = outgoing.traffic, len(outgoing.message) + DATA_OVERHEAD
        # One at a time waits for room, in the order they came.
        async with self._places[traffic]:
            while traffic is not Traffic.STREAMING and not self.queue.has_room(size, traffic):
                self._popped.clear()
                await self._popped.wait()
            pushed = self.queue.push(outgoing, size, traffic)
        for dropped in pushed.dropped:
            _fail(dropped, self._dropped(traffic, Drop.OLDEST))
        if pushed.refused is not None:
            raise self._dropped(traffic, pushed.refused)
        self._idle.clear()
        self._wake.set()

    async def _send_messages(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            now = loop.time()
            self._check_overdue(now)
            outgoing = self._window.unsent() or self._next_queued()
            if outgoing is not None and await self._transmit(outgoing):
                self._stuck_since = None
                continue
            wait_s = self._stuck(now) if outgoing is not None else self._until_overdue(now)
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _next_queued(self) -> Outgoing | None:
        if not self.links or not self._window.has_room:
            return None
        outgoing = self.queue.pop()
        if outgoing is None:
            return None
        self._popped.set()
        self._window.add(outgoing)
        if not outgoing.until_acknowledged and not outgoing.waiter.done():
            outgoing.waiter.set_result(None)
        return outgoing

    async def _transmit(self, outgoing: Outgoing) -> bool:
        # Whether a transport took it; or there is another state of things to look at.
        loop = asyncio.get_running_loop()
        data = encode(self._window.frame(outgoing))
        epoch = self._window.epoch
        candidates = [
            link.candidate(loop.time())
            for link in self.links.values()
            if self._carrier.max_message(link.name) >= len(data)
        ]
        for candidate in order(candidates, self._config.policy, len(outgoing.message)):
            link = self.links.get(candidate.name)
            if link is None:
                continue
            outgoing.via, outgoing.sent_at = link.name, loop.time()
            outgoing.sends += 1
            self._began(link, len(data))
            try:
                wait_s = link.wait_s(loop.time(), len(data))
                await self._carrier.send(self.peer, link.name, data, timeout=wait_s)
            except BitrelayError as error:
                self._counts["send failed"] += 1
                # Not one of those that are recalled: else it would wake this task, which would try again at once.
                outgoing.via = None
                self._distrust(link, late=isinstance(error, TimeoutError))
                if self._window.epoch != epoch:
                    return True
                continue
            outgoing.sent_at = loop.time()
            if self.links.get(link.name) is not link:
                outgoing.via = None
            self._counts["sent" if outgoing.sends == 1 else "sent again"] += 1
            return True
        return False

    def _began(self, link: LinkState, size: int) -> None:
        link.began(size, asyncio.get_running_loop().time())
        if link.sent_bytes > _LOAD_BYTES:
            # So that the balance follows what is measured now.
            for each in self.links.values():
                each.sent_bytes //= 2

    def _check_overdue(self, now: float) -> None:
        oldest = self._window.oldest
        if oldest is None or oldest.via is None or self._until_overdue(now) != 0.0:
            return
        self._counts["not acknowledged in time"] += 1
        self._distrust(self.links[oldest.via], late=True)

    def _until_overdue(self, now: float) -> float | None:
        # Seconds until the oldest message should have been acknowledged; None if nothing is under way.
        oldest = self._window.oldest
        link = self.links.get(oldest.via) if oldest is not None and oldest.via is not None else None
        if oldest is None or link is None:
            return None
        wait_s = link.wait_s(now, len(oldest.message))
        return max(0.0, max(oldest.sent_at, self._window.progress_at) + wait_s - now)

    def _stuck(self, now: float) -> float:
        # No transport takes the message: for how long to wait before all are tried again.
        if self._stuck_since is None:
            self._stuck_since = now
        if now - self._stuck_since >= self._config.linger_s:
            self._stuck_since = None
            self._give_up(NotConnected("no transport took the messages", device=self.peer.hex()))
        return self._config.retry_s

    def _acknowledged(self, ack: Ack, now: float) -> None:
        arrived = self._window.acknowledged(ack, now)
        for name, link in self.links.items():
            mine = [each for each in arrived if each.via == name]
            if mine:
                # What was sent again may have been acknowledged for the first time it was sent; and what arrives over
                # a quick transport is acknowledged late if it was sent after something over a slow one.
                alone = mine[-1].sends == 1 and len(mine) == len(arrived)
                latency_ms = (now - mine[-1].sent_at) * 1000 if alone else None
                size = sum(len(each.message) for each in mine)
                link.arrived(size, now, latency_ms=latency_ms, more=self._window.is_using(name))
        for each in arrived:
            self._counts["acknowledged"] += 1
            if not each.waiter.done():
                each.waiter.set_result(None)
        self._settle()
        self._wake.set()

    def _distrust(self, link: LinkState, *, late: bool) -> None:
        link.failed(asyncio.get_running_loop().time(), late=late)
        self._recall(link.name)
        self._suspected(link.name)

    def _recall(self, name: str) -> None:
        if self._window.recall(name):
            self._counts["failovers"] += bool(self.links.keys() - {name})
            self._wake.set()

    def _give_up(self, error: BitrelayError) -> None:
        unheard = 0
        self._losses += 1
        for outgoing in (*self._window.abandon(), *self.queue.clear()):
            if outgoing.waiter.done():
                unheard += 1
            else:
                _fail(outgoing, error)
        self._counts["given up"] += unheard
        if unheard:
            self._given_up(unheard)
        self._popped.set()
        self._settle()

    def _dropped(self, traffic: Traffic, drop: Drop) -> LimitReached:
        self._counts[f"{traffic} dropped, {drop}"] += 1
        return LimitReached(f"too much {traffic} traffic waits: dropped ({drop})", limit=f"{traffic} queue")

    def _settle(self) -> None:
        if not len(self.queue) and not len(self._window):
            self._idle.set()

    async def _send_answer(self, name: str, frame: Ack | Pong | Reset) -> None:
        link = self.links.get(name)
        if link is None:
            raise NotConnected("it went away", device=self.peer.hex())
        wait_s = min(link.wait_s(asyncio.get_running_loop().time()), _MOST_ANSWER_S)
        await self._carrier.send(self.peer, name, encode(frame), timeout=wait_s)


def _fail(outgoing: Outgoing, error: BitrelayError) -> None:
    if not outgoing.waiter.done():
        outgoing.waiter.set_exception(error)
