"""What a frame counts for is a rule, and the rule can be replaced."""

import pytest

from bitrelay.mesh.relay_fee import MOST_FEE, FeeRule, HopFee, Relayed, hop_multiplier, no_bonus


@pytest.mark.parametrize(
    ("hops", "times"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 3), (7, 4), (8, 4), (255, 4)]
)
def test_farther_counts_more(hops: int, times: int) -> None:
    assert hop_multiplier(hops) == times
    assert HopFee().fee(Relayed(hops, 200, 5.0)) == times
    assert HopFee(base=3).fee(Relayed(hops, 200, 5.0)) == 3 * times


@pytest.mark.requirement("GWY-16")
def test_a_message_over_one_hop_counts_1_unless_it_is_set() -> None:
    assert HopFee().fee(Relayed(1, 22, 0.0)) == 1
    assert HopFee(base=0).fee(Relayed(7, 22, 0.0)) == 0


@pytest.mark.requirement("GWY-17")
def test_a_bonus_for_performance_is_another_function() -> None:
    def quick(relayed: Relayed) -> int:
        return 5 if relayed.waited_ms < 100 else -7

    rule: FeeRule = HopFee(bonus=quick)
    assert rule.fee(Relayed(1, 200, 50.0)) == 6
    assert rule.fee(Relayed(1, 200, 150.0)) == 1, "it takes nothing away"
    assert no_bonus(Relayed(1, 200, 50.0)) == 0
    assert HopFee(bonus=lambda relayed: 1 << 80).fee(Relayed(1, 200, 50.0)) == MOST_FEE
