"""What must hold on both interpreters, beyond the vectors; and both must come to the same results."""

from pathlib import Path
from types import ModuleType
from typing import Any

import budget_checks
import check_modules
import dedup_checks
import fuzz_checks
import pytest
import version_checks
import wire_checks

CHECKS = [(module, name) for module in check_modules.load(Path(__file__).parent) for name in module.CHECKS]
each_check = pytest.mark.parametrize(("module", "name"), CHECKS, ids=[name for _, name in CHECKS])


@each_check
def test_on_cpython(module: ModuleType, name: str) -> None:
    getattr(module, name)()


@each_check
def test_on_micropython(module: ModuleType, name: str, on_micropython: Any) -> None:
    problem = on_micropython.problem(name)
    assert problem is None, problem


def test_a_frame_allocates_nothing_on_micropython(on_micropython: Any) -> None:
    problem = on_micropython.problem("check_a_frame_allocates_nothing")
    assert problem is None, problem


def test_micropython_used_its_machine_code(on_micropython: Any) -> None:
    assert on_micropython.outcome("loops") == 2
    assert on_micropython.outcome("machines") == 2


def test_duplicate_cache_gives_the_same_results(on_micropython: Any) -> None:
    assert dedup_checks.outcome() == on_micropython.outcome("dedup")


def test_budgets_judge_alike(on_micropython: Any) -> None:
    assert budget_checks.outcome() == on_micropython.outcome("budget")


def test_relay_decisions_are_the_same(on_micropython: Any) -> None:
    assert wire_checks.outcome() == on_micropython.outcome("relay")


def test_bent_hellos_raise_nowhere_and_are_judged_alike(on_micropython: Any) -> None:
    assert version_checks.outcome() == on_micropython.outcome("hellos")


def test_mutated_frames_raise_nowhere_and_are_judged_alike(vectors: list[dict[str, Any]], on_micropython: Any) -> None:
    assert fuzz_checks.outcome(vectors) == on_micropython.outcome("fuzz")
