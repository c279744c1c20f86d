"""Small studies: what must hold at any size, and that a seed gives one run."""

import json
import os
import signal
from math import ceil, log2
from typing import Any

import pytest
import typer

from bitrelay.cli.simulate import several_paths
from bitrelay.errors import ExitCode
from bitrelay.simulator.dht_study import Figures, Plan, run_study
from tests.host.command import finish, start


def figures(**plan: Any) -> Figures:
    (found,), _ = run_study(Plan(**({"nodes": 100, "lookups": 40, "settle_s": 120.0, "span_s": 60.0} | plan)))
    return found


@pytest.mark.requirement("DHT-25")
def test_without_churn_every_lookup_finds_the_nearest_within_the_logarithm_of_the_size() -> None:
    found = figures(nodes=150)
    assert (found.success, found.value_success) == (1.0, 1.0)
    assert found.hops_mean <= log2(150 / 20) / 2 + 1
    assert found.hops_p95 <= ceil(log2(150))


def test_a_fifth_of_colluders_on_eight_paths_hide_nothing() -> None:
    found = figures(adversaries=0.2, paths=(8,))
    assert found.success >= found.floor > 0.99
    assert found.value_success == 1.0


def test_a_fifth_of_liars_about_addresses_hide_nothing_and_push_nobody_out() -> None:
    true, false = (figures(adversaries=0.2, paths=(8,), lying=lying) for lying in (False, True))
    assert false.failures_mean > true.failures_mean, "they were believed as far as to ask there"
    assert false.success >= false.floor > 0.99
    assert false.value_success == 1.0
    assert false.known_mean > 0.9 * true.known_mean


def test_nodes_that_come_and_go_are_made_up_for() -> None:
    found = figures(churn=6.0, settle_s=300.0)
    assert found.died > 20
    assert found.success >= 0.95
    assert found.value_success >= 0.95


def test_a_seed_gives_one_run_to_the_last_bit_and_another_seed_another() -> None:
    plan = {"nodes": 60, "lookups": 20, "adversaries": 0.2, "paths": (4,), "churn": 4.0}
    once = figures(**plan)
    assert figures(**plan) == once
    assert figures(**plan, seed=2) != once


COST = {"seconds", "build_seconds", "memory_per_node", "cpu_per_lookup", "cpu_per_question"}


def test_the_command_ends_with_one_line_of_json_which_hash_seeds_do_not_change() -> None:
    lines = []
    for hash_seed in ("1", "2"):
        process = start(
            "simulate", "dht", "--nodes", "40", "--lookups", "20", "--adversaries", "0.1", "--churn", "2", "--json",
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
        )  # fmt: skip
        out, error = finish(process)
        assert (process.returncode, error) == (0, "")
        lines.append(json.loads(out.splitlines()[-1]))
    wanted = {"nodes", "lookups", "success", "hops_mean", "hops_p95", "messages_mean", "seconds"}
    assert lines[0].keys() > wanted | COST
    assert lines[0]["nodes"] == 40
    one, other = ({name: value for name, value in line.items() if name not in COST} for line in lines)
    assert one == other


def test_ctrl_c_ends_the_command_cleanly() -> None:
    ours, its = os.openpty()
    process = start("simulate", "dht", "--nodes", "50000", "--json", stderr=its)
    os.close(its)
    try:
        os.read(ours, 1)  # the bar is there, so it runs
        process.send_signal(signal.SIGINT)
        out, _ = finish(process)
    finally:
        os.close(ours)
    assert process.returncode == ExitCode.INTERRUPTED
    assert out == ""


@pytest.mark.parametrize("paths", ["0", "9", "1,9", "", "one"])
def test_a_number_of_paths_that_is_none_is_wrong_usage(paths: str) -> None:
    with pytest.raises(typer.BadParameter, match="1 to 8"):
        several_paths(paths)
