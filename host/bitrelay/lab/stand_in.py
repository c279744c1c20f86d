"""A firmware file that stands in for MicroPython's where nothing can be downloaded.

Layout, headers, checksums and hashes are those of the files on micropython.org; the code in it is none. What runs on a
virtual board that was flashed with it is the interpreter of this computer, which the version names: "v1.29.0+x64" is
release 1.29.0, taking .mpy files with native code for x64.
"""

import hashlib
import struct
from functools import reduce
from operator import xor

from bitrelay.boards.chips import CHIPS
from bitrelay.boards.image import (
    APP,
    APP_DESCRIPTION,
    APP_DESCRIPTION_MAGIC,
    CHECKSUM_SEED,
    DATA,
    HEADER,
    IMAGE_MAGIC,
    PARTITION,
    PARTITION_MAGIC,
    SEGMENT,
    TABLE_END_MAGIC,
    TABLE_OFFSET,
    TABLE_SIZE,
    Partition,
)

from .build import Interpreter

# As large as the real ones, and as hard to compress.
FULL_SIZE = 1_700_000
# For labs, which write it into the flash of every board: all that is checked at a start is there.
SMALL_SIZE = 80_000

# ports/esp32/partitions-4MiB.csv
PARTITIONS = (
    Partition("nvs", DATA, 0x02, 0x9000, 0x6000),
    Partition("phy_init", DATA, 0x01, 0xF000, 0x1000),
    Partition("factory", APP, 0x00, 0x10000, 0x1F0000),
)
_APP_OFFSET = 0x10000
_BOOTLOADER_CODE = 20_000
_DIO, _4MB_40MHZ = 2, 0x20
_ANY_REVISION = 0xFFFF
_RANDOM, _REPEATED = 32, 20

# Where the code and the constants of an app are mapped (esptool/targets).
_ADDRESSES = {0: (0x3F400020, 0x40080000), 5: (0x3C000020, 0x4037C000), 9: (0x3C000020, 0x40370000)}


def version_of(interpreter: Interpreter) -> str:
    """What a firmware file that stands for this interpreter says its version is."""
    return f"v{interpreter.version}" + (f"+{interpreter.arch}" if interpreter.arch else "")


def build_firmware(chip: str, version: str, size: int = FULL_SIZE) -> bytes:
    """The firmware file for a chip, of about `size` bytes, to be written to the chip's bootloader offset.

    The same arguments give the same bytes.
    """
    of_chip = CHIPS[chip]
    constants, code = _ADDRESSES[of_chip.image_id]
    front = _APP_OFFSET - of_chip.bootloader_offset
    filler = _filler(f"{chip} {version}", max(0, size - front))
    description = _description(version, hashlib.sha256(filler).digest())
    half = len(filler) // 2
    bootloader = _image(of_chip.image_id, code, ((code, _filler("bootloader", _BOOTLOADER_CODE)),))
    app = _image(of_chip.image_id, code, ((constants, description + filler[:half]), (code, filler[half:])))
    table_at = TABLE_OFFSET - of_chip.bootloader_offset
    before = bootloader.ljust(table_at, b"\xff") + _partition_table()
    return before.ljust(front, b"\xff") + app


def _filler(seed: str, size: int) -> bytes:
    # 32 of 52 bytes are random, the rest repeats some of them: about what deflating compiled code gains.
    pieces = size // (_RANDOM + _REPEATED) + 1
    random = hashlib.shake_256(seed.encode()).digest(pieces * _RANDOM)
    chunks = (random[at : at + _RANDOM] for at in range(0, len(random), _RANDOM))
    return b"".join(chunk + chunk[:_REPEATED] for chunk in chunks)[: size // 4 * 4]


def _description(version: str, elf_sha256: bytes) -> bytes:
    return APP_DESCRIPTION.pack(
        APP_DESCRIPTION_MAGIC, 0, version.encode(), b"micropython", b"12:00:00", b"Aug 24 2026", b"v5.5.1", elf_sha256
    )


def _image(chip_id: int, entry: int, segments: tuple[tuple[int, bytes], ...]) -> bytes:
    header = (IMAGE_MAGIC, len(segments), _DIO, _4MB_40MHZ, entry, 0xEE, 0, 0, 0, chip_id, 0, 0, _ANY_REVISION, 0, 1)
    image = HEADER.pack(*header)
    checksum = CHECKSUM_SEED
    for address, data in segments:
        data += bytes(-len(data) % 4)
        image += SEGMENT.pack(address, len(data)) + data
        checksum = reduce(xor, data, checksum)
    image += bytes(15 - len(image) % 16) + bytes((checksum,))
    return image + hashlib.sha256(image).digest()


def _partition_table() -> bytes:
    rows = b"".join(
        PARTITION.pack(PARTITION_MAGIC, p.type, p.subtype, p.offset, p.size, p.label.encode(), 0) for p in PARTITIONS
    )
    digest = hashlib.md5(rows, usedforsecurity=False).digest()
    end = struct.pack("<H", TABLE_END_MAGIC) + b"\xff" * 14 + digest
    return (rows + end).ljust(TABLE_SIZE, b"\xff")
