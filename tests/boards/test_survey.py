"""What is found on a flash before it is written."""

import pytest

from bitrelay.boards.filesystem import MAX_KEPT, TooManyFiles, build
from bitrelay.boards.image import DATA, Firmware, Partition
from bitrelay.boards.survey import Read, survey
from bitrelay.lab.stand_in import SMALL_SIZE, build_firmware

FLASH = 4 << 20
AT = 0x200000
ELSEWHERE = Partition("vfs", DATA, 0x81, 0x300000, 0x100000)
FILES = {"/settings.json": b"{}", "/firmware/app.mpy": b"x" * 50_000, "/build.txt": b"1"}
# Of the program it is enough to know that it is there.
FOUND = {"/settings.json": b"{}", "/firmware/app.mpy": b"", "/build.txt": b""}


def flash_with(files: bytes, firmware: bytes = b"", at: int = AT) -> bytes:
    flash = bytearray(b"\xff" * FLASH)
    flash[: len(firmware)] = firmware
    flash[at : at + len(files)] = files
    return bytes(flash)


def reader(flash: bytes) -> Read:
    return lambda offset, size: flash[offset : offset + size]


@pytest.fixture(scope="module")
def firmware() -> bytes:
    return build_firmware("esp32c3", "v1.29.0", SMALL_SIZE)


def test_a_blank_flash_has_nothing() -> None:
    found = survey(reader(b"\xff" * FLASH), FLASH, ELSEWHERE)
    assert (found.app, dict(found.files), found.trouble, found.size) == (None, {}, "", 0)


def test_a_relay_is_known_with_its_files(firmware: bytes) -> None:
    found = survey(reader(flash_with(build(FILES, FLASH - AT), firmware)), FLASH, ELSEWHERE)
    assert found.app == Firmware.parse(firmware, 0).app
    assert (dict(found.files), found.trouble, found.at, found.size) == (FOUND, "", AT, FLASH - AT)


def test_without_a_partition_table_the_files_are_looked_for_where_they_would_be() -> None:
    found = survey(reader(flash_with(build(FILES, ELSEWHERE.size), at=ELSEWHERE.offset)), FLASH, ELSEWHERE)
    assert (found.app, dict(found.files), found.at) == (None, FOUND, ELSEWHERE.offset)


def test_somebody_elses_program_has_no_files_of_ours(firmware: bytes) -> None:
    found = survey(reader(flash_with(b"\x12" * 9000, firmware)), FLASH, ELSEWHERE)
    assert (dict(found.files), found.trouble, found.size) == ({}, "", 0)


def test_a_damaged_filesystem_is_told_from_none(firmware: bytes) -> None:
    image = bytearray(build(FILES, FLASH - AT))
    image[16:32] = bytes(16)
    image[4096 + 16 : 4096 + 32] = bytes(16)
    found = survey(reader(flash_with(bytes(image), firmware)), FLASH, ELSEWHERE)
    assert "cannot be read" in found.trouble and found.size


def test_more_files_than_are_kept_are_an_error(firmware: bytes) -> None:
    image = build({"/big": bytes(MAX_KEPT + 1)}, FLASH - AT)
    with pytest.raises(TooManyFiles, match="more than 1 MiB"):
        survey(reader(flash_with(image, firmware)), FLASH, ELSEWHERE)


def test_only_what_is_needed_is_read(firmware: bytes) -> None:
    read: list[int] = []
    flash = flash_with(build(FILES, FLASH - AT), firmware)

    def count(offset: int, size: int) -> bytes:
        read.append(size)
        return flash[offset : offset + size]

    survey(count, FLASH, ELSEWHERE)
    assert sum(read) < 40_000
