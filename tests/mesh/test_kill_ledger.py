"""A gateway that is killed has in its files what it said it wrote (tests/mesh/kill_ledger.py does it more often)."""

from pathlib import Path

import pytest

from tests.mesh.kill_ledger import kill_often


@pytest.mark.requirement("GWY-18")
def test_nothing_acknowledged_is_lost_or_doubled_when_it_is_killed(tmp_path: Path) -> None:
    said = kill_often(tmp_path, 3, seed=7)
    assert said.faults == []
    assert said.ledger > 0 and said.put > 0
