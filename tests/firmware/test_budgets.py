"""What a relay may cost: instructions per forwarded frame, and a heap that stays what it was."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunOnBoard = Callable[..., subprocess.CompletedProcess[str]]

SOAK_FRAMES = 20_000
FORWARD_COST = 100_000
LISTENERS = 3


def test_heap_is_flat_over_20000_frames_on_four_busy_links(
    compiled: dict[str, str], run_bench: RunOnBoard, tmp_path: Path
) -> None:
    done = run_bench("-m", "soak", str(SOAK_FRAMES), env=compiled, cwd=tmp_path, timeout=110)
    told = json.loads(done.stdout.splitlines()[-1])
    print(told)
    assert told["forwarded"] >= SOAK_FRAMES
    assert told["sent"] >= SOAK_FRAMES * LISTENERS
    # A byte a frame would be 18,000. What differs is what the last signature has left behind.
    assert told["late"] >= told["early"] - 1024


def instructions(run_bench: RunOnBoard, compiled: dict[str, str], directory: Path, frames: int, *arguments: str) -> int:
    """What callgrind counts for a run of bench_forward.py."""
    done = run_bench(
        *("-m", "bench_forward", str(frames), str(LISTENERS), *arguments),
        env=compiled,
        cwd=directory,
        callgrind=[f"--callgrind-out-file={directory / 'callgrind'}"],
    )
    # A program that did not come far would be a cheap one.
    sent = int(done.stdout.split()[0])
    assert sent >= (frames - 100) * LISTENERS, done.stdout + done.stderr
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])


@pytest.fixture(scope="module")
def cost(
    run_bench: RunOnBoard, compiled: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., float]:
    """Instructions per frame: the difference between two runs, so that starting up does not count."""
    directory = tmp_path_factory.mktemp("callgrind")

    def per_frame(*arguments: str) -> float:
        few, many = (instructions(run_bench, compiled, directory, frames, *arguments) for frames in (1500, 2500))
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
