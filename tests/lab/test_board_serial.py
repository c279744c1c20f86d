"""Real serial tools work on a virtual board's PTY and RFC 2217 port, and nothing they do stops the board."""

import asyncio
import os
import socket
import sys
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import serial

from bitrelay.lab.board import Board, BoardState
from bitrelay.lab.rfc2217 import ModemLines

DEADLINE_S = 15.0
BUSY = "import time\nprint('up')\nwhile True: time.sleep_ms(20)\n"

MakeBoard = Callable[..., Awaitable[Board]]


async def mpremote(port: str, *arguments: str) -> str:
    """What mpremote prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mpremote", "connect", port, *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, output.decode()
    return output.decode()


def url_parts(board: Board) -> tuple[str, int]:
    host, _, port = board.url.removeprefix("rfc2217://").rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("kind", ["port", "url"])
@pytest.mark.parametrize("main", ["", BUSY], ids=["idle", "busy"])
async def test_mpremote_runs_copies_and_resets(make_board: MakeBoard, tmp_path: Path, kind: str, main: str) -> None:
    board = await make_board(main)
    await board.wait_for_output("up" if main else ">>> $", DEADLINE_S)
    port = getattr(board, kind)
    assert await mpremote(port, "eval", "6*7") == "42\n"
    # Every byte value, the interrupt character too.
    (tmp_path / "data.bin").write_bytes(bytes(range(256)) * 9)
    await mpremote(port, "cp", str(tmp_path / "data.bin"), ":data.bin")
    assert board.files()["/data.bin"] == bytes(range(256)) * 9
    assert "data.bin" in await mpremote(port, "ls")
    seen = board.printed
    await mpremote(port, "reset")
    await board.wait_for_output(r"SW_CPU_RESET[^$]*(up|>>> )", DEADLINE_S, start=seen)
    await mpremote(port, "soft-reset")
    assert await mpremote(port, "resume", "eval", "__import__('machine').reset_cause()") == "5\n"


async def test_rts_and_dtr_reset_the_board(make_board: MakeBoard) -> None:
    board = await make_board("print('up')")
    await board.wait_for_output("up", DEADLINE_S)
    seen = board.printed

    def reset(boot_pin: bool) -> None:
        with serial.serial_for_url(board.url, timeout=1) as port:
            port.dtr = False
            port.rts = True
            port.dtr = boot_pin
            port.rts = False

    await asyncio.to_thread(reset, False)
    await board.wait_for_output("POWERON_RESET[^$]*up", DEADLINE_S, start=seen)
    await asyncio.to_thread(reset, True)
    await board.wait_for_output("waiting for download", DEADLINE_S, start=seen)
    assert board.state is BoardState.DOWNLOAD
    assert board.pid is None
    await board.reboot()
    assert board.state is BoardState.RUNNING


def test_lines_of_the_reset_circuit_as_esptool_moves_them() -> None:
    told: list[str] = []
    lines = ModemLines(lambda: told.append("hold"), lambda download: told.append(f"run {download}"))
    # ClassicReset of esptool; the state with both lines set lasts long over TCP and must not start the chip.
    for dtr, rts in ((False, True), (True, True), (True, False), (False, False)):
        lines.set(dtr=dtr, rts=rts)
    # Opening a port sets both, closing it neither.
    lines.set(dtr=True, rts=True)
    lines.let_go()
    assert told == ["hold", "run True"]


async def test_second_client_is_turned_away_and_the_first_stays(make_board: MakeBoard) -> None:
    board = await make_board("")
    await board.wait_for_output(">>> $", DEADLINE_S)

    def talk() -> bytes:
        with serial.serial_for_url(board.url, timeout=DEADLINE_S) as first:
            with socket.create_connection(url_parts(board)) as second:
                assert is_closed(second)
            first.write(b"6*7\r")
            return bytes(first.read_until(b"42"))

    assert (await asyncio.to_thread(talk)).endswith(b"42")


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


async def test_garbage_on_the_rfc2217_port_only_costs_the_client(make_board: MakeBoard) -> None:
    board = await make_board("")
    await board.wait_for_output(">>> $", DEADLINE_S)
    for garbage in (
        b"\xff\xf0",
        b"\xff\xfa\x2c\x01\xff\xf0",
        b"\xff\xfa" + bytes(4000),
        b"\xff\xfa\x2c\x03\x09\xff\xf0",
    ):
        reader, writer = await asyncio.open_connection(*url_parts(board))
        writer.write(garbage)
        await writer.drain()
        async with asyncio.timeout(DEADLINE_S):
            while await read_or_end(reader):
                pass
        writer.close()
    assert await asyncio.to_thread(eval_over_url, board.url) == b"42"


async def read_or_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1000)
    except ConnectionResetError:
        return b""


def eval_over_url(url: str) -> bytes:
    with serial.serial_for_url(url, timeout=DEADLINE_S) as port:
        port.write(b"\r\x036*7\r")
        return bytes(port.read_until(b"42"))[-2:]


@pytest.mark.parametrize("kind", ["port", "url"])
async def test_client_that_does_not_read_stops_nothing_and_loses_the_oldest(make_board: MakeBoard, kind: str) -> None:
    board = await make_board(
        "import sys\n"
        "sys.stdin.read(1)\n"
        "for n in range(20000): print('line', n, 'of many that nobody reads for a long time')\n"
        "print('the end')\n"
    )
    opened = serial.serial_for_url(board.port, timeout=DEADLINE_S) if kind == "port" else None
    if opened is None:
        opened = await asyncio.to_thread(serial.serial_for_url, board.url, timeout=DEADLINE_S)
    with opened as port:
        if kind == "url":
            # Whoever does not read is, for TCP, a client whose window is closed.
            port._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # Written by the client itself: that it has the port open is known at the latest when its first byte comes.
        await asyncio.to_thread(port.write, b"x")
        await board.wait_for_output("the end", DEADLINE_S * 2)
        if kind == "port":
            seen = await asyncio.to_thread(read_all, port, b"the end")
            assert b"line 0 of" in seen[:4200], "what the kernel held is not taken back"
            assert seen.count(b"line") < 20000


def read_all(port: serial.Serial, end: bytes) -> bytes:
    return bytes(port.read_until(end))


async def test_next_client_of_the_pty_gets_nothing_that_was_meant_for_the_last(make_board: MakeBoard) -> None:
    board = await make_board("import sys\nwhile True: print('heard', repr(sys.stdin.read(1)))")

    def ask(letter: bytes, answer: bytes) -> bytes:
        with serial.Serial(board.port, timeout=DEADLINE_S) as port:
            port.write(letter)
            return bytes(port.read_until(answer))

    assert await asyncio.to_thread(ask, b"a", b"'a'") == b"heard 'a'"
    board.write(b"bcd")
    await board.wait_for_output("heard 'd'", DEADLINE_S)
    last = await asyncio.to_thread(ask, b"e", b"'e'")
    assert last.strip().startswith(b"heard 'e'")


async def test_pty_does_not_echo_to_a_client_that_knows_nothing_of_terminals(make_board: MakeBoard) -> None:
    board = await make_board("import sys\nwhile True: print('heard', repr(sys.stdin.read(1)))")
    descriptor = os.open(board.port, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(descriptor, b"a")
        await board.wait_for_output("heard 'a'", DEADLINE_S)
        assert not termios.tcgetattr(descriptor)[3] & termios.ECHO
        os.write(descriptor, b"b")
        await board.wait_for_output("heard 'b'", DEADLINE_S)
    finally:
        os.close(descriptor)
    assert board.output.count(b"heard") == 2
