"""`bitrelay identity sybil-trial`: its table, its JSON, its exit codes."""

import json
import sys
from typing import Any

import pytest

from bitrelay import cli
from bitrelay.defense import sybil_traffic, sybil_trial
from bitrelay.defense.sybil_trial import HonestResult, Trial
from bitrelay.errors import ExitCode


@pytest.fixture(autouse=True)
def short_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kind of each."""
    quiet = {name: kind for name, kind in sybil_traffic.HONEST.items() if name.startswith("quiet")}
    fleet = {name: kind for name, kind in sybil_traffic.ONE_OWNER.items() if name.startswith("30")}
    monkeypatch.setattr(sybil_trial, "HONEST", quiet)
    monkeypatch.setattr(sybil_trial, "ONE_OWNER", fleet)
    bursts = [attack for attack in sybil_traffic.ATTACKS if (attack.name, attack.size) == ("burst within a minute", 20)]
    monkeypatch.setattr(sybil_trial, "ATTACKS", tuple(bursts))


def command(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bitrelay", "identity", "sybil-trial", *args])
    return cli.run()


def test_the_result_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "--runs", "2", "--days", "3", "--seed", "5", "--json") == ExitCode.OK
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (told["seed"], told["honest_days"], told["false_alarms"], told["within_budget"]) == (5, 3, 0, True)
    (attack,) = told["attacks"]
    assert (attack["size"], attack["runs"], attack["detected"], attack["reasons"]) == (20, 2, 1.0, {"burst": 2})
    assert told["one_owner"][0]["alarms"] >= 3


def test_the_result_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "--runs", "2", "--days", "2") == ExitCode.OK
    told = capsys.readouterr().out
    assert "In all 0 alarms on 2 days; the budget is 0.06 a day." in told
    assert any(line.split()[:6] == ["burst", "within", "a", "minute", "20", "100%"] for line in told.splitlines())


def test_too_many_false_alarms_are_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = Trial(2, 0.06, (HonestResult("quiet", 10, 9, 9, {"burst": 9}),), (), ())
    monkeypatch.setattr(sybil_trial, "run_trial", lambda *args, **options: bad)
    assert command(monkeypatch) == ExitCode.CHECK_FAILED
    assert "9 false alarms on 10 honest days, where 0.06 a day are allowed" in capsys.readouterr().err


def test_ctrl_c_ends_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*args: object, **options: object) -> Trial:
        raise KeyboardInterrupt

    monkeypatch.setattr(sybil_trial, "run_trial", interrupted)
    assert command(monkeypatch) == ExitCode.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err
