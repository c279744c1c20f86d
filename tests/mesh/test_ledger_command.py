"""`bitrelay gateway ledger` as somebody at a terminal, or a script, sees it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bitrelay.cli.gateway_ledger import app
from bitrelay.errors import ExitCode
from tests.mesh.ledgers import KEYS, Clock, events, ledger_of


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def ledger(state: Path) -> Path:
    clock = Clock()
    ledger = ledger_of(state / "ledger.sqlite", (2, 4), clock)
    ledger.mark_claimed(3)
    ledger.prune(90)
    ledger.close()
    return state / "ledger.sqlite"


def run(*args: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def documents(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_show_sums_up(ledger: Path, state: Path) -> None:
    result = run("show", "--state", state)
    assert result.exit_code == 0
    for told in (KEYS.peer_id.hex(), "4, numbers 3 to 6", "up to number 3", "wiese", "höhe", "everybody", "2026-08"):
        assert told in result.stdout, told
    (shown,) = documents(run("show", "--state", state, "--last", "1", "--json"))
    assert (shown["relayer"], shown["entries"], shown["last"], shown["pruned"]) == (KEYS.peer_id.hex(), 4, 6, 2)
    assert shown["fees"] == sum(event.fee for event in events(3, 6))
    assert shown["by_target"] == [{"of": "tal", "entries": 2, "fees": 3}, {"of": "west", "entries": 2, "fees": 5}]
    assert [each["of"] for each in shown["by_origin"]] == ["east", "höhe", "wiese"]
    assert [(each["number"], each["claimed"]) for each in shown["newest"]] == [(6, False)]


def test_an_empty_ledger_is_shown(state: Path) -> None:
    ledger_of(state / "ledger.sqlite", ()).close()
    result = run("show", "--state", state)
    assert (result.exit_code, "none yet" in result.stdout) == (0, True)
    assert "without entries" in run("verify", "--state", state).stdout


@pytest.mark.requirement("GWY-18")
def test_an_export_is_verified_and_a_changed_one_is_not(ledger: Path, state: Path, tmp_path: Path) -> None:
    exported = run("export", "--state", state)
    assert exported.exit_code == 0
    assert documents(exported) == documents(run("export", "--state", state, "--json"))
    file = tmp_path / "export.jsonl"
    file.write_text(exported.stdout)
    for args in ((file,), (ledger,), ("--state", state), (ledger, "--against", file)):
        result = run("verify", *args)
        assert (result.exit_code, "4 entries, 3 to 6, are as" in result.stdout) == (0, True)
    (verdict,) = documents(run("verify", file, "--json"))
    assert (verdict["intact"], verdict["entries"], verdict["broken_at"]) == (True, 4, None)

    file.write_text(exported.stdout.replace('"fee": 4', '"fee": 5'))
    result = run("verify", file)
    assert result.exit_code == ExitCode.CHECK_FAILED
    assert "entry 4 is not what its hash says" in result.stderr
    verdict, failure = documents(run("verify", file, "--json"))
    assert (verdict["intact"], verdict["broken_at"], verdict["last"]) == (False, 4, 2)
    assert failure["exit_code"] == ExitCode.CHECK_FAILED
    result = run("verify", ledger, "--against", file)
    assert (result.exit_code, "is broken itself" in result.stderr) == (ExitCode.BAD_DATA, True)


def test_prune_lets_go_of_what_is_older(ledger: Path, state: Path, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    file.write_text(run("export", "--state", state).stdout)
    ledger_of(ledger, (1,), Clock(4_000_000_000)).close()
    assert documents(run("prune", "--state", state, "--keep", "1000000000", "--json")) == [{"pruned": 0}]
    result = run("prune", "--state", state, "--keep", "0")
    assert (result.exit_code, "entries are gone" in result.stdout) == (0, True)
    assert documents(run("show", "--state", state, "--json"))[0]["entries"] in (1, 5)
    result = run("verify", "--state", state, "--against", file)
    assert result.exit_code == 0


@pytest.mark.parametrize("command", ["show", "export", "verify", "prune"])
def test_what_is_no_ledger_is_told(command: str, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITRELAY_HOME", str(state))
    result = run(command, "--json")
    assert result.exit_code == ExitCode.BAD_DATA
    assert str(state / "gateway" / "ledger.sqlite") in documents(result)[0]["error"]
    state.mkdir(mode=0o700)
    (state / "ledger.sqlite").write_bytes(b"no database\n" * 1000)
    result = run(command, "--state", state)
    assert result.exit_code == (ExitCode.CHECK_FAILED if command == "verify" else ExitCode.BAD_DATA)
    assert (state / "ledger.sqlite").read_bytes() == b"no database\n" * 1000, "it stays where it is"
