"""The serial port of a virtual board seen from outside: a PTY and an RFC 2217 port that outlive every reset."""

import asyncio
import os
import pty
import select
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from .rfc2217 import MAX_WAITING, ModemLines, Rfc2217Server

_READ = 1 << 16
# A PTY does not tell when somebody opens it.
_LOOK_EVERY_S = 0.02


class PtyPort:
    """One end of a PTY, whose other end goes by the symbolic link `link`.

    While nobody has it open, what is written is lost, as on a cable without a computer. A client that does not read
    loses the oldest; the board never waits for it.
    """

    def __init__(self, on_input: Callable[[bytes], None], link: Path) -> None:
        self._on_input = on_input
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._attached = False
        self._master, slave = pty.openpty()
        self._path = os.ttyname(slave)
        os.set_blocking(self._master, False)
        os.close(slave)
        link.unlink(missing_ok=True)
        link.symlink_to(self._path)
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLIN)
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def write(self, data: bytes) -> None:
        """Print to whoever has the port open."""
        if not self._attached:
            return
        self._waiting += data
        del self._waiting[:-MAX_WAITING]
        self._flush()

    def close(self) -> None:
        """Close it; a client sees the device go away."""
        self._timer.cancel()
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        os.close(self._master)
        self._link.unlink(missing_ok=True)

    def _look(self) -> None:
        # POLLHUP alone: nobody there. POLLIN with it: somebody came, wrote and has left already.
        events = self._poll.poll(0)
        if events and events[0][1] & select.POLLHUP and not events[0][1] & select.POLLIN:
            self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)
            return
        # Settings do not survive the last close: without this, a client that does not know terminals gets an echo.
        tty.setraw(self._master, termios.TCSANOW)
        self._attached = True
        self._loop.add_reader(self._master, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _READ)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last client has closed it
            self._detach()
            return
        self._on_input(data)

    def _detach(self) -> None:
        self._attached = False
        self._waiting.clear()
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        # What the last client left unread is not for the next one.
        termios.tcflush(self._master, termios.TCOFLUSH)
        slave = os.open(self._path, os.O_RDWR | os.O_NOCTTY)
        termios.tcflush(slave, termios.TCIFLUSH)
        os.close(slave)
        self._timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _flush(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._master, self._waiting)]
        except BlockingIOError:
            self._loop.add_writer(self._master, self._flush)
            return
        except OSError:
            self._waiting.clear()
        self._loop.remove_writer(self._master)


class SerialPort:
    """Both ways to a board's console: what either client writes goes to the board, what it prints goes to both.

    link becomes a symbolic link to the PTY, with a name a reader recognizes. What comes from the PTY goes to
    on_pty_input; max_baud is that of Rfc2217Server.
    """

    def __init__(
        self,
        link: Path,
        on_input: Callable[[bytes], None],
        lines: ModemLines,
        *,
        on_pty_input: Callable[[bytes], None],
        max_baud: int = 0,
    ) -> None:
        self.device = str(link)
        self.url = ""
        self._link = link
        self._on_pty_input = on_pty_input
        self._server = Rfc2217Server(lines, on_input, max_baud)
        self._pty: PtyPort | None = None

    async def open(self) -> None:
        """Make the ports; after a close() they are the same. Harmless when they are there."""
        if self._pty is None:
            self._pty = PtyPort(self._on_pty_input, self._link)
        self.url = await self._server.open()

    def write(self, data: bytes) -> None:
        """Print to all clients."""
        if self._pty:
            self._pty.write(data)
        self._server.write(data)

    def close(self, for_good: bool = True) -> None:
        """Close both ports; clients see the device go away. If not for good, they can be opened again."""
        self._server.close(for_good)
        if self._pty:
            self._pty.close()
            self._pty = None
