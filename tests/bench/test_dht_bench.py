"""The measurements of the DHT, small: what must hold on real sockets holds, and all contestants find what was put."""

import builtins
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from bitrelay.bench.dht_claim import Claim, ClaimFigures, run_claim
from bitrelay.bench.dht_contest import Contest, run_contest
from bitrelay.cli import app
from bitrelay.errors import BrokenInstallation, ExitCode


async def test_every_node_finds_every_value_and_after_deaths_as_well() -> None:
    told: list[str] = []
    figures = await run_claim(Claim(nodes=12, lookups=50, ask_timeout_s=0.2), told.append)
    assert (figures.pairs, figures.found, figures.died) == (144, 1.0, 4)
    assert figures.after[-1] >= 0.99
    assert figures.holds
    assert told[0] == "joining"


async def test_all_contestants_find_what_was_put() -> None:
    figures = await run_contest(Contest(nodes=6, values=6, lookups=20, dies=0))
    assert [one.name for one in figures][-1] == "kademlia"
    for one in figures:
        assert (one.put, one.before.success, one.after.success) == (1.0, 1.0, 1.0)
        assert one.before.messages >= 0


async def test_without_kademlia_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any) -> Any:
        if name.startswith("kademlia"):
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BrokenInstallation, match="kademlia is not installed"):
        await run_contest(Contest(nodes=2))


@pytest.mark.parametrize(("found", "code"), [(1.0, ExitCode.OK), (0.99, ExitCode.CHECK_FAILED)])
def test_the_command_ends_with_what_was_found(monkeypatch: pytest.MonkeyPatch, found: float, code: ExitCode) -> None:
    async def claimed(claim: Claim, tell: object) -> ClaimFigures:
        return ClaimFigures(claim.nodes, 4, 16, found, 1, (0.5, 0.9, 1.0), 1.0, 2.0)

    monkeypatch.setattr("bitrelay.bench.dht_claim.run_claim", claimed)
    done = CliRunner().invoke(app, ["bench", "dht", "--claim", "--json"])
    first = json.loads(done.stdout.splitlines()[0])
    assert (done.exit_code, first["nodes"], first["found"], first["holds"]) == (code, 200, found, found == 1.0)
    assert "99.000%" in CliRunner().invoke(app, ["bench", "dht", "--claim"]).stdout or found == 1.0
