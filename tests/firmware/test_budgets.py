"""What a relay may cost: instructions per forwarded frame, and a heap that stays what it was."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BOARD = Path(__file__).parent / "board"
HEAP = "192k"
SOAK_FRAMES = 20_000
FORWARD_COST = 100_000
LISTENERS = 3


def test_heap_is_flat_over_20000_frames_on_four_busy_links(
    compiled: dict[str, str], micropython: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [micropython, "-X", f"heapsize={HEAP}", "-m", "soak", str(SOAK_FRAMES)],
        cwd=tmp_path,
        env=compiled,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    print(told)
    assert told["forwarded"] >= SOAK_FRAMES
    assert told["sent"] >= SOAK_FRAMES * LISTENERS
    # A byte a frame would be 18,000. What differs is what the last signature has left behind.
    assert told["late"] >= told["early"] - 1024


def instructions(compiled: dict[str, str], directory: Path, frames: int, *arguments: str) -> int:
    """What callgrind counts for a run of bench_forward.py."""
    valgrind = shutil.which("valgrind")
    assert valgrind, "this test counts instructions with valgrind: install it (apt-get install valgrind)"
    command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={directory / 'callgrind'}", sys.executable]
    command += ["-m", "micropython_unix", "-X", f"heapsize={HEAP}", "-m", "bench_forward"]
    done = subprocess.run(
        [*command, str(frames), str(LISTENERS), *arguments],
        cwd=directory,
        env=compiled,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # A program that did not come far would be a cheap one.
    sent = int(done.stdout.split()[0])
    assert sent >= (frames - 100) * LISTENERS, done.stdout + done.stderr
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])


@pytest.fixture(scope="module")
def cost(compiled: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., float]:
    """Instructions per frame: the difference between two runs, so that starting up does not count."""
    directory = tmp_path_factory.mktemp("callgrind")

    def per_frame(*arguments: str) -> float:
        few, many = (instructions(compiled, directory, frames, *arguments) for frames in (1500, 2500))
        return (many - few) / 1000

    return per_frame


def test_forwarding_a_200_byte_frame_to_three_links(cost: Callable[..., float]) -> None:
    own = cost("signed", "idle")
    signed = cost("signed") - own
    unsigned = cost("unsigned") - own
    print(f"signed {signed:.0f}, unsigned {unsigned:.0f} instructions; the bench itself {own:.0f}")
    assert signed <= FORWARD_COST
    # Without a signature the whole payload is hashed to tell the frame from others.
    assert unsigned <= FORWARD_COST
