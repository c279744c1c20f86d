"""Talks to a relay's serial console: requests with ids, answers, and the events it sends by itself.

The bytes are docs/protocol.md, "Serial console". Whatever lies between frames is boot noise and is skipped; an answer
nobody waits for is dropped. Every call has a deadline, and a device that goes away ends all of them at once.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from shared_protocol import cobs
from shared_protocol import console as messages

from .errors import DeviceError, DeviceLost, DeviceTimeout, NotARelay, PortError, RequestRefused
from .ports import how_to_reset, why_gone
from .serial_link import SerialLink

Values = dict[str, Any]

EVENTS_KEPT: Final = 1024
RECORDS_MAX: Final = 1024

_KNOCK_EVERY_S = 0.3
_CLOCK_OFF_MS = 2000
_NOISE_KEPT = 256
_PROMPTS = (b">>>", b"raw REPL")

# For MicroPython's prompt, which a board shows when its app is not running: there the bytes of a request are key
# strokes. Ctrl-K and Ctrl-U empty the line, Ctrl-B has an empty line's prompt shown anew, so that we know it by that,
# and a comment line takes the others in. For a relay: it is noise, and the second zero ends whatever frame the noise
# before it may have opened.
_KNOCK_PREFIX = b"\x0b\x15\2#\0"
# Ctrl-C stops a MicroPython that boots and has not come to our code yet, Return ends the comment line, and on a line
# that backspaces or Ctrl-U have emptied Ctrl-A enters the raw REPL and Ctrl-D resets. Of the control characters a knock
# has those alone that its frame cannot do without; a line that is not empty takes them for cursor keys.
_CONTROLS_IN_A_KNOCK = b"\0\1\2\6"
# With these ids a knock needs no other; the other requests have those above.
_KNOCK_IDS = 0x100


@dataclass(frozen=True)
class Event:
    """Something the relay said by itself: kind is one of shared_protocol.console's EVENT_ numbers."""

    kind: int
    values: Values


@dataclass
class _Pending:
    kind: int
    done: "asyncio.Future[Values]"
    records: list[Values] | None = field(default=None)


class Console:
    """An open console; made by `Console.open`, closed by `close` or at the end of `async with`."""

    def __init__(self, port: str) -> None:
        self.port = port
        self.info: Values = {}
        self.events_dropped = 0
        self.strays = 0
        self._link: SerialLink | None = None
        self._reader = cobs.FrameReader(messages.MAX_BODY)
        self._noise = bytearray()
        self._heard = False
        self._prompt = False
        self._next_id = random.randrange(_KNOCK_IDS, 1 << 16)
        self._knock_id = random.randrange(1, _KNOCK_IDS)
        self._pending: dict[int, _Pending] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._event_came = asyncio.Event()
        self._lost: str | None = None
        self._closed = False

    @classmethod
    async def open(cls, port: str, timeout_s: float = 5.0) -> "Console":
        """Open a port and knock until the relay behind it answers; its answer is then in `info`.

        A board that is booting ignores the first knocks: timeout_s covers its boot. A relay has no clock of its own, so
        whoever opens its console sets it. Raises NoDevice, PortError, NotARelay (something else answers), DeviceTimeout
        (nothing answers).
        """
        console = cls(port)
        deadline = asyncio.get_running_loop().time() + timeout_s
        console._link = await SerialLink.open(port, console._take, console._fail, timeout_s)
        try:
            console.info = await console._knock(deadline, timeout_s)
            console._check_protocol()
            await console._set_clock(max(1.0, deadline - asyncio.get_running_loop().time()))
        except BaseException:
            await console.close()
            raise
        return console

    async def __aenter__(self) -> "Console":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def request(self, kind: int, values: Values | None = None, timeout_s: float = 2.0) -> Values:
        """Send a request of shared_protocol.console and return its answer's fields.

        Raises RequestRefused, DeviceLost, DeviceTimeout after timeout_s, ValueError for values that do not fit.
        """
        return (await self._ask(kind, values, timeout_s, listed=False))[0]

    async def request_list(self, kind: int, values: Values | None = None, timeout_s: float = 2.0) -> list[Values]:
        """Send a request that is answered by records; return them all.

        Raises as `request`, and DeviceError if some of them are missing.
        """
        return await self._ask(kind, values, timeout_s, listed=True)

    async def events(self) -> AsyncIterator[Event]:
        """Yield events as they come, for ever; ends when the console is closed, raises DeviceLost when the device goes.

        Of events not taken in time the newest 1,024 are kept; the others are counted in `events_dropped`.
        """
        while True:
            while self._events:
                yield self._events.popleft()
            if self._closed:
                return
            if self._lost is not None:
                raise self._device_lost()
            self._event_came.clear()
            await self._event_came.wait()

    async def close(self) -> None:
        """Let go of the port; harmless when repeated. Requests still waiting end with DeviceLost."""
        if self._closed:
            return
        self._closed = True
        self._fail("the console was closed")
        if self._link is not None:
            await self._link.close()

    async def _knock(self, deadline: float, timeout_s: float) -> Values:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Values] = loop.create_future()
        try:
            while True:
                left = deadline - loop.time()
                if left <= 0:
                    raise self._no_answer(timeout_s)
                self._send_knock(_Pending(messages.INFO, answer))
                # One future for all knocks: a slow relay may answer an early one late.
                await asyncio.wait([answer], timeout=min(_KNOCK_EVERY_S, left))
                if answer.done():
                    return answer.result()
        finally:
            self._forget(answer)

    def _check_protocol(self) -> None:
        spoken = self.info.get("protocol")
        if spoken != messages.PROTOCOL:
            raise DeviceError(
                f"the relay speaks console protocol {spoken}, this program speaks {messages.PROTOCOL}",
                device=self.port,
                hint="Use matching releases of bitrelay and of the relay's firmware",
            )

    async def _set_clock(self, timeout_s: float) -> None:
        now_ms = time.time_ns() // 1_000_000
        # A relay of an older release does not tell who set its clock, and has no use for it.
        if "clock" not in self.info or abs(now_ms - self.info.get("time_ms", 0)) <= _CLOCK_OFF_MS:
            return
        try:
            self.info |= await self.request(messages.TIME, {"time_ms": now_ms}, timeout_s) | {"clock": "host"}
        except RequestRefused:
            pass  # this computer's own clock is absurd, and no reason to have nothing to do with the relay

    async def _ask(self, kind: int, values: Values | None, timeout_s: float, listed: bool) -> list[Values]:
        records: list[Values] = []
        done: asyncio.Future[Values] = asyncio.get_running_loop().create_future()
        try:
            self._send(kind, values or {}, _Pending(kind, done, records if listed else None))
            answer = await asyncio.wait_for(done, timeout_s)
        except DeviceTimeout:
            raise
        except TimeoutError:
            raise DeviceTimeout(
                f"no answer within {timeout_s:g} s",
                device=self.port,
                hint=f"{how_to_reset(self.port)} and try again",
            ) from None
        finally:
            self._forget(done)
        if not listed:
            return [answer]
        if answer.get("count", 0) != len(records):
            raise DeviceError(
                f"{len(records)} of {answer.get('count', 0)} records arrived", device=self.port, hint="Try again"
            )
        return records

    def _send_knock(self, pending: _Pending) -> None:
        while True:
            self._knock_id = self._knock_id % (_KNOCK_IDS - 1) + 1
            knock = cobs.wrap(messages.encode(messages.INFO, self._knock_id))
            if all(byte in _CONTROLS_IN_A_KNOCK or 0x20 <= byte != 0x7F for byte in knock):
                break
        self._put(self._knock_id, _KNOCK_PREFIX + knock, pending)

    def _send(self, kind: int, values: Values, pending: _Pending) -> None:
        request_id = self._next_id
        self._next_id = max(request_id + 1 & 0xFFFF, _KNOCK_IDS)
        self._put(request_id, cobs.wrap(messages.encode(kind, request_id, values)), pending)

    def _put(self, request_id: int, wire: bytes, pending: _Pending) -> None:
        if self._lost is not None or self._link is None:
            raise self._device_lost()
        self._pending[request_id] = pending
        self._link.write(wire)

    def _forget(self, done: "asyncio.Future[Values]") -> None:
        for request_id in [i for i, pending in self._pending.items() if pending.done is done]:
            del self._pending[request_id]

    def _take(self, chunk: bytes) -> None:
        for byte in chunk:
            length = self._reader.feed(byte)
            if length > 0:
                self._take_body(bytes(self._reader.buf[:length]))
            elif byte and not self._reader.in_frame:
                self._noise.append(byte)
        self._prompt = self._prompt or any(mark in self._noise for mark in _PROMPTS)
        del self._noise[:-_NOISE_KEPT]

    def _take_body(self, body: bytes) -> None:
        message = messages.decode(body)
        if message is None:
            return
        self._heard = True
        kind, request_id, values = message
        if request_id == 0:
            self._take_event(Event(kind, values))
            return
        pending = self._pending.get(request_id)
        if pending is None or pending.done.done():
            self.strays += 1
        elif kind == messages.ERROR:
            code = str(values.get("code", ""))
            text = str(values.get("text", "")) or code or "no reason given"
            pending.done.set_exception(
                RequestRefused(f"the relay refused the request: {text}", code=code, device=self.port)
            )
        elif kind == (pending.kind | messages.ANSWER if pending.records is None else messages.DONE):
            pending.done.set_result(values)
        elif kind == pending.kind | messages.ANSWER and pending.records is not None:
            if len(pending.records) < RECORDS_MAX:
                pending.records.append(values)
        else:
            self.strays += 1

    def _take_event(self, event: Event) -> None:
        if len(self._events) == EVENTS_KEPT:
            self.events_dropped += 1
        self._events.append(event)
        self._event_came.set()

    def _fail(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_exception(self._device_lost())
        self._event_came.set()

    def _device_lost(self) -> DeviceLost:
        reason = "the console was closed" if self._lost is None else self._lost
        return DeviceLost(
            f"the device has gone ({reason})" if reason else "the device has gone",
            device=self.port,
            hint=why_gone(self.port),
        )

    def _no_answer(self, timeout_s: float) -> PortError | NotARelay | DeviceTimeout:
        if self._heard or not (self._noise or self._reader.bad):
            return DeviceTimeout(
                f"no answer within {timeout_s:g} s",
                device=self.port,
                hint=f"Is this the right port, and does the relay run? {how_to_reset(self.port)} and try again",
            )
        if self._prompt:
            return NotARelay(
                "MicroPython's prompt answers, the relay's program is not running",
                device=self.port,
                hint=how_to_reset(self.port),
            )
        return NotARelay(
            "something else than a relay answers", device=self.port, hint="`bitrelay devices` lists what there is"
        )
