"""What goes onto a board, decided without one."""

import hashlib
import json
import random
from dataclasses import replace

import pytest
from littlefs import LittleFS

from bitrelay.boards.catalog import BoardModel, named_board
from bitrelay.boards.filesystem import BLOCK, UnreadableFilesystem, build, read_files, used_runs
from bitrelay.boards.image import Firmware
from bitrelay.boards.plan import (
    Wishes,
    WritePlan,
    check_firmware,
    fingerprints,
    is_program,
    kept_files,
    wanted_files,
    write_plan,
)
from bitrelay.errors import BadData, BitrelayError, DamagedFirmware, FlashTooSmall, WrongChip
from bitrelay.lab.stand_in import build_firmware

FLASH = 4 << 20
C3 = named_board("esp32_generic_c3")
S3 = named_board("esp32_generic_s3")
PROGRAM = {
    "/main.py": b"main",
    "/firmware/app.mpy": b"a" * 9000,
    "/shared_protocol/frame.mpy": b"f",
    "/build.txt": b"1",
}
OWN = {"/settings.json": b'{"name": "x"}', "/identity.bin": b"i" * 72, "/lib/mine.py": b"m" * 300}


@pytest.fixture(scope="module")
def image() -> bytes:
    return build_firmware("esp32c3", "v1.29.0")


@pytest.fixture(scope="module")
def firmware(image: bytes) -> Firmware:
    return Firmware.parse(image, 0)


# --- the firmware ---


def test_a_file_longer_than_its_partitions_is_refused(image: bytes) -> None:
    assert check_firmware(image + b"\xff" * 4096, C3, FLASH, virtual=False)
    with pytest.raises(DamagedFirmware, match="more than its partitions hold"):
        check_firmware(image.ljust(0x200001, b"\xff"), C3, FLASH, virtual=False)


def test_a_good_firmware_is_taken(image: bytes) -> None:
    assert check_firmware(image, C3, FLASH, virtual=False).app.version == "v1.29.0"


def test_the_wrong_chip_is_told_by_its_name_wherever_its_bootloader_belongs(image: bytes) -> None:
    with pytest.raises(WrongChip, match="for an ESP32-C3, the board has an ESP32-S3"):
        check_firmware(image, S3, FLASH, virtual=False)
    with pytest.raises(WrongChip, match="for an ESP32, the board has an ESP32-C3"):
        check_firmware(build_firmware("esp32", "v1.29.0"), C3, FLASH, virtual=False)


@pytest.mark.parametrize("size", [0, 100, 20_000, 40_000, 70_000, 1_000_000, -1])
def test_a_truncated_file_is_told(image: bytes, size: int) -> None:
    with pytest.raises(DamagedFirmware):
        check_firmware(image[:size], C3, FLASH, virtual=False)


def test_an_altered_byte_is_told_wherever_something_depends_on_it(image: bytes, firmware: Firmware) -> None:
    chance = random.Random(3)
    boot_end, table = 20_000, range(0x8000, 0x8000 + 3 * 32)
    for at in [*chance.sample(range(boot_end), 20), *table, *chance.sample(range(0x10000, len(image) - 64), 40)]:
        altered = bytearray(image)
        altered[at] ^= 1 << chance.randrange(8)
        with pytest.raises(BitrelayError):
            check_firmware(bytes(altered), C3, FLASH, virtual=False)


def test_what_is_too_old_or_another_program_is_refused(image: bytes) -> None:
    with pytest.raises(BadData, match="MicroPython v1.26.1, the relay needs 1.27 or newer"):
        check_firmware(build_firmware("esp32c3", "v1.26.1"), C3, FLASH, virtual=False)
    assert check_firmware(build_firmware("esp32c3", "v1.27.0"), C3, FLASH, virtual=False)
    assert check_firmware(build_firmware("esp32c3", "v2.0.0-preview.7"), C3, FLASH, virtual=False)


def test_a_stand_in_for_virtual_boards_goes_on_no_real_one() -> None:
    stand_in = build_firmware("esp32c3", "v1.29.0+x64")
    assert check_firmware(stand_in, C3, FLASH, virtual=True).app.mpy_arch == "x64"
    with pytest.raises(DamagedFirmware, match="stand-in"):
        check_firmware(stand_in, C3, FLASH, virtual=False)


@pytest.mark.parametrize(
    "megabytes, board", [(2, C3), (2, replace(C3, min_flash=2 << 20)), (4, replace(C3, min_flash=8 << 20))]
)
def test_a_flash_that_is_too_small_is_told(image: bytes, megabytes: int, board: BoardModel) -> None:
    with pytest.raises(FlashTooSmall, match=f"the flash has {megabytes} MB"):
        check_firmware(image, board, megabytes << 20, virtual=False)


# --- the files ---


@pytest.mark.parametrize("path", PROGRAM)
def test_the_program_is_known(path: str) -> None:
    assert is_program(path)


def test_everything_else_is_kept_but_what_was_half_written() -> None:
    assert kept_files(PROGRAM | OWN | {"/settings.new": b"{"}, None) == OWN
    assert kept_files({"/lib/x.new": b"", "/firmware.txt": b""}, None) == {"/lib/x.new": b"", "/firmware.txt": b""}


def test_rescued_files_stand_in_only_for_lost_ones() -> None:
    old = {"/settings.json": b"old", "/other.txt": b"o"}
    assert kept_files(PROGRAM | OWN, old) == OWN
    assert kept_files({}, old) == old
    # MicroPython has made itself a filesystem since, and somebody has put a file there.
    assert kept_files({"/boot.py": b"#", "/new.txt": b"n"}, old) == old | {"/new.txt": b"n"}


def test_settings_stay_byte_for_byte() -> None:
    for settings in (b'{"name":   "x"}', b"not json at all"):
        kept = OWN | {"/settings.json": settings}
        assert wanted_files(kept, Wishes(), C3) == kept


def test_a_board_without_settings_gets_those_of_its_board_file() -> None:
    assert json.loads(wanted_files({}, Wishes(), C3)["/settings.json"]) == {"led_pin": 8}
    assert wanted_files({}, Wishes(), S3) == {}
    two_links = replace(S3, links=2)
    assert json.loads(wanted_files({}, Wishes(), two_links)["/settings.json"]) == {"max_links": 2}
    assert wanted_files({"/settings.json": b"{}"}, Wishes(), C3) == {"/settings.json": b"{}"}


def test_wishes_go_before_what_was_there() -> None:
    wanted = wanted_files(OWN | {"/trial.json": b"{}"}, Wishes("roof"), C3)
    assert json.loads(wanted["/settings.json"]) == {"name": "roof"}
    assert "/trial.json" in wanted
    wanted = wanted_files(OWN | {"/trial.json": b"{}"}, Wishes("roof", b'{"log_level": 1}', b"new"), C3)
    assert json.loads(wanted["/settings.json"]) == {"log_level": 1, "name": "roof"}
    assert wanted["/identity.bin"] == b"new"
    assert "/trial.json" not in wanted


def test_settings_without_bytes_are_no_file() -> None:
    assert "/settings.json" not in wanted_files(OWN, Wishes(settings=b""), C3)


def test_a_name_does_not_go_into_settings_nobody_understands() -> None:
    with pytest.raises(BadData, match="settings on the board are damaged"):
        wanted_files({"/settings.json": b"{"}, Wishes("roof"), C3)


# --- the bytes ---


def blocks_of(flash: bytes, at: int):
    return lambda number: flash[at + number * BLOCK : at + (number + 1) * BLOCK]


def written(flash: bytearray, plan: WritePlan, steps: int | None = None) -> bytearray:
    """The flash after so many of the plan's steps."""
    done = 0
    for offset, size in plan.erase:
        if steps is None or done < steps:
            flash[offset : offset + size] = b"\xff" * size
        done += 1
    for part in plan.parts:
        if steps is None or done < steps:
            flash[part.offset : part.offset + len(part.data)] = part.data
        done += 1
    return flash


def test_whatever_was_on_the_flash_the_files_are_the_new_ones_then(firmware: Firmware) -> None:
    vfs = firmware.vfs(FLASH)
    plan = write_plan(firmware, vfs, build(PROGRAM | OWN, vfs.size), (0, 0), whole=True, erased=False)
    for before in (b"\xff", b"\x00", b"\x55"):
        flash = bytes(written(bytearray(before * FLASH), plan))
        assert Firmware.parse(flash[: len(firmware.data)], 0).app == firmware.app
        assert read_files(blocks_of(flash, vfs.offset), vfs.size) == PROGRAM | OWN
    assert plan.total == sum(len(part.data) for part in plan.parts)


def test_a_directory_of_an_older_filesystem_never_shows_through(firmware: Firmware) -> None:
    vfs = firmware.vfs(FLASH)
    plan = write_plan(firmware, vfs, build(PROGRAM | OWN, vfs.size), (vfs.offset, vfs.size), whole=False, erased=False)
    for block in often_changed_directory():
        flash = bytearray(block * (FLASH // BLOCK))
        assert read_files(blocks_of(bytes(written(flash, plan)), vfs.offset), vfs.size) == PROGRAM | OWN


def often_changed_directory() -> list[bytes]:
    """Both blocks of a directory whose revision is higher than those in a new filesystem."""
    filesystem = LittleFS(block_size=BLOCK, block_count=64, read_size=32, prog_size=32, cache_size=128)
    filesystem.mkdir("/old")
    for number in range(400):
        with filesystem.open("/old/file", "wb") as file:
            file.write(b"%d" % number * 20)
    flash = bytes(filesystem.context.buffer)
    blocks = [flash[at : at + BLOCK] for at in range(2 * BLOCK, len(flash), BLOCK)]
    return [block for block in blocks if block.strip(b"\xff")]


def test_at_every_step_there_are_the_old_files_or_none_or_the_new_ones(firmware: Firmware) -> None:
    vfs = firmware.vfs(FLASH)
    old, new = {"/settings.json": b"old" * 500}, PROGRAM | OWN
    plan = write_plan(firmware, vfs, build(new, vfs.size), (vfs.offset, vfs.size), whole=True, erased=False)
    found = []
    for steps in range(len(plan.erase) + len(plan.parts) + 1):
        flash = written(bytearray(b"\xff" * vfs.offset) + build(old, vfs.size), plan, steps)
        try:
            found.append(read_files(blocks_of(bytes(flash), vfs.offset), vfs.size))
        except UnreadableFilesystem:
            found.append({})
    assert found[0] == old and found[-1] == new
    assert all(files == {} for files in found[1:-1])


def test_a_filesystem_elsewhere_goes_first(firmware: Firmware) -> None:
    vfs = firmware.vfs(FLASH)
    plan = write_plan(firmware, vfs, build(PROGRAM, vfs.size), (0x310000, 0xF0000), whole=True, erased=False)
    assert plan.erase == ((0x310000, 2 * BLOCK), (vfs.offset, 2 * BLOCK))


def test_an_erased_flash_is_not_erased_again(firmware: Firmware) -> None:
    vfs = firmware.vfs(FLASH)
    assert write_plan(firmware, vfs, build(PROGRAM, vfs.size), (vfs.offset, 1), whole=True, erased=True).erase == ()


def test_what_is_written_to_files_is_read_back(firmware: Firmware) -> None:
    vfs = firmware.vfs(FLASH)
    image = build(PROGRAM, vfs.size)
    plan = write_plan(firmware, vfs, image, (0, 0), whole=True, erased=False)
    assert [part.read_back for part in plan.parts] == [False] + [True] * (len(plan.parts) - 1)
    assert sum(len(part.data) for part in plan.parts[1:]) == sum(len(data) for _, data in used_runs(image))


def test_fingerprints_leave_out_what_programs_write_to(image: bytes, firmware: Firmware) -> None:
    flash = bytearray(image)
    flash[0x9000:0x10000] = b"\x00" * 0x7000  # nvs and phy_init
    ranges = fingerprints(firmware)
    assert [(offset, size) for offset, size, _ in ranges] == [(0, 0x9000), (0x10000, len(image) - 0x10000)]
    for offset, size, md5 in ranges:
        assert hashlib.md5(flash[offset : offset + size]).hexdigest() == md5
    of_esp32 = Firmware.parse(build_firmware("esp32", "v1.29.0"), 0x1000)
    assert [offset for offset, _, _ in fingerprints(of_esp32)] == [0x1000, 0x10000]
