"""One run of the MicroPython interpreter: a process whose standard streams are a PTY that plays the board's UART."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import subprocess
import termios
import tty
from collections.abc import Callable, Mapping
from pathlib import Path

from .build import Interpreter

_INTERRUPT = b"\x03"
# The unix port ends itself at a second SIGINT that comes before the first was noticed; an ESP32 takes it for one.
_INTERRUPT_SPACING_S = 0.05
_MAX_INPUT = 1 << 16
_READ = 1 << 16
_SIGINT_BIT = 1 << (signal.SIGINT - 1)
_HAS_PROC = Path("/proc/self/status").exists()


class Run:
    """A started interpreter. Bytes go in with write(); what it prints, tells or ends with comes through the callbacks.

    on_output gets the UART's bytes; on_control one line of shim/esp_machine.py, split into words; on_end the exit
    status (negative: the signal that ended it) once the process has gone by itself. After kill() no callback comes.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        arguments: list[str],
        environment: Mapping[str, str],
        home: Path,
        *,
        on_output: Callable[[bytes], None],
        on_control: Callable[[list[str]], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._on_control = on_control
        self._on_end = on_end
        self._input = bytearray()
        self._line = b""
        self._frozen = False
        self._closed = False
        self._interrupt_after = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._ending: asyncio.Task[None] | None = None
        self._uart, slave = pty.openpty()
        self._control, control = os.pipe()
        try:
            _make_raw(slave)
            self._process = subprocess.Popen(
                [str(interpreter.path), *arguments],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                cwd=home,
                env={**environment, "HOME": str(home), "BITRELAY_CONTROL": str(control)},
                pass_fds=(control,),
                start_new_session=True,
                # With the UART as controlling terminal it ends (SIGHUP) when this process does, however that happens.
                preexec_fn=_take_terminal,
            )
        except BaseException:
            os.close(self._uart)
            os.close(self._control)
            raise
        finally:
            os.close(slave)
            os.close(control)
        os.set_blocking(self._uart, False)
        os.set_blocking(self._control, False)
        self._loop.add_reader(self._uart, self._uart_readable)
        self._loop.add_reader(self._control, self.poll_control)

    @property
    def pid(self) -> int:
        """The process, which is also its process group."""
        return self._process.pid

    def write(self, data: bytes) -> int:
        """Give the UART bytes; returns how many there was room for: a program that does not read loses the rest."""
        taken = data[: max(0, _MAX_INPUT - len(self._input))]
        self._input += taken
        self._pump()
        return len(taken)

    def freeze(self) -> None:
        """Stop the processor where it is; it knows nothing of it."""
        self._frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen processor go on."""
        self._signal(signal.SIGCONT)
        self._frozen = False
        self._pump()

    def poll_control(self) -> None:
        """Take in what the interpreter has told so far, as the event loop does by itself."""
        if self._closed:
            return
        try:
            data = os.read(self._control, _READ)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._control)
            return
        self._drain_uart()
        *lines, self._line = (self._line + data).split(b"\n")
        self._line = self._line[-256:]
        for line in lines:
            words = line.decode("ascii", "replace").split()
            if words and not self._closed:
                self._on_control(words)

    async def kill(self) -> None:
        """End it as a power cut does, and wait until the process is gone. Harmless when it already is."""
        self._close()
        self._signal(signal.SIGKILL)
        await asyncio.shield(asyncio.to_thread(self._process.wait))

    def _uart_readable(self) -> None:
        try:
            data = os.read(self._uart, _READ)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody holds the other end, so the process has ended
            self._loop.remove_reader(self._uart)
            self._ending = self._loop.create_task(self._ended())
            return
        self._on_output(data)

    def _drain_uart(self) -> None:
        # What was printed before something was told comes before it, above all before a reset.
        try:
            while not self._closed and (data := os.read(self._uart, _READ)):
                self._on_output(data)
        except OSError:
            pass  # there is no more

    async def _ended(self) -> None:
        self.poll_control()
        if self._closed:
            return
        await self.kill()
        self._on_end(self._process.returncode)

    def _pump(self) -> None:
        # 0x03 interrupts only while the program wants it to (micropython.kbd_intr), else it is a byte like any other.
        self._stop_waiting()
        while self._input and not self._closed:
            at = self._input.find(_INTERRUPT) if _HAS_PROC else -1
            try:
                if at == 0:
                    if not self._interrupt():
                        return
                    del self._input[:1]
                else:
                    end = min(1024, at if at > 0 else len(self._input))
                    del self._input[: os.write(self._uart, self._input[:end])]
            except BlockingIOError:
                self._loop.add_writer(self._uart, self._pump)
                return
            except OSError:
                return  # it is ending

    def _interrupt(self) -> bool:
        if self._frozen:
            return False
        wait = self._interrupt_after - self._loop.time()
        if wait > 0:
            self._retry = self._loop.call_later(wait, self._pump)
            return False
        # Stopped, so that it cannot change its mind between question and signal: an uncaught SIGINT would end it.
        self._signal(signal.SIGSTOP)
        try:
            if self._catches_interrupt():
                self._signal(signal.SIGINT)
                self._interrupt_after = self._loop.time() + _INTERRUPT_SPACING_S
            else:
                os.write(self._uart, _INTERRUPT)
        finally:
            self._signal(signal.SIGCONT)
        return True

    def _catches_interrupt(self) -> bool:
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        found = re.search(r"SigCgt:\s*(\w+)", status)
        return bool(found and int(found[1], 16) & _SIGINT_BIT)

    def _signal(self, number: signal.Signals) -> None:
        # poll() first: the number of a process that was waited for may already belong to another.
        if self._process.poll() is None:
            os.killpg(self.pid, number)

    def _stop_waiting(self) -> None:
        self._loop.remove_writer(self._uart)
        if self._retry:
            self._retry.cancel()
            self._retry = None

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._stop_waiting()
        self._loop.remove_reader(self._uart)
        self._loop.remove_reader(self._control)
        os.close(self._uart)
        os.close(self._control)


def _take_terminal() -> None:
    # Who is started under nohup passes on that SIGHUP is ignored.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _make_raw(slave: int) -> None:
    tty.setraw(slave)
    if not _HAS_PROC:
        # Nobody to ask whether SIGINT is caught: the terminal itself interrupts, except in the REPL's own raw mode.
        attributes = termios.tcgetattr(slave)
        attributes[3] |= termios.ISIG
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
