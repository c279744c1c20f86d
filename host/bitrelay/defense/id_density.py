"""How ids lie in the id space: hashes are uniform in it, so a crowd somewhere was made to be there.

An id is the SHA-256 of a key, which nobody can choose, but anybody can make keys until the hash begins with the bits
wanted: b bits cost 2**b keys. Ids near a key answer for it in the DHT; ids near a node fill its routing table. Sridhar
et al. (NDSS 2024) find such ids in IPFS by the divergence of prefix lengths from those expected; Cholez et al. (2010)
did so in KAD. `divergence` is that figure. What decides here is the exact chance of the count at each prefix length,
which needs no threshold fitted to the size of the network.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from . import tails

# Deeper, one chance pair of ids would be all there is; the cost of more bits is beyond anybody who wants many ids.
MAX_DEPTH = 48
K = 20


@dataclass(frozen=True, slots=True)
class Crowd:
    """Ids that share their first bits with one another or with a target.

    expected: how many ids would begin so. log_p: logarithm of the chance of as many, all depths and places counted.
    """

    depth: int
    ids: tuple[bytes, ...]
    expected: float
    log_p: float


def common_prefix(one: bytes, other: bytes) -> int:
    """How many leading bits two ids of 32 bytes share: 0 to 256."""
    difference = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return 256 - difference.bit_length()


def crowd_near(ids: Sequence[bytes], target: bytes, population: int) -> Crowd | None:
    """The least likely crowd around a target; None without ids.

    population: how many ids there could have been. At least len(ids); more if ids near the target are seen more often
    than others, as a DHT node sees those near its own.
    """
    population = max(population, len(ids))
    lengths = sorted(((common_prefix(peer, target), peer) for peer in ids), reverse=True)
    best: Crowd | None = None
    for count, (length, _) in enumerate(lengths, start=1):
        depth = min(length, MAX_DEPTH)
        if count < len(lengths) and lengths[count][0] >= depth:
            continue
        log_p = tails.binomial(count, population, 2.0**-depth) + log(MAX_DEPTH + 1)
        if best is None or log_p < best.log_p:
            best = Crowd(depth, tuple(peer for _, peer in lengths[:count]), population * 2.0**-depth, log_p)
    return best


def crowds_anywhere(ids: Sequence[bytes], population: int, least: int, log_limit: float) -> list[Crowd]:
    """Crowds of `least` ids or more around no target in particular that are less likely than log_limit.

    Disjoint, least likely first. The chance counts that any of the 2**depth places could have been the crowded one.
    """
    population = max(population, len(ids))
    starts = [int.from_bytes(peer[:8], "big") for peer in ids]
    found: list[Crowd] = []
    for depth in range(1, MAX_DEPTH + 1):
        places = Counter(start >> 64 - depth for start in starts)
        full = [(place, count) for place, count in places.items() if count >= least]
        if not full:
            break
        for place, count in full:
            log_p = tails.binomial(count, population, 2.0**-depth) + log(2.0) * depth + log(MAX_DEPTH)
            if log_p < log_limit:
                there = tuple(peer for peer, start in zip(ids, starts, strict=True) if start >> 64 - depth == place)
                found.append(Crowd(depth, there, population * 2.0**-depth, log_p))
    found.sort(key=lambda crowd: crowd.log_p)
    return _disjoint(found)


def divergence(ids: Sequence[bytes], target: bytes, network_size: int, k: int = K) -> float:
    """Kullback-Leibler divergence, in nats, of the prefix lengths of the k ids closest to a target.

    From the lengths expected in a network of that size: 0 is just as expected. Under 0.94 IPFS is taken to be sound
    (k = 20); for other sizes that threshold has to be fitted anew, which is why it decides nothing here.
    """
    lengths = sorted((min(common_prefix(peer, target), MAX_DEPTH) for peer in ids), reverse=True)[:k]
    if not lengths:
        return 0.0
    expected = expected_lengths(max(network_size, len(ids)), k)
    return sum(
        count / len(lengths) * log(count / len(lengths) / expected[length])
        for length, count in Counter(lengths).items()
    )


def expected_lengths(network_size: int, k: int = K) -> list[float]:
    """The expected share of each prefix length, 0 to MAX_DEPTH, among the k closest of network_size ids."""
    # The i-th closest has a prefix of b bits or more if at least i ids have.
    at_least = [
        sum(_at_least(i, network_size, 2.0**-depth) for i in range(1, k + 1)) / k for depth in range(MAX_DEPTH + 1)
    ]
    shares = [here - deeper for here, deeper in zip(at_least, [*at_least[1:], 0.0], strict=True)]
    # No length is impossible, however unlikely.
    return [max(share, 1e-12) for share in shares]


def _at_least(count: int, trials: int, chance: float) -> float:
    # The exact tail on both sides of the mean: of the counts below it there are at most k.
    if count > trials:
        return 0.0
    if chance >= 1.0:
        return 1.0
    term = (1.0 - chance) ** trials
    below = 0.0
    for i in range(count):
        below += term
        term *= (trials - i) / (i + 1) * chance / (1.0 - chance)
    return max(0.0, 1.0 - below)


def _disjoint(crowds: list[Crowd]) -> list[Crowd]:
    # Around one crowd every depth is crowded: the first of those that share an id is enough.
    kept: list[Crowd] = []
    taken: set[bytes] = set()
    for crowd in crowds:
        if taken.isdisjoint(crowd.ids):
            taken.update(crowd.ids)
            kept.append(crowd)
    return kept
