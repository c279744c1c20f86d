"""A virtual ESP32 board: a chip with its flash, a serial port with lines and buttons, and a place in the radio."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from .app_run import AppSetup
from .board_output import BoardOutput
from .board_radio import BoardRadio
from .build import Interpreter
from .controller import RadioController
from .esp_chip import BoardState, ChipEvents, EspChip
from .esp_resets import Reset
from .flash_contents import read_files
from .nor_flash import NorFlash
from .rfc2217 import ModemLines
from .rom_loader import SYNC_FRAME
from .serial_port import SerialPort

__all__ = ["DEFAULT_CHIP", "DEFAULT_HEAP", "LOOK_ALIKES_K", "Board", "BoardState"]

# The design's cap for the firmware on the 64-bit port is 192 KiB (docs/requirements.md; design section 8). The modules
# that stand in for those of a board, which there are C and need no heap, take 43 KiB: 44,000 bytes when main.py
# begins, the filesystem's buffers among them (tests/lab/test_board_flash.py measures it).
LOOK_ALIKES_K = 43
DEFAULT_HEAP = f"{192 + LOOK_ALIKES_K}k"
DEFAULT_CHIP = "esp32"


class Board:
    """One board. Its serial port and its flash stay the same however often it restarts.

    directory holds what is its alone, shim is what build_shim() made. bluetooth gives the interpreter its radio, by way
    of controller; without them the board has no `bluetooth` module. unique_id are the 6 bytes of machine.unique_id()
    and of the MAC address that flash tools read. With auto_reset DTR and RTS reach the reset and boot pins; without,
    only the buttons do. What a client sends faster than max_baud (bits per second) arrives garbled; 0 is no limit.

    on_restart is called with the reason whenever the interpreter goes by itself and is started again, on_failure when
    it is given up. The flash is the board's from now on: close() closes it.
    """

    def __init__(
        self,
        name: str,
        directory: Path,
        interpreter: Interpreter,
        shim: Path,
        flash: NorFlash,
        *,
        chip: str = DEFAULT_CHIP,
        auto_reset: bool = True,
        max_baud: int = 0,
        bluetooth: BoardRadio | None = None,
        controller: RadioController | None = None,
        unique_id: bytes = b"\xf0\xf1\xf2\xf3\xf4\x01",
        heap: str = DEFAULT_HEAP,
    ) -> None:
        self.name = name
        self.chip = chip
        self.flash = flash
        self.auto_reset = auto_reset
        self.heap = heap
        self.bluetooth = bluetooth
        self.controller = controller
        self.unique_id = unique_id
        self.on_restart: Callable[[str], None] = lambda why: None
        self.on_failure: Callable[[str], None] = lambda why: None
        self._home = directory / ".home"
        radio: Mapping[str, str] = bluetooth.environment if bluetooth else {}
        self._chip = EspChip(
            AppSetup(interpreter, shim, self._home, flash.path, chip, unique_id, heap, radio),
            flash,
            ChipEvents(
                say=self._say,
                gone=bluetooth.power_cut if bluetooth else lambda: None,
                restarted=lambda why: self.on_restart(why),
                failed=lambda why: self.on_failure(why),
            ),
        )
        self._serial = SerialPort(
            directory / name,
            self.write,
            ModemLines(self._chip.hold, self._chip.release) if auto_reset else ModemLines(),
            on_pty_input=self._pty_input,
            max_baud=max_baud,
        )
        self._output = BoardOutput(name)
        self._is_open = False

    # --- what others see ---

    @property
    def port(self) -> str:
        """The PTY of its serial port, under a name that shows whose it is."""
        return self._serial.device

    @property
    def url(self) -> str:
        """The rfc2217:// form of its serial port."""
        return self._serial.url

    @property
    def state(self) -> BoardState:
        """What it is doing."""
        return self._chip.state

    @property
    def failure(self) -> str:
        """Why it was given up, if it was."""
        return self._chip.failure

    @property
    def boots(self) -> int:
        """How often its program was started, by soft resets too."""
        return self._chip.boots

    @property
    def reset(self) -> Reset:
        """What its last reset was."""
        return self._chip.reset

    @property
    def pins(self) -> dict[int, int]:
        """The levels its program has set, by GPIO number."""
        return self._chip.pins

    @property
    def pid(self) -> int | None:
        """The process of its interpreter, None while there is none."""
        return self._chip.pid

    @property
    def output(self) -> bytes:
        """The last 64 KiB it printed."""
        return self._output.kept()

    @property
    def printed(self) -> int:
        """How many bytes it has printed in its life."""
        return self._output.total

    @property
    def is_on_air(self) -> bool:
        """Whether its program has the radio on: it advertises, or has links."""
        controller = self.controller
        return controller is not None and bool(controller.le_legacy_advertiser.enabled or controller.le_connections)

    @property
    def has_free_link(self) -> bool:
        """Whether its controller takes one more link."""
        return self.controller is not None and self.controller.has_free_link

    def files(self) -> dict[str, bytes]:
        """The files on its flash by absolute path. Raises NotBootable and UnreadableFilesystem."""
        return read_files(self.flash, self.chip)

    async def wait_for_output(self, pattern: str, timeout: float, start: int = 0) -> re.Match[bytes]:
        """Wait until what it printed matches a regular expression.

        Raises DeviceTimeout, or DeviceError if the board gave up. start leaves out what came before: a value of
        `printed`.
        """
        return await self._output.wait_for(
            pattern, timeout, start, lambda: self.failure if self.state is BoardState.FAILED else ""
        )

    def tail(self) -> str:
        """The end of what it printed, for an error message."""
        return self._output.tail()

    # --- what can be done to it ---

    async def start(self) -> None:
        """Plug it in and switch it on. Harmless when it is."""
        if not self._is_open:
            self._is_open = True
            self._home.mkdir(parents=True, exist_ok=True)
            if self.bluetooth:
                await self.bluetooth.open()
        await self._serial.open()
        await self._chip.power_on()

    def cut_power(self) -> None:
        """Cut its power now, in the middle of whatever it does: of what goes to the flash the rest is lost."""
        self._chip.cut_power()

    async def kill(self) -> None:
        """Cut its power and wait until it is off: the program finishes nothing, the radio hears no word."""
        self._chip.cut_power()
        await self._chip.dark()

    def unplug(self) -> None:
        """Pull its cable: the power is cut and its ports are gone. start() plugs it in again, with the same ports."""
        self._chip.cut_power()
        self._serial.close(for_good=False)

    async def reboot(self) -> None:
        """Pull its reset line. Nothing happens without power."""
        await self._chip.restart()

    def press_reset(self) -> None:
        """Press and release its RESET button."""
        self._chip.release(boot_pin_low=False)

    def press_boot_and_reset(self) -> None:
        """Hold its BOOT button while RESET is pressed and released: it waits for a download."""
        self._chip.release(boot_pin_low=True)

    def freeze(self) -> None:
        """Stop its processor where it is, watchdog included; the radio's own controller keeps links alive."""
        self._chip.freeze()

    def thaw(self) -> None:
        """Let a frozen processor go on."""
        self._chip.thaw()

    def write(self, data: bytes) -> None:
        """Send bytes to its UART."""
        self._chip.write(data)

    async def close(self) -> None:
        """Switch it off for good: no process, no port, no open file and no place in the radio is left."""
        await self._chip.close()
        self._serial.close()
        self.flash.close()
        if self.bluetooth:
            await self.bluetooth.close()

    def _pty_input(self, data: bytes) -> None:
        # A PTY has no lines to reset and boot pin. What only a flash tool says acts as a finger on both buttons.
        if self.auto_reset and not self._chip.is_in_loader and SYNC_FRAME in data:
            self.press_boot_and_reset()
        else:
            self.write(data)

    def _say(self, data: bytes) -> None:
        if data:
            self._serial.write(data)
            self._output.add(data)
