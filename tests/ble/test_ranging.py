"""Level and distance."""

import pytest

from bitrelay.ble.ranging import MISSING_RSSI, distance, heard_level, smoothed


@pytest.mark.requirement("DSC-19", "DSC-20")
@pytest.mark.parametrize(
    ("rssi", "exponent", "metres"),
    [(-59, 2.0, 1.0), (-79, 2.0, 10.0), (-69, 2.0, 10**0.5), (-99, 2.0, 100.0), (-100, 2.0, 100.0), (-30, 2.0, 0.1),
     (-39, 2.0, 0.1), (20, 2.0, 0.1), (-89, 3.0, 10.0), (-99, 4.0, 10.0), (-126, 4.0, 10 ** (67 / 40))],
)  # fmt: skip
def test_distance_follows_from_level_and_exponent(rssi: int, exponent: float, metres: float) -> None:
    assert distance(rssi, exponent) == pytest.approx(metres)


@pytest.mark.requirement("DSC-19")
@pytest.mark.parametrize("exponent", [1.99, 4.01, float("nan"), -2.0])
def test_an_exponent_outside_2_to_4_is_refused(exponent: float) -> None:
    with pytest.raises(ValueError):
        distance(-60, exponent)


@pytest.mark.requirement("DSC-18")
@pytest.mark.parametrize("rssi", [None, -127, 127, 21, -1000])
def test_a_level_that_is_missing_or_impossible_is_minus_100(rssi: int | None) -> None:
    assert heard_level(rssi) == MISSING_RSSI == -100


def test_the_running_mean_gets_there() -> None:
    level = -40.0
    for _ in range(20):
        level = smoothed(level, -80)
    assert level == pytest.approx(-80, abs=0.2)
    assert smoothed(-60.0, -80) == -65.0
