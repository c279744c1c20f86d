"""What the serial bootloader of an ESP32 does with the flash: write, as it comes or deflated, erase, hash and read.

Differences between the bootloader in ROM and the stub that esptool loads instead: the ROM has the flash only after it
was attached and takes it for 2 MiB until told its size, and it erases when writing begins; the stub erases as it goes.
"""

import hashlib
import zlib
from collections.abc import Iterator
from enum import Enum

from .nor_flash import SECTOR, NorFlash

# As much as the stub takes in one packet, and as much as an upload may have underway: a serial port here buffers
# 64 KiB, and framing may make two bytes of one, twice.
LONGEST_BLOCK = 0x4000
_MOST_UNDERWAY = 0x4000
_SLOW_READ = 64
_SIZE_IN_ROM = 2 << 20


class Refusal(Enum):
    """Why a command fails: the number the ROM gives, and the stub's."""

    BAD_REQUEST = (0x05, 0xC0)
    FLASH_FAILED = (0x06, 0xC4)
    BAD_CHECKSUM = (0x07, 0xC1)
    NOT_BEGUN = (0x06, 0xC6)
    NOT_ENOUGH_DATA = (0x06, 0xC8)
    TOO_MUCH_DATA = (0x06, 0xC9)
    NOT_DEFLATED = (0x0B, 0xC7)
    UNKNOWN_COMMAND = (0x05, 0xFF)


class Refused(Exception):
    """Raised when a command of the host cannot be done."""

    def __init__(self, why: Refusal) -> None:
        super().__init__(why.name)
        self.why = why


class LoaderFlash:
    """The flash in the hands of a bootloader; all operations raise Refused."""

    def __init__(self, flash: NorFlash, stub: bool) -> None:
        self._flash = flash
        self._stub = stub
        self._size = flash.size if stub else 0
        self._write: _Write | None = None

    def attach(self) -> None:
        """Connect the flash, which the ROM then takes for 2 MiB."""
        self._size = self._size or _SIZE_IN_ROM

    def set_size(self, size: int) -> None:
        """Believe what the host says about its size."""
        if self._size:
            self._size = min(size, self._flash.size)

    def begin(self, offset: int, size: int, deflated: bool) -> None:
        """Get ready to write `size` bytes."""
        self._demand(offset, size)
        if not self._stub:
            self._flash.erase(offset, size)
        self._write = _Write(self._flash, offset, size, erases=self._stub, deflated=deflated)

    def data(self, block: bytes, deflated: bool) -> None:
        """Write the next block."""
        if self._write is None or self._write.deflated is not deflated:
            raise Refused(Refusal.NOT_BEGUN)
        self._write.add(block)

    def end(self) -> None:
        """Finish writing."""
        write, self._write = self._write, None
        if write is None:
            raise Refused(Refusal.NOT_BEGUN)
        if write.left:
            raise Refused(Refusal.NOT_ENOUGH_DATA)

    def erase(self, offset: int, size: int) -> None:
        """Erase whole sectors."""
        self._demand(offset, size)
        if offset % SECTOR or size % SECTOR:
            raise Refused(Refusal.BAD_REQUEST)
        self._flash.erase(offset, size)

    def erase_all(self) -> None:
        """Erase the whole chip."""
        self._flash.erase(0, self._flash.size)

    def md5(self, offset: int, size: int) -> bytes:
        """The digest of a region, 16 bytes."""
        self._demand(offset, size)
        return hashlib.md5(self._flash.read(offset, size), usedforsecurity=False).digest()

    def read_little(self, offset: int, size: int) -> bytes:
        """The ROM's way to read: 64 bytes whatever was asked for, of which the first `size` count."""
        self._demand(offset, size)
        if size > _SLOW_READ:
            raise Refused(Refusal.BAD_REQUEST)
        return self._flash.read(offset, size).ljust(_SLOW_READ, b"\0")

    def upload(self, offset: int, size: int, block: int, blocks_underway: int) -> "Upload":
        """The stub's way to read: a stream of blocks that the host acknowledges."""
        self._demand(offset, size)
        if not 0 < block <= LONGEST_BLOCK or not blocks_underway:
            raise Refused(Refusal.BAD_REQUEST)
        return Upload(self._flash, offset, size, block, max(block, min(block * blocks_underway, _MOST_UNDERWAY)))

    def _demand(self, offset: int, size: int) -> None:
        # Nothing at all can be written without a flash, which is how esptool leaves the bootloader.
        if offset + size > (self._size if size else self._flash.size):
            raise Refused(Refusal.FLASH_FAILED)


class Upload:
    """A region on its way to the host, as packets: its blocks, then their MD5."""

    def __init__(self, flash: NorFlash, offset: int, size: int, block: int, window: int) -> None:
        self.is_over = False
        self._flash = flash
        self._offset = offset
        self._size = size
        self._block = block
        self._window = window
        self._sent = 0
        self._digest = hashlib.md5(usedforsecurity=False)

    def packets(self, received: int) -> Iterator[bytes]:
        """What can be sent when the host has so many bytes."""
        received = min(received, self._sent)
        while self._sent < self._size and self._sent - received < self._window:
            block = self._flash.read(self._offset + self._sent, min(self._block, self._size - self._sent))
            self._digest.update(block)
            self._sent += len(block)
            yield block
        if received >= self._size and not self.is_over:
            self.is_over = True
            yield self._digest.digest()


class _Write:
    # One write from its first block to its last.
    def __init__(self, flash: NorFlash, offset: int, size: int, *, erases: bool, deflated: bool) -> None:
        self.left = size
        self.deflated = deflated
        self._flash = flash
        self._at = offset
        self._erases = erases
        self._erased = offset // SECTOR * SECTOR
        self._inflater = zlib.decompressobj()

    def add(self, block: bytes) -> None:
        # The last block of what is not deflated is filled up to the length of the others.
        plain = self._inflate(block) if self.deflated else block[: self.left]
        if self._erases and plain:
            end = self._at + len(plain)
            if end > self._erased:
                self._flash.erase(self._erased, end - self._erased)
                self._erased = -(-end // SECTOR) * SECTOR
        self._flash.program(self._at, plain)
        self._at += len(plain)
        self.left -= len(plain)

    def _inflate(self, block: bytes) -> bytes:
        # A few bytes can stand for very many: never more are made than were announced.
        try:
            plain = self._inflater.decompress(block, self.left + 1)
        except zlib.error:
            raise Refused(Refusal.NOT_DEFLATED) from None
        if len(plain) > self.left:
            raise Refused(Refusal.TOO_MUCH_DATA)
        return plain
