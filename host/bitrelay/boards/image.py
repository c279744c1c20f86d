"""Reads what an ESP32 boots from: images, the partition table, and a whole firmware file as MicroPython publishes it.

The checks are those of the second-stage bootloader, in its order, and say what it would print (ESP-IDF,
esp_image_format.c and flash_partitions.c).
"""

import hashlib
import re
import struct
from dataclasses import dataclass

from bitrelay.errors import DamagedFirmware, FlashTooSmall

SECTOR = 4096
TABLE_OFFSET = 0x8000
TABLE_SIZE = 0xC00
APP, DATA = 0, 1
LITTLEFS_SUBTYPE = 0x81  # what the ESP32 port gives the partition it makes for its files

IMAGE_MAGIC = 0xE9
HEADER = struct.Struct("<BBBBIBBBBHBHHIB")
SEGMENT = struct.Struct("<II")
CHECKSUM_SEED = 0xEF
APP_DESCRIPTION_MAGIC = 0xABCD5432
APP_DESCRIPTION = struct.Struct("<II8x32s32s16s16s32s32s80x")
PARTITION = struct.Struct("<HBBII16sI")
PARTITION_MAGIC = 0x50AA
TABLE_END_MAGIC = 0xEBEB

_MAX_SEGMENTS = 16
_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
_METADATA = re.compile(r"\+([a-z0-9]+)$")


class BadImage(Exception):
    """Raised when the bootloader would not start an image; the text is what it prints."""


@dataclass(frozen=True)
class AppDescription:
    """What an app says of itself (esp_app_desc_t): version as "v1.29.0"."""

    version: str
    project: str
    idf_version: str

    @property
    def release(self) -> str:
        """The version's numbers, "1.29.0"; empty if it has none."""
        found = _VERSION.match(self.version)
        return found[1] if found else ""

    @property
    def mpy_arch(self) -> str:
        """What native code it takes if that is not its chip's own: the build metadata of the version, "v1.29.0+x64"."""
        found = _METADATA.search(self.version)
        return found[1] if found else ""


@dataclass(frozen=True)
class Image:
    """A checked image: its chip's number, the bytes it takes from its offset on, and its description, if it is an app.

    elf_sha256 tells builds apart (the SHA-256 that ESP-IDF puts into the description); empty without one.
    """

    chip_id: int
    size: int
    app: AppDescription | None
    elf_sha256: str = ""


@dataclass(frozen=True)
class Partition:
    """A row of the partition table; offset and size in bytes."""

    label: str
    type: int
    subtype: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size


@dataclass(frozen=True)
class Firmware:
    """A firmware file: bootloader, partition table and app in one piece, which goes to bootloader_offset."""

    data: bytes
    bootloader_offset: int
    chip_id: int
    app: AppDescription
    partitions: tuple[Partition, ...]

    @classmethod
    def parse(cls, data: bytes, bootloader_offset: int) -> "Firmware":
        """Check a whole file. Raises DamagedFirmware with what is wrong and where."""
        if len(data) < TABLE_OFFSET + TABLE_SIZE - bootloader_offset:
            raise DamagedFirmware(f"the firmware file has {len(data):,} bytes: too short for bootloader and partitions")
        flash = b"\xff" * bootloader_offset + data
        try:
            boot = read_image(flash, bootloader_offset, TABLE_OFFSET)
            partitions = read_partitions(flash)
            app_partition = boot_partition(partitions)
            app = read_image(flash, app_partition.offset, app_partition.end, boot.chip_id)
        except BadImage as error:
            raise DamagedFirmware(
                f"the firmware file is damaged: {error}", hint="Download it again, or take another copy"
            ) from None
        if app.app is None or not app.app.release:
            raise DamagedFirmware("the firmware file does not say which version of MicroPython it is")
        return cls(data, bootloader_offset, boot.chip_id, app.app, tuple(partitions))

    def vfs(self, flash_size: int) -> Partition:
        """Where MicroPython has its files on a flash of this size, in bytes. Raises FlashTooSmall."""
        return vfs_partition(self.partitions, flash_size)


def read_image(flash: bytes, offset: int, limit: int, chip_id: int | None = None) -> Image:
    """Check the image at an offset, which must end before limit and be for chip_id. Raises BadImage."""
    if offset + HEADER.size > len(flash):
        raise BadImage(f"no image at 0x{offset:x}: the data ends there")
    header = HEADER.unpack_from(flash, offset)
    magic, segments, found_chip, has_hash = header[0], header[1], header[9], header[14]
    if magic != IMAGE_MAGIC:
        raise BadImage(f"invalid header: 0x{int.from_bytes(flash[offset : offset + 4], 'little'):08x}")
    if chip_id is not None and found_chip != chip_id:
        raise BadImage(f"image at 0x{offset:x} has invalid chip ID, expected {chip_id}, found {found_chip}")
    if segments > _MAX_SEGMENTS:
        raise BadImage(f"image at 0x{offset:x} has {segments} segments, at most {_MAX_SEGMENTS} are possible")
    at = offset + HEADER.size
    checksum = CHECKSUM_SEED
    app, elf_sha256 = None, ""
    limit = min(limit, len(flash))
    for number in range(segments):
        if at + SEGMENT.size > limit:
            raise BadImage(f"segment {number} of the image at 0x{offset:x} is missing")
        _, size = SEGMENT.unpack_from(flash, at)
        at += SEGMENT.size
        if at + size > limit:
            raise BadImage(f"segment {number} of the image at 0x{offset:x} is cut short")
        segment = flash[at : at + size]
        checksum ^= _xor(segment)
        if number == 0:
            app, elf_sha256 = _read_description(segment)
        at += size
    # The checksum is the last byte of a block of 16.
    at += 15 - (at - offset) % 16
    if at >= limit:
        raise BadImage(f"the image at 0x{offset:x} is cut short")
    if flash[at] != checksum:
        raise BadImage(f"Checksum failed. Calculated 0x{checksum:x} read 0x{flash[at]:x}")
    at += 1
    if has_hash:
        if hashlib.sha256(flash[offset:at]).digest() != flash[at : at + 32]:
            raise BadImage("Image hash failed - image is corrupt")
        at += 32
    return Image(found_chip, at - offset, app, elf_sha256)


def read_partitions(flash: bytes) -> list[Partition]:
    """The rows of the partition table, as it is stored. Raises BadImage if there is none or its MD5 does not hold."""
    table = flash[TABLE_OFFSET : TABLE_OFFSET + TABLE_SIZE]
    found: list[Partition] = []
    for at in range(0, len(table) - PARTITION.size + 1, PARTITION.size):
        magic, type_, subtype, offset, size, label, _ = PARTITION.unpack_from(table, at)
        if magic == TABLE_END_MAGIC:
            if hashlib.md5(table[:at], usedforsecurity=False).digest() != table[at + 16 : at + 32]:
                raise BadImage("partition table has a wrong MD5")
            break
        if magic != PARTITION_MAGIC:
            if magic != 0xFFFF:
                raise BadImage(f"partition {len(found)} has invalid magic number 0x{magic:x}")
            break
        found.append(Partition(label.split(b"\0")[0].decode("ascii", "replace"), type_, subtype, offset, size))
    if not found:
        raise BadImage("partition table is empty")
    return found


def boot_partition(partitions: list[Partition]) -> Partition:
    """The app that a board starts which was never updated over the air: factory, else the first slot."""
    apps = sorted((p for p in partitions if p.type == APP), key=lambda p: p.subtype)
    if not apps:
        raise BadImage("No bootable app partitions in the partition table")
    return apps[0]


def vfs_partition(partitions: tuple[Partition, ...] | list[Partition], flash_size: int) -> Partition:
    """Where MicroPython has its files: a partition of its own, or all behind the last one (ports/esp32/main.c).

    Raises FlashTooSmall if flash_size bytes hold neither the partitions nor a filesystem behind them.
    """
    end = max(p.end for p in partitions)
    if end > flash_size:
        raise FlashTooSmall(_too_small(end, flash_size), hint="Use a board with more flash")
    for partition in partitions:
        if partition.type == DATA and partition.label in ("vfs", "ffat"):
            return partition
    if flash_size - end < 2 * SECTOR:
        raise FlashTooSmall(_too_small(end + 2 * SECTOR, flash_size), hint="Use a board with more flash")
    return Partition("vfs", DATA, LITTLEFS_SUBTYPE, end, flash_size - end)


def read_description(flash: bytes, app_offset: int) -> AppDescription | None:
    """What the app at an offset says of itself, without any check of its image; None if it says nothing."""
    start = app_offset + HEADER.size + SEGMENT.size
    return _read_description(flash[start : start + APP_DESCRIPTION.size])[0]


def _too_small(needed: int, size: int) -> str:
    return (
        f"the flash has {size / (1 << 20):g} MB, the firmware and its files need more than {needed / (1 << 20):.3g} MB"
    )


def _read_description(segment: bytes) -> tuple[AppDescription | None, str]:
    if len(segment) < APP_DESCRIPTION.size:
        return None, ""
    magic, _, version, project, _, _, idf, elf = APP_DESCRIPTION.unpack_from(segment)
    if magic != APP_DESCRIPTION_MAGIC:
        return None, ""
    return AppDescription(_text(version), _text(project), _text(idf)), elf.hex()


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("ascii", "replace")


def _xor(data: bytes) -> int:
    # Halves laid over one another: 20 steps for a megabyte.
    number, size = int.from_bytes(data, "little"), len(data)
    while size > 1:
        half = (size + 1) // 2
        number = number >> 8 * half ^ number & (1 << 8 * half) - 1
        size = half
    return number
