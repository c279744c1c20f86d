"""Power that goes while settings are written leaves the old ones or the new ones, at whatever moment it goes."""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bitrelay.boards.compile import board_files
from bitrelay.lab.board import Board
from bitrelay.lab.build import find_interpreter

# Together 200 moments.
BOARDS = 2
CUTS = 100
DEADLINE_S = 20.0
# A write takes a few ms; within this long there are several.
LONGEST_S = 0.06

# The relay's own settings, written without end. It tells what it finds, whether a write was cut short before its end,
# and what it has written.
WRITES_WITHOUT_END = """
import os
from firmware.settings import Settings
cut = "settings.json.new" in os.listdir("/")
settings = Settings()
print("has", settings["name"], settings["watchdog_s"], settings.trouble, cut)
n = int(settings["name"].split("-")[-1]) if "-" in settings["name"] else 0
from firmware import stored
while True:
    n += 1
    stored.change(settings, "name", "name-%d" % n, 10, 0)
    print("is", n)
"""

NO_RADIO = Path(__file__).parents[1] / "firmware" / "board" / "bluetooth.py"

MakeBoard = Callable[..., Awaitable[Board]]


@pytest.mark.timeout(240)
async def test_the_power_goes_at_200_moments_of_a_settings_write(make_board: MakeBoard) -> None:
    program = board_files(find_interpreter().arch, {"writes": WRITES_WITHOUT_END})
    program |= {"/settings.json": b'{"watchdog_s": 77}', "/main.py": b"import writes"}
    # This board has no radio, and what it needs of the program is in one module with what does.
    program["/bluetooth.py"] = NO_RADIO.read_bytes()
    moments = random.Random(1)
    boards = [await make_board(files=program) for _ in range(BOARDS)]
    cut_short = await asyncio.gather(*(cut_again_and_again(board, moments) for board in boards))
    # Else the power went between two writes every time, and nothing was shown.
    assert sum(cut_short) > 10


async def cut_again_and_again(board: Board, moments: random.Random) -> int:
    """How many of the cuts left a new file that had not taken the place of the old one yet."""
    cut_short = done = start = 0
    for _ in range(CUTS):
        found = await board.wait_for_output(r"has (\S+) (\d+) (\[.*\]) (\w+)\r?\n", DEADLINE_S, start)
        name = found[1].decode()
        number = int(name.split("-")[-1]) if "-" in name else 0
        # What it told last may have been lost with the power: it may be further than we know of, and never behind.
        assert number >= done
        assert (found[2], found[3]) == (b"77", b"[]")
        cut_short += found[4] == b"True"
        await board.wait_for_output(r"is \d+\r?\n", DEADLINE_S, start)
        await asyncio.sleep(moments.uniform(0, LONGEST_S))
        await board.kill()
        done = max(int(n) for n in re.findall(rb"is (\d+)\r?\n", board.output[-(board.printed - start) :]))
        start = board.printed
        await board.start()
    return cut_short
