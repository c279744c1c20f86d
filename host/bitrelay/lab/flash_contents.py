"""What is on the flash of a virtual board, written and read without its serial port."""

from collections.abc import Mapping

from bitrelay.boards import filesystem
from bitrelay.boards.chips import CHIPS
from bitrelay.boards.filesystem import BLOCK
from bitrelay.boards.image import Firmware, Partition

from .nor_flash import NorFlash
from .second_stage import boot


def write_all(flash: NorFlash, chip: str, firmware: bytes, files: Mapping[str, bytes]) -> None:
    """Put a firmware file and a filesystem with these files on a blank flash."""
    offset = CHIPS[chip].bootloader_offset
    flash.program(offset, firmware)
    place = Firmware.parse(firmware, offset).vfs(flash.size)
    for at, data in filesystem.used_runs(filesystem.build(files, place.size)):
        flash.program(place.offset + at, data)


def read_files(flash: NorFlash, chip: str) -> dict[str, bytes]:
    """The files on a flash that boots, by absolute path. Raises NotBootable and UnreadableFilesystem."""
    place = files_partition(flash, chip)
    return filesystem.read_files(lambda block: flash.read(place.offset + block * BLOCK, BLOCK), place.size)


def files_partition(flash: NorFlash, chip: str) -> Partition:
    """Where MicroPython has its files on a flash that boots. Raises NotBootable."""
    return next(p for p in boot(flash, chip).partitions if p.label in ("vfs", "ffat"))
