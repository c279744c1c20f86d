"""Virtual boards to flash, and places of the test's own for what a user has in his home."""

import asyncio
import hashlib
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from bitrelay.boards.compile import board_files
from bitrelay.boards.flasher import flash
from bitrelay.boards.job import FlashEvent, FlashOptions, FlashResult, Target
from bitrelay.lab.build import find_interpreter
from bitrelay.lab.flash_contents import write_all
from bitrelay.lab.nor_flash import DEFAULT_SIZE, NorFlash
from bitrelay.lab.single_board import SingleBoard, single_board
from bitrelay.lab.stand_in import SMALL_SIZE, build_firmware, version_of

sys.path.insert(0, str(Path(__file__).parent))

from bench_runs import BenchRuns, started_bench_runs

MakeBoard = Callable[..., Awaitable[SingleBoard]]

DEADLINE_S = 30.0


@pytest.fixture(scope="session")
def bench_runs() -> Iterator[BenchRuns]:
    """The runs on a bench, going on beside the other tests."""
    with started_bench_runs() as runs:
        yield runs


@pytest.fixture(scope="session", autouse=True)
def early_bench_runs(request: pytest.FixtureRequest) -> None:
    """Begins them with the first test of this folder, if those that wait for their end are to run at all.

    Of several processes that share the tests only the one that gets those does so, when it gets there.
    """
    is_shared = hasattr(request.config, "workerinput")
    if not is_shared and any(
        "bench_runs" in getattr(item, "fixturenames", ()) and item.path.name == "test_virtual_bench.py"
        for item in request.session.items
    ):
        request.getfixturevalue("bench_runs")


def identity_file(seed: bytes) -> bytes:
    """The bytes of an identity that a relay takes for its own."""
    body = b"BRI1" + hashlib.sha512(seed).digest()
    return body + zlib.crc32(body).to_bytes(4, "big")


# What a relay has that has been in use for a while.
IN_USE = {
    "/settings.json": b'{"name": "roof",  "log_level": 2}',
    "/identity.bin": identity_file(b"roof"),
    "/lib/mine.py": b"print('mine')\n" * 100,
}


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cache, rescue files and running labs are looked for."""
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))


@pytest.fixture
async def make_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeBoard]:
    """Starts a board: blank, or a relay with these files beside an older program.

    Its firmware has only what is checked of a firmware, which is written in no time.
    """

    def small_firmware(chip: str, version: str) -> bytes:
        return build_firmware(chip, version, SMALL_SIZE + 4096)

    monkeypatch.setattr("bitrelay.lab.single_board.build_firmware", small_firmware)
    async with AsyncExitStack() as boards:

        async def make(
            chip: str = "esp32c3",
            files: Mapping[str, bytes] | None = None,
            *,
            project: bytes = b"micropython",
            flash_size: int = DEFAULT_SIZE,
            **options: Any,
        ) -> SingleBoard:
            path = None
            if files is not None:
                interpreter = find_interpreter()
                path = tmp_path / f"{chip}.flash"
                nor = NorFlash(path, flash_size)
                firmware = build_firmware(chip, version_of(interpreter), SMALL_SIZE)
                write_all(nor, chip, firmware, {**board_files(interpreter.arch), "/build.txt": b"old", **files})
                nor.close()
                path.write_bytes(path.read_bytes().replace(b"micropython".ljust(32, b"\0"), project.ljust(32, b"\0")))
            return await boards.enter_async_context(single_board(chip, flash=path, flash_size=flash_size, **options))

        yield make


class Events(list[FlashEvent]):
    """What was told while a board was flashed; `on` calls something when a stage has come so far."""

    def __init__(self) -> None:
        super().__init__()
        self._came = asyncio.Event()
        self.when: tuple[str, float, Callable[[], None]] | None = None

    def __call__(self, event: FlashEvent) -> None:
        self.append(event)
        self._came.set()
        if self.when and event.stage == self.when[0] and (event.share or 0.0) >= self.when[1] and not event.note:
            act, self.when = self.when[2], None
            act()

    def on(self, stage: str, act: Callable[[], None], share: float = 0.0) -> None:
        self.when = stage, share, act

    async def wait_for(self, note: str) -> None:
        """Return when a note has this text."""
        async with asyncio.timeout(DEADLINE_S):
            while note not in self.notes:
                self._came.clear()
                await self._came.wait()

    @property
    def stages(self) -> list[str]:
        found: list[str] = []
        for event in self:
            if event.stage and (not found or found[-1] != event.stage):
                found.append(event.stage)
        return found

    @property
    def notes(self) -> str:
        return "\n".join(event.note for event in self if event.note)


async def flash_it(board: SingleBoard, events: Events | None = None, /, **options: Any) -> FlashResult:
    """Flash a board with what stands in for MicroPython there."""
    target = Target(board.board.name, board.board.url, "", True, board.firmware)
    return await flash(target, FlashOptions(**options), events if events is not None else Events())
