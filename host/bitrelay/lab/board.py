"""A virtual ESP32: a serial port, a file system, a place in the radio, and one run of MicroPython after the other."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from bitrelay.errors import DeviceError, DeviceTimeout

from .board_radio import BoardRadio
from .build import Interpreter
from .controller import RadioController
from .repl_stream import ReplStream
from .rfc2217 import ModemLines
from .serial_port import SerialPort
from .vm import Run
from .waiting import News
from .watchdog import Watchdog

# The design's cap for firmware and Bluetooth on the 64-bit port (docs/requirements.md; design section 8).
DEFAULT_HEAP = "192k"

_MAX_OUTPUT = 1 << 16
_TAIL = 600
_FAST_ENDS = 5
_FAST_END_S = 1.0


class BoardState(StrEnum):
    """What a board is doing."""

    OFF = "off"
    RUNNING = "running"
    FROZEN = "frozen"
    SLEEPING = "sleeping"
    DOWNLOAD = "waiting for download"
    FAILED = "failed"


@dataclass(frozen=True)
class ResetReason:
    """Why a chip starts: the number of machine.reset_cause(), and what the ROM prints (nothing for a soft reset)."""

    cause: int
    code: int
    text: str


POWER_ON = ResetReason(1, 0x1, "POWERON_RESET")
HARD_RESET = ResetReason(2, 0xC, "SW_CPU_RESET")
WATCHDOG = ResetReason(3, 0x8, "TG1WDT_SYS_RESET")
DEEP_SLEEP = ResetReason(4, 0x5, "DEEPSLEEP_RESET")
SOFT_RESET = ResetReason(5, 0, "")


class Board:
    """One board. Its serial port and its file system stay the same however often it restarts.

    directory holds its files: "fs" is its root. shim is what build_shim() made. bluetooth gives the interpreter its
    radio, by way of controller; without them the board has no `bluetooth` module. unique_id are the 6 bytes of
    machine.unique_id(). on_restart is called with the reason whenever the interpreter goes by itself and is started
    again, on_failure when it is given up.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        interpreter: Interpreter,
        shim: Path,
        *,
        bluetooth: BoardRadio | None = None,
        controller: RadioController | None = None,
        unique_id: bytes = b"\xf0\xf1\xf2\xf3\xf4\x01",
        heap: str = DEFAULT_HEAP,
    ) -> None:
        self.name = name
        self.root = directory / "fs"
        self.state = BoardState.OFF
        self.failure = ""
        self.boots = 0
        self.reason = POWER_ON
        self.pins: dict[int, int] = {}
        self.heap = heap
        self.bluetooth = bluetooth
        self.controller = controller
        self.unique_id = unique_id
        self.on_restart: Callable[[str], None] = lambda why: None
        self.on_failure: Callable[[str], None] = lambda why: None
        self._home = directory / "home"
        self._interpreter = interpreter
        self._shim = shim
        self._serial = SerialPort(self.write, ModemLines(self._held, self._released))
        self._link = directory / name
        self._output = bytearray()
        self.printed = 0
        self._news = News()
        self._powered = False
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._run: Run | None = None
        self._repl = ReplStream()
        self._started_at = 0.0
        self._fast_ends = 0
        self._clock = 0
        self._wake: asyncio.TimerHandle | None = None
        self._watchdog = Watchdog(self._watchdog_bites)

    @property
    def port(self) -> str:
        """The PTY of its serial port, under a name that shows whose it is."""
        return self._serial.device

    @property
    def url(self) -> str:
        """The rfc2217:// form of its serial port."""
        return self._serial.url

    @property
    def output(self) -> bytes:
        """The last 64 KiB it printed."""
        return bytes(self._output)

    @property
    def is_on_air(self) -> bool:
        """Whether its program has the radio on: it advertises, or has links."""
        controller = self.controller
        return controller is not None and bool(controller.le_legacy_advertiser.enabled or controller.le_connections)

    @property
    def has_free_link(self) -> bool:
        """Whether its controller takes one more link."""
        return self.controller is not None and self.controller.has_free_link

    @property
    def pid(self) -> int | None:
        """The process of its interpreter, None while there is none."""
        return self._run.pid if self._run else None

    async def start(self) -> None:
        """Switch it on. Harmless when it is."""
        if not self._serial.url:
            self.root.mkdir(parents=True, exist_ok=True)
            self._home.mkdir(parents=True, exist_ok=True)
            await self._serial.open(self._link)
            if self.bluetooth:
                await self.bluetooth.open()
        if not self._powered:
            self._powered = True
            await self._change(POWER_ON)

    async def kill(self) -> None:
        """Cut its power: the interpreter gets no chance to finish anything, the radio hears no word."""
        self._powered = False
        await self._change(None)

    async def reboot(self) -> None:
        """Pull its reset line. Nothing happens without power."""
        await self._change(POWER_ON)

    def freeze(self) -> None:
        """Stop its processor where it is, watchdog included; the radio's own controller keeps links alive."""
        if self.state is BoardState.RUNNING and self._run:
            self._watchdog.pause()
            self._run.freeze()
            self.state = BoardState.FROZEN

    def thaw(self) -> None:
        """Let a frozen processor go on."""
        if self.state is BoardState.FROZEN and self._run:
            self._run.thaw()
            self._watchdog.resume()
            self.state = BoardState.RUNNING

    def write(self, data: bytes) -> None:
        """Send bytes to its UART."""
        if self._run:
            self._run.write(data)

    async def wait_for_output(self, pattern: str, timeout: float, start: int = 0) -> re.Match[bytes]:
        """Wait until what it printed matches a regular expression.

        Raises DeviceTimeout, or DeviceError if the board gave up. start leaves out what came before: a value of
        `printed`, the number of bytes it has printed in its life.
        """
        expression = re.compile(pattern.encode())
        try:
            async with asyncio.timeout(timeout):
                while True:
                    gone = self.printed - len(self._output)
                    found = expression.search(self.output, max(0, start - gone))
                    if found:
                        return found
                    if self.state is BoardState.FAILED:
                        raise DeviceError(f"{self.failure}; it printed {self.tail()!r}", device=self.name)
                    await self._news.wait()
        except TimeoutError:
            raise DeviceTimeout(
                f"did not print {pattern!r} within {timeout:g} s; its last output was {self.tail()!r}", device=self.name
            ) from None

    def tail(self) -> str:
        """The end of what it printed, for an error message."""
        return self._output[-_TAIL:].decode("utf-8", "replace").strip()

    async def close(self) -> None:
        """Switch it off for good: no process, no port and no place in the radio is left."""
        await self.kill()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._serial.close()
        if self.bluetooth:
            await self.bluetooth.close()

    # --- one run after the other ---

    async def _change(self, reason: ResetReason | None) -> None:
        async with self._changing:
            await self._stop()
            if reason and self._powered:
                self._power(reason)

    async def _stop(self) -> None:
        self._watchdog.stop()
        if self._wake:
            self._wake.cancel()
            self._wake = None
        run, self._run = self._run, None
        self.state = BoardState.OFF
        if run:
            await self._end(run)

    async def _end(self, run: Run) -> None:
        await run.kill()
        if self.bluetooth:
            self.bluetooth.power_cut()

    def _power(self, reason: ResetReason) -> None:
        rom = f"rst:0x{reason.code:x} ({reason.text}),boot:0x13 (SPI_FAST_FLASH_BOOT)"
        self._print(f"ets Jul 29 2019 12:21:46\r\n\r\n{rom}\r\n".encode())
        self._fast_ends = 0
        if reason is POWER_ON:
            self._clock = -int(time.time())  # the clock of an ESP32 starts at the first second of 2000
        self._begin(reason, stay_raw=False)

    def _begin(self, reason: ResetReason, stay_raw: bool) -> None:
        self.reason = reason
        self.boots += 1
        self._repl = ReplStream(stay_raw)
        self._started_at = time.monotonic()
        environment = {
            "PATH": os.defpath,
            "TZ": "UTC0",
            "MICROPYPATH": str(self._shim),
            "BITRELAY_ROOT": str(self.root),
            "BITRELAY_RESET_CAUSE": str(reason.cause),
            "BITRELAY_UNIQUE_ID": self.unique_id.hex(),
            "BITRELAY_CLOCK": str(self._clock),
            "BITRELAY_RAW_REPL": "1" if stay_raw else "0",
            **(self.bluetooth.environment if self.bluetooth else {}),
        }
        self._run = Run(
            self._interpreter,
            ["-X", f"heapsize={self.heap}", "-i", "-c", "import boot;boot.run(globals())"],
            environment,
            self._home,
            on_output=self._run_printed,
            on_control=self._run_told,
            on_end=self._run_ended,
        )
        self.state = BoardState.RUNNING

    def _run_printed(self, data: bytes) -> None:
        self._print(self._repl.feed(data))
        if self._repl.unprepared:
            self._later(self._give_up("its interpreter is not ready to run a program"))
        elif self._repl.enter_raw:
            self._repl.enter_raw = False
            self.write(b"\x01")

    def _run_told(self, words: list[str]) -> None:
        # From a board's program, which may be anybody's: what makes no sense is dropped.
        what, numbers = words[0], [int(word) for word in words[1:3] if re.fullmatch(r"-?\d{1,18}", word)]
        match what, numbers:
            case "feed", []:
                self._watchdog.feed()
            case "pin", [number, level]:
                self.pins[number] = level
            case "wdt", [timeout_ms]:
                self._watchdog.start(timeout_ms / 1000)
            case "clock", [offset]:
                self._clock = offset
            case "reset", []:
                self.on_restart("machine.reset()")
                self._later(self._change(HARD_RESET))
            case "soft", []:
                self.on_restart("machine.soft_reset()")
                self._later(self._soft_reset())
            case "sleep", [ms]:
                self._later(self._sleep(ms / 1000))

    def _run_ended(self, status: int) -> None:
        # Ctrl-D in the REPL and sys.exit() end the unix port; a board resets softly. Killed by a signal is a panic.
        self.on_restart(f"its interpreter ended with status {status}" if status >= 0 else _killed_by(-status))
        self._later(self._soft_reset() if status >= 0 else self._change(HARD_RESET))

    async def _soft_reset(self) -> None:
        async with self._changing:
            run, self._run = self._run, None
            if run is None:
                return
            await self._end(run)
            fast = not self._repl.ready and time.monotonic() - self._started_at < _FAST_END_S
            self._fast_ends = self._fast_ends + 1 if fast else 0
            if self._fast_ends >= _FAST_ENDS:
                self._fail("its interpreter keeps ending")
                return
            self._print(b"MPY: soft reboot\r\n")
            self._begin(SOFT_RESET, self._repl.raw)

    async def _give_up(self, why: str) -> None:
        async with self._changing:
            await self._stop()
            self._fail(why)

    def _fail(self, why: str) -> None:
        self._watchdog.stop()
        self.state = BoardState.FAILED
        self.failure = why
        self._print(f"\r\n{why}\r\n".encode())
        self.on_failure(why)

    async def _sleep(self, seconds: float) -> None:
        async with self._changing:
            await self._stop()
            self.state = BoardState.SLEEPING
            if seconds > 0:
                loop = asyncio.get_running_loop()
                self._wake = loop.call_later(seconds, lambda: self._later(self._change(DEEP_SLEEP)))

    def _watchdog_bites(self) -> None:
        if self._run:
            self._run.poll_control()
            if self._watchdog.expired():
                self._print(b"\r\nE (0) task_wdt: Task watchdog got triggered.\r\n")
                self.on_restart("its watchdog was not fed in time")
                self._later(self._change(WATCHDOG))

    def _held(self) -> None:
        self._later(self._change(None))

    def _released(self, download: bool) -> None:
        self._later(self._download() if download else self._change(POWER_ON))

    async def _download(self) -> None:
        async with self._changing:
            await self._stop()
            if not self._powered:
                return
            self.state = BoardState.DOWNLOAD
            rom = b"rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))"
            self._print(rom + b"\r\nwaiting for download\r\n")

    def _later(self, change: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(change)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _print(self, data: bytes) -> None:
        if not data:
            return
        self._serial.write(data)
        self.printed += len(data)
        self._output += data
        del self._output[:-_MAX_OUTPUT]
        self._news.tell()


def _killed_by(number: int) -> str:
    try:
        return f"its interpreter was killed by {signal.Signals(number).name}"
    except ValueError:  # a real-time signal has no name
        return f"its interpreter was killed by signal {number}"
