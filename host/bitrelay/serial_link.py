"""Bytes to and from a serial port, moved by two daemon threads.

pyserial blocks, and a port whose device has frozen can block for good. Daemon threads keep that away from the event
loop and from the end of the process. Both directions are bounded: a full outgoing queue is an error, and a reader that
is ahead of the loop stops reading.
"""

import asyncio
import errno
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from .errors import DeviceTimeout, NoDevice, PortBusy, PortError
from .ports import how_to_reset

BAUD_RATE = 115200

_READ_TIMEOUT_S = 0.1
_WRITE_TIMEOUT_S = 5.0
_READ_SIZE = 4096
_CHUNKS_AHEAD = 64
_WRITES_AHEAD = 64
_GONE = {errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF, errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED}


class SerialLink:
    """An open serial port. Callbacks run in the event loop: on_bytes per chunk read, on_lost once, with the reason.

    The reason is empty if the device went as devices do: unplugged, or its server ended.
    """

    def __init__(self, name: str, port: Any, on_bytes: Callable[[bytes], None], on_lost: Callable[[str], None]) -> None:
        self._name = name
        self._port = port
        self._on_bytes = on_bytes
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._closing = threading.Event()
        self._ahead = threading.Semaphore(_CHUNKS_AHEAD)
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(_WRITES_AHEAD)
        self._lost_told = False
        self._threads = [
            threading.Thread(target=self._read_all, name=f"read {name}", daemon=True),
            threading.Thread(target=self._write_all, name=f"write {name}", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @classmethod
    async def open(
        cls, name: str, on_bytes: Callable[[bytes], None], on_lost: Callable[[str], None], timeout_s: float
    ) -> "SerialLink":
        """Open a device, a pseudo-terminal or an rfc2217:// URL without resetting the board behind it.

        Raises NoDevice if there is no such port, PortError if it cannot be opened, DeviceTimeout after timeout_s.
        """
        opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        threading.Thread(target=_open_into, args=(name, opened), name=f"open {name}", daemon=True).start()
        try:
            port = await asyncio.wait_for(opened, timeout_s)
        except TimeoutError:
            raise DeviceTimeout(f"the port did not open within {timeout_s:g} s", device=name) from None
        return cls(name, port, on_bytes, on_lost)

    def write(self, data: bytes) -> None:
        """Queue bytes for the port. Raises DeviceTimeout if the device has taken none of the last 64 writes."""
        try:
            self._outgoing.put_nowait(data)
        except queue.Full:
            raise DeviceTimeout(
                "the device takes no data", device=self._name, hint=f"{how_to_reset(self._name)} and try again"
            ) from None

    async def close(self) -> None:
        """Let go of the port. Waits at most a second for threads that a frozen device may be holding."""
        if self._closing.is_set():
            return
        self._closing.set()
        try:
            self._outgoing.put_nowait(None)
        except queue.Full:
            pass  # the writer is stuck in a write and will see the flag
        closed = self._loop.create_future()
        threading.Thread(target=self._release, args=(closed,), name=f"close {self._name}", daemon=True).start()
        try:
            await asyncio.wait_for(closed, 1.0)
        except TimeoutError:
            pass  # the thread dies with the process

    def _release(self, closed: "asyncio.Future[None]") -> None:
        if hasattr(self._port, "cancel_read"):
            self._port.cancel_read()
        for thread in self._threads:
            thread.join(_READ_TIMEOUT_S * 5)
        try:
            # RTS before DTR: the other order passes through the state that resets a board.
            if not self._name.startswith("rfc2217://"):
                self._port.rts = False
                self._port.dtr = False
        except (OSError, ValueError):
            pass  # a pseudo-terminal has no such lines
        try:
            self._port.close()
        except (OSError, ValueError):
            pass  # it is gone already
        _in_loop(self._loop, _settle, closed, None, None)

    def _read_all(self) -> None:
        reason = ""
        while not self._closing.is_set():
            try:
                chunk = self._port.read(min(self._port.in_waiting or 1, _READ_SIZE))
            except Exception as error:
                # From a vanished device pyserial lets OSError, TypeError and termios.error through.
                reason = _why_lost(error)
                break
            if chunk:
                while not self._ahead.acquire(timeout=_READ_TIMEOUT_S):
                    if self._closing.is_set():
                        return
                _in_loop(self._loop, self._deliver, bytes(chunk))
        if not self._closing.is_set():
            _in_loop(self._loop, self._tell_lost, reason)

    def _write_all(self) -> None:
        while not self._closing.is_set():
            data = self._outgoing.get()
            if data is None:
                return
            try:
                self._port.write(data)
            except Exception as error:  # as in _read_all
                if not self._closing.is_set():
                    _in_loop(self._loop, self._tell_lost, _why_lost(error))
                return

    def _deliver(self, chunk: bytes) -> None:
        self._ahead.release()
        if not self._closing.is_set():
            self._on_bytes(chunk)

    def _tell_lost(self, reason: str) -> None:
        if not self._lost_told:
            self._lost_told = True
            self._on_lost(reason)


def _open_into(name: str, opened: "asyncio.Future[Any]") -> None:
    port, failure = None, None
    try:
        port = open_port(name)
    except Exception as error:
        failure = error
    if not _in_loop(opened.get_loop(), _settle, opened, port, failure) and port is not None:
        port.close()


def _settle(future: "asyncio.Future[Any]", result: Any, failure: Exception | None) -> None:
    if future.done():  # the one who waited has gone
        if result is not None:
            result.close()
    elif failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)


def _in_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> bool:
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:  # the loop has ended before us
        return False
    return True


def open_port(name: str) -> Any:
    """A device, a pseudo-terminal or an rfc2217:// URL opened as a port of pyserial, for this program alone. Blocks.

    Raises NoDevice if there is no such port, PortBusy, PortError.
    """
    import serial

    is_url = "://" in name
    if is_url and not name.startswith("rfc2217://"):
        raise NoDevice("not a kind of port", device=name, hint="Give a serial device or rfc2217://HOST:PORT")
    if is_url and not _has_port_number(name):
        raise PortError("the port's number is missing or wrong", device=name, hint="Give rfc2217://HOST:PORT")
    try:
        if is_url:
            from .rfc2217 import QuickRfc2217Port

            return QuickRfc2217Port(name, baudrate=BAUD_RATE, timeout=_READ_TIMEOUT_S)
        # Exclusive: two programs on one port each get half of the frames.
        return serial.Serial(
            name, baudrate=BAUD_RATE, timeout=_READ_TIMEOUT_S, write_timeout=_WRITE_TIMEOUT_S, exclusive=True
        )
    except (OSError, ValueError) as error:  # SerialException is an OSError, without errno where it wraps another
        raise _open_error(name, error) from error


def _open_error(name: str, error: Exception) -> NoDevice | PortError:
    cause: BaseException = error
    while _code(cause) is None and (cause.__cause__ or cause.__context__):
        cause = cause.__cause__ or cause.__context__ or cause
    code = _code(cause)
    if isinstance(cause, socket.gaierror):
        return NoDevice("no such host", device=name, hint="Give rfc2217://HOST:PORT")
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return NoDevice("no such port", device=name, hint="`bitrelay devices` lists what there is")
    if code == errno.ECONNREFUSED:
        return NoDevice("nothing listens there", device=name, hint="Is the lab still running? `bitrelay devices` tells")
    if code in (errno.EACCES, errno.EPERM):
        return PortError(
            "no permission to open it", device=name, hint="On Linux: sudo usermod -aG dialout $USER, then log in again"
        )
    # An RFC 2217 server that is taken hangs up.
    if code in (errno.EBUSY, errno.EAGAIN, errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED):
        return PortBusy("another program has it open", device=name, hint="Close the other monitor or terminal")
    if code in (errno.ENOTTY, errno.EISDIR):
        return PortError("not a serial port", device=name, hint="`bitrelay devices` lists what there is")
    return PortError(f"cannot open it: {_reason(cause if code is not None else error)}", device=name)


def _has_port_number(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname and parts.port)
    except ValueError:
        return False


def _code(error: BaseException) -> int | None:
    # termios.error is no OSError and keeps its number as its first argument.
    code = getattr(error, "errno", None)
    if code is None and error.args and isinstance(error.args[0], int):
        code = error.args[0]
    return code


def _why_lost(error: Exception) -> str:
    # pyserial and the kernel have many ways to say that the device is not there any more.
    code = _code(error)
    if code is None or code in _GONE:
        return ""
    return _reason(error)


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
