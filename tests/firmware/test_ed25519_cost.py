"""What a signature costs a board: instructions in all and between two yields, and memory."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

BOARD = Path(__file__).parent / "board"
BENCH = BOARD / "bench_ed25519.py"
SIGN_COST = 12_000_000
VERIFY_COST = 32_000_000
# Other work waits this long at most: about 20 ms on an ESP32 of 240 MHz.
PIECE_COST = 700_000
# Bytes of the heap of the 64-bit unix port: what stays of the modules, and what is garbage after a signature.
MODULES_SIZE = 24_000
GARBAGE_SIZE = 16_000

RunOnBoard = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Cost:
    """Instructions of one operation: all of them, and those of its largest piece."""

    total: int
    piece: int


@pytest.fixture(scope="module")
def costs(
    run_bench: RunOnBoard, compiled_modules: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Cost]:
    """By operation; callgrind writes down what it counted whenever the bench calls ticks_cpu()."""
    directory = tmp_path_factory.mktemp("callgrind")
    done = run_bench(
        *(str(BENCH), "pieces"),
        env=compiled_modules,
        cwd=directory,
        callgrind=["--dump-before=time_ticks_cpu", f"--callgrind-out-file={directory / 'out'}"],
    )
    counts = json.loads(done.stdout.splitlines()[-1])
    found = {}
    number = 1
    for name, pieces in sorted(counts.items()):
        # Between the operations is what prepares the next one.
        number += 1
        work = [instructions(directory / f"out.{i}") for i in range(number, number + pieces)]
        number += pieces
        found[name] = Cost(sum(work), max(work))
    print(found)
    return found


def instructions(dump: Path) -> int:
    total = re.search(r"^totals: (\d+)$", dump.read_text(), re.MULTILINE)
    assert total, dump
    return int(total[1])


def test_signing_and_checking(costs: dict[str, Cost]) -> None:
    assert costs["sign"].total <= SIGN_COST
    assert costs["verify"].total <= VERIFY_COST
    # They are the multiplication of a signature and nothing else.
    assert costs["public"].total <= SIGN_COST
    assert costs["x25519"].total <= SIGN_COST


def test_other_work_does_not_wait_long(costs: dict[str, Cost]) -> None:
    for name, cost in costs.items():
        assert cost.piece <= PIECE_COST, name


def test_memory(run_bench: RunOnBoard, compiled_modules: dict[str, str], tmp_path: Path) -> None:
    # It ends well only if 20 KiB of free heap in pieces were enough.
    told = json.loads(run_bench(str(BENCH), "heap", env=compiled_modules, cwd=tmp_path).stdout)
    print(told)
    assert told["left"] <= 20 * 1024
    assert told["modules"] <= MODULES_SIZE
    for name in ("public", "sign", "verify", "x25519"):
        assert told[name] <= GARBAGE_SIZE, name
        # Nothing but the result, which the interpreter's last value holds on to for a while.
        assert told[f"{name} keeps"] <= 160, name


def test_the_bench_of_noise_computes_what_the_rfcs_say(
    run_bench: RunOnBoard, compiled_modules: dict[str, str], tmp_path: Path
) -> None:
    run_bench(str(BOARD / "bench_noise.py"), "seal", "1", env=compiled_modules, cwd=tmp_path)
