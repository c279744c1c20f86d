"""The measurements of the DHT, small: what must hold on real sockets holds, and all contestants find what was put."""

import builtins
import json
from typing import Any

import pytest

from bitrelay.bench.dht_claim import Claim, run_claim
from bitrelay.bench.dht_contest import Contest, run_contest
from bitrelay.errors import BrokenInstallation
from tests.host.command import run


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


def test_the_command_prints_a_line_of_json() -> None:
    done = run("bench", "dht", "--claim", "--nodes", "4", "--lookups", "5", "--json")
    values = json.loads(done.stdout)
    assert (done.returncode, values["holds"], values["found"]) == (0, True, 1.0)
