"""What is on a board's flash before we write: whose program it is, and the files on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bitrelay.errors import FlashTooSmall

from .filesystem import BLOCK, UnreadableFilesystem, read_files
from .image import (
    TABLE_OFFSET,
    TABLE_SIZE,
    AppDescription,
    BadImage,
    Partition,
    boot_partition,
    read_description,
    read_partitions,
    vfs_partition,
)
from .plan import is_program

# Reads `size` bytes of the flash from an offset on.
Read = Callable[[int, int], bytes]

# Where the first two blocks of a littlefs have its name (SPEC.md of littlefs, "The superblock metadata pair").
_MAGIC = b"littlefs"
_MAGIC_AT = 8
_DESCRIBED = 512


@dataclass(frozen=True)
class Survey:
    """What was found. app: who the program says it is, None if it says nothing.

    files by absolute path, without the contents of those that are the relay's program. trouble says why there are no
    files although a filesystem is there; at and size are where it is, 0 without one.
    """

    app: AppDescription | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)
    trouble: str = ""
    at: int = 0
    size: int = 0


def survey(read: Read, flash_size: int, otherwise: Partition) -> Survey:
    """Look at a flash of flash_size bytes. otherwise: where the files would be if its own table does not tell.

    Raises TooManyFiles, and what `read` raises.
    """
    app, place = _table(read, flash_size)
    vfs = place or otherwise
    first = read(vfs.offset, 2 * BLOCK)
    if not any(first[at + _MAGIC_AT :].startswith(_MAGIC) for at in (0, BLOCK)):
        return Survey(app)

    def read_block(number: int) -> bytes:
        return first[number * BLOCK : (number + 1) * BLOCK] if number < 2 else read(vfs.offset + number * BLOCK, BLOCK)

    try:
        files = read_files(read_block, vfs.size, wanted=lambda path: not is_program(path))
        return Survey(app, files, "", vfs.offset, vfs.size)
    except UnreadableFilesystem as error:
        return Survey(app, {}, error.what, vfs.offset, vfs.size)


def _table(read: Read, flash_size: int) -> tuple[AppDescription | None, Partition | None]:
    try:
        partitions = read_partitions(bytes(TABLE_OFFSET) + read(TABLE_OFFSET, TABLE_SIZE))
        app = boot_partition(partitions)
        vfs = vfs_partition(partitions, flash_size)
    except (BadImage, FlashTooSmall):
        return None, None
    return read_description(read(app.offset, _DESCRIBED), 0), vfs
