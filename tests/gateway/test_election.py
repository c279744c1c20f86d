"""Gateways that know the same ones come to the same answer, and share alike."""

import random
from collections import Counter

from bitrelay.gateway.election import elected

GATEWAYS = [bytes((number,)) * 32 for number in range(5)]
AUTHORS = [number.to_bytes(8, "big") for number in range(2000)]


def test_of_nobody_nobody_is_elected() -> None:
    assert elected(b"author", ()) is None


def test_the_order_in_which_they_are_known_makes_no_difference() -> None:
    chance = random.Random(1)
    for author in AUTHORS[:100]:
        assert elected(author, GATEWAYS) == elected(author, chance.sample(GATEWAYS, 5))


def test_all_share_alike() -> None:
    counts = Counter(elected(author, GATEWAYS) for author in AUTHORS)
    assert counts.keys() == set(GATEWAYS)
    assert min(counts.values()) > 0.8 * len(AUTHORS) / 5


def test_when_one_goes_only_what_it_did_goes_to_others_and_when_it_comes_back_it_has_that_again() -> None:
    gone = GATEWAYS[2]
    rest = [gateway for gateway in GATEWAYS if gateway != gone]
    heirs = Counter[bytes | None]()
    for author in AUTHORS:
        before, after = elected(author, GATEWAYS), elected(author, rest)
        if before == gone:
            heirs[after] += 1
        else:
            assert after == before
    assert heirs.keys() == set(rest)
