"""How commands talk to a node that runs: a Unix socket in its state directory, its owner's alone, with lines of JSON.

A connection has one request, `{"do": NAME, ...}`. Answers are `{"step": ...}` lines, any number of them, and in the end
`{"done": ...}` or `{"error": ..., "hint": ..., "exit_code": ...}`; what is no request gets that as well, and one too
many at a time. Who hangs up ends the work.
"""

import asyncio
import json
import logging
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ..errors import (
    BadData,
    BitrelayError,
    CommandFailed,
    DeviceTimeout,
    ExitCode,
    LimitReached,
    PeerError,
    PortError,
    Unreachable,
)

_log = logging.getLogger(__name__)

MOST_REQUEST: Final = 8_192
MOST_ANSWER: Final = 1 << 20
"""Bytes of one line, with its end."""
REQUEST_TIMEOUT_S: Final = 5.0
WORK_TIMEOUT_S: Final = 300.0
LONGEST_PATH: Final = 100
"""Bytes; systems have 104 or more for a socket's."""

_MOST_CONNECTIONS: Final = 16
_MOST_REFUSED: Final = 16  # at a time; more are hung up on

Request = dict[str, Any]
Tell = Callable[[Any], Awaitable[None]]
Handle = Callable[[Request, Tell], Awaitable[Any]]
"""Does what a request says. tell: sends a step. Raises BitrelayError."""


class ControlServer:
    """Takes requests at a socket until it is closed."""

    def __init__(self, path: Path, handle: Handle) -> None:
        self._path = path
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._refusing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """The directory is locked, so a socket that is there is a dead one's. Raises PortError."""
        if len(os.fsencode(self._path)) > LONGEST_PATH:
            raise PortError(
                f"the path of {self._path} is too long for a socket",
                hint="Give a folder for the state with a shorter path",
            )
        try:
            self._remove_dead()
            # The directory is its owner's alone, and so is all in it.
            self._server = await asyncio.start_unix_server(self._accept, self._path, limit=MOST_REQUEST)
            self._path.chmod(0o600)
        except OSError as error:
            raise PortError(f"cannot take commands at {self._path}: {error.strerror}") from None

    async def close(self) -> None:
        """Harmless when it is closed."""
        if self._server is None:
            return
        self._server.close()
        tasks = self._serving | self._refusing
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None
        self._path.unlink(missing_ok=True)

    def _remove_dead(self) -> None:
        if os.path.lexists(self._path) and stat.S_ISSOCK(self._path.lstat().st_mode):
            self._path.unlink()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        full = len(self._serving) >= _MOST_CONNECTIONS
        if full and len(self._refusing) >= _MOST_REFUSED:
            writer.close()
            return
        tasks = self._refusing if full else self._serving
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer, full))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, full: bool) -> None:
        try:
            if full:
                raise LimitReached(
                    "the node has too much to do",
                    limit="commands at a time",
                    hint="Try again when other commands have ended",
                )
            request = await asyncio.wait_for(_read_request(reader), REQUEST_TIMEOUT_S)
            work = asyncio.ensure_future(self._work(request, writer))
            gone = asyncio.ensure_future(reader.read(1))
            try:
                await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (work, gone):
                    task.cancel()
                await asyncio.gather(work, gone, return_exceptions=True)
        except (BadData, LimitReached) as error:
            await _turn_away(reader, writer, error)
        except (TimeoutError, OSError):
            pass  # whoever it is does not speak, or has gone
        finally:
            await _hang_up(writer)

    async def _work(self, request: Request, writer: asyncio.StreamWriter) -> None:
        async def tell(step: Any) -> None:
            await _write(writer, {"step": step})

        try:
            async with asyncio.timeout(WORK_TIMEOUT_S):
                answer: dict[str, Any] = {"done": await self._handle(request, tell)}
        except BitrelayError as error:
            answer = _refusal(error)
        except TimeoutError:
            answer = {"error": "it took too long", "hint": None, "exit_code": int(ExitCode.TIMEOUT)}
        except OSError:
            return
        except Exception as error:
            _log.exception("A command was not done, by a fault of bitrelay's own")
            what = f"a fault in bitrelay: {type(error).__name__}: {error}"
            answer = {"error": what, "hint": None, "exit_code": int(ExitCode.INTERNAL)}
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(_write(writer, answer), REQUEST_TIMEOUT_S)


async def request(
    path: Path, wanted: Request, timeout: float = WORK_TIMEOUT_S + 10, server: str = "node"
) -> AsyncIterator[Any]:
    """Have a running node do something: its steps, and last what came of it.

    path: of its socket. server: what runs there, as the user calls it. Raises BadData for a request that is too long,
    Unreachable if none runs there, DeviceTimeout, PeerError, and what it says.
    """
    line = _line(wanted)
    if len(line) > MOST_REQUEST:
        raise BadData(f"the request is too long: {len(line)} bytes, and a node takes {MOST_REQUEST}")
    try:
        reader, writer = await asyncio.open_unix_connection(path, limit=MOST_ANSWER)
    except OSError:
        raise Unreachable(
            f"no {server} runs in {path.parent}",
            hint=f"Start one with `bitrelay {server} run`, or name its folder with --state",
        ) from None
    try:
        async with asyncio.timeout(timeout):
            writer.write(line)
            await writer.drain()
            while True:
                answer = _parsed(await reader.readline())
                if "step" in answer:
                    yield answer["step"]
                    continue
                if "error" in answer:
                    raise _error(answer)
                yield answer["done"]
                return
    except TimeoutError:
        raise DeviceTimeout(f"the {server} does not answer", device=str(path.parent)) from None
    except (OSError, ValueError, KeyError):
        raise PeerError(f"the {server} has ended before it answered", device=str(path.parent)) from None
    finally:
        writer.close()


def _refusal(error: BitrelayError) -> dict[str, Any]:
    return {"error": error.what, "hint": error.hint, "exit_code": int(error.exit_code)}


def _error(answer: dict[str, Any]) -> BitrelayError:
    hint = answer.get("hint")
    try:
        code = ExitCode(int(answer.get("exit_code", 0)))
    except (ValueError, TypeError):
        code = ExitCode.DEVICE_FAILED  # a newer node's
    return CommandFailed(str(answer["error"]), exit_code=code, hint=None if hint is None else str(hint))


async def _turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, error: BitrelayError) -> None:
    # What it still sends is read: to hang up on that can cost it the answer.
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await _write(writer, _refusal(error))
            while await reader.read(MOST_REQUEST):
                pass


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), REQUEST_TIMEOUT_S)
    except (OSError, TimeoutError):
        writer.transport.abort()  # it does not read what is left


async def _read_request(reader: asyncio.StreamReader) -> Request:
    try:
        line = await reader.readline()
    except ValueError:
        raise BadData(f"the request is too long: a node takes {MOST_REQUEST} bytes") from None
    try:
        return _parsed(line)
    except ValueError:
        raise BadData("the request cannot be read") from None


def _parsed(line: bytes) -> dict[str, Any]:
    # Raises ValueError.
    try:
        found = json.loads(line)
    except RecursionError:
        raise ValueError("too deep") from None
    if not line.endswith(b"\n") or not isinstance(found, dict):
        raise ValueError("not a line with an object")
    return found


async def _write(writer: asyncio.StreamWriter, values: dict[str, Any]) -> None:
    writer.write(_line(values))
    await writer.drain()


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"
