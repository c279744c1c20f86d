"""The littlefs filesystem of a board, made and read on the host.

Block sizes and limits are those of MicroPython's VfsLfs2 on the ESP32 (extmod/vfs_lfs.c, esp32_partition.c).
The number of blocks must be that of the partition exactly: a board takes any other for a corrupted filesystem.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bitrelay.errors import BadData, FlashTooSmall

BLOCK = 4096
_SHAPE = {
    "block_size": BLOCK,
    "read_size": 32,
    "prog_size": 32,
    "cache_size": 128,
    "lookahead_size": 32,
    "block_cycles": 100,
    "name_max": 255,
}
# A board's own files are some kilobytes; what is larger is no reason to read for minutes.
MAX_KEPT = 1 << 20


class UnreadableFilesystem(BadData):
    """Raised when a flash holds no filesystem, or a damaged one."""


class TooManyFiles(BadData):
    """Raised when the files on a board are more than is read."""


def build(files: Mapping[str, bytes], size: int) -> bytes:
    """The image of a filesystem of `size` bytes with these files, by absolute path. Raises FlashTooSmall."""
    from littlefs import LittleFS, LittleFSError

    filesystem = LittleFS(block_count=size // BLOCK, **_SHAPE)
    try:
        for path, content in sorted(files.items()):
            folder = path.rpartition("/")[0]
            if folder:
                filesystem.makedirs(folder, exist_ok=True)
            with filesystem.open(path, "wb") as file:
                file.write(content)
    except LittleFSError as error:
        raise FlashTooSmall(
            f"a filesystem of {size >> 10} KiB has no room for the relay's files ({error})",
            hint="Use a board with more flash, or erase the files on it with --erase",
        ) from None
    return bytes(filesystem.context.buffer)


def read_files(
    read_block: Callable[[int], bytes],
    size: int,
    *,
    limit: int = MAX_KEPT,
    wanted: Callable[[str], bool] = lambda path: True,
) -> dict[str, bytes]:
    """All files of a filesystem of `size` bytes by absolute path; read_block gives the bytes of a block by its number.

    Of a file whose path is not wanted only the path is read. Only the blocks that are needed are asked for, each once.
    Raises UnreadableFilesystem, TooManyFiles if they are more
    than `limit` bytes, and whatever read_block raises.
    """
    from littlefs import LittleFS, LittleFSError

    blocks = _Blocks(read_block)
    found: dict[str, bytes] = {}
    try:
        filesystem = LittleFS(context=blocks, block_count=size // BLOCK, **_SHAPE)
        total = 0
        for folder, _, names in filesystem.walk("/"):
            for name in names:
                path = f"{folder.rstrip('/')}/{name}"
                if not wanted(path):
                    found[path] = b""
                    continue
                total += filesystem.stat(path).size
                if total > limit:
                    raise TooManyFiles(f"the files on the board are more than {limit >> 20} MiB")
                with filesystem.open(path, "rb") as file:
                    found[path] = file.read()
    except (LittleFSError, UnicodeDecodeError) as error:
        if blocks.failure is None:
            raise UnreadableFilesystem(f"the filesystem on the board cannot be read: {error}") from None
    if blocks.failure is not None:
        raise blocks.failure
    return found


def used_runs(image: bytes) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of each run of blocks that have to be on the flash for the filesystem to be as in the image.

    They are those that are read when all of its files are; littlefs erases the others before it uses them. Some of them
    are empty: the second of a pair whose first holds a directory. Were it not erased, what an older filesystem left
    there could pass for the newer of the two.
    """
    blocks: set[int] = set()

    def read_block(number: int) -> bytes:
        blocks.add(number)
        return image[number * BLOCK : (number + 1) * BLOCK]

    read_files(read_block, len(image), limit=len(image))
    for first, last in _runs(sorted(blocks)):
        yield first * BLOCK, image[first * BLOCK : (last + 1) * BLOCK]


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


class _Blocks:
    # littlefs-python's context, read from the board on demand. Nothing is ever written through it.
    def __init__(self, read_block: Callable[[int], bytes]) -> None:
        self.failure: Exception | None = None
        self._read_block = read_block
        self._known: dict[int, bytes] = {}

    def read(self, cfg: Any, block: int, off: int, size: int) -> bytearray:
        if block not in self._known and self.failure is None:
            try:
                self._known[block] = self._read_block(block)
            except Exception as error:
                # It cannot pass through the C code in between, to which this is a block without sense.
                self.failure = error
        return bytearray(self._known.get(block, bytes(BLOCK))[off : off + size])

    def prog(self, cfg: Any, block: int, off: int, data: bytes) -> int:
        return -5

    def erase(self, cfg: Any, block: int) -> int:
        return -5

    def sync(self, cfg: Any) -> int:
        return 0
