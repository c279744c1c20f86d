"""Tails are those of the distributions: compared with sums of their definitions."""

from math import comb, exp, inf, isclose

import pytest

from bitrelay.defense import tails


def poisson_sum(count: int, mean: float) -> float:
    term, below = exp(-mean), 0.0
    for k in range(count):
        below += term
        term *= mean / (k + 1)
    return 1 - below


@pytest.mark.parametrize(("count", "mean"), [(1, 0.5), (5, 2.0), (9, 3.5), (20, 12.0)])
def test_poisson(count: int, mean: float) -> None:
    assert isclose(exp(tails.poisson(count, mean)), poisson_sum(count, mean), rel_tol=1e-9)


@pytest.mark.parametrize(("count", "trials", "chance"), [(3, 10, 0.1), (1, 4, 0.2), (30, 40, 0.5), (10, 10, 0.5)])
def test_binomial(count: int, trials: int, chance: float) -> None:
    exact = sum(comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(count, trials + 1))
    assert isclose(exp(tails.binomial(count, trials, chance)), exact, rel_tol=1e-9)


@pytest.mark.parametrize("count", [3, 8, 15])
def test_negative_binomial_of_shape_1_is_geometric(count: int) -> None:
    share = 2.0 / 3.0
    assert isclose(tails.negative_binomial(count, 2.0, 1.0), tails.geometric(count, share), rel_tol=1e-9)


def test_negative_binomial_of_a_rate_that_is_well_known_is_poisson() -> None:
    assert isclose(tails.negative_binomial(12, 4.0, 1e9), tails.poisson(12, 4.0), rel_tol=1e-5)


def test_a_count_at_or_below_the_mean_is_no_evidence() -> None:
    assert tails.poisson(3, 3.0) == tails.binomial(2, 20, 0.1) == tails.negative_binomial(1, 1.0, 2.0) == 0.0


def test_what_cannot_be_has_no_chance() -> None:
    assert tails.binomial(11, 10, 0.5) == tails.binomial(1, 10, 0.0) == tails.poisson(1, 0.0) == -inf


def test_chances_too_small_for_a_float_stay_logarithms() -> None:
    assert -1e5 < tails.binomial(500, 500, 2.0**-100) < -34_000
