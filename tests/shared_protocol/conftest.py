"""Runs the checks of this folder on MicroPython once, for the tests that ask what came of each."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
VECTORS = ROOT / "tests" / "vectors"

# MicroPython finds the check modules by path as well.
sys.path.insert(0, str(HERE))
import check_modules  # noqa: E402

for _checks in check_modules.names(HERE):
    pytest.register_assert_rewrite(_checks)


@dataclass(frozen=True)
class OnMicroPython:
    """problems: by name of the check, what went wrong; outcomes: by name, what must be the same here."""

    problems: dict[str, str | None]
    outcomes: dict[str, Any]
    error: str

    def problem(self, name: str) -> str | None:
        return self.problems.get(name, f"{name} did not run. {self.error}")

    def outcome(self, name: str) -> Any:
        assert name in self.outcomes, f"{name} did not run. {self.error}"
        return self.outcomes[name]


@pytest.fixture(scope="session")
def vectors() -> list[dict[str, Any]]:
    return json.loads((VECTORS / "bitchat.json").read_text())


@pytest.fixture(scope="session")
def on_micropython() -> OnMicroPython:
    # The largest vector is more than a megabyte, thrice in memory.
    command = [str(Path(sys.executable).parent / "micropython"), "-X", "heapsize=64m"]
    done = subprocess.run(
        [*command, str(HERE / "on_micropython.py"), str(VECTORS)],
        env=dict(os.environ, MICROPYPATH=f"{ROOT}:{HERE}:.frozen"),
        capture_output=True,
        text=True,
        timeout=90,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return OnMicroPython(
        problems={line["name"]: line["problem"] for line in lines if "problem" in line},
        outcomes={line["name"]: line["outcome"] for line in lines if "outcome" in line},
        error=done.stderr[-2000:],
    )
