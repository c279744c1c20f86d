"""How much a mesh takes: of one author, of one gateway, of all."""

import pytest

from bitrelay.gateway.config import DownlinkConfig
from bitrelay.gateway.crossing import Drop
from bitrelay.gateway.downlink_budget import LONGEST_WAIT_S, Admission, DownlinkBudget, airtime_ms

from .bridge_frames import author, gateway

USUAL = DownlinkConfig(enabled=True)


def sent_within(budget: DownlinkBudget, seconds: float, start: float = 0, size: int = 100) -> list[float]:
    """When frames went, if there were always more."""
    now, moments = start, []
    while now < start + seconds:
        wait = budget.wait_s(now)
        if wait == 0:
            budget.charge(size, now)
            moments.append(now)
        now += wait
    return moments


def test_thirty_a_minute_are_not_thirty_at_once() -> None:
    moments = sent_within(DownlinkBudget(USUAL), 60)
    assert [moments.count(0), len(moments)] == [3, pytest.approx(33, abs=1)]
    assert len(sent_within(DownlinkBudget(USUAL), 600)) == pytest.approx(303, abs=1)


def test_airtime_is_a_bound_of_its_own() -> None:
    config = DownlinkConfig(enabled=True, frames_per_minute=100_000, airtime_percent=5)
    for size in (50, 512):
        used = len(sent_within(DownlinkBudget(config), 60, size=size)) * airtime_ms(size) / 60_000
        assert used == pytest.approx(0.05, rel=0.12)  # with the burst
    assert airtime_ms(512) == pytest.approx(7.62)


def test_what_was_not_sent_is_given_back() -> None:
    budget = DownlinkBudget(USUAL)
    for _ in range(3):
        budget.charge(100, 0)
    assert budget.wait_s(0) > 0
    budget.refund(100, 0)
    assert budget.wait_s(0) == 0


@pytest.mark.requirement("GWY-15")
def test_a_full_relay_slows_the_downlink_down_and_it_recovers() -> None:
    budget = DownlinkBudget(DownlinkConfig(enabled=True, frames_per_minute=600))
    assert len(sent_within(budget, 10)) == pytest.approx(160, abs=1)
    for now in range(10, 15):
        budget.report(1.0, now)
    slow = len(sent_within(budget, 60, 15))
    assert 600 / 16 - 1 <= slow <= 600 / 16 + 5
    for now in range(75, 100):
        budget.report(0.0, now)
    assert len(sent_within(budget, 10, 100)) == pytest.approx(160, abs=1)


def test_the_load_tells_how_much_of_the_budget_is_used() -> None:
    budget = DownlinkBudget(DownlinkConfig(enabled=True, frames_per_minute=600))
    assert budget.load(0) == 0
    for now in range(600):
        budget.charge(100, now / 5)
    assert budget.load(120) == pytest.approx(0.5, abs=0.03)
    budget.report(1.0, 120)
    assert budget.load(120) == pytest.approx(1.0, abs=0.05)
    assert budget.load(300) < 0.01


def test_a_new_budget_does_not_count_for_the_time_before_it() -> None:
    budget = DownlinkBudget(USUAL)
    sent_within(budget, 60)
    budget.configure(DownlinkConfig(enabled=True, frames_per_minute=60_000, airtime_percent=100), 120)
    assert sent_within(budget, 0.001, 120).count(120) == 3
    assert len(sent_within(budget, 1, 121)) > 50


def test_a_budget_of_nothing_waits_and_does_not_wait_for_ever() -> None:
    budget = DownlinkBudget(DownlinkConfig(enabled=True, frames_per_minute=0, airtime_percent=0))
    budget.charge(100, 0)
    assert budget.wait_s(0) == budget.wait_s(1e6) == LONGEST_WAIT_S
    assert budget.load(0) == 1.0


def admitted(admission: Admission, who: bytes, whence: bytes | None, times: int, now: float = 0) -> int:
    count = 0
    for _ in range(times):
        if whence is None or not admission.is_spent(whence, now):
            count += admission.charge(who, whence, now) is None
    return count


def test_an_author_and_a_gateway_have_their_minutes_worth() -> None:
    admission = Admission(USUAL)
    assert admitted(admission, author(1), gateway(1), 100) == 15
    assert admission.charge(author(1), None, 0) is Drop.AUTHOR_BUDGET
    assert sum(admitted(admission, author(10 + each), gateway(2), 1) for each in range(100)) == 30
    assert admission.is_spent(gateway(2), 0)
    assert not admission.is_spent(gateway(3), 0)
    # Others are not held to it, and in time they may again.
    assert admitted(admission, author(2), gateway(3), 1) == 1
    assert admitted(admission, author(1), gateway(1), 100, now=60) == 15


def test_meshes_of_our_own_are_held_to_no_gateways_budget() -> None:
    admission = Admission(USUAL)
    assert sum(admitted(admission, author(each), None, 1) for each in range(1000)) == 1000


def test_one_authors_flood_is_found_out_and_costs_his_gateway_a_quarter() -> None:
    admission = Admission(USUAL)
    sent = 0
    while not admission.is_spent(gateway(1), 0):
        admission.charge(author(1), gateway(1), 0)
        sent += 1
    assert sent == 15 + 4 * 15 - 3  # what is left is less than a frame


def test_a_forged_announce_costs_a_whole_frame() -> None:
    admission = Admission(USUAL)
    for _ in range(30):
        assert not admission.is_spent(gateway(1), 0)
        admission.charge_refused(gateway(1), Drop.ANNOUNCE_FORGED)
    assert admission.is_spent(gateway(1), 0)


def test_budgets_of_many_are_bounded_and_who_is_active_does_not_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitrelay.gateway.downlink_budget.MOST_AUTHORS", 10)
    admission = Admission(USUAL)
    passed = 0
    for number in range(100):
        admission.charge(author(100 + number), None, 0)
        passed += admission.charge(author(1), None, 0) is None
    assert passed == 15
    # Who is not heard of for that long has a full budget again.
    assert admitted(admission, author(100), None, 20) == 15


def test_new_budgets_hold_for_those_that_are_known() -> None:
    admission = Admission(USUAL)
    assert admitted(admission, author(1), None, 100) == 15
    admission.configure(DownlinkConfig(enabled=True, author_per_minute=60, gateway_per_minute=6))
    assert admitted(admission, author(1), None, 100, now=10) == 10
    assert sum(admitted(admission, author(100 + each), gateway(1), 1, now=10) for each in range(50)) == 6
