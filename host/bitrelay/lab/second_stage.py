"""What the second-stage bootloader of a virtual chip does with its flash: it starts an app, or says why it cannot."""

import struct
from dataclasses import dataclass

from bitrelay.boards.chips import CHIPS
from bitrelay.boards.image import (
    TABLE_OFFSET,
    TABLE_SIZE,
    AppDescription,
    BadImage,
    Partition,
    boot_partition,
    read_image,
    read_partitions,
    vfs_partition,
)
from bitrelay.errors import FlashTooSmall

from .nor_flash import NorFlash

_ENTRY_AT = 4


class NotBootable(Exception):
    """Raised when a flash does not start; the text is what is printed about it."""


@dataclass(frozen=True)
class App:
    """What starts: the app's description, and the partitions as MicroPython sees them, with the one for its files."""

    description: AppDescription
    partitions: tuple[Partition, ...]
    running: Partition
    entry: int


def boot(flash: NorFlash, chip: str) -> App:
    """Check all that is checked on a board before MicroPython runs. Raises NotBootable."""
    # The ROM itself complains when it finds no bootloader; all else the bootloader says.
    offset = CHIPS[chip].bootloader_offset
    head = flash.read(0, TABLE_OFFSET + TABLE_SIZE)
    try:
        read_image(head, offset, TABLE_OFFSET, CHIPS[chip].image_id)
    except BadImage as error:
        raise NotBootable(str(error)) from None
    try:
        partitions = read_partitions(head)
        app_at = boot_partition(partitions)
        end = max(partition.end for partition in partitions)
        if end > flash.size:
            raise BadImage(f"partitions end at 0x{end:x}, beyond the 0x{flash.size:x} bytes of flash")
        app = read_image(flash.read(0, app_at.end), app_at.offset, app_at.end, CHIPS[chip].image_id)
    except BadImage as error:
        raise NotBootable(f"E (60) boot: {error}") from None
    if app.app is None:
        raise NotBootable(f"E (60) boot: the app at 0x{app_at.offset:x} has no description")
    entry: int = struct.unpack_from("<I", head, offset + _ENTRY_AT)[0]
    return App(app.app, _with_files(partitions, flash.size), app_at, entry)


def _with_files(partitions: list[Partition], flash_size: int) -> tuple[Partition, ...]:
    # A flash that is full without any files still runs MicroPython.
    try:
        files = vfs_partition(partitions, flash_size)
    except FlashTooSmall:
        return tuple(partitions)
    return tuple(partitions) if files in partitions else (*partitions, files)
