"""tests/hardware, which a bench runs on a real board, on a virtual board of each chip."""

import pytest
from bench_runs import CHIPS, DEADLINE_S, BenchRuns


@pytest.mark.timeout(DEADLINE_S)
@pytest.mark.parametrize("chip", CHIPS)
def test_the_bench_tests_pass_on_a_virtual_board(bench_runs: BenchRuns, chip: str) -> None:
    output, _ = bench_runs[chip].communicate(timeout=DEADLINE_S - 20)
    assert bench_runs[chip].returncode == 0, output[-6000:]
    assert " passed" in output and " skipped" not in output.splitlines()[-1]
