"""How the downlink gives way to a relay that is full."""

import pytest

from bitrelay.gateway.throttle import EVERY_S, LEAST, STEP, Throttle


@pytest.mark.requirement("GWY-15")
def test_a_full_relay_halves_the_share_and_an_idle_one_gives_it_back_step_by_step() -> None:
    throttle = Throttle()
    shares = []
    for now in range(6):
        throttle.report(0.9, now * EVERY_S)
        shares.append(throttle.share)
    assert shares == [1 / 2, 1 / 4, 1 / 8, LEAST, LEAST, LEAST]
    shares = []
    for now in range(6, 40):
        throttle.report(0.0, now * EVERY_S)
        shares.append(throttle.share)
    assert shares[:2] == pytest.approx([LEAST + STEP, LEAST + 2 * STEP])
    assert shares[-1] == 1.0


@pytest.mark.parametrize(
    ("pressure", "share"),
    [(0.0, 0.5 + STEP), (0.25, 0.5 + STEP), (0.4, 0.5), (0.5, 0.25), (1.0, 0.25), (7.0, 0.25), (float("nan"), 0.5)],
)
def test_what_a_report_does(pressure: float, share: float) -> None:
    throttle = Throttle()
    throttle.report(1.0, 0)
    throttle.report(pressure, 10)
    assert throttle.share == share


def test_reports_of_one_moment_count_once() -> None:
    throttle = Throttle()
    assert [throttle.report(1.0, now / 10) for now in range(11)] == [True] + [False] * 9 + [True]
    assert throttle.share == 0.25
