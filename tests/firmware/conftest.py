"""Runs single firmware modules where they belong, on MicroPython."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOARD = Path(__file__).parent / "board"
HEAP = "1m"

RunOnBoard = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def micropython() -> str:
    return str(Path(sys.executable).parent / "micropython")


@pytest.fixture(scope="session")
def board_env() -> dict[str, str]:
    return dict(os.environ, MICROPYPATH=f"{BOARD}:{ROOT}:.frozen")


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
