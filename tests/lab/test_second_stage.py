"""What is on the flash decides what a chip does after a reset."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitrelay.boards.chips import CHIPS
from bitrelay.boards.image import APP, PARTITION, PARTITION_MAGIC, TABLE_OFFSET, TABLE_SIZE
from bitrelay.lab.flash_contents import files_partition, read_files, write_all
from bitrelay.lab.nor_flash import NorFlash
from bitrelay.lab.second_stage import NotBootable, boot
from bitrelay.lab.stand_in import SMALL_SIZE, build_firmware

FILES = {"/main.py": b"print(1)\n", "/firmware/a.mpy": bytes(5000), "/settings.json": b"{}"}
VIRTUAL = ["esp32", "esp32c3", "esp32s3"]


def made(tmp_path: Path, chip: str = "esp32c3", megabytes: int = 4) -> NorFlash:
    flash = NorFlash(tmp_path / "flash.bin", megabytes << 20)
    flash.program(CHIPS[chip].bootloader_offset, build_firmware(chip, "v1.29.0+x64", SMALL_SIZE))
    return flash


@pytest.mark.parametrize("chip", VIRTUAL)
@pytest.mark.parametrize("megabytes", [4, 8, 16])
def test_a_flash_with_firmware_and_files_boots(tmp_path: Path, chip: str, megabytes: int) -> None:
    flash = NorFlash(tmp_path / "flash.bin", megabytes << 20)
    write_all(flash, chip, build_firmware(chip, "v1.29.0+x64", SMALL_SIZE), FILES)
    app = boot(flash, chip)
    assert app.description.version == "v1.29.0+x64"
    assert app.running.label == "factory"
    assert [p.label for p in app.partitions] == ["nvs", "phy_init", "factory", "vfs"]
    assert files_partition(flash, chip).size == (megabytes - 2) << 20
    assert read_files(flash, chip) == FILES


def test_two_megabytes_boot_without_room_for_files(tmp_path: Path) -> None:
    assert [p.label for p in boot(made(tmp_path, megabytes=2), "esp32c3").partitions] == ["nvs", "phy_init", "factory"]


def test_an_empty_flash_is_the_rom_s_complaint(tmp_path: Path) -> None:
    with pytest.raises(NotBootable, match="^invalid header: 0xffffffff$"):
        boot(NorFlash(tmp_path / "flash.bin"), "esp32")


@pytest.mark.parametrize(
    ("at", "data", "says"),
    [
        (100, b"\0\0\0\0", "^Checksum failed"),
        (TABLE_OFFSET + 12, b"\0", "E .* wrong MD5"),
        (0x10000, b"\0", "E .* boot: invalid header: 0x"),
        (0x12000, bytes(64), "E .* boot: Checksum failed"),
        (0x10000 + 32, b"\0", "Checksum failed"),
    ],
)
def test_what_was_damaged_is_told(tmp_path: Path, at: int, data: bytes, says: str) -> None:
    flash = made(tmp_path)
    flash.program(at, data)
    with pytest.raises(NotBootable, match=says):
        boot(flash, "esp32c3")


def test_a_missing_erase_is_seen_at_the_next_start(tmp_path: Path) -> None:
    flash = made(tmp_path)
    flash.program(0, build_firmware("esp32c3", "v1.30.0", SMALL_SIZE))
    assert flash.unerased
    with pytest.raises(NotBootable):
        boot(flash, "esp32c3")


def test_firmware_for_another_chip_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(NotBootable, match="invalid chip ID, expected 9, found 5"):
        boot(made(tmp_path), "esp32s3")


@pytest.fixture
def scratch(tmp_path: Path) -> NorFlash:
    return made(tmp_path)


numbers = st.one_of(st.sampled_from([0, 0x9000, 0x10000, 0x1F0000, 0x200000, 4 << 20]), st.integers(0, 0xFFFFFFFF))
rows = st.tuples(st.sampled_from([APP, 1, 0x40]), st.integers(0, 255), numbers, numbers, st.binary(max_size=16))


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(rows, max_size=5))
def test_no_partition_table_breaks_the_bootloader(
    scratch: NorFlash, table: list[tuple[int, int, int, int, bytes]]
) -> None:
    packed = b"".join(PARTITION.pack(PARTITION_MAGIC, *row, 0) for row in table)
    scratch.erase(TABLE_OFFSET, TABLE_SIZE)
    scratch.program(TABLE_OFFSET, packed)
    try:
        app = boot(scratch, "esp32c3")
    except NotBootable:
        return
    assert app.running.end <= scratch.size
