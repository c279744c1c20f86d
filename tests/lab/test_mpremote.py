"""mpremote's verbs on a virtual board without a program of ours: spec/virtual_board.md section 4."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from serial_tools import mpremote

from bitrelay.lab.board import Board, BoardState

DEADLINE_S = 20.0
EVERY_BYTE = bytes(range(256)) * 80

MakeBoard = Callable[..., Awaitable[Board]]


async def files(port: str, tmp_path: Path) -> None:
    """The verbs for files."""
    source = tmp_path / "data.bin"
    source.write_bytes(EVERY_BYTE)
    await mpremote(port, "fs", "mkdir", ":folder")
    await mpremote(port, "fs", "cp", str(source), ":folder/data.bin")
    assert "20480 data.bin" in await mpremote(port, "fs", "ls", ":folder")
    assert hashlib.sha256(EVERY_BYTE).hexdigest() in await mpremote(port, "fs", "sha256sum", ":folder/data.bin")
    assert "data.bin" in await mpremote(port, "fs", "tree", ":")
    back = tmp_path / "back.bin"
    await mpremote(port, "fs", "cp", ":folder/data.bin", str(back))
    assert back.read_bytes() == EVERY_BYTE
    await mpremote(port, "exec", "open('note', 'w').write('hello')")
    assert await mpremote(port, "fs", "cat", ":note") == "hello"
    assert "<VfsLfs2>   2097152" in await mpremote(port, "df")
    await mpremote(port, "fs", "rm", ":folder/data.bin")
    await mpremote(port, "fs", "rmdir", ":folder")
    assert "folder" not in await mpremote(port, "fs", "ls")


async def programs(port: str, tmp_path: Path) -> None:
    """The verbs that run something."""
    assert await mpremote(port, "eval", "6*7") == "42\n"
    assert await mpremote(port, "exec", "print('done')") == "done\n"
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint(sys.platform)\n")
    assert await mpremote(port, "run", str(script)) == "esp32\n"
    assert await mpremote(port, "sleep", "0.1", "eval", "1") == "1\n"
    module = tmp_path / "mounted"
    module.mkdir()
    (module / "answers.py").write_text("x = 7\n")
    (module / "data.bin").write_bytes(EVERY_BYTE)
    code = "import answers; print(answers.x, len(open('data.bin', 'rb').read()))"
    assert "7 20480" in await mpremote(port, "mount", str(module), "exec", code)
    await mpremote(port, "rtc", "--set")
    assert "2000" not in await mpremote(port, "rtc")
    assert "ROMFS is not enabled" in await mpremote(port, "romfs", "query")


async def resets(board: Board, port: str) -> None:
    """The verbs that reset."""
    await mpremote(port, "soft-reset")
    assert await mpremote(port, "resume", "eval", "__import__('machine').reset_cause()") == "5\n"
    seen = board.printed
    await mpremote(port, "reset")
    await board.wait_for_output("entry 0x[^$]*>>> ", DEADLINE_S, start=seen)
    assert await mpremote(port, "resume", "eval", "__import__('machine').reset_cause()") == "2\n"
    seen = board.printed
    await mpremote(port, "bootloader")
    await board.wait_for_output("waiting for download", DEADLINE_S, start=seen)
    assert board.state is BoardState.DOWNLOAD
    board.press_reset()
    await board.wait_for_output("entry 0x[^$]*>>> ", DEADLINE_S, start=seen)


@pytest.mark.parametrize("kind", ["url", "port"])
async def test_every_verb_works(make_board: MakeBoard, tmp_path: Path, kind: str) -> None:
    async def check(board: Board) -> None:
        await board.wait_for_output(">>> ", DEADLINE_S)
        home = tmp_path / board.chip
        home.mkdir()
        port = getattr(board, kind)
        await files(port, home)
        await programs(port, home)
        await resets(board, port)

    boards = [await make_board(chip=chip) for chip in ("esp32", "esp32c3")]
    async with asyncio.TaskGroup() as group:
        for board in boards:
            group.create_task(check(board))
