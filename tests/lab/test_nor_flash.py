"""The flash of a virtual board behaves as a NOR chip does, also when the power goes."""

from pathlib import Path

import pytest

from bitrelay.errors import BadData
from bitrelay.lab.nor_flash import SECTOR, SIZE_NAMES, SIZES, NorFlash


@pytest.fixture
def flash(tmp_path: Path) -> NorFlash:
    return NorFlash(tmp_path / "flash.bin")


@pytest.mark.parametrize("size", SIZES)
def test_a_new_flash_is_blank(tmp_path: Path, size: int) -> None:
    assert NorFlash(tmp_path / "flash.bin", size).read(0, size) == b"\xff" * size


def test_sizes_are_called_what_esptool_calls_them() -> None:
    assert SIZE_NAMES == {"2MB": 2 << 20, "4MB": 4 << 20, "8MB": 8 << 20, "16MB": 16 << 20}


def test_programming_only_clears_bits_and_a_missing_erase_is_counted(flash: NorFlash) -> None:
    flash.program(100, b"\xf0\x0f")
    flash.program(100, b"\x3c\x0f")
    assert flash.read(99, 4) == b"\xff\x30\x0f\xff"
    assert flash.unerased == 1


def test_programming_what_is_there_already_is_no_missing_erase(flash: NorFlash) -> None:
    flash.program(0, b"same")
    flash.program(0, b"same")
    assert flash.unerased == 0


def test_erasing_takes_whole_sectors(flash: NorFlash) -> None:
    flash.program(0, bytes(4 * SECTOR))
    flash.erase(SECTOR + 5, SECTOR)
    assert flash.read(0, 4 * SECTOR) == bytes(SECTOR) + b"\xff" * 2 * SECTOR + bytes(SECTOR)


def test_a_program_across_sectors_is_one_piece(flash: NorFlash) -> None:
    data = bytes(range(256)) * 40
    flash.program(SECTOR - 3, data)
    assert flash.read(SECTOR - 3, len(data)) == data
    assert flash.programmed == len(data)


@pytest.mark.parametrize("at", [-1, (4 << 20) - 1])
def test_beyond_its_ends_there_is_nothing(flash: NorFlash, at: int) -> None:
    for operation in (lambda: flash.read(at, 2), lambda: flash.erase(at, 2), lambda: flash.program(at, b"xx")):
        with pytest.raises(ValueError):
            operation()


def test_it_is_the_same_when_it_is_opened_again(tmp_path: Path) -> None:
    first = NorFlash(tmp_path / "flash.bin", 2 << 20)
    first.program(7, b"kept")
    first.close()
    assert NorFlash(tmp_path / "flash.bin", 2 << 20).read(7, 4) == b"kept"


def test_a_file_of_another_size_is_no_flash(tmp_path: Path) -> None:
    (tmp_path / "flash.bin").write_bytes(b"short")
    with pytest.raises(BadData, match="5 bytes, not the 4,194,304 of a flash of 4MB"):
        NorFlash(tmp_path / "flash.bin")
    with pytest.raises(BadData, match="There are: 2MB, 4MB, 8MB, 16MB"):
        NorFlash(tmp_path / "other.bin", 3 << 20)


def test_two_boards_do_not_share_a_flash(flash: NorFlash) -> None:
    with pytest.raises(BadData, match="in use"):
        NorFlash(flash.path)
    flash.close()
    NorFlash(flash.path)


def test_a_power_cut_leaves_what_was_done_so_far(flash: NorFlash) -> None:
    def cut_after_two_sectors() -> None:
        if flash.programmed >= 2 * SECTOR:
            flash.cut_power()

    flash.on_write = cut_after_two_sectors
    flash.program(0, bytes(5 * SECTOR))
    assert flash.read(0, 5 * SECTOR) == bytes(2 * SECTOR) + b"\xff" * 3 * SECTOR
    flash.erase(0, SECTOR)
    flash.program(3 * SECTOR, b"x")
    assert flash.read(0, 1) == b"\0" and flash.read(3 * SECTOR, 1) == b"\xff", "without power nothing happens"
    flash.restore_power()
    flash.on_write = flash.cut_power
    flash.erase(0, 2 * SECTOR)
    assert flash.read(0, 2 * SECTOR) == b"\xff" * SECTOR + bytes(SECTOR)
