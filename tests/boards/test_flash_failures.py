"""Whatever goes wrong, the error says what and what to do, and a plain second run ends well with all that was kept."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from bitrelay.boards.flasher import flash
from bitrelay.boards.job import FlashOptions, Target
from bitrelay.boards.rescue import rescue_path
from bitrelay.errors import (
    BitrelayError,
    DamagedFirmware,
    DeviceLost,
    DiskFull,
    ExitCode,
    FirmwareMismatch,
    FlashTooSmall,
    NoBootloader,
    NoDevice,
    NoFirmware,
    PortBusy,
    WrongChip,
)
from bitrelay.lab.single_board import SingleBoard
from bitrelay.lab.stand_in import FULL_SIZE, build_firmware
from bitrelay.rfc2217 import QuickRfc2217Port
from tests.boards.conftest import IN_USE, Events, MakeBoard, flash_it

DEADLINE_S = 15.0


async def demand_untouched(one: SingleBoard, programmed: int) -> None:
    """The board runs what it had, and nothing was written to it."""
    start = one.board.printed
    assert one.board.flash.programmed == programmed
    await one.board.wait_for_output("starting", DEADLINE_S, start if one.board.pid is None else 0)
    assert {path: one.board.files()[path] for path in IN_USE} == IN_USE
    assert not rescue_path(one.board.unique_id.hex()).exists()


async def demand_second_run(one: SingleBoard) -> None:
    """A plain run makes a relay of the board, with the files it had."""
    assert (await flash_it(one)).verified
    assert {path: one.board.files()[path] for path in IN_USE} == IN_USE
    assert not rescue_path(one.board.unique_id.hex()).exists()


def no_worker_is_left() -> bool:
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return not any(b"boards.session" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children)


@pytest.mark.parametrize(
    "chip, content, name, error, code, says",
    [
        ("esp32", slice(None), "x.bin", WrongChip, 80, "for an ESP32, the board has an ESP32-C3"),
        ("esp32c3", slice(900_000), "x.bin", DamagedFirmware, 81, "cut short"),
        ("esp32c3", slice(1, None), "x.bin", DamagedFirmware, 81, "invalid header"),
        ("esp32c3", slice(None), "pinned", FirmwareMismatch, 82, "not 1,754,736.*esp32_generic_c3.toml names"),
    ],
    ids=["wrong chip", "truncated", "altered", "not the pinned one"],
)
async def test_firmware_that_must_not_be_written(
    make_board: MakeBoard,
    tmp_path: Path,
    chip: str,
    content: slice,
    name: str,
    error: type[BitrelayError],
    code: int,
    says: str,
) -> None:
    one = await make_board(files=IN_USE)
    programmed = one.board.flash.programmed
    file = tmp_path / (name if name != "pinned" else "ESP32_GENERIC_C3-20260824-v1.29.0.bin")
    file.write_bytes(build_firmware(chip, "v1.29.0+x64")[content])
    with pytest.raises(error, match=says) as raised:
        await flash_it(one, firmware=file)
    assert raised.value.exit_code == code and raised.value.hint
    await demand_untouched(one, programmed)


async def test_a_flash_that_is_too_small(make_board: MakeBoard) -> None:
    one = await make_board(flash_size=2 << 20)
    with pytest.raises(FlashTooSmall, match="the flash has 2 MB, esp32_generic_c3 needs 4 MB") as raised:
        await flash_it(one)
    assert raised.value.exit_code is ExitCode.FLASH_TOO_SMALL
    assert one.board.flash.programmed == 0


async def test_a_port_that_is_busy(make_board: MakeBoard) -> None:
    one = await make_board(files=IN_USE)
    monitor = await asyncio.to_thread(QuickRfc2217Port, one.board.url, 115200)
    with pytest.raises(PortBusy, match="another program has it open.*Close the other") as raised:
        await flash_it(one)
    assert raised.value.exit_code is ExitCode.PORT_BUSY
    await asyncio.to_thread(monitor.close)
    await flash_it(one, dry_run=True)


async def test_a_port_that_is_not_there(make_board: MakeBoard) -> None:
    with pytest.raises(NoDevice, match="nothing listens there"):
        await flash(Target("gone", "rfc2217://127.0.0.1:9"), FlashOptions(), Events())


async def test_a_board_without_auto_reset_asks_for_fingers(make_board: MakeBoard) -> None:
    one = await make_board(files=IN_USE, auto_reset=False)
    with pytest.raises(NoBootloader, match=r"hold BOOT \(GPIO 9\)") as raised:
        await flash_it(one, board="esp32_generic_c3")
    assert raised.value.exit_code is ExitCode.NO_BOOTLOADER
    events = Events()
    task = asyncio.create_task(flash_it(one, events, hands=True))
    await events.wait_for("Now hold BOOT, press RESET")
    one.board.press_boot_and_reset()
    assert (await task).verified
    assert {path: one.board.files()[path] for path in IN_USE} == IN_USE


async def test_fingers_that_were_there_first_are_enough(make_board: MakeBoard) -> None:
    one = await make_board("esp32", files=IN_USE, auto_reset=False)
    one.board.press_boot_and_reset()
    events = Events()
    task = asyncio.create_task(flash_it(one, events, hands=True))
    await events.wait_for("Now press its reset button")
    one.board.press_reset()
    assert (await task).verified


async def test_a_full_disk(make_board: MakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await make_board(files=IN_USE)
    programmed = one.board.flash.programmed

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DiskFull, match="No space left.*Make room") as raised:
            await flash_it(one)
    assert raised.value.exit_code is ExitCode.DISK_FULL
    await demand_untouched(one, programmed)


async def test_no_network_and_no_cache(make_board: MakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await make_board(files=IN_USE)
    programmed = one.board.flash.programmed
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    target = Target("board", one.board.url, virtual=True)
    with pytest.raises(NoFirmware, match="not in the cache and cannot be downloaded.*--firmware FILE") as raised:
        await flash(target, FlashOptions(), Events())
    assert raised.value.exit_code is ExitCode.NO_FIRMWARE
    await demand_untouched(one, programmed)


async def test_stopped_at_any_stage_or_unplugged_while_writing_nothing_is_lost(make_board: MakeBoard) -> None:
    one = await make_board(files=IN_USE)
    for stage in ("connect", "firmware", "read", "build", "write", "verify", "start"):
        events = Events()
        task = asyncio.create_task(flash_it(one, events))
        events.on(stage, task.cancel, 0.5 if stage in ("write", "verify") else 0.0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stage in events.stages[-2:]
        assert no_worker_is_left()
        assert ("half written" in events.notes) == (stage in ("write", "verify"))
    for share in (0.1, 0.5, 0.9):
        events = Events()
        events.on("write", one.board.unplug, share)
        # Also MicroPython is written anew.
        with pytest.raises(DeviceLost, match="has gone.*half written: flash it again.*are safe in") as raised:
            await flash_it(one, events, firmware=other_firmware(one, share))
        assert raised.value.exit_code is ExitCode.DEVICE_LOST
        assert rescue_path(one.board.unique_id.hex()).exists()
        assert no_worker_is_left()
        await one.board.start()
    await demand_second_run(one)


def other_firmware(one: SingleBoard, share: float) -> Path:
    """A firmware that the board does not have yet."""
    path = one.firmware.with_name("other.bin")
    path.write_bytes(build_firmware("esp32c3", "v1.29.0+x64", FULL_SIZE + int(share * 10) * 4096))
    return path
