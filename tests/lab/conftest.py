"""Boards that run a main.py of the test's own, without radio."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bitrelay.lab.board import Board
from bitrelay.lab.build import build_shim, find_interpreter

MakeBoard = Callable[..., Awaitable[Board]]


@pytest.fixture
async def make_board(tmp_path: Path) -> AsyncIterator[MakeBoard]:
    """Starts a board with the given main.py."""
    interpreter = find_interpreter()
    build_shim(tmp_path / "shim", interpreter)
    boards: list[Board] = []

    async def make(main: str = "", **options: str) -> Board:
        directory = tmp_path / f"board{len(boards)}"
        (directory / "fs").mkdir(parents=True)
        (directory / "fs" / "main.py").write_text(main)
        board = Board(f"relay{len(boards)}", directory, interpreter, tmp_path / "shim", **options)
        boards.append(board)
        await board.start()
        return board

    yield make
    for board in boards:
        await board.close()
