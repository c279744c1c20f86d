"""Ids that somebody ground stand out from hashes, and hashes do not."""

from math import log, log2
from random import Random

import pytest

from bitrelay.defense.id_density import (
    MAX_DEPTH,
    K,
    common_prefix,
    crowd_near,
    crowds_anywhere,
    divergence,
    expected_lengths,
)  # fmt: skip

KEY = bytes.fromhex("5a" * 32)


def hashes(random: Random, count: int) -> list[bytes]:
    return [random.randbytes(32) for _ in range(count)]


def near(random: Random, bits: int, count: int) -> list[bytes]:
    rest = 256 - bits
    return [
        (int.from_bytes(KEY, "big") >> rest << rest | random.getrandbits(rest)).to_bytes(32, "big")
        for _ in range(count)
    ]


@pytest.mark.parametrize(("last", "bits"), [(b"\x5a", 256), (b"\x5b", 255), (b"\xda", 248)])
def test_common_prefix(last: bytes, bits: int) -> None:
    assert common_prefix(KEY, KEY[:31] + last) == bits


def test_ids_ground_near_a_key_are_the_crowd() -> None:
    random = Random(1)
    ground = near(random, 12, 8)
    crowd = crowd_near(hashes(random, 200) + ground, KEY, 200)
    assert crowd is not None
    assert set(crowd.ids) >= set(ground)
    assert crowd.log_p < log(1e-9)


def test_hashes_crowd_around_a_key_no_more_often_than_by_chance() -> None:
    random = Random(2)
    chances = [crowd_near(hashes(random, 100), KEY, 100) for _ in range(300)]
    assert sum(crowd is not None and crowd.log_p < log(0.02) for crowd in chances) <= 300 * 0.02


def test_ids_near_our_own_are_seen_more_often_and_are_no_crowd_if_the_network_is_large() -> None:
    ids = near(Random(3), 6, 20)
    small, large = crowd_near(ids, KEY, 20), crowd_near(ids, KEY, 1280)
    assert small is not None and large is not None
    assert small.log_p < log(1e-12)
    assert large.log_p > log(0.1)


def test_a_crowd_is_found_around_a_key_that_nobody_watches() -> None:
    random = Random(4)
    ground = near(random, 16, 6)
    (crowd,) = crowds_anywhere(hashes(random, 300) + ground, 300, 5, log(1e-6))
    assert set(crowd.ids) == set(ground)
    assert 16 <= crowd.depth <= 18


def test_hashes_crowd_nowhere() -> None:
    random = Random(5)
    assert not any(crowds_anywhere(hashes(random, 300), 300, 2, log(1e-3)) for _ in range(20))


def test_equal_ids_do_not_count_deeper_than_there_is_a_depth() -> None:
    crowd = crowd_near([KEY] * 3, KEY, 3)
    assert crowd is not None
    assert crowd.depth == MAX_DEPTH


def test_no_ids_are_no_crowd() -> None:
    assert crowd_near([], KEY, 100) is None
    assert crowds_anywhere([], 100, 2, 0.0) == []
    assert divergence([], KEY, 100) == 0.0


@pytest.mark.parametrize("size", [50, 1000, 100_000])
def test_expected_lengths_are_shares(size: int) -> None:
    shares = expected_lengths(size)
    assert sum(shares) == pytest.approx(1.0, abs=1e-6)
    # The 20 closest of n share about log2(n / 20) bits.
    assert max(range(len(shares)), key=shares.__getitem__) == pytest.approx(log2(size / K), abs=1.5)


def test_divergence_tells_ground_ids_from_hashes() -> None:
    random = Random(6)
    ids = hashes(random, 500)
    honest = divergence(ids, KEY, 500)
    assert honest < 0.94 < divergence(ids + near(random, 12, 20), KEY, 500)
