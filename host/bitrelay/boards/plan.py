"""What goes onto a board, decided before anything is written: which firmware, which files, which bytes where."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bitrelay.errors import BadData, DamagedFirmware, FlashTooSmall, WrongChip

from .catalog import BoardModel
from .chips import CHIPS, chip_title
from .compile import BUILD_FILE
from .filesystem import BLOCK, used_runs
from .image import DATA, HEADER, IMAGE_MAGIC, Firmware, Partition

SETTINGS_FILE: Final = "/settings.json"
IDENTITY_FILE: Final = "/identity.bin"
TRIAL_FILE: Final = "/trial.json"

# The oldest MicroPython whose Bluetooth and raw REPL are those the relay was written for.
OLDEST: Final = (1, 27)

_PROJECT = "micropython"
_PROGRAM = ("/main.py", BUILD_FILE, "/firmware/", "/shared_protocol/")
# What is half written when a relay loses power; the next start has no use for it.
_UNFINISHED = (".new",)
# What MicroPython itself puts into a filesystem that it makes.
_OF_MICROPYTHON = "/boot.py"
_CHIP_ID_AT = 12


@dataclass(frozen=True)
class Wishes:
    """What the user wants of the files. settings: the bytes of /settings.json in place of those on the board.

    identity likewise; None leaves them. name goes into the settings last.
    """

    name: str | None = None
    settings: bytes | None = None
    identity: bytes | None = None


@dataclass(frozen=True)
class Part:
    """Bytes for the flash. read_back: compare them byte for byte afterwards, not only by their MD5."""

    offset: int
    data: bytes
    read_back: bool = False


@dataclass(frozen=True)
class WritePlan:
    """What is written, in this order. erase: (offset, size) before anything else."""

    erase: tuple[tuple[int, int], ...]
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """How many bytes that is."""
        return sum(len(part.data) for part in self.parts)


def check_firmware(data: bytes, board: BoardModel, flash_size: int, *, virtual: bool) -> Firmware:
    """The firmware in a file's bytes, if this board can run it.

    virtual: the board is one of the lab's, and may get what stands in for MicroPython there. Raises WrongChip,
    DamagedFirmware, FlashTooSmall, BadData for a firmware that is no MicroPython or one too old.
    """
    chip = board.chip
    found = _chip_id(data)
    if found is not None and found != chip.image_id:
        raise WrongChip(
            f"the firmware is for an {chip_title(found)}, the board has an {chip.title}",
            hint=f"Leave --firmware out, or give one for {chip.title}",
        )
    firmware = Firmware.parse(data, chip.bootloader_offset)
    if firmware.app.project != _PROJECT:
        raise BadData(f"the firmware is {firmware.app.project or 'something nameless'}, not MicroPython")
    release = tuple(int(number) for number in firmware.app.release.split("."))
    if release < OLDEST:
        oldest = ".".join(str(number) for number in OLDEST)
        raise BadData(
            f"the firmware is MicroPython {firmware.app.version}, the relay needs {oldest} or newer",
            hint=f"Leave --firmware out to get {board.firmware.version}",
        )
    if firmware.app.mpy_arch and not virtual:
        raise DamagedFirmware("the firmware is a stand-in for virtual boards; no chip runs it")
    if flash_size < board.min_flash:
        raise FlashTooSmall(
            f"the flash has {flash_size >> 20} MB, {board.name} needs {board.min_flash >> 20} MB",
            hint="Use a board with more flash",
        )
    firmware.vfs(flash_size)
    surplus = chip.bootloader_offset + len(data) - max(partition.end for partition in firmware.partitions)
    if surplus > 0:
        raise DamagedFirmware(f"the firmware file has {surplus:,} bytes more than its partitions hold")
    return firmware


def is_program(path: str) -> bool:
    """Whether a file on a board is part of the relay's program, which is replaced as a whole."""
    return any(path == part or (part.endswith("/") and path.startswith(part)) for part in _PROGRAM)


def kept_files(on_board: Mapping[str, bytes], rescued: Mapping[str, bytes] | None) -> dict[str, bytes]:
    """The files to put back: those on the board that are not the program, and those rescued if they were lost there.

    They were if the board has no program of ours: then writing began and did not end, and MicroPython may have made
    itself an empty filesystem since.
    """
    own = {path: data for path, data in on_board.items() if _stays(path)}
    if rescued is None or BUILD_FILE in on_board:
        return own
    own.pop(_OF_MICROPYTHON, None)
    return {**rescued, **own}


def wanted_files(kept: Mapping[str, bytes], wishes: Wishes, board: BoardModel) -> dict[str, bytes]:
    """The files beside the program: what was kept, changed as the user wishes. Raises BadData.

    A board without settings gets those that its board file gives, as far as they are not the defaults.
    """
    from bitrelay.settings_file import to_board_file
    from shared_protocol import settings as table

    files = dict(kept)
    settings = files.get(SETTINGS_FILE, b"")
    if wishes.settings is not None:
        settings = wishes.settings
        # What is on trial are the settings that are being replaced.
        files.pop(TRIAL_FILE, None)
    fresh = wishes.settings is None and SETTINGS_FILE not in files
    if fresh or wishes.name is not None:
        try:
            values: dict[str, Any] = dict(table.decode_file(settings))
        except ValueError as error:
            raise BadData(
                f"the settings on the board are damaged: {error}", hint="Give new ones with --settings FILE"
            ) from None
        if fresh:
            values |= _board_settings(board)
        if wishes.name is not None:
            values["name"] = wishes.name
        settings = to_board_file(values) if values else b""
    if settings:
        files[SETTINGS_FILE] = settings
    else:
        files.pop(SETTINGS_FILE, None)
    if wishes.identity is not None:
        files[IDENTITY_FILE] = wishes.identity
    return files


def write_plan(
    firmware: Firmware, vfs: Partition, image: bytes, old: tuple[int, int], *, whole: bool, erased: bool
) -> WritePlan:
    """What to write for a firmware and the image of its filesystem.

    whole: the firmware too, else only the filesystem; erased: the flash is. old: offset and size of the filesystem that
    is there, size 0 for none. Its first two blocks go first and the new ones come last, so that at any moment the flash
    has the old files, or none, or the new ones, and never some of both.
    """
    erase: list[tuple[int, int]] = []
    if not erased:
        erase = [(vfs.offset, 2 * BLOCK)]
        if old[1] and old[0] != vfs.offset:
            erase.insert(0, (old[0], 2 * BLOCK))
    parts = [Part(firmware.bootloader_offset, firmware.data)] if whole else []
    for offset, data in used_runs(image):
        # The first run has them: littlefs begins with these two.
        body = data[max(0, 2 * BLOCK - offset) :]
        if body:
            parts.append(Part(vfs.offset + max(offset, 2 * BLOCK), body, read_back=True))
    parts.append(Part(vfs.offset, image[: 2 * BLOCK], read_back=True))
    return WritePlan(tuple(erase), tuple(parts))


def fingerprints(firmware: Firmware) -> list[tuple[int, int, str]]:
    """(offset, size, MD5) of what a flash with this firmware has: all of it but partitions that programs write to."""
    found = []
    start, end = firmware.bootloader_offset, firmware.bootloader_offset + len(firmware.data)
    for partition in (*sorted(firmware.partitions, key=lambda p: p.offset), None):
        if partition is not None and partition.type != DATA:
            continue
        until = min(end, partition.offset) if partition is not None else end
        if until > start:
            part = firmware.data[start - firmware.bootloader_offset : until - firmware.bootloader_offset]
            found.append((start, len(part), hashlib.md5(part, usedforsecurity=False).hexdigest()))
        if partition is not None:
            start = max(start, partition.end)
    return found


def _stays(path: str) -> bool:
    return not is_program(path) and not (path.count("/") == 1 and path.endswith(_UNFINISHED))


def _board_settings(board: BoardModel) -> dict[str, Any]:
    from shared_protocol import settings as table

    wanted = {"led_pin": board.led, "max_links": board.links}
    return {key: value for key, value in wanted.items() if value is not None and value != table.TABLE[key][0]}


def _chip_id(data: bytes) -> int | None:
    # Wherever its bootloader belongs, a firmware file begins with it.
    if len(data) < HEADER.size or data[0] != IMAGE_MAGIC:
        return None
    found = int.from_bytes(data[_CHIP_ID_AT : _CHIP_ID_AT + 2], "little")
    return found if any(chip.image_id == found for chip in CHIPS.values()) else None
