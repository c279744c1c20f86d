"""`bitrelay lab board`: one blank virtual board, as scripts and people use it."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import serial
from lab_command import Command

from bitrelay.boards.chips import CHIPS
from bitrelay.boards.image import Firmware
from bitrelay.lab.flash_contents import write_all
from bitrelay.lab.nor_flash import NorFlash
from bitrelay.lab.stand_in import SMALL_SIZE, build_firmware

DEADLINE_S = 20.0

StartCommand = Callable[..., Command]


def started(command: StartCommand, *arguments: str) -> tuple[Command, dict[str, Any]]:
    board = command("lab", "board", "--json", *arguments)
    return board, json.loads(board.read_until('"name"'))


@pytest.fixture
def listening() -> Iterator[Callable[[str], serial.Serial]]:
    """Opens a board's port."""
    opened: list[serial.Serial] = []

    def listen(port: str) -> serial.Serial:
        opened.append(serial.Serial(port, timeout=DEADLINE_S))
        return opened[-1]

    yield listen
    for port in opened:
        port.close()


@pytest.mark.parametrize("chip", ["esp32", "esp32c3", "esp32s3"])
def test_the_line_of_json_says_all_that_a_flash_tool_needs(command: StartCommand, chip: str) -> None:
    board, told = started(command, "--chip", chip, "--flash-size", "8MB", "--name", "desk")
    assert list(told) == ["name", "chip", "port", "pty", "flash_size", "flash", "firmware", "mac"]
    assert (told["name"], told["chip"], told["flash_size"]) == ("desk", chip, "8MB")
    assert re.fullmatch(r"rfc2217://127\.0\.0\.1:\d+", told["port"])
    assert re.fullmatch(r"24:0a:c4(:[0-9a-f]{2}){3}", told["mac"])
    assert Path(told["flash"]).read_bytes() == b"\xff" * (8 << 20)
    firmware = Firmware.parse(Path(told["firmware"]).read_bytes(), CHIPS[chip].bootloader_offset)
    assert firmware.app.release and len(firmware.data) > 1_600_000
    assert os.path.exists(told["pty"])

    devices = Command(board.temporary, "devices", "--json")
    (device,) = json.loads(devices.end()[0])
    assert (device["kind"], device["name"], device["port"], device["url"]) == (
        "virtual",
        "desk",
        told["pty"],
        told["port"],
    )
    assert (device["chip"], device["firmware"]) == (chip, told["firmware"])
    board.end(signal.SIGINT)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_goes_without_a_trace(command: StartCommand, how: signal.Signals) -> None:
    board, _ = started(command)
    _, error = board.end(how)
    assert board.process.returncode == 130
    assert error == ""
    assert board.left_behind() == []


def test_every_board_is_another_one(command: StartCommand) -> None:
    boards = [started(command)[1] for _ in range(2)]
    assert boards[0]["mac"] != boards[1]["mac"]
    assert boards[0]["name"] != boards[1]["name"]


def test_a_flash_file_is_the_same_board_again(
    command: StartCommand, tmp_path: Path, listening: Callable[[str], serial.Serial]
) -> None:
    flash = NorFlash(tmp_path / "flash.bin", 16 << 20)
    write_all(flash, "esp32c3", build_firmware("esp32c3", "v1.29.0+x64", SMALL_SIZE), {"/main.py": b"print('mine')"})
    flash.close()
    macs = []
    for _ in range(2):
        board, told = started(command, "--flash", str(flash.path))
        assert told["flash_size"] == "16MB" and told["flash"] == str(flash.path)
        macs.append(told["mac"])
        port = listening(told["pty"])
        port.write(b"\r")
        assert b">>> " in port.read_until(b">>> ")
        board.process.send_signal(signal.SIGUSR1)
        assert b"mine" in port.read_until(b"mine")
        board.end(signal.SIGTERM)
    assert macs[0] == macs[1]
    assert flash.path.exists()


def test_signals_are_its_buttons(command: StartCommand, listening: Callable[[str], serial.Serial]) -> None:
    board, told = started(command, "--no-auto-reset")
    port = listening(told["pty"])
    assert b"invalid header" in port.read_until(b"invalid header"), "nobody has flashed it"
    board.process.send_signal(signal.SIGUSR2)
    assert port.read_until(b"waiting for download").endswith(b"waiting for download")
    board.process.send_signal(signal.SIGUSR1)
    assert port.read_until(b"invalid header: 0xffffffff").endswith(b"invalid header: 0xffffffff")


def test_people_are_told_what_to_do_with_it(command: StartCommand) -> None:
    board = command("lab", "board", "--no-auto-reset", "--name", "desk")
    said = board.read_until("Ctrl-C")
    assert "bitrelay flash --port desk" in said
    assert f"kill -USR1 {board.process.pid}" in said
    assert "rfc2217://127.0.0.1:" in said


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        (("--chip", "esp32c6"), "there are: esp32, esp32c3, esp32s3", 2),
        (("--flash-size", "3MB"), "there are: 2MB, 4MB, 8MB, 16MB", 2),
        (("--name", "a/b"), "no name", 2),
        (("--flash", "FILE"), "5 bytes", 65),
        (("--flash", "FILE", "--flash-size", "4MB"), "5 bytes, not the 4,194,304", 65),
        (("--flash", "DIRECTORY"), "not a file", 65),
        (("--flash", "DIRECTORY/none/there"), "No such file", 74),
    ],
)
def test_what_cannot_be_is_told(
    command: StartCommand, tmp_path: Path, arguments: tuple[str, ...], says: str, status: int
) -> None:
    (tmp_path / "short.bin").write_bytes(b"short")
    arguments = tuple(
        argument.replace("FILE", str(tmp_path / "short.bin")).replace("DIRECTORY", str(tmp_path))
        for argument in arguments
    )
    board = command("lab", "board", *arguments)
    _, error = board.end()
    assert says in re.sub(r"[\s│]+", " ", error)
    assert board.process.returncode == status
    assert board.left_behind() == []
