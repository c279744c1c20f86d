"""A virtual board starts, resets, stops and talks as an ESP32 on a cable does."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest

from bitrelay.lab.board import Board, BoardState

DEADLINE_S = 15.0

MakeBoard = Callable[..., Awaitable[Board]]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def link_exists(path: str) -> bool:
    return os.path.lexists(path)


async def test_runs_main_and_then_the_repl(make_board: MakeBoard) -> None:
    board = await make_board("print('hello from', __name__)")
    await board.wait_for_output(r"rst:0x1 \(POWERON_RESET\)[^$]*hello from __main__[^$]*>>> $", DEADLINE_S)
    board.write(b"6*7\r")
    await board.wait_for_output("\n42\r?\n", DEADLINE_S)


async def test_looks_like_an_esp32(make_board: MakeBoard) -> None:
    board = await make_board(
        "import sys, machine, time, os\n"
        "print(sys.platform, machine.unique_id().hex(), machine.reset_cause(), machine.freq(), time.time() < 5)\n"
        "print(time.gmtime(0), time.mktime((2026, 11, 20, 10, 0, 0, 0, 0)), os.listdir('/'))\n"
        "machine.RTC().datetime((2026, 11, 20, 0, 10, 0, 0, 0))\n"
        "print(time.time() - 848484000 in (0, 1), machine.RTC().datetime()[:4])\n"
    )
    await board.wait_for_output(
        r"esp32 f0f1f2f3f401 1 160000000 True\s+\(2000, 1, 1, 0, 0, 0, 5, 1\) 848484000 \['main.py'\]\s+"
        r"True \(2026, 11, 20, 4\)",
        DEADLINE_S,
    )


async def test_the_program_sees_no_more_heap_than_asked_for(make_board: MakeBoard) -> None:
    board = await make_board("import gc\nprint('heap', gc.mem_free() + gc.mem_alloc() <= 192 * 1024)", heap="192k")
    await board.wait_for_output("heap True", DEADLINE_S)


async def test_soft_reset_keeps_power_and_tells_so(make_board: MakeBoard) -> None:
    board = await make_board("import machine\nprint('cause', machine.reset_cause())")
    await board.wait_for_output("cause 1[^$]*>>> ", DEADLINE_S)
    board.write(b"\x04")
    await board.wait_for_output("MPY: soft reboot\r\n[^$]*cause 5", DEADLINE_S)
    assert board.boots == 2


async def test_sys_exit_is_a_soft_reset(make_board: MakeBoard) -> None:
    board = await make_board("import machine, sys\nif machine.reset_cause() == 1: sys.exit()\nprint('second time')")
    await board.wait_for_output("soft reboot\r\nsecond time", DEADLINE_S)


async def test_machine_reset_starts_the_chip_anew_and_keeps_files_and_port(make_board: MakeBoard) -> None:
    board = await make_board(
        "import machine, os\n"
        "if machine.reset_cause() == 1:\n"
        "    open('kept', 'w').write('x')\n"
        "    machine.reset()\n"
        "print('cause', machine.reset_cause(), 'kept' in os.listdir())\n"
    )
    port, url = board.port, board.url
    await board.wait_for_output(r"rst:0xc \(SW_CPU_RESET\)[^$]*cause 2 True", DEADLINE_S)
    assert (board.port, board.url) == (port, url)


async def test_watchdog_that_is_not_fed_resets(make_board: MakeBoard) -> None:
    board = await make_board(
        "import machine, time\n"
        "print('cause', machine.reset_cause())\n"
        "if machine.reset_cause() == 1:\n"
        "    w = machine.WDT(timeout=300)\n"
        "    for _ in range(8): time.sleep_ms(100); w.feed()\n"
        "    print('fed long enough')\n"
        "    while True: pass\n"
    )
    await board.wait_for_output("fed long enough[^$]*task_wdt[^$]*TG1WDT_SYS_RESET[^$]*cause 3", DEADLINE_S)


async def test_deep_sleep_ends_by_itself(make_board: MakeBoard) -> None:
    board = await make_board(
        "import machine\nprint('cause', machine.reset_cause())\nif machine.reset_cause() == 1: machine.deepsleep(100)\n"
    )
    await board.wait_for_output("DEEPSLEEP_RESET[^$]*cause 4", DEADLINE_S)


async def test_pins_are_seen_from_outside(make_board: MakeBoard) -> None:
    board = await make_board("from machine import Pin\nled = Pin(2, Pin.OUT)\nled.on()\nPin(4).value(0)\nprint('set')")
    await board.wait_for_output("set[^$]*>>> ", DEADLINE_S)
    assert board.pins == {2: 1, 4: 0}


async def test_power_cut_leaves_no_process_and_start_brings_it_back(make_board: MakeBoard) -> None:
    board = await make_board("import time\nprint('up')\nwhile True: time.sleep(1)")
    await board.wait_for_output("up", DEADLINE_S)
    pid = board.pid
    assert pid
    await board.kill()
    assert gone(pid)
    assert board.state is BoardState.OFF
    await board.reboot()
    assert board.state is BoardState.OFF, "a reset line without power does nothing"
    seen = board.printed
    await board.start()
    await board.wait_for_output("POWERON_RESET[^$]*up", DEADLINE_S, start=seen)


async def test_frozen_board_goes_on_where_it_was(make_board: MakeBoard) -> None:
    board = await make_board("import time\nn = 0\nwhile True:\n    n += 1\n    print('n', n)\n    time.sleep_ms(10)")
    await board.wait_for_output("n 3", DEADLINE_S)
    board.freeze()
    assert board.state is BoardState.FROZEN
    board.thaw()
    seen = board.printed
    await board.wait_for_output(r"n \d+", DEADLINE_S, start=seen)
    assert board.boots == 1


async def test_frozen_board_can_lose_power(make_board: MakeBoard) -> None:
    board = await make_board("print('up')\nwhile True: pass")
    await board.wait_for_output("up", DEADLINE_S)
    pid = board.pid
    assert pid
    board.freeze()
    await board.kill()
    assert gone(pid)


async def test_reset_line_ends_a_busy_program(make_board: MakeBoard) -> None:
    board = await make_board("print('up')\nwhile True: pass")
    await board.wait_for_output("up", DEADLINE_S)
    seen = board.printed
    await board.reboot()
    await board.wait_for_output("POWERON_RESET[^$]*up", DEADLINE_S, start=seen)


async def test_ctrl_c_interrupts_main_and_gives_the_repl(make_board: MakeBoard) -> None:
    board = await make_board("print('up')\nwhile True: pass")
    await board.wait_for_output("up", DEADLINE_S)
    board.write(b"\x03\x03")
    await board.wait_for_output("KeyboardInterrupt[^$]*>>> ", DEADLINE_S)
    assert board.boots == 1


async def test_ctrl_c_is_a_byte_when_the_program_says_so(make_board: MakeBoard) -> None:
    board = await make_board(
        "import micropython, sys\nmicropython.kbd_intr(-1)\nprint('up')\nprint('got', sys.stdin.buffer.read(5))\n"
    )
    await board.wait_for_output("up", DEADLINE_S)
    board.write(b"\x03a\x00\x03\x03")
    await board.wait_for_output(r"got b'\\x03a\\x00\\x03\\x03'", DEADLINE_S)
    assert board.boots == 1


async def test_interpreter_that_cannot_start_is_given_up(make_board: MakeBoard) -> None:
    board = await make_board("print('up')", heap="4k")
    await board.wait_for_output("its interpreter is not ready", DEADLINE_S)
    assert board.state is BoardState.FAILED


async def test_close_leaves_neither_process_nor_port(make_board: MakeBoard) -> None:
    board = await make_board("print('up')\nwhile True: pass")
    await board.wait_for_output("up", DEADLINE_S)
    pid, port, url = board.pid, board.port, board.url
    assert pid
    await board.close()
    assert gone(pid)
    assert not link_exists(port)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
