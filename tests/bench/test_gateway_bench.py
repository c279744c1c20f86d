"""The trials of gateways, small: they measure what they say, and what must hold holds."""

import pytest

from bitrelay.bench.gateway_pairs import run_pairs
from bitrelay.bench.gateway_rate import run_rate


async def test_one_gateway_carries_every_frame_once_and_records_it() -> None:
    figures = await run_rate(3000)
    assert (figures.missing, figures.repeated, figures.recorded) == (0, 0, 3000)
    assert figures.per_s > 0


@pytest.mark.requirement("GWY-06")
@pytest.mark.requirement("GWY-19")
async def test_two_gateways_on_each_mesh_share_the_work_over_real_links() -> None:
    figures = await run_pairs(200, per_s=100)
    assert figures.holds
    assert (figures.missing, figures.killed) == (0, 0)
    assert len(figures.shares) == 4
