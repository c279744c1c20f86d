"""Images, partition tables and whole firmware files are read as the bootloader reads them."""

import hashlib
import struct

import pytest

from bitrelay.boards.chips import CHIPS
from bitrelay.boards.image import (
    APP,
    DATA,
    HEADER,
    LITTLEFS_SUBTYPE,
    TABLE_OFFSET,
    BadImage,
    Firmware,
    Partition,
    boot_partition,
    read_image,
    read_partitions,
    vfs_partition,
)
from bitrelay.errors import DamagedFirmware, FlashTooSmall
from bitrelay.lab.stand_in import FULL_SIZE, PARTITIONS, SMALL_SIZE, build_firmware

VIRTUAL = ["esp32", "esp32c3", "esp32s3"]
C3 = build_firmware("esp32c3", "v1.29.0+x64", SMALL_SIZE)
APP_AT = 0x10000
END = 1 << 30


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize("chip", VIRTUAL)
@pytest.mark.parametrize("size", [SMALL_SIZE, FULL_SIZE])
def test_a_whole_file_is_understood(chip: str, size: int) -> None:
    data = build_firmware(chip, "v1.29.0+x64", size)
    firmware = Firmware.parse(data, CHIPS[chip].bootloader_offset)
    assert abs(len(data) - size) < 4096
    assert firmware.chip_id == CHIPS[chip].image_id
    assert (firmware.app.project, firmware.app.version, firmware.app.idf_version) == (
        "micropython",
        "v1.29.0+x64",
        "v5.5.1",
    )
    assert (firmware.app.release, firmware.app.mpy_arch) == ("1.29.0", "x64")
    assert firmware.partitions == PARTITIONS
    assert firmware.vfs(4 << 20) == Partition("vfs", DATA, LITTLEFS_SUBTYPE, 2 << 20, 2 << 20)


def test_image_tells_chip_length_and_build() -> None:
    image = read_image(C3, APP_AT, END, 5)
    assert image.chip_id == 5
    assert APP_AT + image.size == len(C3)
    assert image.app is not None
    assert len(image.elf_sha256) == 64
    assert read_image(C3, 0, END).app is None, "a bootloader has no description"


@pytest.mark.parametrize(
    ("flash", "offset", "says"),
    [
        (b"\xff" * 100, 0, "invalid header: 0xffffffff"),
        (bytes(100), 0, "invalid header: 0x00000000"),
        (C3, len(C3), "the data ends there"),
        (C3[: HEADER.size + 4], 0, "segment 0 .* missing"),
        (C3[:1000], 0, "segment 0 .* cut short"),
        (C3[:-33], APP_AT, "cut short"),
        (changed(C3, APP_AT + 1, b"\xff"), APP_AT, "255 segments"),
        (changed(C3, APP_AT + 1000, bytes((C3[APP_AT + 1000] ^ 1,))), APP_AT, "Checksum failed. Calculated 0x"),
        (changed(C3, APP_AT + 3, b"\x2f"), APP_AT, "Image hash failed - image is corrupt"),
        (changed(C3, len(C3) - 1, bytes((C3[-1] ^ 1,))), APP_AT, "Image hash failed"),
    ],
)
def test_what_does_not_boot_is_told_as_the_bootloader_does(flash: bytes, offset: int, says: str) -> None:
    with pytest.raises(BadImage, match=says):
        read_image(flash, offset, END)


def test_an_image_for_another_chip_does_not_boot() -> None:
    with pytest.raises(BadImage, match="invalid chip ID, expected 9, found 5"):
        read_image(C3, APP_AT, END, 9)


def test_an_image_must_end_within_its_partition() -> None:
    with pytest.raises(BadImage, match="cut short"):
        read_image(C3, APP_AT, APP_AT + 5000)


def test_partitions_are_those_of_the_table() -> None:
    assert read_partitions(C3) == list(PARTITIONS)


def test_a_changed_table_is_noticed() -> None:
    with pytest.raises(BadImage, match="wrong MD5"):
        read_partitions(changed(C3, TABLE_OFFSET + 20, b"x"))
    with pytest.raises(BadImage, match="empty"):
        read_partitions(changed(C3, TABLE_OFFSET, b"\xff" * 0xC00))
    with pytest.raises(BadImage, match="partition 1 has invalid magic number 0x4241"):
        read_partitions(changed(C3, TABLE_OFFSET + 32, b"AB"))


def test_a_board_starts_the_factory_app_else_the_first_slot() -> None:
    slots = [Partition("ota_1", APP, 0x11, 0x20000, 0x1000), Partition("ota_0", APP, 0x10, 0x10000, 0x1000)]
    assert boot_partition(slots).label == "ota_0"
    assert boot_partition([*slots, Partition("factory", APP, 0, 0x30000, 0x1000)]).label == "factory"
    with pytest.raises(BadImage, match="No bootable app"):
        boot_partition([Partition("nvs", DATA, 2, 0x9000, 0x6000)])


def test_files_are_behind_the_last_partition_or_in_one_of_their_own() -> None:
    assert vfs_partition(PARTITIONS, 16 << 20).size == 14 << 20
    own = Partition("vfs", DATA, 0x81, 0x200000, 0x10000)
    assert vfs_partition((*PARTITIONS, own), 4 << 20) is own


@pytest.mark.parametrize("size", [1 << 20, 2 << 20, (2 << 20) + 4096])
def test_a_flash_without_room_for_files_is_too_small(size: int) -> None:
    with pytest.raises(FlashTooSmall, match="the flash has"):
        vfs_partition(PARTITIONS, size)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:30_000], "too short"),
        (lambda data: data[:-1], "damaged"),
        (lambda data: data[: len(data) // 2], "damaged: invalid header|damaged"),
        (lambda data: changed(data, 0x8000, b"\xff" * 32), "damaged: partition table is empty"),
        (lambda data: changed(data, 500, bytes((data[500] ^ 0x10,))), "damaged: Checksum failed"),
        (lambda data: b"<!DOCTYPE html>" + data, "damaged: invalid header: 0x4f44213c"),
    ],
)
def test_a_file_that_was_truncated_or_altered_is_refused(damage, says: str) -> None:
    with pytest.raises(DamagedFirmware, match=says):
        Firmware.parse(damage(C3), 0)


def test_a_file_without_a_version_is_refused() -> None:
    with pytest.raises(DamagedFirmware, match="does not say which version"):
        Firmware.parse(build_firmware("esp32c3", "nightly", SMALL_SIZE), 0)


def test_the_stand_in_is_the_same_every_time_and_compresses_like_code() -> None:
    import zlib

    assert build_firmware("esp32s3", "v1.29.0", 200_000) == build_firmware("esp32s3", "v1.29.0", 200_000)
    whole = build_firmware("esp32s3", "v1.29.0")
    assert 0.55 < len(zlib.compress(whole, 9)) / len(whole) < 0.7


def test_esptool_takes_it_for_a_good_image(capfd: pytest.CaptureFixture[str]) -> None:
    from esptool.bin_image import LoadFirmwareImage

    for chip in VIRTUAL:
        image = LoadFirmwareImage(chip, build_firmware(chip, "v1.29.0", SMALL_SIZE))
        image.verify()
        assert image.chip_id == CHIPS[chip].image_id
        assert image.calculate_checksum() == image.checksum
        assert image.stored_digest == image.calc_digest


def test_a_description_has_the_layout_of_esp_idf() -> None:
    # esp_app_desc_t: the magic word is the first of the first segment, the version 16 bytes behind it.
    segment = APP_AT + HEADER.size + 8
    assert struct.unpack_from("<I", C3, segment)[0] == 0xABCD5432
    assert C3[segment + 16 : segment + 28] == b"v1.29.0+x64\0"
    assert hashlib.sha256(C3[APP_AT:-32]).digest() == C3[-32:]
