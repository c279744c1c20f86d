"""Chances of counts that are as high as what was seen: upper tails, as natural logarithms, since they get very small.

Each is exact above the mean; at or below it the answer is 0.0 (a chance of 1), an upper bound.
"""

from collections.abc import Callable
from math import inf, lgamma, log, log1p

# A term this much smaller than the sum of those before it changes nothing that is printed.
_NEGLIGIBLE = 1e-12


def poisson(count: int, mean: float) -> float:
    """log P(X >= count) of a Poisson variable."""
    if count <= mean:
        return 0.0
    if mean <= 0.0:
        return -inf
    return _sum(count, count * log(mean) - mean - lgamma(count + 1), lambda k: mean / (k + 1))


def binomial(count: int, trials: int, chance: float) -> float:
    """log P(X >= count) of a binomial variable, 0 <= chance < 1."""
    if count <= trials * chance:
        return 0.0
    if count > trials or chance <= 0.0:
        return -inf
    first = lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1)
    first += count * log(chance) + (trials - count) * log1p(-chance)
    odds = chance / (1.0 - chance)
    return _sum(count, first, lambda k: (trials - k) / (k + 1) * odds)


def negative_binomial(count: int, mean: float, shape: float) -> float:
    """log P(X >= count) of a Poisson variable whose mean is itself Gamma-distributed, with that mean and shape > 0."""
    if count <= mean:
        return 0.0
    share = mean / (shape + mean)
    first = lgamma(count + shape) - lgamma(shape) - lgamma(count + 1)
    first += shape * log1p(-share) + count * log(share)
    return _sum(count, first, lambda k: (k + shape) / (k + 1) * share)


def geometric(count: int, ratio: float) -> float:
    """log P(X >= count) of X = 0, 1, 2... where each further one has the chance `ratio`, 0 < ratio < 1."""
    return count * log(ratio)


def _sum(start: int, log_first: float, ratio: Callable[[int], float]) -> float:
    # Above the mean terms shrink by a ratio that itself shrinks (or tends to one below 1), so the sum ends.
    total = term = 1.0
    k = start
    while term > total * _NEGLIGIBLE:
        term *= ratio(k)
        total += term
        k += 1
    return min(0.0, log_first + log(total))
