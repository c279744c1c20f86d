"""Token bucket, circuit breaker, adaptive timeout, blacklist: tables of what they say when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitrelay.transports.adaptive_timeout import AdaptiveTimeout, TimeoutRange
from bitrelay.transports.blacklist import Blacklist, BlacklistLimits
from bitrelay.transports.circuit_breaker import Circuit, CircuitBreaker
from bitrelay.transports.token_bucket import TokenBucket


@pytest.mark.requirement("LIM-15")
def test_a_bucket_gives_what_it_holds_and_then_what_comes_in() -> None:
    bucket = TokenBucket(5, 2.0)
    assert [bucket.consume(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.wait_s(0.0) == 0.5
    assert bucket.consume(0.5) and not bucket.consume(0.5)
    assert not bucket.consume(1.5, 3) and bucket.consume(2.0, 3)
    assert bucket.tokens(1000.0) == 5
    assert bucket.wait_s(1000.0, 6) == float("inf")


def test_a_clock_that_goes_back_fills_no_bucket() -> None:
    bucket = TokenBucket(1, 1.0)
    assert bucket.consume(100.0) and not bucket.consume(50.0) and not bucket.consume(100.5)
    assert bucket.consume(101.0)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=50))
def test_a_bucket_never_gives_more_than_it_held_and_got(steps: list[tuple[float, float]]) -> None:
    bucket, now, given_out = TokenBucket(10, 3.0), 0.0, 0.0
    for wait, tokens in steps:
        now += wait
        given_out += tokens if bucket.consume(now, tokens) else 0
        assert given_out <= 10 + 3.0 * now + 1e-6


@pytest.mark.requirement("LIM-16")
def test_five_failures_in_a_minute_open_the_circuit_for_half_a_minute() -> None:
    breaker = CircuitBreaker()
    for second in range(4):
        breaker.failed(float(second))
    assert breaker.state(4.0) is Circuit.CLOSED
    breaker.failed(4.0)
    assert breaker.state(4.0) is Circuit.OPEN and not breaker.allow(33.9)
    assert breaker.retry_s(10.0) == 24.0
    assert breaker.state(34.0) is Circuit.HALF_OPEN


@pytest.mark.requirement("LIM-16")
def test_half_open_three_may_try_and_three_successes_close() -> None:
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.failed(0.0)
    assert [breaker.allow(30.0) for _ in range(4)] == [True, True, True, False]
    breaker.succeeded(31.0)
    breaker.succeeded(31.0)
    assert breaker.state(31.0) is Circuit.HALF_OPEN
    breaker.succeeded(31.0)
    assert breaker.state(31.0) is Circuit.CLOSED
    for _ in range(4):
        breaker.failed(32.0)
    assert breaker.state(32.0) is Circuit.CLOSED


@pytest.mark.requirement("LIM-16")
def test_half_open_one_failure_opens_again() -> None:
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.failed(0.0)
    assert breaker.allow(30.0)
    breaker.failed(30.0)
    assert breaker.state(59.9) is Circuit.OPEN and breaker.state(60.0) is Circuit.HALF_OPEN


def test_failures_that_are_far_apart_open_nothing_and_cancelled_probes_give_their_turn_back() -> None:
    breaker = CircuitBreaker()
    for minute in range(20):
        breaker.failed(minute * 20.0)
    assert breaker.state(400.0) is Circuit.CLOSED
    for _ in range(5):
        breaker.failed(400.0)
    for _ in range(10):
        assert breaker.allow(430.0)
        breaker.abandoned(430.0)


@pytest.mark.requirement("LIM-18")
@pytest.mark.parametrize(
    ("what", "seconds"),
    [("s", 0.95), ("t", 1.5), ("ts", 1.425), ("s" * 100, 0.5), ("t" * 100, 4.0), ("t" * 100 + "s", 3.8)],
)
def test_a_timeout_learns_within_its_range(what: str, seconds: float) -> None:
    timeout = AdaptiveTimeout(TimeoutRange(1.0, 0.5, 4.0))
    for each in what:
        timeout.succeeded() if each == "s" else timeout.timed_out()
    assert timeout.current_s == pytest.approx(seconds)


def test_a_range_without_its_base_is_none() -> None:
    with pytest.raises(ValueError):
        TimeoutRange(1.0, 2.0, 3.0)


@pytest.mark.requirement("LIM-22")
def test_who_breaks_the_protocol_often_is_left_out_for_a_time() -> None:
    blacklist = Blacklist(BlacklistLimits(faults=3, window_s=10.0, banned_s=100.0))
    assert not blacklist.fault("a", 0.0) and not blacklist.fault("a", 1.0)
    # Its window is over: it begins anew.
    assert not blacklist.fault("a", 20.0) and not blacklist.fault("a", 21.0)
    assert blacklist.fault("a", 22.0)
    assert blacklist.left_s("a", 22.0) == 100.0 and blacklist.left_s("b", 22.0) == 0.0
    assert blacklist.left_s("a", 122.0) == 0.0 and len(blacklist) == 0


def test_the_blacklist_is_bounded_and_forgets_the_oldest() -> None:
    blacklist = Blacklist(BlacklistLimits(faults=1, most=100))
    for number in range(10_000):
        blacklist.fault(str(number), float(number) / 1000)
    assert len(blacklist) == 100
    assert blacklist.left_s("9999", 10.0) > 0 and blacklist.left_s("0", 10.0) == 0.0
