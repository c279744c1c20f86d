"""The serial bootloader does what esptool's protocol says, and takes nothing on trust that comes over the line."""

import hashlib
import struct
import zlib
from functools import reduce
from operator import xor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitrelay.lab.esp_resets import Reset
from bitrelay.lab.nor_flash import SECTOR, NorFlash
from bitrelay.lab.rom_loader import SYNC_FRAME, Command, RomLoader
from bitrelay.lab.slip import SlipDecoder, encode

MAC = bytes.fromhex("240ac4c0ffee")
CHIPS = ["esp32", "esp32c3", "esp32s3"]
MAC_REGISTERS = {
    "esp32": (0x3FF5A004, 0x3FF5A008),
    "esp32c3": (0x60008844, 0x60008848),
    "esp32s3": (0x60007044, 0x60007048),
}


class Host:
    """The other end of the line."""

    def __init__(self, flash: NorFlash, chip: str = "esp32c3") -> None:
        self.flash = flash
        self.left: list[object] = []
        self.packets: list[bytes] = []
        decoder = SlipDecoder(1 << 16)
        self.loader = RomLoader(
            chip,
            MAC,
            flash,
            send=lambda data: self.packets.extend(decoder.feed(data)),
            on_run=lambda: self.left.append("run"),
            on_reset=self.left.append,
        )

    def say(self, command: int, body: bytes = b"", checksum: int | None = None) -> list[tuple[int, int, bytes]]:
        """Send a command; returns (command, value, body) of each answer."""
        if checksum is None:
            checksum = reduce(xor, body[16:], 0xEF)
        self.packets.clear()
        self.loader.feed(encode(struct.pack("<BBHI", 0, command, len(body), checksum) + body))
        return [(p[1], int.from_bytes(p[4:8], "little"), p[8:]) for p in self.packets if p[:1] == b"\x01"]

    def fails_with(self, command: int, body: bytes = b"", checksum: int | None = None) -> int:
        """The number of the error that a command ends with, 0 if it succeeds."""
        status_from = -2 if self.loader.is_stub else -4
        ((_, _, answer),) = self.say(command, body, checksum)
        status = answer[status_from:][:2]
        assert status[0] == (status[1] != 0)
        return status[1]

    def words(self, command: int, *numbers: int) -> int:
        """fails_with, for a command whose body are 32-bit numbers."""
        return self.fails_with(command, struct.pack(f"<{len(numbers)}I", *numbers))

    def block(self, command: int, data: bytes, number: int = 0) -> int:
        """fails_with, for a block of data."""
        return self.fails_with(command, struct.pack("<4I", len(data), number, 0, 0) + data)

    def register(self, address: int) -> int:
        ((_, value, _),) = self.say(Command.READ_REG, struct.pack("<I", address))
        return value

    def attach(self, size: int | None = None) -> None:
        assert self.words(Command.SPI_ATTACH, 0, 0) == 0
        if size:
            assert self.words(Command.SPI_SET_PARAMS, 0, size, 65536, 4096, 256, 0xFFFF) == 0

    def run_stub(self) -> None:
        assert self.words(Command.MEM_BEGIN, 8, 1, 8, 0x40000000) == 0
        assert self.block(Command.MEM_DATA, b"no code!") == 0
        self.say(Command.MEM_END, struct.pack("<II", 0, 0x40000000))
        assert self.packets[-1] == b"OHAI"


@pytest.fixture
def flash(tmp_path: Path) -> NorFlash:
    return NorFlash(tmp_path / "flash.bin")


@pytest.fixture
def rom(flash: NorFlash) -> Host:
    """A host that talks to the bootloader in ROM."""
    host = Host(flash)
    host.attach(flash.size)
    return host


@pytest.fixture
def stub(flash: NorFlash) -> Host:
    """A host that talks to esptool's stub."""
    host = Host(flash)
    host.run_stub()
    return host


def test_the_sync_frame_is_answered_eight_times_and_tells_rom_from_stub(flash: NorFlash) -> None:
    host = Host(flash)
    host.loader.feed(b"noise\xc0" + SYNC_FRAME)
    assert [packet[4:8] for packet in host.packets] == [b"\x07\x07\x12\x20"] * 8
    host.run_stub()
    host.packets.clear()
    host.loader.feed(SYNC_FRAME)
    assert [packet[4:8] for packet in host.packets] == [bytes(4)] * 8


@pytest.mark.parametrize("chip", CHIPS)
def test_the_fuses_hold_the_mac_address(flash: NorFlash, chip: str) -> None:
    host = Host(flash, chip)
    low, high = MAC_REGISTERS[chip]
    assert (host.register(high) & 0xFFFF).to_bytes(2, "big") + host.register(low).to_bytes(4, "big") == MAC


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_the_flash_chip_tells_its_size(tmp_path: Path, chip: str, size: int) -> None:
    host = Host(NorFlash(tmp_path / "flash.bin", size << 20), chip)
    base, command, data = (0x3FF42000, 0x24, 0x80) if chip == "esp32" else (0x60002000, 0x20, 0x58)
    for address, value in ((base + command, 7 << 28 | 0x9F), (base, 1 << 18)):
        assert host.words(Command.WRITE_REG, address, value, 0xFFFFFFFF, 0) == 0
    assert host.register(base) == 0, "the command is done"
    assert 1 << (host.register(base + data) >> 16) == size << 20


def test_only_newer_chips_tell_their_number(flash: NorFlash) -> None:
    for chip, number in (("esp32c3", 5), ("esp32s3", 9)):
        ((_, _, answer),) = Host(flash, chip).say(Command.SECURITY_INFO)
        assert struct.unpack_from("<I", answer, 12) == (number,)
    answers = Host(flash, "esp32").say(Command.SECURITY_INFO)
    assert [(command, body[:2]) for command, _, body in answers] == [(0, b"\x01\x05")] * 8


@pytest.mark.parametrize("command", [Command.ERASE_FLASH, Command.ERASE_REGION, Command.READ_FLASH, 0x55, 0xD4])
def test_what_the_rom_does_not_know_it_says_eight_times(rom: Host, command: int) -> None:
    assert [(c, body) for c, _, body in rom.say(command, bytes(16))] == [(0, b"\x01\x05\0\0")] * 8


def test_what_the_stub_does_not_know(stub: Host) -> None:
    assert stub.fails_with(Command.READ_FLASH_SLOW, bytes(8)) == 0xFF
    assert stub.fails_with(0x55) == 0xFF


def test_the_rom_needs_the_flash_attached_and_takes_it_for_two_megabytes(flash: NorFlash) -> None:
    host = Host(flash)
    assert host.words(Command.FLASH_MD5, 0, 4096, 0, 0) == 0x06
    host.attach()
    assert host.words(Command.FLASH_MD5, 0, 2 << 20, 0, 0) == 0
    assert host.words(Command.FLASH_BEGIN, 4096, 4, 1024, 2 << 20) == 0x06
    host.attach(64 << 20)
    assert host.words(Command.FLASH_BEGIN, 4096, 4, 1024, 2 << 20) == 0
    assert host.words(Command.FLASH_BEGIN, 4096, 4, 1024, 4 << 20) == 0x06, "no more than there is"


def test_the_rom_erases_when_writing_begins(rom: Host) -> None:
    rom.flash.program(0, bytes(3 * SECTOR))
    assert rom.words(Command.FLASH_BEGIN, SECTOR + 1, 5, 1024, 0) == 0
    assert rom.flash.read(0, 3 * SECTOR) == b"\xff" * 2 * SECTOR + bytes(SECTOR)
    assert rom.block(Command.FLASH_DATA, b"ab" * 512) == 0
    assert rom.flash.read(0, 1024) == b"ab" * 512


def test_the_stub_erases_as_it_goes(stub: Host) -> None:
    stub.flash.program(0, bytes(4 * SECTOR))
    data = bytes(range(256)) * 24
    assert stub.words(Command.FLASH_BEGIN, len(data), 1, 0x4000, SECTOR) == 0
    assert stub.flash.read(SECTOR, SECTOR) == bytes(SECTOR)
    assert stub.block(Command.FLASH_DATA, data.ljust(0x4000, b"\xff")) == 0
    assert stub.flash.read(0, 4 * SECTOR) == bytes(SECTOR) + data.ljust(2 * SECTOR, b"\xff") + bytes(SECTOR)
    assert stub.words(Command.FLASH_END, 1) == 0


@pytest.mark.parametrize("which", ["rom", "stub"])
def test_deflated_data_is_written_inflated(request: pytest.FixtureRequest, which: str) -> None:
    host: Host = request.getfixturevalue(which)
    data = b"all work and no play " * 5000
    packed = zlib.compress(data, 9)
    cut = len(packed) // 2
    assert host.words(Command.DEFLATED_BEGIN, len(data), 2, 0x400, 0x10000) == 0
    assert host.block(Command.DEFLATED_DATA, packed[:cut]) == 0
    assert host.block(Command.DEFLATED_DATA, packed[cut:], 1) == 0
    ((_, _, answer),) = host.say(Command.FLASH_MD5, struct.pack("<4I", 0x10000, len(data), 0, 0))
    digest = hashlib.md5(data)
    assert answer == (digest.digest() + b"\0\0" if which == "stub" else digest.hexdigest().encode() + bytes(4))
    assert host.flash.unerased == 0


def test_few_bytes_that_stand_for_very_many_are_refused(stub: Host) -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)[:0x3F00]
    assert stub.words(Command.DEFLATED_BEGIN, 4096, 1, 0x4000, 0) == 0
    assert stub.block(Command.DEFLATED_DATA, bomb) == 0xC9
    assert stub.flash.read(0, 8192) == b"\xff" * 8192


def test_data_that_is_not_what_it_should_be_is_refused(stub: Host) -> None:
    assert stub.block(Command.FLASH_DATA, b"data") == 0xC6, "not begun"
    assert stub.words(Command.FLASH_END, 1) == 0xC6
    assert stub.words(Command.DEFLATED_BEGIN, 4096, 1, 0x4000, 0) == 0
    assert stub.block(Command.FLASH_DATA, b"data") == 0xC6, "begun as deflated"
    assert stub.block(Command.DEFLATED_DATA, b"data") == 0xC7
    assert stub.words(Command.DEFLATED_END, 1) == 0xC8, "4096 bytes are missing"
    assert stub.fails_with(Command.FLASH_DATA, bytes(16) + b"data") == 0xC0, "says 0 bytes, has 4"
    assert stub.fails_with(Command.FLASH_DATA, struct.pack("<4I", 4, 0, 0, 0) + b"data", checksum=0) == 0xC1
    assert stub.fails_with(Command.FLASH_BEGIN, bytes(8)) == 0xC0
    assert stub.words(Command.ERASE_REGION, 100, 4096) == 0xC0
    assert stub.words(Command.ERASE_REGION, 4 << 20, 4096) == 0xC4
    assert stub.words(Command.FLASH_BEGIN, 0xFFFFFFFF, 1, 1, 0xFFFFFFFF) == 0xC4
    assert stub.words(Command.FLASH_BEGIN, 0, 0, 0, 16 << 20) == 0xC4


def test_a_bad_checksum_in_rom(rom: Host) -> None:
    assert rom.fails_with(Command.FLASH_DATA, struct.pack("<4I", 4, 0, 0, 0) + b"data", checksum=0) == 0x07


def test_memory_takes_what_was_announced(rom: Host) -> None:
    assert rom.words(Command.MEM_BEGIN, 2 << 20, 1, 8, 0) == 0x05
    assert rom.words(Command.MEM_BEGIN, 4, 1, 8, 0) == 0
    assert rom.block(Command.MEM_DATA, b"12345678") == 0x06
    assert rom.words(Command.MEM_END, 1, 0) == 0
    assert not rom.loader.is_stub


def test_erasing_with_the_stub(stub: Host) -> None:
    stub.flash.program(0, bytes(4 * SECTOR))
    assert stub.words(Command.ERASE_REGION, SECTOR, 2 * SECTOR) == 0
    assert stub.flash.read(0, 4 * SECTOR) == bytes(SECTOR) + b"\xff" * 2 * SECTOR + bytes(SECTOR)
    assert stub.fails_with(Command.ERASE_FLASH) == 0
    assert stub.flash.read(0, stub.flash.size) == b"\xff" * stub.flash.size


def test_the_rom_reads_64_bytes_at_a_time(rom: Host) -> None:
    rom.flash.program(100, b"hello")
    ((_, _, answer),) = rom.say(Command.READ_FLASH_SLOW, struct.pack("<II", 100, 5))
    assert answer == b"hello".ljust(64, b"\0") + bytes(4)
    assert rom.words(Command.READ_FLASH_SLOW, 100, 65) == 0x05


def test_the_stub_sends_no_more_than_was_acknowledged(stub: Host) -> None:
    content = bytes(range(256)) * 400
    stub.flash.program(0, content)
    stub.say(Command.READ_FLASH, struct.pack("<4I", 0, len(content), 4096, 64))
    packets = stub.packets[1:]
    assert sum(map(len, packets)) <= 0x4000
    got = b"".join(packets)
    while len(got) < len(content):
        stub.packets.clear()
        stub.loader.feed(encode(struct.pack("<I", len(got))))
        assert 0 < sum(map(len, stub.packets)) <= 0x4000
        got += b"".join(stub.packets)
    assert got == content
    stub.packets.clear()
    stub.loader.feed(encode(struct.pack("<I", len(got))))
    assert stub.packets == [hashlib.md5(content).digest()]
    stub.loader.feed(encode(struct.pack("<I", len(got))))
    assert len(stub.packets) == 1


def test_acknowledging_what_was_never_sent_gains_nothing(stub: Host) -> None:
    stub.say(Command.READ_FLASH, struct.pack("<4I", 0, 4 << 20, 4096, 64))
    stub.packets.clear()
    stub.loader.feed(encode(b"\xff\xff\xff\xff"))
    assert sum(map(len, stub.packets)) <= 0x4000


@pytest.mark.parametrize("word", [0, 1])
def test_the_rom_is_left_by_flash_end(rom: Host, word: int) -> None:
    assert rom.words(Command.FLASH_BEGIN, 0, 0, 0x400, 0) == 0
    assert rom.words(Command.FLASH_END, word) == 0
    assert rom.left == ["run" if word else Reset.SOFTWARE]
    assert rom.say(Command.SYNC, bytes(36)) == [], "nobody is there any more"


def test_the_stub_stays_or_goes_back_to_the_rom(stub: Host) -> None:
    assert stub.words(Command.FLASH_BEGIN, 0, 0, 0x4000, 0) == 0
    assert stub.words(Command.FLASH_END, 1) == 0
    assert stub.loader.is_stub
    assert stub.words(Command.FLASH_BEGIN, 0, 0, 0x4000, 0) == 0
    assert stub.words(Command.FLASH_END, 0) == 0
    assert not stub.loader.is_stub
    assert stub.left == []


@pytest.mark.parametrize(("chip", "rtc"), [("esp32c3", (0x90, 0xA8)), ("esp32s3", (0x98, 0xB0))])
def test_the_rtc_watchdog_resets_the_chip(flash: NorFlash, chip: str, rtc: tuple[int, int]) -> None:
    host = Host(flash, chip)
    configuration, protection = (0x60008000 + offset for offset in rtc)
    for address, value in ((protection, 0x50D83AA1), (configuration, 1 << 31), (protection, 0)):
        assert host.left == []
        assert host.words(Command.WRITE_REG, address, value, 0xFFFFFFFF, 0) == 0
    assert host.left == [Reset.RTC_WATCHDOG]


def test_registers_do_not_fill_the_memory(flash: NorFlash) -> None:
    host = Host(flash)
    for address in range(0, 200_000, 4):
        host.loader._registers.write(address, 1, 1)
    assert len(host.loader._registers._values) <= 4096


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.data())
def test_nothing_that_is_sent_breaks_it(flash: NorFlash, data: st.DataObject) -> None:
    host = Host(flash, data.draw(st.sampled_from(CHIPS)))
    if data.draw(st.booleans()):
        host.run_stub()
    word = st.one_of(st.integers(0, 0xFFFFFFFF), st.sampled_from([0, 1, 64, 4096, 0x4000, 1 << 20]))
    commands = st.one_of(st.sampled_from(list(Command)), st.integers(0, 255))
    for _ in range(data.draw(st.integers(1, 12))):
        body = b"".join(n.to_bytes(4, "little") for n in data.draw(st.lists(word, max_size=6)))
        body += data.draw(st.binary(max_size=20))
        if data.draw(st.booleans()):
            host.say(data.draw(commands), body, data.draw(st.sampled_from([None, 0])))
        else:
            host.loader.feed(encode(body) if data.draw(st.booleans()) else body)
        assert sum(map(len, host.packets)) <= 0x8000
    assert len(host.left) <= 1
