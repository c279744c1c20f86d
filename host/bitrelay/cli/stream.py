"""`bitrelay listen` and `log`: what a relay says by itself, until Ctrl-C."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BitrelayError
from .decode import decoded, frame_line
from .options import JsonFlag, PortOption, TimeoutOption, with_console
from .output import Output, Values, reporting

if TYPE_CHECKING:
    from ..console import Console

CountOption = Annotated[
    int | None, typer.Option("--count", "-n", min=1, help="Stop after so many.", show_default=False)
]
SecondsOption = Annotated[
    float | None, typer.Option("--seconds", min=0.0, help="Stop after so long.", show_default=False)
]


Show = Callable[[Output, Values], None]


@dataclass(frozen=True)
class Stream:
    """What a relay is asked to send, how it is shown, and when it is enough.

    title: what is shown, in a few words; request: LISTEN or LOG; wanted: its values; shown: by kind of event;
    counted: the kind that `count` is about.
    """

    title: str
    request: int
    wanted: Values
    shown: dict[int, Show]
    counted: int
    count: int | None
    seconds: float | None
    timeout_s: float

    async def follow(self, console: "Console", out: Output) -> None:
        """Show events until there were `count` or `seconds` are over; raises DeviceLost and what a request raises."""
        import asyncio

        await self._ask(console)
        # Until something is heard nothing is printed, and that may take hours.
        out.remark(f"{self.title} {console.info.get('name') or console.port}; Ctrl-C ends it")
        renewing = asyncio.get_running_loop().create_task(self._renew(console))
        try:
            async with asyncio.timeout(self.seconds):
                await self._show_all(console, out)
        except TimeoutError as error:
            if isinstance(error, BitrelayError):
                raise
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self._put_back(console)
            if console.events_dropped:
                out.note(f"{console.events_dropped} events are missing: they came faster than they could be shown")

    async def _ask(self, console: "Console") -> None:
        await console.request(self.request, self.wanted, self.timeout_s)

    async def _renew(self, console: "Console") -> None:
        # A relay tells what it hears for a minute only: see docs/protocol.md, LISTEN.
        import asyncio

        while True:
            await asyncio.sleep(_RENEW_S)
            try:
                await self._ask(console)
            except BitrelayError:
                return  # whatever it is, _show_all hears of it too

    async def _show_all(self, console: "Console", out: Output) -> None:
        from shared_protocol import console as messages

        counted = 0
        async for event in console.events():
            if event.kind == messages.EVENT_HELLO:
                # It restarted, and has forgotten what it was asked for.
                await self._ask(console)
            show = self.shown.get(event.kind)
            if show is not None:
                show(out, event.values)
            counted += event.kind == self.counted
            if counted == self.count:
                return

    async def _put_back(self, console: "Console") -> None:
        from shared_protocol import console as messages

        # The command is over: a relay that does not answer any more has said so already.
        try:
            if self.request == messages.LISTEN:
                await console.request(messages.LISTEN, {"on": False}, _PUT_BACK_S)
            else:
                (setting,) = await console.request_list(messages.GET, {"key": "log_level"}, _PUT_BACK_S)
                await console.request(messages.LOG, {"level": int(setting["value"])}, _PUT_BACK_S)
        except (BitrelayError, KeyError, ValueError):
            pass


class LogLevel(StrEnum):
    """How much of its log a relay sends; the order is that of the numbers on the wire."""

    OFF = "off"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"


_LEVELS = list(LogLevel)
_PUT_BACK_S = 0.5
_RENEW_S = 20.0


def listen(
    port: PortOption = None,
    count: CountOption = None,
    seconds: SecondsOption = None,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Show the frames the relay hears, and its links as they come and go."""
    from shared_protocol import console as messages

    with reporting(json) as out:
        shown: dict[int, Show] = {messages.EVENT_FRAME: _show_frame, messages.EVENT_LINK: _show_link}
        stream = Stream(
            "listening on", messages.LISTEN, {"on": True}, shown, messages.EVENT_FRAME, count, seconds, timeout
        )
        with_console(port, timeout, lambda console: stream.follow(console, out))


def log(
    port: PortOption = None,
    level: Annotated[LogLevel, typer.Option("--level", help="Show this and what is graver.")] = LogLevel.INFO,
    count: CountOption = None,
    seconds: SecondsOption = None,
    timeout: TimeoutOption = 5.0,
    json: JsonFlag = False,
) -> None:
    """Show the relay's log as it is written."""
    from shared_protocol import console as messages

    with reporting(json) as out:
        shown: dict[int, Show] = {messages.EVENT_LOG: _show_log, messages.EVENT_HELLO: _show_hello}
        wanted = {"level": _LEVELS.index(level)}
        stream = Stream("the log of", messages.LOG, wanted, shown, messages.EVENT_LOG, count, seconds, timeout)
        with_console(port, timeout, lambda console: stream.follow(console, out))


def _show_frame(out: Output, values: Values) -> None:
    fields = decoded(bytes(values.get("frame", b"")))
    if out.as_json:
        out.record({"event": "frame"} | values | {"decoded": fields})
    else:
        out.line(f"{_clock()}  link {values.get('conn', '?')}  {values.get('verdict', '?'):<12}  {frame_line(fields)}")


def _show_link(out: Output, values: Values) -> None:
    address = bytes(values.get("address", b"")).hex(":")
    if out.as_json:
        out.record({"event": "link"} | values | {"address": address})
    else:
        state = "up" if values.get("up") else f"down ({values.get('reason', '?')})"
        out.line(f"{_clock()}  link {values.get('conn', '?')}  {state}, {values.get('role', '?')}, {address}")


def _show_log(out: Output, values: Values) -> None:
    level = values.get("level", 0)
    name = _LEVELS[level].value if level < len(_LEVELS) else str(level)
    if out.as_json:
        out.record({"event": "log", "level": name, "text": values.get("text", ""), "at_ms": values.get("at_ms")})
    else:
        out.line(f"{values.get('at_ms', 0) / 1000:10.3f}  {name:<7}  {values.get('text', '')}")


def _show_hello(out: Output, values: Values) -> None:
    if out.as_json:
        out.record({"event": "restart", "name": values.get("name"), "reset_cause": values.get("reset_cause")})
    else:
        out.line(f"{_clock()}  {values.get('name', 'the relay')} restarted ({values.get('reset_cause', '?')})")


def _clock() -> str:
    return time.strftime("%H:%M:%S")
