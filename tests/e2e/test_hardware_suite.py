"""tests/hardware, which a bench runs on a real board, on a virtual board of each chip."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HARDWARE = Path(__file__).parents[1] / "hardware"
CHIPS = ("esp32", "esp32c3", "esp32s3")
DEADLINE_S = 400


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    # At the same time: most of what they do is waiting for boards that boot.
    started = {}
    for chip in CHIPS:
        home = tmp_path_factory.mktemp(chip)
        home.chmod(0o700)
        started[chip] = subprocess.Popen(
            [sys.executable, "-m", "pytest", str(HARDWARE), "--virtual-board", chip, "-p", "no:cacheprovider"],
            env={**os.environ, "XDG_RUNTIME_DIR": str(home), "PYTEST_ADDOPTS": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    yield started
    for process in started.values():
        process.terminate()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.timeout(DEADLINE_S)
@pytest.mark.parametrize("chip", CHIPS)
def test_the_bench_tests_pass_on_a_virtual_board(runs: dict[str, "subprocess.Popen[str]"], chip: str) -> None:
    output, _ = runs[chip].communicate(timeout=DEADLINE_S - 20)
    assert runs[chip].returncode == 0, output[-6000:]
    assert " passed" in output and " skipped" not in output.splitlines()[-1]
