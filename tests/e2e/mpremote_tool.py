"""The real mpremote, as whoever holds a relay's cable uses it."""

import asyncio
import sys
from pathlib import Path

from relays import DEADLINE_S

from bitrelay.lab.board import Board

_PROGRAM = str(Path(sys.executable).parent / "mpremote")


async def run_mpremote(board: Board, *arguments: str) -> tuple[int | None, str]:
    """Its exit status and all it printed."""
    process = await asyncio.create_subprocess_exec(
        _PROGRAM, "connect", board.port, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(DEADLINE_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode("utf-8", "replace")


async def mpremote(board: Board, *arguments: str) -> str:
    """What it prints; it must succeed."""
    status, output = await run_mpremote(board, *arguments)
    assert status == 0, output
    return output
