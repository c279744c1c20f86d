"""The detector shown to detect: a small trial with floors. `bitrelay identity sybil-trial` runs the large one."""

from dataclasses import replace

import pytest

from bitrelay.defense import sybil_traffic, sybil_trial
from bitrelay.defense.sybil import Limits
from bitrelay.defense.sybil_traffic import ATTACKS, HONEST, Attack, Usual
from bitrelay.defense.sybil_trial import HonestResult, Trial, judge_attack, judge_honest, wilson

SEED = 77
RUNS = 3

# Each was found in every run of the large trial: here it must be in every one, too.
SURE = (
    ("burst within a minute", 20),
    ("burst within ten minutes", 50),
    ("one challenge shared", 5),
    ("ground to 12 bits of a key", 8),
    ("ground to 16 bits of our id", 5),
    ("one network", 16),
    ("one address", 8),
    ("made in 10 min, hours before", 50),
    ("stock of days", 50),
    ("mixture: made in 1 h, 3 networks, 6 bits, in 2 h", 50),
)


def plan(name: str, size: int) -> Attack:
    (found,) = [attack for attack in ATTACKS if (attack.name, attack.size) == (name, size)]
    return found


@pytest.mark.requirement("POW-33")
@pytest.mark.parametrize(("name", "size"), SURE)
def test_an_attack_of_every_kind_is_detected(name: str, size: int) -> None:
    result = judge_attack(plan(name, size), SEED, RUNS)
    assert result.detected == 1.0
    assert result.named >= 0.5
    assert result.median_delay_s is not None


def test_an_attack_that_differs_from_nothing_is_not_claimed_to_be_detected() -> None:
    assert judge_attack(plan("slow drip over 12 h", 50), SEED, RUNS).detected == 0.0


@pytest.mark.parametrize("name", [name for name in HONEST if not name.startswith("busy")])
def test_honest_days_raise_no_more_alarms_than_the_budget_explains(name: str) -> None:
    what, extra = HONEST[name]
    # Two on three days would come of the budget by a chance of 1 in 70.
    assert judge_honest(name, what, extra, SEED, RUNS).alarms <= 1


def test_a_detector_that_suspects_everybody_fails_the_trial() -> None:
    suspicious = Limits(false_alarms_per_day=1e9, least=1)
    result = judge_honest("quiet", Usual(per_day=10), None, SEED, 1, suspicious)
    assert result.alarms > 1
    assert not Trial(SEED, 0.06, (result,), (), ()).within_budget
    assert Trial(SEED, 0.06, (replace(result, alarms=0),), (), ()).within_budget


def test_the_same_seed_gives_the_same_result() -> None:
    attack = plan("burst within a minute", 20)
    assert judge_attack(attack, 5, 2) == judge_attack(attack, 5, 2)


def test_a_trial_runs_every_kind_and_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: kind for name, kind in HONEST.items() if name.startswith("quiet")}
    for module in (sybil_traffic, sybil_trial):
        monkeypatch.setattr(module, "HONEST", few)
        monkeypatch.setattr(module, "ONE_OWNER", {})
        monkeypatch.setattr(module, "ATTACKS", (plan("one challenge shared", 2),))
    told: list[str] = []
    trial = sybil_trial.run_trial(1, 2, 3, tell=told.append)
    assert len(told) == sybil_trial.steps(2, 3) == 5
    assert trial.honest == (HonestResult(next(iter(few)), 3, 0, 0, {}),)
    assert [(result.runs, result.size) for result in trial.attacks] == [(2, 2)]


@pytest.mark.parametrize(
    ("hits", "runs", "low", "high"), [(0, 20, 0.0, 0.161), (20, 20, 0.839, 1.0), (10, 20, 0.299, 0.701)]
)
def test_the_interval_is_wilsons(hits: int, runs: int, low: float, high: float) -> None:
    assert wilson(hits, runs) == pytest.approx((low, high), abs=1e-3)
