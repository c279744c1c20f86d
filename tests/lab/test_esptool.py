"""esptool does on a virtual board what it does on a real one: spec/virtual_board.md section 2."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from serial_tools import esptool

from bitrelay.boards.chips import CHIPS
from bitrelay.lab.board import Board, BoardState
from bitrelay.lab.build import find_interpreter
from bitrelay.lab.esp_resets import Reset
from bitrelay.lab.nor_flash import SECTOR
from bitrelay.lab.stand_in import FULL_SIZE, SMALL_SIZE, build_firmware, version_of

DEADLINE_S = 20.0
VIRTUAL = ["esp32", "esp32c3", "esp32s3"]
TYPES = {"esp32": "ESP32-D0WD-V3", "esp32c3": "ESP32-C3", "esp32s3": "ESP32-S3"}

MakeBoard = Callable[..., Awaitable[Board]]


@pytest.fixture
def firmware(tmp_path: Path) -> Callable[..., Path]:
    """The file of a stand-in firmware for a chip."""
    version = version_of(find_interpreter())

    def make(chip: str, size: int = SMALL_SIZE) -> Path:
        path = tmp_path / f"{chip}-{size}.bin"
        if not path.exists():
            path.write_bytes(build_firmware(chip, version, size))
        return path

    return make


def offset(chip: str) -> str:
    return hex(CHIPS[chip].bootloader_offset)


def mac(board: Board) -> str:
    return ":".join(f"{byte:02x}" for byte in board.unique_id)


async def on_all_chips(make_board: MakeBoard, check: Callable[[Board], Awaitable[None]]) -> None:
    """The same on three blank boards at once."""
    boards = [
        await make_board(blank=True, chip=chip, unique_id=bytes((0x24, 0x0A, 0xC4, 1, 2, number)))
        for number, chip in enumerate(VIRTUAL)
    ]
    async with asyncio.TaskGroup() as group:
        for board in boards:
            group.create_task(check(board))


@pytest.mark.parametrize("stub", [True, False], ids=["stub", "no-stub"])
async def test_the_board_is_recognized(make_board: MakeBoard, stub: bool) -> None:
    with_stub = [] if stub else ["--no-stub"]

    async def check(board: Board) -> None:
        said = await esptool(board.url, *with_stub, "chip-id")
        assert TYPES[board.chip] in said
        assert ("Stub flasher running" in said) is stub
        assert mac(board) in await esptool(board.url, *with_stub, "read-mac")
        assert "Detected flash size: 4MB" in await esptool(board.url, *with_stub, "flash-id")
        has_info = board.chip != "esp32"
        said = await esptool(board.url, *with_stub, "get-security-info", status=0 if has_info else 2)
        assert ("Chip ID" in said) is has_info

    await on_all_chips(make_board, check)


@pytest.mark.parametrize("stub", [True, False], ids=["stub", "no-stub"])
async def test_a_firmware_is_written_verified_read_back_and_erased(
    make_board: MakeBoard, firmware: Callable[..., Path], tmp_path: Path, stub: bool
) -> None:
    with_stub = [] if stub else ["--no-stub"]

    async def check(board: Board) -> None:
        file = firmware(board.chip, FULL_SIZE)
        at = offset(board.chip)
        said = await esptool(board.url, *with_stub, "--baud", "921600", "write-flash", at, str(file))
        assert "Hash of data verified" in said
        assert board.flash.unerased == 0
        await board.wait_for_output("Performing initial setup[^$]*>>> ", DEADLINE_S)
        await esptool(board.url, *with_stub, "verify-flash", at, str(file))
        back = tmp_path / f"{board.chip}.table"
        await esptool(board.url, *with_stub, "read-flash", "0x8000", "0xC00", str(back))
        start = 0x8000 - CHIPS[board.chip].bootloader_offset
        assert back.read_bytes() == file.read_bytes()[start : start + 0xC00]
        await esptool(board.url, *with_stub, "erase-region", "0x10000", "0x1000")
        assert board.flash.read(0x10000, SECTOR) == b"\xff" * SECTOR
        assert board.flash.read(0x11000, SECTOR) != b"\xff" * SECTOR
        said = await esptool(board.url, *with_stub, "erase-flash", status=0 if stub else 2)
        if stub:
            assert board.flash.read(0, board.flash.size) == b"\xff" * board.flash.size
        else:
            assert "ROM does not support" in said

    await on_all_chips(make_board, check)


async def test_every_way_out_of_the_bootloader(make_board: MakeBoard, firmware: Callable[..., Path]) -> None:
    async def check(board: Board) -> None:
        await esptool(board.url, "--after", "no-reset", "write-flash", offset(board.chip), str(firmware(board.chip)))
        assert board.state is BoardState.DOWNLOAD

        async def runs_after(*arguments: str) -> None:
            seen = board.printed
            await esptool(board.url, *arguments, "chip-id")
            await board.wait_for_output(r"entry 0x\w+\s", DEADLINE_S, start=seen)
            assert board.state is BoardState.RUNNING

        await runs_after()
        assert board.reset is Reset.POWER_ON
        await runs_after("--after", "watchdog-reset")
        assert board.reset is (Reset.POWER_ON if board.chip == "esp32" else Reset.RTC_WATCHDOG)
        await runs_after("--no-stub", "--after", "soft-reset")
        await esptool(board.url, "--after", "no-reset-stub", "chip-id")
        assert board.state is BoardState.DOWNLOAD
        said = await esptool(board.url, "--before", "no-reset", "--after", "no-reset", "chip-id")
        assert "Stub flasher is already running" in said
        assert board.state is BoardState.DOWNLOAD

    await on_all_chips(make_board, check)


async def test_firmware_and_filesystem_go_on_in_one_go_and_run(
    make_board: MakeBoard, firmware: Callable[..., Path], tmp_path: Path
) -> None:
    from bitrelay.boards.filesystem import build

    async def check(board: Board) -> None:
        image = tmp_path / f"{board.chip}.files"
        image.write_bytes(build({"/main.py": b"print('it', 'runs')"}, 6 << 20))
        said = await esptool(
            board.url,
            *("write-flash", "--erase-all", offset(board.chip), str(firmware(board.chip)), "0x200000", str(image)),
        )
        assert said.count("Hash of data verified") == 2
        await board.wait_for_output("entry 0x[^$]*it runs", DEADLINE_S)

    boards = [await make_board(blank=True, chip=chip, flash_size=8 << 20) for chip in VIRTUAL]
    await asyncio.gather(*map(check, boards))


@pytest.mark.parametrize("megabytes", [2, 8, 16])
async def test_the_size_of_the_flash_is_detected(make_board: MakeBoard, megabytes: int) -> None:
    board = await make_board(blank=True, chip="esp32s3", flash_size=megabytes << 20)
    assert f"Detected flash size: {megabytes}MB" in await esptool(board.url, "flash-id")


async def test_an_image_for_another_chip_is_refused(make_board: MakeBoard, firmware: Callable[..., Path]) -> None:
    board = await make_board(blank=True, chip="esp32s3")
    said = await esptool(board.url, "write-flash", "0x0", str(firmware("esp32c3")), status=2)
    assert "is not an ESP32-S3 image" in said
    assert board.flash.programmed == 0


async def test_a_port_that_somebody_has_open_is_busy(make_board: MakeBoard) -> None:
    board = await make_board("print('up')", chip="esp32c3")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(board.url.rpartition(":")[2]))
    said = await esptool(board.url, "chip-id", status=2)
    assert "the port is busy or doesn't exist" in said
    assert board.boots == 1
    writer.close()
    await esptool(board.url, "chip-id")


async def test_a_rate_the_wires_do_not_carry_fails_and_the_next_lower_one_works(
    make_board: MakeBoard, firmware: Callable[..., Path]
) -> None:
    board = await make_board(blank=True, chip="esp32c3", max_baud=460_800)
    write = ("write-flash", "0x0", str(firmware("esp32c3")))
    await esptool(board.url, "--baud", "921600", *write, status=2)
    assert board.flash.programmed == 0
    await esptool(board.url, "--baud", "460800", *write)
    assert board.state is BoardState.RUNNING


async def test_without_auto_reset_it_takes_fingers(make_board: MakeBoard, firmware: Callable[..., Path]) -> None:
    board = await make_board(blank=True, chip="esp32c3", auto_reset=False)
    said = await esptool(board.url, "--connect-attempts", "1", "chip-id", status=2)
    assert "Failed to connect" in said
    board.press_boot_and_reset()
    await board.wait_for_output("waiting for download", DEADLINE_S)
    await esptool(board.url, "--before", "no-reset", "write-flash", "0x0", str(firmware("esp32c3")))
    assert board.state is BoardState.DOWNLOAD, "nobody has pressed RESET"
    board.press_reset()
    await board.wait_for_output("Performing initial setup[^$]*>>> ", DEADLINE_S)


async def test_on_a_pty_esptool_itself_is_the_finger_on_boot(
    make_board: MakeBoard, firmware: Callable[..., Path]
) -> None:
    board = await make_board(blank=True, chip="esp32c3")
    said = await esptool(board.port, "--after", "watchdog-reset", "write-flash", "0x0", str(firmware("esp32c3")))
    assert "Chip was NOT reset" in said and "Hash of data verified" in said
    await board.wait_for_output("Performing initial setup[^$]*>>> ", DEADLINE_S)


async def test_a_cable_that_is_pulled_half_way_and_put_back(
    make_board: MakeBoard, firmware: Callable[..., Path]
) -> None:
    write = ("write-flash", "--erase-all", "0x0", str(firmware("esp32c3")))

    async def pull_after(share: float) -> None:
        board = await make_board(blank=True, chip="esp32c3")

        def pull() -> None:
            if board.flash.programmed > SMALL_SIZE * share:
                board.unplug()

        board.flash.on_write = pull
        assert "Hash of data verified" not in await esptool(board.url, *write, status=1)
        assert board.state is BoardState.OFF
        assert abs(board.flash.programmed - SMALL_SIZE * share) <= 2 * SECTOR
        board.flash.on_write = lambda: None
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(board.url.rpartition(":")[2]))
        url, port = board.url, board.port
        await board.start()
        assert (board.url, board.port) == (url, port)
        await board.wait_for_output("E .* boot:|Checksum failed|invalid header", DEADLINE_S)
        await esptool(board.url, *write)
        await board.wait_for_output("Performing initial setup[^$]*>>> ", DEADLINE_S)

    async with asyncio.TaskGroup() as group:
        for share in (0.1, 0.5, 0.9):
            group.create_task(pull_after(share))


async def test_a_power_cut_in_the_middle_of_an_erase(make_board: MakeBoard, firmware: Callable[..., Path]) -> None:
    board = await make_board("print('up')", chip="esp32c3")
    await board.wait_for_output("up", DEADLINE_S)
    left = 300

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            board.unplug()

    board.flash.on_write = count
    await esptool(board.url, "erase-flash", status=1)
    assert board.flash.read(0, 300 * SECTOR) == b"\xff" * 300 * SECTOR
    assert board.flash.read(0x200000, SECTOR) != b"\xff" * SECTOR, "the filesystem is still there"
    board.flash.on_write = lambda: None
    await board.start()
    await board.wait_for_output("invalid header: 0xffffffff", DEADLINE_S)
    await esptool(board.url, "write-flash", "0x0", str(firmware("esp32c3")))
    seen = board.printed
    await board.reboot()
    await board.wait_for_output("entry 0x[^$]*up", DEADLINE_S, start=seen)
