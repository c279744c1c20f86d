"""A challenge of ours is good once, for an hour, for as many as we can remember."""

from dataclasses import replace

import pytest

from bitrelay.identity.issued import IssuedChallenges
from tests.identity.mined import NOW


def test_a_challenge_is_good_once() -> None:
    issued = IssuedChallenges()
    challenge = issued.issue("here", 16, NOW)
    assert (challenge.difficulty, challenge.timestamp, challenge.expires_at) == (16, NOW, NOW + 3600)
    assert issued.holds(challenge, NOW + 10)
    assert issued.redeem(challenge, NOW + 10)
    assert not issued.holds(challenge, NOW + 10)
    assert not issued.redeem(challenge, NOW + 10)


def test_challenges_differ() -> None:
    issued = IssuedChallenges(per_origin=100)
    assert len({issued.issue("here", 16, NOW).challenge_data for _ in range(100)}) == 100


@pytest.mark.parametrize(("late", "good"), [(3600, True), (3601, False)])
def test_a_challenge_lives_an_hour(late: int, good: bool) -> None:
    issued = IssuedChallenges()
    assert issued.redeem(issued.issue("here", 16, NOW), NOW + late) is good


def test_a_challenge_made_easier_or_longer_is_not_ours_and_ours_stays_good() -> None:
    issued = IssuedChallenges()
    challenge = issued.issue("here", 16, NOW)
    assert not issued.redeem(replace(challenge, difficulty=8), NOW)
    assert not issued.redeem(replace(challenge, expires_at=NOW + 9999), NOW)
    assert not issued.redeem(replace(challenge, challenge_data=bytes(32)), NOW)
    assert issued.redeem(challenge, NOW)


def test_who_asks_for_many_loses_its_own() -> None:
    issued = IssuedChallenges(most=100, per_origin=3)
    other = issued.issue("there", 16, NOW)
    mine = [issued.issue("here", 16, NOW + i) for i in range(5)]
    assert [issued.redeem(challenge, NOW + 9) for challenge in mine] == [False, False, True, True, True]
    assert issued.redeem(other, NOW + 9)


def test_when_full_the_origin_with_the_most_loses() -> None:
    issued = IssuedChallenges(most=4, per_origin=3)
    greedy = [issued.issue("greedy", 16, NOW) for _ in range(3)]
    others = [issued.issue(f"other {i}", 16, NOW) for i in range(3)]
    assert len(issued) == 4
    assert [issued.redeem(challenge, NOW) for challenge in greedy] == [False, False, True]
    assert all(issued.redeem(challenge, NOW) for challenge in others)


def test_what_has_expired_takes_no_room() -> None:
    issued = IssuedChallenges(most=2)
    for i in range(2):
        issued.issue(f"{i}", 16, NOW)
    assert issued.prune(NOW + 3600) == 0
    assert issued.prune(NOW + 3601) == 2
    assert len(issued) == 0
