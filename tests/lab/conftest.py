"""Boards that run a main.py of the test's own, without radio, and commands that start labs."""

import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bitrelay.lab.board import Board
from bitrelay.lab.build import build_shim, find_interpreter
from bitrelay.lab.flash_contents import write_all
from bitrelay.lab.nor_flash import DEFAULT_SIZE, NorFlash
from bitrelay.lab.phone import Phone
from bitrelay.lab.radio import Radio
from bitrelay.lab.stand_in import SMALL_SIZE, build_firmware, version_of

if TYPE_CHECKING:
    from lab_command import Command

sys.path.insert(0, str(Path(__file__).parent))

MakeBoard = Callable[..., Awaitable[Board]]
MakePhone = Callable[..., Awaitable[Phone]]


@pytest.fixture
async def make_board(tmp_path: Path) -> AsyncIterator[MakeBoard]:
    """Starts a board with the given main.py, with more files by absolute path, or blank."""
    interpreter = find_interpreter()
    build_shim(tmp_path / "shim", interpreter)
    boards: list[Board] = []

    async def make(
        main: str = "",
        *,
        files: dict[str, bytes] | None = None,
        blank: bool = False,
        chip: str = "esp32",
        flash_size: int = DEFAULT_SIZE,
        **options: Any,
    ) -> Board:
        directory = tmp_path / f"board{len(boards)}"
        directory.mkdir()
        flash = NorFlash(directory / "flash.bin", flash_size)
        if not blank:
            firmware = build_firmware(chip, version_of(interpreter), SMALL_SIZE)
            write_all(flash, chip, firmware, {"/main.py": main.encode()} | (files or {}))
        board = Board(f"relay{len(boards)}", directory, interpreter, tmp_path / "shim", flash, chip=chip, **options)
        boards.append(board)
        await board.start()
        return board

    yield make
    for board in boards:
        await board.close()


@pytest.fixture
async def radio() -> AsyncIterator[Radio]:
    """The air of the phones of make_phone."""
    radio = Radio(seed=1)
    yield radio
    radio.close()


@pytest.fixture
async def make_phone(radio: Radio) -> AsyncIterator[MakePhone]:
    """Starts a phone, in a hurry to link up, that does not announce itself unless told to."""
    phones: list[Phone] = []

    async def make(name: str, **options: Any) -> Phone:
        phone = Phone(name, radio, **({"announce": False, "pace": 0.1} | options))
        phones.append(phone)
        await phone.start()
        return phone

    yield make
    for phone in phones:
        await phone.stop()


@pytest.fixture
def command() -> "Iterator[Callable[..., Command]]":
    """Starts `bitrelay` with the given arguments."""
    from lab_command import Command

    started: list[Command] = []

    # Not tmp_path: its names are so long that a lab would put its sockets elsewhere, where nobody looks.
    with tempfile.TemporaryDirectory() as temporary:

        def start(*arguments: str) -> Command:
            directory = Path(temporary) / str(len(started))
            directory.mkdir()
            started.append(Command(directory, *arguments))
            return started[-1]

        yield start
        for one in started:
            if one.process.poll() is None:
                one.process.kill()
            one.process.communicate()
