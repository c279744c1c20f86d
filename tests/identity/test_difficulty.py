"""The difficulty follows what was measured, a bit at a time, within its bounds (E3)."""

import pytest

from bitrelay.identity.difficulty import (
    ADJUSTMENT_S,
    LEAST_SAMPLES,
    TARGET_SOLVE_S,
    WINDOW,
    DifficultyAdjusted,
    DifficultyConfig,
    DifficultyControl,
    SolveTime,
    adjusted,
)


def times(seconds: float, difficulty: int = 18, count: int = WINDOW) -> list[SolveTime]:
    return [SolveTime(difficulty, seconds, 2**difficulty)] * count


@pytest.mark.requirement("POW-11", "POW-12")
def test_interval_and_target_are_those_of_the_protocol() -> None:
    assert (ADJUSTMENT_S, TARGET_SOLVE_S) == (3600, 300)
    control = DifficultyControl()
    assert (control.interval_s, control.target_s) == (3600, 300)


@pytest.mark.requirement("POW-31")
@pytest.mark.parametrize(
    ("seconds", "bits"),
    [
        (10, 19),
        (160, 19),
        # A bit more would make 340 s of it, and the next step take it back.
        (170, 18),
        (269, 18),
        (300, 18),
        (330, 18),
        (331, 17),
        (10_000, 17),
    ],
)
def test_faster_than_the_target_is_harder_and_slower_is_easier(seconds: float, bits: int) -> None:
    assert adjusted(DifficultyConfig(18), times(seconds)).current == bits


@pytest.mark.requirement("POW-31")
@pytest.mark.parametrize(
    ("config", "seconds", "bits"),
    [
        (DifficultyConfig(24), 0.001, 24),
        (DifficultyConfig(16), 1e6, 16),
        (DifficultyConfig(8, 8), 1e6, 8),
        (DifficultyConfig(9, 8), 1e6, 8),
        (DifficultyConfig(16, 16, 16), 0.001, 16),
    ],
)
def test_bounds_hold(config: DifficultyConfig, seconds: float, bits: int) -> None:
    assert adjusted(config, times(seconds, config.current)).current == bits


def test_times_at_other_difficulties_count_for_what_they_would_be_at_this() -> None:
    assert SolveTime(16, 10.0, 2**16).at(18) == 40.0
    assert SolveTime(20, 16.0, 2**19).at(18) == 8.0
    assert SolveTime(20, 16.0).at(18) == 4.0
    # 100 s at 16 bits are 400 s at 18.
    assert adjusted(DifficultyConfig(18), times(100, 16)).current == 17


def test_the_slowest_devices_decide() -> None:
    quick, slow = times(1, count=80), times(400, count=20)
    assert adjusted(DifficultyConfig(18), quick + slow).current == 17
    # Fewer than a tenth are outliers: a board that was busy.
    assert adjusted(DifficultyConfig(18), quick + slow[:8]).current == 19


def test_few_times_say_nothing_and_old_ones_are_forgotten() -> None:
    assert adjusted(DifficultyConfig(18), times(1, count=LEAST_SAMPLES - 1)).current == 18
    assert adjusted(DifficultyConfig(18), times(1e6) + times(1)).current == 19


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_a_clock_that_stands_still_or_goes_back_is_a_fast_device(seconds: float) -> None:
    assert adjusted(DifficultyConfig(18), times(seconds)).current == 19


@pytest.mark.parametrize(
    ("current", "base", "most"), [(15, 16, 24), (25, 16, 25), (7, 7, 24), (20, 22, 24), (24, 16, 20)]
)
def test_a_config_out_of_bounds_is_refused(current: int, base: int, most: int) -> None:
    with pytest.raises(ValueError, match="8 to 24"):
        DifficultyConfig(current, base, most)


def test_development_begins_at_8_bits() -> None:
    assert DifficultyConfig.development() == DifficultyConfig(8, 8, 24)
    assert DifficultyConfig() == DifficultyConfig(16, 16, 24)


@pytest.mark.requirement("POW-29")
def test_a_step_is_told_and_there_is_one_an_hour_at_most() -> None:
    control = DifficultyControl(DifficultyConfig(16))
    for time in times(1, 16):
        control.add(time)
    assert control.adjust(0.0) is None
    assert control.adjust(3599.0) is None
    assert control.adjust(3600.0) == DifficultyAdjusted(16, 17)
    assert control.adjust(7199.0) is None
    assert control.adjust(50_000.0) == DifficultyAdjusted(17, 18)
    assert control.config.current == 18


def test_it_settles_where_the_slowest_take_less_than_the_target() -> None:
    control = DifficultyControl(DifficultyConfig(16))
    # A board with 3000 hashes a second among computers.
    for rate in [1e6] * 60 + [3000.0] * 40:
        control.add(SolveTime(16, 2**16 / rate, 2**16))
    steps = [control.adjust(3600.0 * hour) for hour in range(20)]
    assert [step.new for step in steps if step] == [17, 18, 19]
    assert 2**19 / 3000 < TARGET_SOLVE_S < 2**20 / 3000
