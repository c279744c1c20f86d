# The `esp32` of a virtual board: the partitions of its flash, which is a file on the lab's computer, and what little
# else of that module programs ask for.
import gc
import os

from micropython import const

HEAP_DATA = const(4)
HEAP_EXEC = const(1)

_SECTOR = const(4096)
_PIECE = const(128)
_NVS_NOT_FOUND = const(-0x1102)

_flash = open(os.getenv("BITRELAY_FLASH"), "r+b")
_piece = bytearray(_PIECE)
_stored = {}


# One row of the partition table: (type, subtype, offset, size, label, encrypted). The app that runs is the first.
def _read_row(text):
    row = text.split(":")
    return (int(row[0]), int(row[1]), int(row[2]), int(row[3]), row[4], False)


_rows = [_read_row(row) for row in os.getenv("BITRELAY_PARTITIONS").split(",")]


# NOR: programming only clears bits.
def _program(at, data):
    length = len(data)
    done = 0
    while done < length:
        n = min(_PIECE, length - done)
        _flash.seek(at + done)
        _flash.readinto(_piece, n)
        for i in range(n):
            _piece[i] &= data[done + i]
        _flash.seek(at + done)
        _flash.write(_piece, n)
        done += n


def _erase(at, length):
    for i in range(_PIECE):
        _piece[i] = 0xFF
    _flash.seek(at)
    for _ in range(length // _PIECE):
        _flash.write(_piece)


class Partition:
    BOOT = const(0)
    RUNNING = const(1)
    TYPE_APP = const(0)
    TYPE_DATA = const(1)

    def __init__(self, id, block_size=_SECTOR):
        for row in _rows:
            if id == row[4] or isinstance(id, int):
                self._row = row
                self._block = block_size
                return
        raise OSError(2)

    @staticmethod
    def find(type=TYPE_APP, subtype=0xFF, label=None, block_size=_SECTOR):
        return [
            Partition(row[4], block_size)
            for row in _rows
            if row[0] == type and subtype in (0xFF, row[1]) and label in (None, row[4])
        ]

    def info(self):
        return self._row

    def _place(self, block, offset, length):
        at = block * self._block + offset
        if at < 0 or at + length > self._row[3]:
            raise OSError(22)
        return self._row[2] + at

    def readblocks(self, block, buffer, offset=0):
        _flash.seek(self._place(block, offset, len(buffer)))
        _flash.readinto(buffer)

    # Without an offset whole blocks are erased before.
    def writeblocks(self, block, buffer, offset=None):
        at = self._place(block, offset or 0, len(buffer))
        if offset is None:
            _erase(at, len(buffer))
        _program(at, buffer)

    def ioctl(self, command, argument):
        if command == 4:
            return self._row[3] // self._block
        if command == 5:
            return self._block
        if command == 6:
            _erase(self._place(argument, 0, self._block), self._block)
        return 0


# Lost at a reset, unlike a board's.
class NVS:
    def __init__(self, namespace):
        self._values = _stored.setdefault(namespace, {})

    def set_i32(self, key, value):
        self._values[key] = value

    def get_i32(self, key):
        if key not in self._values:
            raise OSError(_NVS_NOT_FOUND)
        return self._values[key]

    def set_blob(self, key, value):
        self._values[key] = bytes(value)

    def get_blob(self, key, buffer):
        value = self.get_i32(key)
        buffer[: len(value)] = value
        return len(value)

    def erase_key(self, key):
        self.get_i32(key)
        del self._values[key]

    def commit(self):
        pass


# (size, free, largest free block, least that was free) of each region; a virtual board has one heap.
def idf_heap_info(capabilities):
    free = gc.mem_free()
    return [(free + gc.mem_alloc(), free, free, free)]


def mcu_temperature():
    return 42
