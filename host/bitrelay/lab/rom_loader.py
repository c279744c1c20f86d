"""The serial bootloader of virtual chips: the one in ROM, and the stub that esptool loads in its place.

The protocol is that of esptool's documentation ("Serial Protocol"); the numbers are those of its loader.py. Code that
the host puts into RAM is not executed: whatever it starts is taken for esptool's stub.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import reduce
from operator import xor

from bitrelay.boards.chips import CHIPS

from . import slip
from .esp_registers import Registers
from .esp_resets import Reset
from .loader_flash import LONGEST_BLOCK, LoaderFlash, Refusal, Refused, Upload
from .nor_flash import NorFlash


class Command(IntEnum):
    """What the host may ask for. From ERASE_FLASH on only the stub knows them."""

    FLASH_BEGIN = 0x02
    FLASH_DATA = 0x03
    FLASH_END = 0x04
    MEM_BEGIN = 0x05
    MEM_END = 0x06
    MEM_DATA = 0x07
    SYNC = 0x08
    WRITE_REG = 0x09
    READ_REG = 0x0A
    SPI_SET_PARAMS = 0x0B
    SPI_ATTACH = 0x0D
    READ_FLASH_SLOW = 0x0E
    CHANGE_BAUDRATE = 0x0F
    DEFLATED_BEGIN = 0x10
    DEFLATED_DATA = 0x11
    DEFLATED_END = 0x12
    FLASH_MD5 = 0x13
    SECURITY_INFO = 0x14
    ERASE_FLASH = 0xD0
    ERASE_REGION = 0xD1
    READ_FLASH = 0xD2


# What esptool sends to see whether somebody is there.
SYNC_FRAME = slip.encode(struct.pack("<BBHI", 0, Command.SYNC, 36, 0) + b"\x07\x07\x12\x20" + 32 * b"\x55")

_REQUEST, _RESPONSE = 0, 1
_HEADER = struct.Struct("<BBHI")
_BLOCK_HEADER = 16
_CHECKSUM_SEED = 0xEF
_WITH_CHECKSUM = (Command.FLASH_DATA, Command.MEM_DATA, Command.DEFLATED_DATA)
_ROM_ONLY = (Command.READ_FLASH_SLOW,)
_SYNC_ANSWERS = 8
_ROM_SYNC_VALUE = 0x20120707
_STUB_GREETING = b"OHAI"
# All memory of any of these chips.
_MEMORY = 1 << 20


@dataclass
class _Answer:
    value: int = 0
    body: bytes = b""
    repeat: int = 1
    then: Callable[[], None] = field(default=lambda: None)


class RomLoader:
    """One stay in the bootloader. What the host sends goes to feed(), packets to the host to send().

    on_run is called when the host wants the program in flash to run, on_reset when it has caused a reset; after either
    this object is deaf.
    """

    def __init__(
        self,
        chip: str,
        mac: bytes,
        flash: NorFlash,
        *,
        send: Callable[[bytes], None],
        on_run: Callable[[], None],
        on_reset: Callable[[Reset], None],
    ) -> None:
        self.is_stub = False
        self._chip = CHIPS[chip]
        self._has_chip_id = chip != "esp32"
        self._flash = flash
        self._send = send
        self._on_run = on_run
        self._on_reset = on_reset
        self._is_over = False
        self._decoder = slip.SlipDecoder(_HEADER.size + _BLOCK_HEADER + LONGEST_BLOCK)
        self._registers = Registers(chip, mac, flash.size)
        self._loader_flash = LoaderFlash(flash, stub=False)
        self._memory_left = 0
        self._upload: Upload | None = None
        self._handlers: dict[int, tuple[int, Callable[[bytes], _Answer]]] = {
            # What each needs at least, and who does it.
            Command.FLASH_BEGIN: (16, lambda body: self._begin(body, deflated=False)),
            Command.FLASH_DATA: (_BLOCK_HEADER, lambda body: self._data(body, deflated=False)),
            Command.FLASH_END: (4, self._end),
            Command.MEM_BEGIN: (16, self._memory_begin),
            Command.MEM_DATA: (_BLOCK_HEADER, self._memory_data),
            Command.MEM_END: (8, self._memory_end),
            Command.SYNC: (0, self._sync),
            Command.WRITE_REG: (16, self._write_registers),
            Command.READ_REG: (4, lambda body: _Answer(self._registers.read(_word(body)))),
            Command.SPI_SET_PARAMS: (24, self._set_parameters),
            Command.SPI_ATTACH: (4, self._attach),
            Command.READ_FLASH_SLOW: (8, self._read_slowly),
            Command.CHANGE_BAUDRATE: (8, self._change_baud),
            Command.DEFLATED_BEGIN: (16, lambda body: self._begin(body, deflated=True)),
            Command.DEFLATED_DATA: (_BLOCK_HEADER, lambda body: self._data(body, deflated=True)),
            Command.DEFLATED_END: (4, self._end),
            Command.FLASH_MD5: (8, self._md5),
            Command.SECURITY_INFO: (0, self._security_info),
            Command.ERASE_FLASH: (0, self._erase_all),
            Command.ERASE_REGION: (8, self._erase_region),
            Command.READ_FLASH: (16, self._read),
        }

    def feed(self, data: bytes) -> None:
        """Take what came over the serial line."""
        for packet in self._decoder.feed(data):
            if self._is_over:
                return
            if self._upload is not None and len(packet) == 4:
                self._go_on_uploading(_word(packet))
            elif len(packet) >= _HEADER.size and packet[0] == _REQUEST:
                self._command(packet)

    def _command(self, packet: bytes) -> None:
        _, opcode, length, checksum = _HEADER.unpack_from(packet)
        body = packet[_HEADER.size :]
        try:
            needed, handler = self._handler(opcode)
            if len(body) != length or length < needed:
                raise Refused(Refusal.BAD_REQUEST)
            if opcode in _WITH_CHECKSUM and reduce(xor, body[_BLOCK_HEADER:], _CHECKSUM_SEED) != checksum & 0xFF:
                raise Refused(Refusal.BAD_CHECKSUM)
            answer = handler(body)
        except Refused as refused:
            if refused.why is Refusal.UNKNOWN_COMMAND and not self.is_stub:
                # The ROM answers what it does not understand eight times, without saying what that was.
                for _ in range(_SYNC_ANSWERS):
                    self._reply(0, 0, b"", refused.why)
            else:
                self._reply(opcode, 0, b"", refused.why)
            return
        for _ in range(answer.repeat):
            self._reply(opcode, answer.value, answer.body)
        answer.then()

    def _handler(self, opcode: int) -> tuple[int, Callable[[bytes], _Answer]]:
        known = opcode in self._handlers
        if self.is_stub:
            known = known and opcode not in _ROM_ONLY
        else:
            known = known and opcode < Command.ERASE_FLASH
        if not known or (opcode == Command.SECURITY_INFO and not self._has_chip_id):
            raise Refused(Refusal.UNKNOWN_COMMAND)
        return self._handlers[opcode]

    def _reply(self, opcode: int, value: int, body: bytes, refusal: Refusal | None = None) -> None:
        status = bytes((1, refusal.value[self.is_stub])) if refusal else b"\0\0"
        body += status if self.is_stub else status + b"\0\0"
        self._send(slip.encode(_HEADER.pack(_RESPONSE, opcode, len(body), value) + body))

    # --- the chip ---

    def _sync(self, body: bytes) -> _Answer:
        return _Answer(0 if self.is_stub else _ROM_SYNC_VALUE, repeat=_SYNC_ANSWERS)

    def _write_registers(self, body: bytes) -> _Answer:
        resets = False
        for at in range(0, len(body) - 15, 16):
            address, value, mask, _ = struct.unpack_from("<4I", body, at)
            resets = self._registers.write(address, value, mask) or resets
        return _Answer(then=lambda: self._leave(Reset.RTC_WATCHDOG)) if resets else _Answer()

    def _change_baud(self, body: bytes) -> _Answer:
        # The port carries any rate; what changes is the divider that esptool looks at.
        baud = _word(body)
        return _Answer(then=lambda: self._registers.set_baud(baud))

    def _security_info(self, body: bytes) -> _Answer:
        return _Answer(body=struct.pack("<IB7xII", 0, 0, self._chip.image_id, 0))

    # --- memory ---

    def _memory_begin(self, body: bytes) -> _Answer:
        size = _word(body)
        if size > _MEMORY:
            raise Refused(Refusal.BAD_REQUEST)
        self._memory_left = size
        return _Answer()

    def _memory_data(self, body: bytes) -> _Answer:
        length = len(body) - _BLOCK_HEADER
        if _word(body) != length:
            raise Refused(Refusal.BAD_REQUEST)
        if length > self._memory_left:
            raise Refused(Refusal.TOO_MUCH_DATA)
        self._memory_left -= length
        return _Answer()

    def _memory_end(self, body: bytes) -> _Answer:
        stays, _entry = struct.unpack_from("<II", body)
        return _Answer() if stays else _Answer(then=self._become_stub)

    def _become_stub(self) -> None:
        self._set_stub(True)
        self._send(slip.encode(_STUB_GREETING))

    def _set_stub(self, stub: bool) -> None:
        self.is_stub = stub
        self._loader_flash = LoaderFlash(self._flash, stub)
        self._upload = None

    # --- flash ---

    def _attach(self, body: bytes) -> _Answer:
        self._loader_flash.attach()
        return _Answer()

    def _set_parameters(self, body: bytes) -> _Answer:
        self._loader_flash.set_size(struct.unpack_from("<II", body)[1])
        return _Answer()

    def _begin(self, body: bytes, deflated: bool) -> _Answer:
        size, _blocks, _block, offset = struct.unpack_from("<4I", body)
        self._loader_flash.begin(offset, size, deflated)
        return _Answer()

    def _data(self, body: bytes, deflated: bool) -> _Answer:
        block = body[_BLOCK_HEADER:]
        if _word(body) != len(block):
            raise Refused(Refusal.BAD_REQUEST)
        self._loader_flash.data(block, deflated)
        return _Answer()

    def _end(self, body: bytes) -> _Answer:
        reboots = _word(body) == 0
        if self.is_stub:
            self._loader_flash.end()
            # A reset that reads no boot pin: the bootloader in ROM is back.
            return _Answer(then=lambda: self._set_stub(False)) if reboots else _Answer()
        return _Answer(then=lambda: self._leave(Reset.SOFTWARE if reboots else None))

    def _leave(self, reset: Reset | None) -> None:
        self._is_over = True
        if reset is None:
            self._on_run()
        else:
            self._on_reset(reset)

    def _md5(self, body: bytes) -> _Answer:
        offset, size = struct.unpack_from("<II", body)
        digest = self._loader_flash.md5(offset, size)
        return _Answer(body=digest if self.is_stub else digest.hex().encode())

    def _read_slowly(self, body: bytes) -> _Answer:
        return _Answer(body=self._loader_flash.read_little(*struct.unpack_from("<II", body)))

    def _erase_all(self, body: bytes) -> _Answer:
        self._loader_flash.erase_all()
        return _Answer()

    def _erase_region(self, body: bytes) -> _Answer:
        self._loader_flash.erase(*struct.unpack_from("<II", body))
        return _Answer()

    def _read(self, body: bytes) -> _Answer:
        self._upload = self._loader_flash.upload(*struct.unpack_from("<4I", body))
        return _Answer(then=lambda: self._go_on_uploading(0))

    def _go_on_uploading(self, received: int) -> None:
        if self._upload is not None:
            for packet in self._upload.packets(received):
                self._send(slip.encode(packet))
            if self._upload.is_over:
                self._upload = None


def _word(body: bytes) -> int:
    return int.from_bytes(body[:4], "little")
