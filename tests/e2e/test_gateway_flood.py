"""Promise 10: a gateway cannot crush its mesh. Another one that we trust sends a thousand frames a second for it."""

import pytest

from tests.gateway.flood_mesh import measure


@pytest.mark.requirement("GWY-22")
async def test_a_mesh_goes_on_talking_while_a_gateway_is_flooded_for_it() -> None:
    figures = await measure(relays=2, seconds=4.0, rate=10.0, budget=30)
    assert figures.during >= 0.95 * figures.before > 0.9
    assert figures.flooded > 2000
    assert figures.entered <= 6
    assert figures.refused > figures.flooded / 2
    assert figures.named == "hostile"
