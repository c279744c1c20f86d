"""Runs of tests/hardware on virtual boards, beside the other tests: most of the time they wait for boards to boot."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHIPS = ("esp32", "esp32c3", "esp32s3")
DEADLINE_S = 400

BenchRuns = dict[str, "subprocess.Popen[str]"]

_HARDWARE = Path(__file__).parents[1] / "hardware"


@contextmanager
def started_bench_runs() -> Iterator[BenchRuns]:
    """One run for each chip, which do not see one another's boards."""
    with tempfile.TemporaryDirectory() as home:
        runs = {chip: _start(chip, Path(home) / chip) for chip in CHIPS}
        try:
            yield runs
        finally:
            for run in runs.values():
                run.terminate()
                run.wait(30)
                if run.stdout is not None:
                    run.stdout.close()


def _start(chip: str, home: Path) -> "subprocess.Popen[str]":
    home.mkdir(mode=0o700)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", str(_HARDWARE), "--virtual-board", chip, "-p", "no:cacheprovider"],
        env={**os.environ, "XDG_RUNTIME_DIR": str(home), "PYTEST_ADDOPTS": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
