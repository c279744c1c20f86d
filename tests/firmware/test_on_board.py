"""The checks of board/checks_*.py, each as a test of its own."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

BOARD = Path(__file__).parent / "board"
CHECKS = [
    (path.stem, name)
    for path in sorted(BOARD.glob("checks_*.py"))
    for name in re.findall(r"^def (check_\w+)\(", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("module", "check"), CHECKS, ids=[f"{m.removeprefix('checks_')}-{c}" for m, c in CHECKS])
def test_on_board(module: str, check: str, run_checks: Callable[[str], dict[str, str | None]]) -> None:
    problems = run_checks(module)
    assert "(the module)" not in problems, problems["(the module)"]
    assert problems[check] is None
