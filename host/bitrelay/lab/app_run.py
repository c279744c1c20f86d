"""MicroPython on a virtual board, from one reset to the next: its process, its REPL, its pins and its watchdog."""

import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bitrelay.boards.image import Partition

from .build import Interpreter
from .repl_stream import ReplStream
from .second_stage import App
from .vm import Run
from .watchdog import Watchdog

_ENTER_RAW = b"\x01"
_PINS = 64
# How MicroPython names module and build of a chip (ports/esp32/boards/ESP32_GENERIC*).
_MACHINES = {
    "esp32": "ESP32,ESP32_GENERIC",
    "esp32c3": "ESP32C3,ESP32_GENERIC_C3",
    "esp32s3": "ESP32S3,ESP32_GENERIC_S3",
}


class Ending(Enum):
    """What ends a run."""

    SOFT = "a soft reset"
    RESET = "machine.reset()"
    PANIC = "a panic"
    WATCHDOG = "the watchdog"
    SLEEP = "deep sleep"
    BOOTLOADER = "machine.bootloader()"
    UNPREPARED = "an interpreter that is not ready"


@dataclass(frozen=True)
class Ended:
    """How a run ended, and why in words; sleep_s is how long a deep sleep lasts (0: until a reset)."""

    how: Ending
    why: str = ""
    sleep_s: float = 0.0


@dataclass
class Rtc:
    """What a chip keeps over resets: the seconds between its clock, which begins with 2000, and the computer's."""

    offset: int = 0


@dataclass(frozen=True)
class AppSetup:
    """What all runs of a board have in common; radio is the environment by which the interpreter finds its radio."""

    interpreter: Interpreter
    shim: Path
    home: Path
    flash: Path
    chip: str
    unique_id: bytes
    heap: str
    radio: Mapping[str, str]


class AppRun:
    """One run. on_output gets what the board prints, on_end is called once, unless the run is killed before.

    stay_raw: it follows a soft reset in raw mode (see repl_stream). cause is what machine.reset_cause() returns.
    """

    def __init__(
        self,
        setup: AppSetup,
        app: App,
        cause: int,
        rtc: Rtc,
        pins: dict[int, int],
        *,
        stay_raw: bool,
        on_output: Callable[[bytes], None],
        on_end: Callable[[Ended], None],
    ) -> None:
        self.app = app
        self.is_frozen = False
        self._rtc = rtc
        self._pins = pins
        self._on_output = on_output
        self._on_end: Callable[[Ended], None] | None = on_end
        self._repl = ReplStream(stay_raw)
        self._started_at = time.monotonic()
        self._watchdog = Watchdog(self._watchdog_bites)
        # The app that runs comes first: shim/esp32.py.
        rows = sorted(app.partitions, key=lambda row: row is not app.running)
        self._run = Run(
            setup.interpreter,
            ["-X", f"heapsize={setup.heap}", "-i", "-c", "import boot;boot.run(globals())"],
            {
                "PATH": os.defpath,
                "TZ": "UTC0",
                "MICROPYPATH": str(setup.shim),
                "BITRELAY_FLASH": str(setup.flash),
                "BITRELAY_PARTITIONS": ",".join(map(_row, rows)),
                "BITRELAY_MACHINE": _MACHINES[setup.chip],
                "BITRELAY_RESET_CAUSE": str(cause),
                "BITRELAY_UNIQUE_ID": setup.unique_id.hex(),
                "BITRELAY_CLOCK": str(rtc.offset),
                "BITRELAY_RAW_REPL": "1" if stay_raw else "0",
                **setup.radio,
            },
            setup.home,
            on_output=self._printed,
            on_control=self._told,
            on_end=self._gone,
        )

    @property
    def pid(self) -> int:
        """The interpreter's process."""
        return self._run.pid

    @property
    def is_raw(self) -> bool:
        """Whether its REPL is in raw mode."""
        return self._repl.raw

    @property
    def came_to_repl(self) -> bool:
        """Whether the board's own files have run."""
        return self._repl.ready

    @property
    def age_s(self) -> float:
        """Seconds since it started."""
        return time.monotonic() - self._started_at

    def write(self, data: bytes) -> None:
        """Send bytes to the UART."""
        self._run.write(data)

    def freeze(self) -> None:
        """Stop the processor where it is, watchdog included."""
        self._watchdog.pause()
        self._run.freeze()
        self.is_frozen = True

    def thaw(self) -> None:
        """Let a frozen processor go on."""
        self._run.thaw()
        self._watchdog.resume()
        self.is_frozen = False

    async def kill(self) -> None:
        """End it as a power cut does."""
        self._on_end = None
        self._watchdog.stop()
        await self._run.kill()

    def _printed(self, data: bytes) -> None:
        self._on_output(self._repl.feed(data))
        if self._repl.unprepared:
            self._end(Ended(Ending.UNPREPARED, "its interpreter is not ready to run a program"))
        elif self._repl.enter_raw:
            self._repl.enter_raw = False
            self.write(_ENTER_RAW)

    def _told(self, words: list[str]) -> None:
        # From a board's program, which may be anybody's: what makes no sense is dropped.
        what, numbers = words[0], [int(word) for word in words[1:3] if re.fullmatch(r"-?\d{1,18}", word)]
        match what, numbers:
            case "feed", []:
                self._watchdog.feed()
            case "pin", [number, level] if 0 <= number < _PINS:
                self._pins[number] = level
            case "wdt", [timeout_ms]:
                self._watchdog.start(timeout_ms / 1000)
            case "clock", [offset]:
                self._rtc.offset = offset
            case "reset", []:
                self._end(Ended(Ending.RESET, "machine.reset()"))
            case "soft", []:
                self._end(Ended(Ending.SOFT, "machine.soft_reset()"))
            case "bootloader", []:
                self._end(Ended(Ending.BOOTLOADER))
            case "sleep", [ms]:
                self._end(Ended(Ending.SLEEP, sleep_s=max(0, ms) / 1000))

    def _gone(self, status: int) -> None:
        # Ctrl-D in the REPL and sys.exit() end the unix port; a board resets softly. Killed by a signal is a panic.
        if status == 0:
            self._end(Ended(Ending.SOFT, "soft reset"))
        elif status > 0:
            self._end(Ended(Ending.SOFT, f"its interpreter ended with status {status}"))
        else:
            self._end(Ended(Ending.PANIC, f"its interpreter was killed by {_name_of(-status)}"))

    def _watchdog_bites(self) -> None:
        self._run.poll_control()
        if self._on_end and self._watchdog.expired():
            self._on_output(b"\r\nE (0) task_wdt: Task watchdog got triggered.\r\n")
            self._end(Ended(Ending.WATCHDOG, "its watchdog was not fed in time"))

    def _end(self, ended: Ended) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end:
            on_end(ended)


def _row(partition: Partition) -> str:
    label = re.sub("[:,]", "?", partition.label)
    return f"{partition.type}:{partition.subtype}:{partition.offset}:{partition.size}:{label}"


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
