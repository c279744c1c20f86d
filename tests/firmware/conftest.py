"""Runs single firmware modules where they belong, on MicroPython."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bitrelay.boards.compile import board_files, compile_mpy, sources, write_files
from bitrelay.lab.build import find_interpreter

ROOT = Path(__file__).parents[2]
BOARD = Path(__file__).parent / "board"
HEAP = "1m"
# What a program has that is measured.
BENCH_HEAP = "192k"

RunOnBoard = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def micropython() -> str:
    return str(Path(sys.executable).parent / "micropython")


@pytest.fixture(scope="session")
def run_bench(micropython: str) -> RunOnBoard:
    """Runs a program in a board's heap to its good end; with `callgrind`, a list of options, its instructions are
    counted."""

    def run(
        *arguments: str, env: dict[str, str], cwd: Path, callgrind: list[str] | None = None, timeout: float = 100
    ) -> subprocess.CompletedProcess[str]:
        command = [micropython]
        if callgrind is not None:
            valgrind = shutil.which("valgrind")
            assert valgrind, "this test counts instructions with valgrind: install it (apt-get install valgrind)"
            command = [valgrind, "--tool=callgrind", *callgrind, sys.executable, "-m", "micropython_unix"]
        done = subprocess.run(
            [*command, "-X", f"heapsize={BENCH_HEAP}", *arguments],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def board_env() -> dict[str, str]:
    return dict(os.environ, MICROPYPATH=f"{BOARD}:{ROOT}:.frozen")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which MicroPython finds the program of a board, and these programs linked with it."""
    directory = tmp_path_factory.mktemp("compiled")
    programs = {name: (BOARD / f"{name}.py").read_text() for name in ("soak", "bench_forward")}
    write_files(board_files(find_interpreter().arch, programs), directory)
    return dict(os.environ, PYTHONHASHSEED="0", MICROPYPATH=f"{directory}:{BOARD}:.frozen")


@pytest.fixture(scope="session")
def compiled_modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which MicroPython finds the shared modules one by one, compiled."""
    directory = tmp_path_factory.mktemp("modules")
    arch = find_interpreter().arch
    for path in sources(ROOT / "shared_protocol"):
        name = f"shared_protocol/{path.name}"
        code = compile_mpy(path.read_bytes(), name, arch)
        assert code is not None
        write_files({f"/{name.removesuffix('.py')}.mpy": code}, directory)
    return dict(os.environ, PYTHONHASHSEED="0", MICROPYPATH=f"{BOARD}:{directory}:.frozen")


@pytest.fixture(scope="session")
def run_checks(
    micropython: str, board_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, str | None]]:
    """The checks of one module of board/, by name: None, or what went wrong."""
    done: dict[str, dict[str, str | None]] = {}

    def run(module: str) -> dict[str, str | None]:
        if module not in done:
            command = [micropython, "-X", f"heapsize={HEAP}", str(BOARD / "runner.py"), module]
            directory = tmp_path_factory.mktemp(module)
            result = subprocess.run(
                command, cwd=directory, env=board_env, capture_output=True, text=True, timeout=60, check=False
            )
            lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
            done[module] = {line["check"]: line["problem"] for line in lines}
            if result.returncode:
                done[module]["(the module)"] = result.stdout + result.stderr
        return done[module]

    return run
