"""Makes a relay out of one board, from finding its chip to hearing the relay say who it is.

Until the first byte is written nothing on the board changes, and whatever goes wrong ends with the board running what
it had. From then on its files are in a rescue file on this computer, and another run completes the work.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bitrelay.errors import (
    BadData,
    BitrelayError,
    CheckFailed,
    DeviceError,
    DeviceLost,
    NoBootloader,
    NoDevice,
    NotVerified,
    WrongChip,
)
from bitrelay.ports import mac_in, sole_user, usb_port_now

from .background import in_background
from .bootloader import ROM_BAUD, TransferFailed
from .catalog import BoardModel, find_board, load_boards, named_board
from .chips import CHIPS, Chip
from .compile import BUILD_FILE, board_files
from .filesystem import build
from .firmware_source import FirmwareSource, own_file
from .image import Firmware
from .job import FlashEvent, FlashOptions, FlashResult, Target
from .plan import (
    SETTINGS_FILE,
    WritePlan,
    check_firmware,
    fingerprints,
    kept_files,
    wanted_files,
    write_plan,
)
from .read_back import Flashed, Running, read_back
from .rescue import drop_rescue, load_rescue, rescue_path, save_rescue
from .worker import Worker

BAUD_RATES = (921_600, 460_800, ROM_BAUD)

_CONNECT_S = 45.0
_STEP_S = 30.0
_WRITE_S = 60.0
_ERASE_S = 180.0
_START_S = 30.0
_FINGERS_S = 30.0
_REAPPEARS_S = 5.0
_LOOK_AGAIN_S = 0.2
_NO_BLUETOOTH = {"ESP8266", "ESP32-S2"}


async def flash(target: Target, options: FlashOptions, on_event: Callable[[FlashEvent], None]) -> FlashResult:
    """Flash one board. Raises the errors of errors.py; when cancelled, or failed, no process and no port is left."""
    with sole_user(target.url, target.port):
        async with await Worker.start(target.port) as worker:
            return await _Flashing(target, options, on_event, worker).run()


class _Flashing:
    def __init__(
        self, target: Target, options: FlashOptions, on_event: Callable[[FlashEvent], None], worker: Worker
    ) -> None:
        self._target = target
        self._options = options
        self._on_event = on_event
        self._worker = worker
        self._rates = [rate for rate in BAUD_RATES if rate <= (options.baud or rate)] or [ROM_BAUD]
        if options.baud and options.baud not in self._rates:
            self._rates.insert(0, options.baud)
        # Where the board is now.
        self._url = target.url
        self._by_hand = False
        self._writing = False
        self._mac = ""
        self._stage = ""
        self._began = self._stage_began = time.monotonic()
        self._stages: dict[str, float] = {}

    async def run(self) -> FlashResult:
        try:
            result = await self._run()
        except BitrelayError as error:
            if self._writing and not isinstance(error, NotVerified):
                error.hint = f"{error.hint}. {self._half_written()}" if error.hint else self._half_written()
            raise
        except asyncio.CancelledError:
            if self._writing:
                self._note(self._half_written())
            elif self._stage == "start":
                self._note("Everything is written; only whether the relay runs was not seen")
            raise
        return result

    async def _run(self) -> FlashResult:
        options = self._options
        self._begin("connect")
        found = await self._connect()
        chip = _chip(found["title"], self._target.port)
        flash_size = int(found["flash_size"])
        self._mac = str(found["mac"])
        board = find_board(chip, options.board)
        self._rates = [rate for rate in self._rates if rate <= max(board.baud, options.baud or 0)] or [ROM_BAUD]
        self._note(f"{chip.title}, {flash_size >> 20} MB flash, MAC {_colons(self._mac)}: {board.name}")

        self._begin("firmware")
        firmware = await self._firmware(board, flash_size)

        self._begin("read")
        kept, old = await self._kept(firmware, flash_size)

        self._begin("build")
        wanted = wanted_files(kept, options.wishes, board)
        vfs = firmware.vfs(flash_size)
        program = await in_background(lambda: board_files(firmware.app.mpy_arch or chip.mpy_arch))
        image = build({**wanted, **program}, vfs.size)
        whole = options.erase or not await self._has(firmware)
        if not whole:
            self._note(f"MicroPython {firmware.app.version} is on it already")
        plan = write_plan(firmware, vfs, image, old, whole=whole, erased=options.erase)

        running = Running(self._target.port, "", "", "")
        if options.dry_run:
            self._tell_plan(firmware, plan, wanted, program)
            await self._worker.ask("leave", _STEP_S)
        else:
            if not options.erase:
                save_rescue(self._mac, wanted)
            await self._write(plan)
            self._begin("start")
            settings = wanted.get(SETTINGS_FILE, b"")
            flashed = Flashed(chip, self._mac, firmware.app.release, program[BUILD_FILE].decode(), settings)
            running = await self._start(flashed, board)
            drop_rescue(self._mac)
        self._begin("")
        return FlashResult(
            port=running.port if running.port != self._target.url else self._target.port,
            chip=chip.name,
            board=board.name,
            flash_size=flash_size,
            mac=self._mac,
            firmware=firmware.app.version,
            version=running.version,
            build=running.build,
            identity=running.unique_id,
            seconds=time.monotonic() - self._began,
            stages=self._stages,
            kept=tuple(sorted(path for path in kept if wanted.get(path) == kept[path])),
            verified=not options.dry_run,
        )

    # --- the board ---

    async def _connect(self) -> dict[str, Any]:
        try:
            return await self._ask("connect", _CONNECT_S, port=self._url, reset=not self._by_hand)
        except DeviceLost:
            # The USB of a chip's own goes with its reset. Its bootloader may come back under another name.
            found = await self._reappeared()
            if not found:
                raise
            self._url = found
            return await self._ask("connect", _CONNECT_S, port=self._url, reset=False)
        except NoBootloader as error:
            if not self._options.hands:
                error.hint = f"By hand: {self._by_fingers()}. Then run it again; or is this port no ESP32's?"
                raise
        return await self._connect_by_hand()

    async def _connect_by_hand(self) -> dict[str, Any]:
        self._by_hand = True
        how = self._by_fingers()
        self._note(f"It does not enter its bootloader by itself. Now {how} (waiting for {_FINGERS_S:g} s)")
        end = time.monotonic() + _FINGERS_S
        while True:
            try:
                self._url = usb_port_now(self._url, self._target.serial_number)
                return await self._ask("connect", _CONNECT_S, port=self._url, reset=False)
            except (NoBootloader, NoDevice, DeviceLost) as error:
                if time.monotonic() > end:
                    error.hint = f"Run it again, and when it asks, {how}"
                    raise
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _reappeared(self) -> str:
        end = time.monotonic() + _REAPPEARS_S
        while mac_in(self._target.serial_number) and time.monotonic() < end:
            await asyncio.sleep(_LOOK_AGAIN_S)
            port = usb_port_now("", self._target.serial_number)
            if port:
                return port
        return ""

    async def _at_some_rate(self, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        # The known cure for cables and adapters that do not carry what their makers say.
        while True:
            rate = self._rates[0]
            try:
                await self._ask("baud", _STEP_S, baud=rate)
                return await work()
            except TransferFailed as error:
                if len(self._rates) == 1:
                    raise DeviceError(
                        f"the transfer fails at {rate:,} baud, too: {error.what}",
                        device=self._target.port,
                        hint="Try another cable, another USB port, or no hub",
                    ) from None
                del self._rates[0]
                self._note(f"The transfer fails at {rate:,} baud; trying {self._rates[0]:,}")
                await self._connect()

    async def _kept(self, firmware: Firmware, flash_size: int) -> tuple[dict[str, bytes], tuple[int, int]]:
        # The files to put back, and where the filesystem is that they were in.
        vfs = firmware.vfs(flash_size)
        found = await self._at_some_rate(
            lambda: self._ask("survey", _STEP_S, flash_size=flash_size, offset=vfs.offset, size=vfs.size)
        )
        await self._demand_consent(found["project"], found["version"])
        old = (int(found["at"]), int(found["size"]))
        if self._options.erase:
            return {}, old
        rescued = load_rescue(self._mac)
        if found["trouble"] and rescued is None:
            raise BadData(
                f"the files on the board cannot be read ({found['trouble']}), so its settings could not be kept",
                device=self._target.port,
                hint="Flash it with --erase to do without them",
            )
        on_board = {path: base64.b64decode(data) for path, data in found["files"].items()}
        kept = kept_files(on_board, rescued)
        if rescued is not None and kept != kept_files(on_board, None):
            self._note(f"Its files come from {rescue_path(self._mac)}: an earlier run was cut short")
        return kept, old

    async def _demand_consent(self, project: str, version: str) -> None:
        confirm = self._options.confirm
        if confirm is None or not project or project == "micropython":
            return
        if not await confirm(f"{self._target.port} has another program: {project} {version}. Replace it?"):
            raise CheckFailed("left as it was", device=self._target.port)

    async def _has(self, firmware: Firmware) -> bool:
        answer = await self._at_some_rate(lambda: self._ask("same", _STEP_S, parts=fingerprints(firmware)))
        return bool(answer["same"])

    async def _write(self, plan: WritePlan) -> None:
        parts = [
            {"offset": part.offset, "data": base64.b64encode(part.data).decode(), "read_back": part.read_back}
            for part in plan.parts
        ]
        self._begin("erase" if self._options.erase else "write")
        self._writing = True
        answer = await self._at_some_rate(
            lambda: self._ask(
                "write",
                _ERASE_S if self._options.erase else _WRITE_S,
                erase=plan.erase,
                erase_all=self._options.erase,
                parts=parts,
            )
        )
        if not answer["equal"]:
            raise NotVerified(
                "what was written reads back different", device=self._target.port, hint=self._half_written()
            )
        self._writing = False

    async def _start(self, flashed: Flashed, board: BoardModel) -> Running:
        left = await self._worker.ask("leave", _STEP_S)
        await self._worker.end()
        if not left["started"]:
            if not self._options.hands:
                raise NotVerified(
                    "everything is written, and the board does not start by itself",
                    device=self._target.port,
                    hint=f"Press its reset button, then look with `bitrelay info -p {self._target.port}`",
                )
            self._note("Now press its reset button (EN or RST)")
        waits_s = _START_S + (_FINGERS_S if not left["started"] else 0)
        target = self._target
        return await read_back(target.url, flashed, waits_s, serial_number=target.serial_number, called=target.port)

    # --- the firmware ---

    async def _firmware(self, board: BoardModel, flash_size: int) -> Firmware:
        named = self._options.firmware or self._target.stand_in
        if named is None:
            data = await self._pinned(board)
        else:
            data, is_pinned = own_file(named, board)
            if self._options.firmware is not None and not is_pinned:
                self._note(f"{named.name} is not the firmware that {board.file.name} names; it is your choice")
        return check_firmware(data, board, flash_size, virtual=self._target.virtual)

    async def _pinned(self, board: BoardModel) -> bytes:
        source = FirmwareSource()
        loop = asyncio.get_running_loop()

        def progress(done: int, total: int) -> None:
            loop.call_soon_threadsafe(self._go_on, "firmware", done, total)

        try:
            return await in_background(lambda: source.pinned(board, progress))
        finally:
            source.stop()

    # --- what the user sees ---

    async def _ask(self, do: str, quiet_s: float, **values: Any) -> dict[str, Any]:
        return await self._worker.ask(do, quiet_s, self._go_on, **values)

    def _begin(self, stage: str) -> None:
        now = time.monotonic()
        if self._stage:
            self._stages[self._stage] = self._stages.get(self._stage, 0.0) + now - self._stage_began
        self._stage, self._stage_began = stage, now
        if stage:
            self._on_event(FlashEvent(self._target.port, stage))

    def _go_on(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._begin(stage)
        self._on_event(FlashEvent(self._target.port, stage, done / total if total else None))

    def _note(self, text: str) -> None:
        self._on_event(FlashEvent(self._target.port, self._stage, note=text))

    def _tell_plan(
        self, firmware: Firmware, plan: WritePlan, wanted: dict[str, bytes], program: dict[str, bytes]
    ) -> None:
        erased = "erase everything and " if self._options.erase else ""
        self._note(f"Would {erased}write {plan.total:,} bytes: MicroPython {firmware.app.version}, the relay's program")
        self._note(f"Program {program[BUILD_FILE].decode()}, beside it: {', '.join(sorted(wanted)) or 'no other file'}")

    def _by_fingers(self) -> str:
        if self._options.board is not None:
            return named_board(self._options.board).manual
        ways = {board.manual for board in load_boards() if board.generic}
        return ways.pop() if len(ways) == 1 else "hold BOOT, press RESET (EN, RST) once, let go of BOOT"

    def _half_written(self) -> str:
        if self._options.erase:
            return "The board is half written: flash it again"
        return f"The board is half written: flash it again. Its settings are safe in {rescue_path(self._mac)}"


def _chip(title: str, port: str) -> Chip:
    for chip in CHIPS.values():
        if chip.title == title:
            return chip
    why = "it has no Bluetooth" if title in _NO_BLUETOOTH else "no board file is for it"
    known = ", ".join(chip.title for chip in CHIPS.values())
    raise WrongChip(f"this is an {title}: {why}", device=port, hint=f"Relays run on {known}")


def _colons(mac: str) -> str:
    return ":".join(mac[at : at + 2] for at in range(0, len(mac), 2))
