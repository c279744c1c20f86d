"""The chip of a virtual board: what it does from one reset to the next, and what its ROM says about it."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .app_run import AppRun, AppSetup, Ended, Ending, Rtc
from .esp_resets import ROM_WORDS, Reset
from .nor_flash import NorFlash
from .rom_loader import RomLoader
from .second_stage import App, NotBootable, boot

_FAST_ENDS = 5
_FAST_END_S = 1.0
_BOOT_AGAIN_S = 0.3


class BoardState(StrEnum):
    """What a board is doing."""

    OFF = "off"
    RUNNING = "running"
    FROZEN = "frozen"
    SLEEPING = "sleeping"
    DOWNLOAD = "waiting for download"
    NOT_BOOTING = "not booting"
    FAILED = "failed"


@dataclass
class ChipEvents:
    """Who is told what: say gets the bytes on the UART, gone is called when a program lost its processor.

    restarted hears why a program that went by itself is started again, failed why it is not.
    """

    say: Callable[[bytes], None]
    gone: Callable[[], None]
    restarted: Callable[[str], None]
    failed: Callable[[str], None]


class EspChip:
    """One chip and its flash. Changes come one after the other, in the order in which they were asked for."""

    def __init__(self, setup: AppSetup, flash: NorFlash, events: ChipEvents) -> None:
        self.state = BoardState.OFF
        self.failure = ""
        self.boots = 0
        self.reset = Reset.POWER_ON
        self.pins: dict[int, int] = {}
        self._setup = setup
        self._flash = flash
        self._events = events
        self._words = ROM_WORDS[setup.chip]
        self._rtc = Rtc()
        self._is_powered = False
        self._changing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        # What it does; at most one of these.
        self._run: AppRun | None = None
        self._loader: RomLoader | None = None
        self._timer: asyncio.TimerHandle | None = None
        # What the boot pin was when it was read last.
        self._download = False
        self._fast_ends = 0

    @property
    def pid(self) -> int | None:
        """The process of its interpreter, None while there is none."""
        return self._run.pid if self._run else None

    @property
    def is_in_loader(self) -> bool:
        """Whether its serial bootloader waits for commands."""
        return self._loader is not None

    # --- from outside ---

    async def power_on(self) -> None:
        """Give it power. Harmless when it has."""
        if not self._is_powered:
            self._is_powered = True
            self._flash.restore_power()
            await self._change(Reset.POWER_ON)

    def cut_power(self) -> None:
        """Take its power now, in the middle of whatever it does: of what goes to the flash the rest is lost."""
        self._is_powered = False
        self._loader = None
        self._flash.cut_power()
        self._later(self._go_dark())

    async def dark(self) -> None:
        """Wait until a chip without power has stopped."""
        await self._go_dark()

    def hold(self) -> None:
        """Pull its reset pin down: it stops."""
        self._later(self._change(None))

    def release(self, boot_pin_low: bool) -> None:
        """Let its reset pin go: it starts, from the UART if the boot pin is low. Nothing happens without power."""
        self._later(self._change(Reset.POWER_ON, boot_pin_low))

    async def restart(self) -> None:
        """As hold and release; returns when it has started."""
        await self._change(Reset.POWER_ON)

    def freeze(self) -> None:
        """Stop its processor where it is, watchdog included."""
        if self.state is BoardState.RUNNING and self._run:
            self._run.freeze()
            self.state = BoardState.FROZEN

    def thaw(self) -> None:
        """Let a frozen processor go on."""
        if self.state is BoardState.FROZEN and self._run:
            self._run.thaw()
            self.state = BoardState.RUNNING

    def write(self, data: bytes) -> None:
        """Send bytes to its UART."""
        if self._loader:
            self._loader.feed(data)
        elif self._run:
            self._run.write(data)

    async def close(self) -> None:
        """Take its power for good: neither process nor task is left."""
        self.cut_power()
        await self.dark()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- resets ---

    async def _change(self, reset: Reset | None, boot_pin_low: bool = False) -> None:
        # Ends what the chip does; with a reset it then begins anew, without it stays off.
        async with self._changing:
            await self._stop()
            if reset and self._is_powered:
                if reset.reads_boot_pin:
                    self._download = boot_pin_low
                self._begin(reset)

    async def _go_dark(self) -> None:
        async with self._changing:
            # Whoever has switched it on again meanwhile ends what was.
            if not self._is_powered:
                await self._stop()

    async def _stop(self) -> None:
        self._loader = None
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self.state = BoardState.OFF
        run, self._run = self._run, None
        if run:
            await self._end(run)

    async def _end(self, run: AppRun) -> None:
        await run.kill()
        self._events.gone()

    def _begin(self, reset: Reset) -> None:
        self.reset = reset
        self._fast_ends = 0
        if reset is Reset.POWER_ON:
            self._rtc.offset = -int(time.time())  # the clock of an ESP32 starts at the first second of 2000
        self._events.say(self._words.banner(reset, self._download))
        if self._download:
            self._wait_for_download()
        else:
            self._boot()

    def _wait_for_download(self) -> None:
        self.state = BoardState.DOWNLOAD
        self._loader = RomLoader(
            self._setup.chip,
            self._setup.unique_id,
            self._flash,
            send=self._loader_says,
            on_run=self._run_from_loader,
            on_reset=lambda reset: self._later(self._change(reset)),
        )

    def _loader_says(self, data: bytes) -> None:
        # The power may go while the loader is at work.
        if self._is_powered:
            self._events.say(data)

    def _run_from_loader(self) -> None:
        # No reset: the boot pin stays what it was, so that the chip's next reset of its own leads back here.
        self._loader = None
        self._boot()

    def _boot(self) -> None:
        try:
            app = boot(self._flash, self._setup.chip)
        except NotBootable as error:
            self.state = BoardState.NOT_BOOTING
            self._events.say(f"{error}\r\n".encode())
            # The bootloader's watchdog has the ROM try again, for ever.
            self._after(_BOOT_AGAIN_S, Reset.RTC_WATCHDOG)
            return
        self._events.say(f"entry 0x{app.entry:08x}\r\n".encode())
        self._start_app(app, stay_raw=False)

    def _start_app(self, app: App, stay_raw: bool) -> None:
        self.boots += 1
        run = AppRun(
            self._setup,
            app,
            self.reset.cause,
            self._rtc,
            self.pins,
            stay_raw=stay_raw,
            on_output=self._events.say,
            on_end=lambda ended: self._app_ended(run, ended),
        )
        self._run = run
        self.state = BoardState.RUNNING

    def _app_ended(self, run: AppRun, ended: Ended) -> None:
        if ended.how is Ending.UNPREPARED:
            self._later(self._give_up(ended.why))
            return
        if ended.why:
            self._events.restarted(ended.why)
        match ended.how:
            case Ending.SOFT:
                self._later(self._soft_reset(run))
            case Ending.WATCHDOG:
                self._later(self._change(Reset.WATCHDOG))
            case Ending.SLEEP:
                self._later(self._sleep(ended.sleep_s))
            case Ending.BOOTLOADER:
                # A bit that only a reset by pin or power clears makes the ROM stay.
                self._download = True
                self._later(self._change(Reset.SOFTWARE))
            case _:
                self._later(self._change(Reset.SOFTWARE))

    async def _soft_reset(self, run: AppRun) -> None:
        async with self._changing:
            if self._run is not run:
                return
            self._run = None
            await self._end(run)
            fast = not run.came_to_repl and run.age_s < _FAST_END_S
            self._fast_ends = self._fast_ends + 1 if fast else 0
            if self._fast_ends >= _FAST_ENDS:
                self._fail("its interpreter keeps ending")
                return
            self._events.say(b"MPY: soft reboot\r\n")
            self.reset = Reset.SOFT
            self._start_app(run.app, run.is_raw)

    async def _sleep(self, seconds: float) -> None:
        async with self._changing:
            await self._stop()
            self.state = BoardState.SLEEPING
            if seconds > 0:
                self._after(seconds, Reset.DEEP_SLEEP)

    async def _give_up(self, why: str) -> None:
        async with self._changing:
            await self._stop()
            self._fail(why)

    def _fail(self, why: str) -> None:
        self.state = BoardState.FAILED
        self.failure = why
        self._events.say(f"\r\n{why}\r\n".encode())
        self._events.failed(why)

    def _after(self, seconds: float, reset: Reset) -> None:
        later = asyncio.get_running_loop().call_later
        self._timer = later(seconds, lambda: self._later(self._change(reset)))

    def _later(self, change: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(change)
        self._tasks.add(task)
        task.add_done_callback(self._changed)

    def _changed(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # What this computer cannot do, such as start one more process.
            self._fail(f"{type(error).__name__}: {error}")
