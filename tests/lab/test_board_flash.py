"""A virtual board starts from what is on its flash, and keeps there what its program writes."""

import asyncio
import os
import random
import re
from collections.abc import Awaitable, Callable

import pytest
import serial

from bitrelay.boards.chips import CHIPS
from bitrelay.boards.filesystem import build, used_runs
from bitrelay.lab.board import DEFAULT_HEAP, LOOK_ALIKES_K, Board, BoardState
from bitrelay.lab.esp_resets import Reset
from bitrelay.lab.lab import Lab
from bitrelay.lab.nor_flash import SECTOR
from bitrelay.lab.rom_loader import SYNC_FRAME
from bitrelay.lab.scenario import BoardSpec, Scenario
from bitrelay.lab.stand_in import SMALL_SIZE, build_firmware

DEADLINE_S = 15.0
VIRTUAL = ["esp32", "esp32c3", "esp32s3"]
FILES_AT = 0x200000
FIRMWARE_HEAP_K = 192

MakeBoard = Callable[..., Awaitable[Board]]


def put_firmware(board: Board, chip: str | None = None) -> None:
    """Program a firmware as if somebody had flashed it."""
    board.flash.program(
        CHIPS[board.chip].bootloader_offset, build_firmware(chip or board.chip, "v1.29.0+x64", SMALL_SIZE)
    )


@pytest.mark.parametrize(
    ("chip", "banner", "machine"),
    [
        ("esp32", r"ets Jul 29 2019[^$]*rst:0x1 \(POWERON_RESET\),boot:0x13", "Generic ESP32 module with ESP32"),
        ("esp32c3", r"ESP-ROM:esp32c3[^$]*rst:0x1 \(POWERON\),boot:0xc", "Generic ESP32C3 module with ESP32C3"),
        ("esp32s3", r"ESP-ROM:esp32s3[^$]*rst:0x1 \(POWERON\),boot:0x8", "Generic ESP32S3 module with ESP32S3"),
    ],
)
async def test_each_chip_says_what_it_is(make_board: MakeBoard, chip: str, banner: str, machine: str) -> None:
    board = await make_board("import sys\nprint(sys.implementation._machine)", chip=chip)
    await board.wait_for_output(f"{banner}[^$]*entry 0x[^$]*{machine}\\s", DEADLINE_S)


async def test_an_empty_flash_is_complained_about_for_ever(make_board: MakeBoard) -> None:
    board = await make_board(blank=True)
    await board.wait_for_output(
        r"POWERON_RESET[^$]*invalid header: 0xffffffff[^$]*RTCWDT_RTC_RESET[^$]*invalid header: 0xffffffff", DEADLINE_S
    )
    assert board.state is BoardState.NOT_BOOTING
    assert board.pid is None
    put_firmware(board)
    await board.wait_for_output("Performing initial setup[^$]*>>> ", DEADLINE_S)


async def test_firmware_for_another_chip_does_not_start(make_board: MakeBoard) -> None:
    board = await make_board(blank=True, chip="esp32s3")
    put_firmware(board, "esp32c3")
    await board.wait_for_output("invalid chip ID, expected 9, found 5", DEADLINE_S)


async def test_a_damaged_app_does_not_start(make_board: MakeBoard) -> None:
    board = await make_board("print('up')")
    await board.wait_for_output("up", DEADLINE_S)
    board.flash.program(0x11000, bytes(16))
    seen = board.printed
    await board.reboot()
    await board.wait_for_output(r"Checksum failed. Calculated 0x\w+ read 0x\w+", DEADLINE_S, start=seen)


async def test_the_first_start_makes_a_filesystem_and_the_next_ones_keep_it(make_board: MakeBoard) -> None:
    board = await make_board(blank=True)
    put_firmware(board)
    await board.wait_for_output("Performing initial setup[^$]*>>> ", DEADLINE_S)
    assert list(board.files()) == ["/boot.py"]
    board.write(b"f = open('kept', 'w'); f.write('xxx'); f.close(); print(6 * 7)\r")
    await board.wait_for_output("\n42\r?\n", DEADLINE_S)
    seen = board.printed
    await board.reboot()
    await board.wait_for_output(">>> $", DEADLINE_S, start=seen)
    assert b"initial setup" not in board.output[-(board.printed - seen) :]
    assert board.files()["/kept"] == b"xxx"


async def test_a_filesystem_of_the_wrong_size_is_a_damaged_one(make_board: MakeBoard) -> None:
    board = await make_board(blank=True, flash_size=8 << 20)
    for at, data in used_runs(build({"/main.py": b"print('never')"}, 2 << 20)):
        board.flash.program(FILES_AT + at, data)
    put_firmware(board)
    await board.wait_for_output("The filesystem appears to be corrupted[^$]*factory reprogramming", DEADLINE_S)
    assert board.state is BoardState.RUNNING
    seen = board.printed
    board.write(b"\x03")
    await board.wait_for_output("KeyboardInterrupt[^$]*>>> ", DEADLINE_S, start=seen)
    board.write(b"open('/file', 'w')\r")
    await board.wait_for_output("OSError.*ENODEV", DEADLINE_S, start=seen)


@pytest.mark.parametrize("megabytes", [4, 8, 16])
async def test_files_have_all_the_flash_behind_the_firmware(make_board: MakeBoard, megabytes: int) -> None:
    board = await make_board("import os\nprint('blocks', os.statvfs('/')[:3])", flash_size=megabytes << 20)
    await board.wait_for_output(rf"blocks \(4096, 4096, {(megabytes - 2) * 256}\)", DEADLINE_S)


async def test_two_megabytes_run_without_files(make_board: MakeBoard) -> None:
    board = await make_board(blank=True, flash_size=2 << 20)
    put_firmware(board)
    await board.wait_for_output(">>> $", DEADLINE_S)
    board.write(b"6*7\r")
    await board.wait_for_output("\n42\r?\n", DEADLINE_S)


async def test_programs_reach_the_flash_by_partitions(make_board: MakeBoard) -> None:
    board = await make_board(
        "import esp32\n"
        "p = esp32.Partition('nvs')\n"
        "print(esp32.Partition(esp32.Partition.RUNNING).info())\n"
        "print([q.info()[4] for q in esp32.Partition.find(1)], p.ioctl(4, 0), p.ioctl(5, 0))\n"
        "p.writeblocks(0, b'\\xf0' * 4096)\n"
        "p.writeblocks(0, b'\\x3c', 5)\n"
        "b = bytearray(3)\n"
        "p.readblocks(0, b, 4)\n"
        "print(b)\n"
        "p.ioctl(6, 0)\n"
        "try: p.readblocks(6, b)\n"
        "except OSError as e: print(e)\n"
        "n = esp32.NVS('x'); n.set_i32('k', 5); n.commit(); print(n.get_i32('k'), esp32.idf_heap_info(4)[0][0] > 0)\n"
    )
    await board.wait_for_output(
        r"\(0, 0, 65536, 2031616, 'factory', False\)\s+\['nvs', 'phy_init', 'vfs'\] 6 4096\s+"
        r"bytearray\(b'\\xf00\\xf0'\)\s+\[Errno 22\] EINVAL\s+5 True",
        DEADLINE_S,
    )
    assert board.flash.read(0x9000, SECTOR) == b"\xff" * SECTOR


async def test_the_look_alikes_take_what_the_heap_has_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"{FIRMWARE_HEAP_K + LOOK_ALIKES_K}k" == DEFAULT_HEAP
    asks = b"import gc\ngc.collect()\nprint('heap', gc.mem_alloc())"
    monkeypatch.setattr("bitrelay.lab.lab.board_files", lambda arch: {"/main.py": asks})
    async with Lab(Scenario(boards=(BoardSpec("relay"),)), advertise=False) as lab:
        found = await lab.boards["relay"].wait_for_output(r"heap (\d+)", DEADLINE_S)
    # main.py itself and the lengths of paths are part of it.
    assert abs(int(found[1]) - (LOOK_ALIKES_K << 10)) < 1000


async def test_a_board_that_goes_to_its_bootloader_stays_there_until_its_reset_pin(make_board: MakeBoard) -> None:
    board = await make_board("import machine\nif machine.reset_cause() == 1: machine.bootloader()\nprint('up')")
    await board.wait_for_output(r"rst:0xc \(SW_CPU_RESET\),boot:0x3 [^$]*waiting for download", DEADLINE_S)
    assert board.state is BoardState.DOWNLOAD
    with serial.Serial(board.port, timeout=DEADLINE_S) as port:
        port.write(SYNC_FRAME)
        assert (await asyncio.to_thread(port.read, 14))[:3] == b"\xc0\x01\x08"


async def test_buttons_work_and_lines_do_not_without_auto_reset(make_board: MakeBoard) -> None:
    board = await make_board("print('up')", auto_reset=False)
    await board.wait_for_output("up", DEADLINE_S)

    def pull_lines() -> None:
        with serial.serial_for_url(board.url, timeout=1) as port:
            port.dtr = False
            port.rts = True
            port.dtr = True
            port.rts = False

    await asyncio.to_thread(pull_lines)
    with serial.Serial(board.port) as port:
        port.write(SYNC_FRAME)
    assert board.boots == 1
    seen = board.printed
    board.press_boot_and_reset()
    await board.wait_for_output("waiting for download", DEADLINE_S, start=seen)
    board.press_reset()
    await board.wait_for_output("entry 0x[^$]*up", DEADLINE_S, start=seen)
    assert board.boots == 2


async def test_a_sync_frame_on_the_pty_is_a_finger_on_boot(make_board: MakeBoard) -> None:
    board = await make_board("print('up')\nwhile True: pass")
    await board.wait_for_output("up", DEADLINE_S)
    with serial.Serial(board.port) as port:
        port.write(SYNC_FRAME)
        await board.wait_for_output("waiting for download", DEADLINE_S)
    assert board.reset is Reset.POWER_ON


async def test_what_is_sent_too_fast_is_garbled(make_board: MakeBoard) -> None:
    board = await make_board("import sys\nwhile True: print('heard', repr(sys.stdin.read(1)))", max_baud=460_800)
    await board.wait_for_output(r"entry 0x", DEADLINE_S)

    def send(baud: int) -> None:
        with serial.serial_for_url(board.url, baudrate=baud, timeout=1) as port:
            port.write(b"a")

    await asyncio.to_thread(send, 460_800)
    await board.wait_for_output("heard 'a'", DEADLINE_S)
    seen = board.printed
    await asyncio.to_thread(send, 921_600)
    await board.wait_for_output("heard ';'", DEADLINE_S, start=seen)


async def test_an_unplugged_board_is_gone_and_comes_back_where_it_was(make_board: MakeBoard) -> None:
    board = await make_board("print('up')\nwhile True: pass")
    await board.wait_for_output("up", DEADLINE_S)
    url, port, number = board.url, board.port, int(board.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    board.unplug()
    async with asyncio.timeout(DEADLINE_S):
        await until_closed(reader)
    writer.close()
    assert not is_there(port)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", number)
    seen = board.printed
    await board.start()
    assert (board.url, board.port) == (url, port)
    await board.wait_for_output("POWERON_RESET[^$]*up", DEADLINE_S, start=seen)
    _, writer = await asyncio.open_connection("127.0.0.1", number)
    writer.close()
    assert is_there(port)


def is_there(path: str) -> bool:
    return os.path.lexists(path)


async def until_closed(reader: asyncio.StreamReader) -> None:
    try:
        while await reader.read(1000):
            pass
    except ConnectionResetError:
        pass


async def test_unplugging_and_plugging_in_at_once_is_a_restart(make_board: MakeBoard) -> None:
    board = await make_board("print('up')\nwhile True: pass")
    await board.wait_for_output("up", DEADLINE_S)
    for _ in range(3):
        seen, pid = board.printed, board.pid
        board.unplug()
        await board.start()
        await board.wait_for_output("POWERON_RESET[^$]*up", DEADLINE_S, start=seen)
        assert board.pid != pid and board.state is BoardState.RUNNING


async def test_power_cuts_leave_the_old_file_or_the_new_one(make_board: MakeBoard) -> None:
    # Written beside and renamed, as the firmware does with its settings.
    board = await make_board(
        "import os\n"
        "n = int(open('n').read())\n"
        "print('begins with', n)\n"
        "while True:\n"
        "    n += 1\n"
        "    with open('new', 'w') as f: f.write(str(n))\n"
        "    os.rename('new', 'n')\n"
        "    print('wrote', n)\n",
        files={"/n": b"0"},
    )
    rng = random.Random(4)
    said = 0
    for _ in range(12):
        found = await board.wait_for_output(rf"wrote {said + rng.randint(2, 30)}\s", DEADLINE_S)
        await asyncio.sleep(rng.random() / 500)
        await board.kill()
        said = int(re.findall(rb"wrote (\d+)\s", board.output)[-1])
        seen = board.printed
        await board.start()
        found = await board.wait_for_output(r"begins with (\d+)\s", DEADLINE_S, start=seen)
        # What was on its way out of the UART when the power went nobody has heard.
        assert said <= int(found[1]) <= said + 30
        said = int(found[1])


async def test_garbage_in_the_bootloader_only_costs_time(make_board: MakeBoard) -> None:
    board = await make_board("print('up')")
    board.press_boot_and_reset()
    await board.wait_for_output("waiting for download", DEADLINE_S)
    rng = random.Random(5)
    for _ in range(50):
        board.write(b"\xc0" + rng.randbytes(rng.randrange(3000)) + b"\xc0")
    board.press_reset()
    await board.wait_for_output("download[^$]*up", DEADLINE_S)
