"""The flash chip of a virtual board: a NOR flash kept in a file."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from bitrelay.errors import BadData

SECTOR = 4096
MEGABYTE = 1 << 20
# What boards come with; esptool and MicroPython's partition table go no further.
SIZES = tuple(megabytes * MEGABYTE for megabytes in (2, 4, 8, 16))
DEFAULT_SIZE = 4 * MEGABYTE

_BLANK = b"\xff" * SECTOR


class NorFlash:
    """Erasing sets all bits of a sector, programming only clears bits: a missing erase shows as damaged data.

    The file is written at once and by whole sectors at most, so that whatever ends this process or the board's leaves
    what a power cut would. programmed is the number of bytes programmed in its life; unerased counts the programs that
    would have had to set a bit. on_write is called after every sector, or part of one, that was erased or programmed.
    """

    def __init__(self, path: Path, size: int = DEFAULT_SIZE) -> None:
        """Open the flash in a file, or make a blank one. Raises OSError; BadData for another size, or if in use."""
        if size not in SIZES:
            raise BadData(f"a flash of {size} bytes", hint=f"There are: {', '.join(SIZE_NAMES)}")
        self.path = path
        self.size = size
        self.programmed = 0
        self.unerased = 0
        self.on_write: Callable[[], None] = lambda: None
        self._powered = True
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise BadData(f"{path} is in use by another virtual board") from None
        found = os.fstat(self._file).st_size
        if found == 0:
            os.pwrite(self._file, b"\xff" * size, 0)
        elif found != size:
            self.close()
            raise BadData(f"{path} has {found:,} bytes, not the {size:,} of a flash of {size_name(size)}")

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from an offset on. Raises ValueError beyond the end, as all of these do."""
        self._check(offset, size)
        return os.pread(self._file, size, offset)

    def erase(self, offset: int, size: int) -> None:
        """Erase the sectors that a range touches."""
        self._check(offset, size)
        for at in range(offset // SECTOR * SECTOR, offset + size, SECTOR):
            if not self._powered:
                return
            os.pwrite(self._file, _BLANK, at)
            self.on_write()

    def program(self, offset: int, data: bytes) -> None:
        """Clear the bits that are clear in `data`."""
        self._check(offset, len(data))
        done = 0
        while done < len(data) and self._powered:
            at = offset + done
            piece = data[done : done + SECTOR - at % SECTOR]
            before = os.pread(self._file, len(piece), at)
            if before != _BLANK[: len(piece)]:
                after = (int.from_bytes(before, "little") & int.from_bytes(piece, "little")).to_bytes(
                    len(piece), "little"
                )
                self.unerased += after != piece
                piece = after
            os.pwrite(self._file, piece, at)
            done += len(piece)
            self.programmed += len(piece)
            self.on_write()

    def cut_power(self) -> None:
        """Stop what is being written where it is; until `restore_power` nothing more is erased or programmed."""
        self._powered = False

    def restore_power(self) -> None:
        """Let it work again."""
        self._powered = True

    def close(self) -> None:
        """Let go of the file, which stays. Harmless when it is closed."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError(f"0x{offset:x} + 0x{size:x} is beyond the end of the flash")


def size_name(size: int) -> str:
    """How esptool names a flash of this many bytes: "4MB"."""
    return f"{size // MEGABYTE}MB"


SIZE_NAMES = {size_name(size): size for size in SIZES}
